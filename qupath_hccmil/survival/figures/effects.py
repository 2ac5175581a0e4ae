"""Forest plots of one effect in subgroups, centres or cohorts, with their pooled value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from qupath_hccmil.survival.figures.style import FAINT, GREY, INK, LOW, plain, styled
from qupath_hccmil.survival.interval_level import interval

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
WIDEST = (0.01, 100.0)


@dataclass(frozen=True)
class Line:
    """One line of the figure.

    Attributes
    ----------
    text : str
        What it is of.
    size : str
        Numbers of patients and events.
    estimate, lower, upper : float
        NaN if there is none; ``note`` then stands in its place.
    right : str
        Text at the right end, such as a p-value.
    kind : str
        ``head`` (only text), ``row`` or ``pooled`` (a diamond).
    note : str
    """

    text: str
    size: str = ""
    estimate: float = np.nan
    lower: float = np.nan
    upper: float = np.nan
    right: str = ""
    kind: str = "row"
    note: str = ""


@styled
def effects_figure(
    lines: Sequence[Line],
    *,
    x: str,
    confidence: float,
    title: str = "",
    right: str = "",
    reference: float = 1.0,
    log: bool = True,
    digits: int = 2,
) -> Figure:
    """Draw estimates with intervals, one a line.

    Parameters
    ----------
    lines : sequence of Line
        From above.
    x : str
        Label of the axis.
    confidence : float
        Level of the intervals.
    title, right : str
        Headings of the first and the last column.
    reference : float
        Where a line stands: no effect, or the pooled value.
    log : bool
        Whether the axis is logarithmic.
    digits : int
    """
    height = 0.26 * len(lines) + 1.1
    figure = Figure(figsize=(7.4, height))
    left, end, top, bottom = 0.45, 0.70, 1 - 0.45 / height, 0.52 / height
    axes = figure.add_axes((left, bottom, end - left, top - bottom))
    axes.set_ylim(len(lines) - 0.5, -0.5)
    low, high = _limits(lines, reference, log)
    if log:
        axes.set_xscale("log")
        ticks = [tick for tick in TICKS if low <= tick <= high]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(low, high)
    for index, line in enumerate(lines):
        _draw(axes, index, line, (low, high), digits)
    if np.isfinite(reference):
        axes.axvline(reference, color=INK, lw=0.9, zorder=1)
    axes.grid(False, axis="y")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(x)
    head = top + 0.14 / height
    figure.text(0.01, head, plain(title, 40), weight="bold", fontsize=9.5)
    figure.text(0.325, head, "Events / n", color=GREY, fontsize=8.5)
    figure.text(0.715, head, interval(confidence), color=GREY, fontsize=8.5)
    figure.text(0.995, head, right, color=GREY, fontsize=8.5, ha="right")
    return figure


def _limits(lines: Sequence[Line], reference: float, log: bool) -> tuple[float, float]:
    values = np.array([[line.estimate, line.lower, line.upper] for line in lines]).ravel()
    values = np.r_[values, reference]
    values = values[np.isfinite(values)]
    if log:
        values = values[(values > WIDEST[0]) & (values < WIDEST[1])]
        if not len(values):
            return 0.5, 2.0
        return min(0.6, float(values.min())) * 0.85, max(1.7, float(values.max())) * 1.15
    if not len(values):
        return 0.0, 1.0
    room = 0.06 * float(np.ptp(values)) or 0.1
    return float(values.min()) - room, float(values.max()) + room


def _draw(axes: Axes, index: int, line: Line, limits: tuple[float, float], digits: int) -> None:
    place = axes.get_yaxis_transform()
    style: dict[str, Any] = {"va": "center", "fontsize": 8.5, "transform": place, "clip_on": False}
    if index % 2:
        axes.axhspan(index - 0.5, index + 0.5, xmin=-1.8, xmax=2.2, color="#f4f6f8", lw=0,
                     clip_on=False, zorder=0)  # fmt: skip
    bold = line.kind != "row"
    text = plain(line.text, 30) if bold else f"    {plain(line.text, 28)}"
    axes.text(-1.76, index, text, weight="bold" if bold else "normal", **style)
    axes.text(-0.5, index, line.size, color=GREY, **style)
    axes.text(2.18, index, line.right, ha="right", **style)
    if line.kind == "head":
        return
    if not np.isfinite(line.estimate):
        axes.text(1.07, index, plain(line.note, 30), color=GREY, **style)
        return
    low, high = limits
    start, stop = max(line.lower, low), min(line.upper, high)
    if line.kind == "pooled":
        x = [start, line.estimate, stop, line.estimate]
        axes.fill(x, [index, index - 0.3, index, index + 0.3], color=INK, lw=0, zorder=3)
    else:
        axes.plot([start, stop], [index, index], color=LOW, lw=1.5, solid_capstyle="butt", zorder=2)
        for end, inside, marker in (
            (start, line.lower >= low, "<"),
            (stop, line.upper <= high, ">"),
        ):
            shape = "|" if inside else marker
            axes.plot([end], [index], shape, color=LOW, ms=5, mew=1.2, zorder=3)
        if low <= line.estimate <= high:
            axes.plot(
                [line.estimate], [index], "s", color=LOW, mec=FAINT, mew=0.4, ms=5.5, zorder=4
            )
    mean, lower, upper = (_short(v, digits) for v in (line.estimate, line.lower, line.upper))
    axes.text(1.07, index, f"{mean} ({lower}–{upper})", **style)


def _short(value: float, digits: int) -> str:
    if not np.isfinite(value):
        return "∞"
    return f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.0f}"
