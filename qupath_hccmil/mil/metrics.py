"""Figures of a classifier, with bootstrap intervals by patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Metric = Callable[[NDArray[np.bool_], NDArray[Any]], float]
"""(poor outcome, risk or group) to a figure; NaN where it has no value."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval."""

    value: float
    low: float
    high: float


def auc(poor: ArrayLike, risk: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a poor outcome has the higher risk.

    Ties count half; NaN where one outcome is absent.
    """
    positive = np.asarray(poor, dtype=bool)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(np.asarray(risk, dtype=np.float64))
    wins = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(wins / (n_positive * n_negative))


def accuracy(poor: NDArray[np.bool_], high: NDArray[np.bool_]) -> float:
    """Share of patients whose group is their outcome."""
    return float(np.mean(poor == high))


def sensitivity(poor: NDArray[np.bool_], high: NDArray[np.bool_]) -> float:
    """Share of poor outcomes that are in the high-risk group; NaN without poor outcomes."""
    return float(high[poor].mean()) if poor.any() else float("nan")


def specificity(poor: NDArray[np.bool_], high: NDArray[np.bool_]) -> float:
    """Share of good outcomes that are in the low-risk group; NaN without good outcomes."""
    return float((~high[~poor]).mean()) if (~poor).any() else float("nan")


def bootstrap(
    metric: Metric,
    poor: NDArray[np.bool_],
    called: NDArray[Any],
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Percentile bootstrap over patients.

    Parameters
    ----------
    metric : callable
    poor : (n,) bool
    called : (n,) array
        Risk, or whether it is high: what `metric` takes.
    repeats, seed : int
    level : float
        Of the interval.

    Returns
    -------
    Estimate
        Resamples in which the figure has no value are left out; the interval is NaN where that
        leaves none.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(poor), len(poor)) for _ in range(repeats)]
    values = np.array([metric(poor[i], called[i]) for i in drawn])
    values = values[np.isfinite(values)]
    value = metric(poor, called)
    if not len(values):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))
