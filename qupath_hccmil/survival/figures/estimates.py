"""Estimates of one quantity with their intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from qupath_hccmil.survival.figures.style import INK, MARKERS, plain, styled

MOST_NAMES = 18  # letters of a name
RATIOS = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 3, 5, 10)


@dataclass(frozen=True)
class Panel:
    """One quantity in every cohort, or of every model: a small forest plot.

    Attributes
    ----------
    title : str
    names : sequence of str
        Of the cohorts or models, from above.
    values : (names, 3) float64
        Estimate, lower and upper limit; NaN if there is none.
    pooled : (3,) float64 or None
    reference : float
        Where a line stands; NaN for none.
    log : bool
    letters : int
        Of a name that are shown.
    """

    title: str
    names: Sequence[str]
    values: np.ndarray
    pooled: np.ndarray | None
    reference: float
    log: bool = False
    letters: int = MOST_NAMES


@styled
def estimates_figure(panel: Panel) -> Figure:
    """Draw one panel as a figure."""
    figure = Figure(figsize=(6.4, 0.9 + 0.32 * len(panel.names)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr,call-arg]
    draw_panel(figure.add_subplot(), panel)
    return figure


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw the estimates with their intervals, and the pooled one as a diamond."""
    count = len(panel.names)
    if panel.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(RATIOS))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    for place, (value, low, high) in enumerate(panel.values):
        if not np.isfinite(value):
            continue
        colour = MARKERS[place % len(MARKERS)]
        if np.isfinite(low) and np.isfinite(high):
            axes.plot([low, high], [place, place], color=colour, lw=1.6)
        axes.plot([value], [place], "s", color=colour, ms=5.5)
    labels = [plain(name, panel.letters) for name in panel.names]
    if panel.pooled is not None:
        value, low, high = panel.pooled
        x, y = [low, value, high, value], [count, count - 0.25, count, count + 0.25]
        axes.fill(x, y, color=INK, lw=0)
        labels.append("Pooled")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    if np.isfinite(panel.reference):
        axes.axvline(panel.reference, color=INK, lw=0.9, ls=(0, (2, 2)))
    axes.grid(False, axis="y")
    axes.set_title(plain(panel.title, 50))
