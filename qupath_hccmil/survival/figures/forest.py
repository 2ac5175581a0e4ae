"""Forest plots of hazard ratios."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from qupath_hccmil.survival.figures.style import GREY, HIGH, INK, LOW, plain, pretty_p, styled
from qupath_hccmil.survival.interval_level import interval

WIDEST = (0.02, 50.0)
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


@styled
def forest_figure(table: pd.DataFrame, *, confidence: float, title: str = "") -> Figure:
    """Draw hazard ratios with intervals on a log axis, one line per level.

    Parameters
    ----------
    table : DataFrame
        From ``CoxFit.table`` or ``cox.univariable``.
    confidence : float
        Level of its intervals.
    title : str
    """
    rows = _rows(table)
    height = 0.26 * len(rows) + 1.05
    figure = Figure(figsize=(6.4, height))
    left, right, top, bottom = 0.41, 0.69, 1 - 0.42 / height, 0.52 / height
    axes = figure.add_axes((left, bottom, right - left, top - bottom))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    low, high = _limits(table)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    for index, row in enumerate(rows):
        _draw(axes, index, row, low, high)
    axes.axvline(1, color=INK, lw=0.9, zorder=1)
    axes.grid(False, axis="y")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("Hazard ratio (log scale)")
    head = top + 0.13 / height
    figure.text(0.01, head, plain(title, 40), weight="bold", fontsize=9.5)
    figure.text(0.71, head, f"HR ({interval(confidence)})", color=GREY, fontsize=8.5)
    figure.text(0.995, head, "p", color=GREY, fontsize=8.5, ha="right")
    return figure


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for _, part in table.groupby("variable", sort=False):
        first = part.iloc[0]
        if first["level"]:
            rows.append({"text": plain(first["label"], 34), "head": True})
            for _, row in part.iterrows():
                rows.append({**row, "text": f"    {plain(row['level'], 24)}", "head": False})
        else:
            step = f" ({plain(first['step'], 18)})"
            rows.append({**first, "text": plain(first["label"], 26) + step, "head": False})
    return rows


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    ends = pd.concat([table["lower"], table["upper"], table["hazard_ratio"]]).dropna()
    ends = ends[(ends > WIDEST[0]) & (ends < WIDEST[1])]
    low = min(0.5, float(ends.min())) if len(ends) else 0.5
    high = max(2.0, float(ends.max())) if len(ends) else 2.0
    return low * 0.85, high * 1.15


def _draw(axes: Axes, index: int, row: dict[str, Any], low: float, high: float) -> None:
    place = axes.get_yaxis_transform()
    style: dict[str, Any] = {"va": "center", "fontsize": 8.5, "transform": place, "clip_on": False}
    if index % 2:
        axes.axhspan(index - 0.5, index + 0.5, xmin=-1.5, xmax=2.2, color="#f4f6f8", lw=0,
                     clip_on=False, zorder=0)  # fmt: skip
    axes.text(-1.43, index, row["text"], weight="bold" if row["head"] else "normal", **style)
    if row["head"]:
        return
    if row["reference"]:
        axes.plot([1], [index], "s", ms=4, mfc="white", mec=GREY, zorder=3)
        axes.text(1.07, index, "1 (reference)", color=GREY, **style)
        return
    ratio, lower, upper = (float(row[key]) for key in ("hazard_ratio", "lower", "upper"))
    colour = HIGH if ratio >= 1 else LOW
    start, stop = max(lower, low), min(upper if np.isfinite(upper) else high, high)
    axes.plot([start, stop], [index, index], color=colour, lw=1.6, solid_capstyle="butt", zorder=2)
    for end, inside, marker in ((start, lower >= low, "<"), (stop, upper <= high, ">")):
        axes.plot([end], [index], "|" if inside else marker, color=colour, ms=5, mew=1.3, zorder=3)
    if low <= ratio <= high:
        axes.plot([ratio], [index], "s", color=colour, ms=5, zorder=4)
    axes.text(1.07, index, f"{_short(ratio)} ({_short(lower)}–{_short(upper)})", **style)
    told = pretty_p(float(row["p"])).removeprefix("p ").removeprefix("= ")
    axes.text(2.087, index, told, ha="right", **style)


def _short(value: float) -> str:
    if not np.isfinite(value):
        return "∞"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
