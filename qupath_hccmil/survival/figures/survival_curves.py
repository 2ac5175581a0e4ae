"""Kaplan-Meier curves with numbers at risk, cumulative incidence and the log-log plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.transforms import Affine2D, Affine2DBase, ScaledTranslation

from qupath_hccmil.survival.figures.style import (
    DASHES,
    GREY,
    INK,
    canvas,
    group_colours,
    plain,
    pretty_p,
    styled,
)

BAND = 0.14
PIXELS = 1200  # steps that can be distinguished across a figure
MOST_MARKS = 400  # more marks of censoring only make the line thicker


@styled
def kaplan_meier_figure(
    curves: pd.DataFrame,
    *,
    unit: str,
    endpoint: str,
    p: float | None = None,
    title: str = "",
    until: float | None = None,
    colours: Sequence[str] | None = None,
    width: float = 4.8,
) -> Figure:
    """Draw Kaplan-Meier curves with intervals, censoring marks and numbers at risk.

    Parameters
    ----------
    curves : DataFrame
        From ``kaplan_meier.curves``.
    unit, endpoint : str
        For the labels of the axes.
    p : float, optional
        p-value of the log-rank test.
    until : float, optional
        End of the time axis.
    colours : sequence of str, optional
        One per group.
    width : float
        Width of the figure, inches.
    """
    names = list(dict.fromkeys(curves["group"]))
    colours = list(colours or group_colours(len(names)))
    end = float(curves["time"].max()) if until is None else until
    figure, axes = canvas(width, 3.1 + 0.2 * len(names) + (0.25 if title else 0))
    for index, name in enumerate(names):
        part = _as_seen(curves[curves["group"] == name], end)
        _steps(axes, part, "survival", colours[index], DASHES[index % len(DASHES)], name)
        lost = part[(part["censored"] > 0) & (part["time"] <= end)]
        lost = lost if len(lost) <= MOST_MARKS else lost.iloc[:0]
        axes.plot(
            lost["time"], lost["survival"], "|", color=colours[index], ms=4, mew=0.7, alpha=0.7
        )
    _percent(axes, end, f"Time ({unit})", plain(endpoint, 34))
    if title:
        axes.set_title(plain(title, 44))
    if len(names) > 1:
        # Curves that stay high leave room below them.
        where: Literal["lower left", "upper right"]
        where = "lower left" if curves["survival"].min() > 0.45 else "upper right"
        told = None if p is None else f"Log-rank {pretty_p(p)}"
        legend = axes.legend(loc=where, handlelength=2.2, alignment="left")
        legend.set_title(told or "")
    _numbers_at_risk(axes, curves, names, colours, end)
    return figure


@styled
def incidence_figure(
    table: pd.DataFrame, *, unit: str, title: str = "", until: float | None = None
) -> Figure:
    """Draw the curves of ``competing_risks.cumulative_incidence`` for one cause.

    The numbers at risk are of patients without an event of any cause.
    """
    names = list(dict.fromkeys(table["group"]))
    colours = group_colours(len(names))
    end = float(table["time"].max()) if until is None else until
    figure, axes = canvas(4.8, 3.1 + 0.2 * len(names) + 0.25)
    for index, name in enumerate(names):
        part = _as_seen(table[table["group"] == name], end)
        _steps(axes, part, "incidence", colours[index], DASHES[index % len(DASHES)], name)
    _percent(axes, end, f"Time ({unit})", "Cumulative incidence")
    axes.set_title(plain(title, 60))
    if len(names) > 1:
        axes.legend(loc="upper left", handlelength=2.2)
    _numbers_at_risk(axes, table, names, colours, end)
    return figure


@styled
def log_log_figure(points: pd.DataFrame, *, unit: str) -> Figure:
    """Draw log(−log S) against time on a log axis; parallel if hazards are proportional."""
    names = list(dict.fromkeys(points["group"]))
    figure, axes = canvas(4.8, 3.4)
    for index, (name, colour) in enumerate(zip(names, group_colours(len(names)), strict=True)):
        part = _as_seen(points[points["group"] == name], float(points["time"].max()))
        axes.step(
            part["time"],
            part["log_minus_log"],
            where="post",
            color=colour,
            ls=DASHES[index % len(DASHES)],
            label=plain(name),
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(f"Time ({unit}, log scale)")
    axes.set_ylabel("log(−log survival)")
    axes.legend(loc="lower right", handlelength=2.2)
    return figure


def _as_seen(part: pd.DataFrame, end: float) -> pd.DataFrame:
    """Keep the last step in each pixel; a curve with many thousand steps looks the same."""
    if len(part) <= PIXELS or end <= 0:
        return part
    pixel = (part["time"] / end * PIXELS).astype(int)
    return part[~pixel.duplicated(keep="last")]


def _steps(
    axes: Axes, part: pd.DataFrame, value: str, colour: str, dashes: object, name: str
) -> None:
    time = part["time"].to_numpy(float)
    axes.fill_between(
        time,
        part["lower"].to_numpy(float),
        part["upper"].to_numpy(float),
        step="post",
        color=colour,
        alpha=BAND,
        lw=0,
    )
    axes.step(time, part[value], where="post", color=colour, ls=dashes, label=plain(name))


def _percent(axes: Axes, end: float, x: str, y: str) -> None:
    axes.set_xlim(0, end * 1.02 if end > 0 else 1)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _numbers_at_risk(
    axes: Axes, curves: pd.DataFrame, names: Sequence[str], colours: Sequence[str], end: float
) -> None:
    """Write the numbers at risk below the ticks, one line per group, with its name and its dashes.

    The names are to the left, and the numbers are in ink, so that they can be read in grey.
    """
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= end * 1.001]
    axes.set_xticks(ticks)
    below, line = -42.0, 12.5
    _write_below(axes, "At risk", 0, below, "left", GREY)
    for row, (name, colour) in enumerate(zip(names, colours, strict=True), start=1):
        height = below - row * line
        if len(names) > 1:
            _write_below(axes, plain(name, 18), -44, height, "right", INK)
            _sample(axes, height, colour, DASHES[(row - 1) % len(DASHES)])
        part = curves[curves["group"] == name]
        times, left = part["time"].to_numpy(float), part["at_risk"].to_numpy(int)
        for tick in ticks:
            at = int(np.searchsorted(times, tick, side="left"))
            count = left[at] if at < len(times) else 0
            axes.annotate(
                f"{count:,}",
                (tick, 0),
                xycoords=axes.get_xaxis_transform(),
                xytext=(0, height),
                textcoords="offset points",
                fontsize=8,
                color=INK,
                ha="center",
                va="center",
                annotation_clip=False,
            )


def _write_below(
    axes: Axes, text: str, left: float, height: float, where: str, colour: str
) -> None:
    """Write a text at an offset (points) from the lower left corner of the axes."""
    axes.annotate(
        text,
        (0, 0),
        xycoords="axes fraction",
        xytext=(left, height),
        textcoords="offset points",
        fontsize=8,
        color=colour,
        ha=where,
        va="center",
        annotation_clip=False,
    )


def _sample(axes: Axes, height: float, colour: str, dashes: Any) -> None:
    """Draw a piece of the group's line in front of its numbers."""
    figure = axes.figure
    points = Affine2D().scale(1 / 72) + figure.dpi_scale_trans
    corner = ScaledTranslation(0, 0, cast(Affine2DBase, axes.transAxes))
    line = Line2D([-40, -16], [height, height], color=colour, ls=dashes, lw=1.7, clip_on=False)
    line.set_transform(points + corner)
    axes.add_artist(line)
