"""One figure of a prediction in several cohorts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from qupath_hccmil.survival.figures.estimates import MOST_NAMES, Panel, draw_panel
from qupath_hccmil.survival.figures.style import DASHES, INK, MARKERS, plain, styled


@styled
def cohorts_figure(
    panels: Sequence[Panel],
    curves: Mapping[str, pd.DataFrame],
    benefits: Mapping[str, pd.DataFrame],
    *,
    title: str,
) -> Figure:
    """Draw discrimination and calibration in every cohort, and both kinds of curve.

    Parameters
    ----------
    panels : sequence of Panel
        Four.
    curves : mapping of str to DataFrame
        Calibration curves (``predicted, observed``) by name of the cohort.
    benefits : mapping of str to DataFrame
        From ``decision_curve.net_benefit``.
    title : str
        Of both kinds of curve, such as the time.
    """
    height = max(5.4, 1.0 + 0.3 * (len(panels[0].names) + 1)) + 0.9
    figure = Figure(figsize=(10.2, height + 3.0), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr,call-arg]
    grid = figure.add_gridspec(3, 2, height_ratios=[1, 1, 1.35])
    for index, panel in enumerate(panels):
        draw_panel(figure.add_subplot(grid[divmod(index, 2)]), panel)
    names = list(panels[0].names)
    styles = {
        name: (MARKERS[place % len(MARKERS)], DASHES[place % len(DASHES)])
        for place, name in enumerate(names)
    }
    _calibration(figure.add_subplot(grid[2, 0]), curves, styles, title)
    _benefit(figure.add_subplot(grid[2, 1]), benefits, styles, title)
    return figure


def _calibration(
    axes: Axes,
    curves: Mapping[str, pd.DataFrame],
    styles: Mapping[str, tuple[str, object]],
    title: str,
) -> None:
    top = 0.05
    for name, curve in curves.items():
        colour, dashes = styles[name]
        axes.plot(curve["predicted"], curve["observed"], color=colour, ls=dashes,
                  label=plain(name, MOST_NAMES))  # fmt: skip
        top = max(top, float(curve[["predicted", "observed"]].max().max()))
    top = min(1.0, top * 1.05)
    axes.plot([0, top], [0, top], color=INK, lw=0.9, ls=(0, (2, 2)))
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("Predicted risk")
    axes.set_ylabel("Observed risk")
    axes.set_title(plain(f"Calibration, {title}", 50))
    if curves:
        axes.legend(loc="upper left", handlelength=2.4)


def _benefit(
    axes: Axes,
    benefits: Mapping[str, pd.DataFrame],
    styles: Mapping[str, tuple[str, object]],
    title: str,
) -> None:
    """Draw what the score adds to the better of treating all and none, which differ by cohort."""
    low, high = -0.02, 0.02
    for name, benefit in benefits.items():
        colour, dashes = styles[name]
        gain = benefit["model"] - np.maximum(benefit["all"], 0.0)
        axes.plot(benefit["threshold"], gain, color=colour, ls=dashes,
                  label=plain(name, MOST_NAMES))  # fmt: skip
        known = gain.dropna()
        if len(known):
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    axes.axhline(0, color=INK, lw=0.9)
    axes.set_ylim(max(low, -0.1) * 1.1, high * 1.1)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("Threshold of risk")
    axes.set_ylabel("Gain in net benefit")
    axes.set_title(plain(f"Decision curve, {title}", 50))
