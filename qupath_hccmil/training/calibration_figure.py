"""Figure of observed against predicted poor outcomes, as a PNG."""

from __future__ import annotations

import math
from pathlib import Path

from qupath_hccmil.mil.metrics import Estimate
from qupath_hccmil.mil.risk_evaluation import RiskScores


def draw_calibration(path: Path, scores: RiskScores) -> None:
    """Draw the groups of `scores.calibration` with their 95 % intervals, and the diagonal."""
    # pyplot is not used, because it would choose a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="as often as predicted")
    groups = scores.calibration
    axes.errorbar(
        [group.predicted for group in groups],
        [group.observed for group in groups],
        yerr=[
            [group.observed - group.low for group in groups],
            [group.high - group.observed for group in groups],
        ],
        fmt="o",
        capsize=3,
        label="groups of patients, 95 % interval",
    )
    for group in groups:
        axes.annotate(
            f"{group.patients}", (group.predicted, group.observed), (6, 4),
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="predicted probability of a poor outcome",
        ylabel="observed share of poor outcomes",
        title=title_of(scores),
    )
    axes.title.set_fontsize(9)
    axes.legend(loc="upper left", fontsize=8)
    figure.text(0.99, 0.01, "For research use only", ha="right", fontsize=7, color="0.4")
    figure.savefig(path, dpi=120)


def title_of(scores: RiskScores) -> str:
    """Slope and intercept with their intervals; a dash for one that has no value."""
    slope, intercept = _text(scores.calibration_slope), _text(scores.calibration_intercept)
    return f"slope {slope}, intercept {intercept}"


def _text(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "–"
    if math.isnan(estimate.low):
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f}–{estimate.high:.2f})"
