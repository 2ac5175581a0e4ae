"""Figures of a classifier, with bootstrap intervals by patient.

They are scikit-learn's ``roc_auc_score``, ``brier_score_loss`` and so on, in a few lines of numpy
each; `tests/mil/test_metrics.py` checks that. scikit-learn's take 60 to 500 times as long (1.9.1,
179 patients), which counts in 1,000 bootstrap samples; they warn where a sample has one outcome
alone, which here is counted; and ``log_loss`` bounds a logarithm at the precision of the
number's type (−36), where the loss that the network was trained with bounds it at −100.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Metric = Callable[..., float]
"""Columns, a value a patient in each, to a figure; NaN where it has no value."""

SAME_LOGIT = 1e-4
"""Slide logits that differ by less are one score.

Processors round a network's sums differently, which moves a logit by up to about 1e-5. A figure,
a choice or a cut must not rest on that. In risk it is 0.000025 at most, less than any table shows.
"""

# Rounding that figures of bootstrap samples may differ by.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes
    ----------
    value, low, high : float
        NaN where there is none.
    undefined : int
        Bootstrap samples without a value, left out of the interval; of one outcome alone, say.
    """

    value: float
    low: float
    high: float
    undefined: int = 0

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        interval = "" if math.isnan(self.low) else f" ({self.low:.3f}–{self.high:.3f})"
        return f"{self.value:.3f}{interval}"


def score_ranks(logits: ArrayLike) -> NDArray[np.int64]:
    """Number scores upwards from 0, those that differ by rounding alone as one.

    Parameters
    ----------
    logits : (n,) array_like
        May be infinite.

    Returns
    -------
    (n,) int64
        Scores of one number lie within `SAME_LOGIT`.
    """
    logits = np.asarray(logits, dtype=np.float64)
    ordered = np.sort(logits)
    starts = []
    place = 0
    while place < len(ordered):
        starts.append(ordered[place])
        place = int(np.searchsorted(ordered, ordered[place] + SAME_LOGIT, side="right"))
    return np.asarray(np.searchsorted(starts, logits, side="right") - 1, dtype=np.int64)


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


def brier(poor: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """Mean square of what the probability of a poor outcome misses (Brier 1950); 0 is perfect."""
    return float(np.mean((probability - poor) ** 2))


def cross_entropy(outcome: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """Mean ``−log`` of the probability that was given to what came; a logarithm is at least −100.

    Parameters
    ----------
    outcome : (n,) bool
    probability : (n,) float64
        Of `outcome` being true.
    """
    of_outcome = np.where(outcome, probability, 1 - probability)
    with np.errstate(divide="ignore"):
        return float(-np.maximum(np.log(of_outcome), -100).mean())


def bootstrap(
    metric: Metric,
    *columns: NDArray[Any],
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Percentile bootstrap over patients.

    Parameters
    ----------
    metric : callable
    columns : (n,) array
        What `metric` takes; patients are drawn with all their values.
    repeats, seed : int
    level : float
        Of the interval.

    Returns
    -------
    Estimate
        Samples in which the figure has no value are left out and counted. The interval is NaN where
        that leaves none, and where the figure is the same in all of them, as an AUC of 1 is: that
        it is certain does not follow.
    """
    value = metric(*columns)
    rng = np.random.default_rng(seed)
    n = len(columns[0])
    drawn = (rng.integers(0, n, n) for _ in range(repeats))
    values = np.array([metric(*(column[i] for column in columns)) for i in drawn])
    kept = values[np.isfinite(values)]
    undefined = len(values) - len(kept)
    if not len(kept) or np.ptp(kept) < _ROUNDING:
        return Estimate(value, float("nan"), float("nan"), undefined)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), undefined)
