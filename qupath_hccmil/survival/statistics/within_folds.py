"""Concordance and AUC(t) of cross-validated predictions, with bootstrap intervals.

Each outer fold has its own model, so predictions are compared within a fold and never between two.
The estimate is the share of concordant pairs among all pairs that lie within a fold, averaged over
repeats (Airola et al. 2011 call the opposite "pooling", and show its bias).

The interval is a percentile bootstrap of patients, drawn with their predictions of all repeats.
That alone holds only for the models as trained, as the interval of LeDell, Petersen and van der
Laan 2015 does: it leaves out what another training set would have changed, and the folds' training
sets overlap. It is therefore widened around the estimate by the factor of Nadeau and Bengio 2003,
which for ``K`` equal folds is ``sqrt(1 + K / (K - 1))``. No unbiased estimate of that variance
exists for one cross-validation (Bengio and Grandvalet 2004), and the factor is meant to be on the
safe side. ``scripts/research/judgement_proofs.py coverage`` measures both intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qupath_hccmil.method.bootstrap import percentile_interval, samples
from qupath_hccmil.survival.statistics.ipcw import censoring

C_INDEX = "C-index"
AUC = "AUC"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FoldOutcomes:
    """Outcomes of patients, and the outer fold of each, in every repeat.

    Attributes
    ----------
    time : (repeats, n) float64
        Years. The rows differ only if outcomes were permuted.
    event : (repeats, n) bool
    fold : (repeats, n) int
    """

    time: Floats
    event: NDArray[np.bool_]
    fold: NDArray[np.int64]


@dataclass(frozen=True)
class Compared:
    """Statistics of markers within folds.

    Attributes
    ----------
    table : DataFrame
        ``marker, statistic, time, patients, events, estimate, lower, upper``; ``time`` is NaN for
        the C-index.
    differences : DataFrame
        ``marker, reference, statistic, time, difference, lower, upper``: the reference, which is
        the first marker, minus this one, in the same bootstrap samples.
    drawn : mapping of str to (statistics, samples) float64
        Bootstrap values of each marker, in the order of its rows in the table.
    factor : float
        By which the intervals are wider than those of the bootstrap.
    confidence : float
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    drawn: Mapping[str, Floats]
    factor: float
    confidence: float

    def of(self, marker: str) -> pd.DataFrame:
        """Rows of one marker."""
        return self.table[self.table["marker"] == marker]

    def gap(self, marker: str, reference: str) -> pd.DataFrame:
        """Difference of two markers: the reference minus the other, as ``differences`` has it."""
        return _gap(self, marker, reference)


def compare_within_folds(
    outcomes: FoldOutcomes,
    markers: Mapping[str, Floats],
    times: Sequence[float],
    *,
    repeats: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Compared:
    """Estimate the C-index and AUC(t) of each marker within folds.

    Parameters
    ----------
    outcomes : FoldOutcomes
    markers : mapping of str to (repeats, n) float64
        Predictions, without missing values; higher means higher risk. Only their order within a
        fold counts.
    times : sequence of float
        For AUC(t), in years. Patients who are censored before are weighted for by the inverse
        probability of censoring in all patients.
    repeats : int
        Bootstrap samples of patients.
    seed : int
    confidence : float
    """
    counts = _counts(outcomes.event[0], repeats, seed)
    all_counts = np.vstack([np.ones(counts.shape[1]), counts])
    keys = [(C_INDEX, np.nan), *((AUC, float(at)) for at in times)]
    patients, events = outcomes.time.shape[1], int(outcomes.event[0].sum())
    factor = widening(outcomes.fold)
    rows = []
    drawn = {}
    for name, values in markers.items():
        found = np.array([_statistic(outcomes, values, at, all_counts) for _, at in keys])
        drawn[name] = found[:, 1:]
        for key, one in zip(keys, found, strict=True):
            ends = _interval(one[0], one[1:], factor, confidence)
            rows.append((name, *key, patients, events, one[0], *np.clip(ends, 0, 1)))
    columns = ["marker", "statistic", "time", "patients", "events", "estimate", "lower", "upper"]
    table = pd.DataFrame(rows, columns=columns)
    alone = Compared(table, pd.DataFrame(columns=_GAP), drawn, factor, confidence)
    first, *others = markers
    gaps = [alone.gap(name, first) for name in others]
    return replace(alone, differences=pd.concat(gaps, ignore_index=True)) if gaps else alone


_GAP = ["marker", "reference", "statistic", "time", "difference", "lower", "upper"]


def widening(fold: NDArray[np.int64]) -> float:
    """Factor by which an interval of a cross-validation is wider than that of fixed predictions.

    Parameters
    ----------
    fold : (repeats, n) int
        The first repeat counts: others have the same patients.

    Returns
    -------
    float
        ``sqrt(1 + sum of tested / trained)`` over the folds; 1 for one fold, where nothing was
        trained.
    """
    sizes = np.unique(fold[0], return_counts=True)[1]
    trained = len(fold[0]) - sizes
    return float(np.sqrt(1 + (sizes / trained).sum())) if trained.all() else 1.0


def _interval(
    estimate: float, drawn: Floats, factor: float, confidence: float
) -> tuple[float, float]:
    low, high = percentile_interval(drawn, confidence)
    return estimate - factor * (estimate - low), estimate + factor * (high - estimate)


def _gap(compared: Compared, marker: str, reference: str) -> pd.DataFrame:
    one, other = compared.of(reference), compared.of(marker)
    gaps = one["estimate"].to_numpy(float) - other["estimate"].to_numpy(float)
    drawn = compared.drawn[reference] - compared.drawn[marker]
    rows = [
        (marker, reference, statistic, at, gap,
         *_interval(gap, values, compared.factor, compared.confidence))
        for statistic, at, gap, values in zip(
            one["statistic"], one["time"], gaps, drawn, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=_GAP)


def auc_curve(
    outcomes: FoldOutcomes,
    markers: Mapping[str, Floats],
    times: Sequence[float],
    *,
    repeats: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """AUC(t) of each marker along time, with intervals and a band for all times at once.

    Returns
    -------
    DataFrame
        ``marker, time, auc, lower, upper, band_lower, band_upper``, as ``figures.auc_figure``
        draws it. The band has the half-width of the largest standardised deviation.
    """
    compared = compare_within_folds(
        outcomes, markers, times, repeats=repeats, seed=seed, confidence=confidence
    )
    parts = []
    for name in markers:
        rows = compared.of(name).iloc[1:]
        values = compared.drawn[name][1:]
        estimate = rows["estimate"].to_numpy(float)
        spread = compared.factor * np.array([_spread(row) for row in values])
        deviations = compared.factor * (values - estimate[:, None])
        wide = _band(deviations, spread, confidence)
        parts.append(
            pd.DataFrame(
                {
                    "marker": name,
                    "time": np.asarray(times, float),
                    "auc": estimate,
                    "lower": rows["lower"].to_numpy(float),
                    "upper": rows["upper"].to_numpy(float),
                    "band_lower": np.clip(estimate - wide * spread, 0, 1),
                    "band_upper": np.clip(estimate + wide * spread, 0, 1),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def concordance_by_fold(outcomes: FoldOutcomes, values: Floats) -> list[dict[int, float]]:
    """C-index in each fold of each repeat; NaN where no pair of the fold is usable."""
    found = []
    for repeat in range(len(outcomes.time)):
        one = {}
        for fold in np.unique(outcomes.fold[repeat]):
            inside = outcomes.fold[repeat] == fold
            part = FoldOutcomes(*(a[repeat : repeat + 1, inside] for a in _arrays(outcomes)))
            score = values[repeat : repeat + 1, inside]
            one[int(fold)] = float(_statistic(part, score, np.nan, np.ones((1, inside.sum())))[0])
        found.append(one)
    return found


def usable_pairs(time: Floats, event: NDArray[np.bool_]) -> int:
    """How many pairs of patients the C-index can use: those whose first event is known.

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
    """
    return int(_outlived(time, event)[event].sum())


def _arrays(outcomes: FoldOutcomes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return outcomes.time, outcomes.event, outcomes.fold


def _counts(event: NDArray[np.bool_], repeats: int, seed: int) -> Floats:
    """How often each patient is in each bootstrap sample, shape (repeats, n)."""
    n = len(event)
    drawn = [np.bincount(sample, minlength=n) for sample in samples(event, repeats, seed)]
    return np.array(drawn, float).reshape(repeats, n)


def _statistic(outcomes: FoldOutcomes, values: Floats, at: float, counts: Floats) -> Floats:
    """One statistic in each sample, averaged over the repeats in which it is defined.

    Returns
    -------
    (samples,) float64
        NaN if no pair is usable in any repeat.
    """
    each = []
    for repeat in range(len(outcomes.time)):
        time, event, fold = (array[repeat] for array in _arrays(outcomes))
        earlier, later = _roles(time, event, at)
        right, usable = np.zeros(len(counts)), np.zeros(len(counts))
        for number in np.unique(fold):
            inside = np.flatnonzero(fold == number)
            pairs = earlier[inside][:, None] * later[inside][None, :]
            if np.isnan(at):
                pairs = pairs * _outlived(time[inside], event[inside])
            score = values[repeat, inside]
            gap = score[:, None] - score[None, :]
            above = (gap > 0) + 0.5 * (gap == 0)
            drawn = counts[:, inside]
            right += ((drawn @ (pairs * above)) * drawn).sum(axis=1)
            usable += ((drawn @ pairs) * drawn).sum(axis=1)
        each.append(np.divide(right, usable, out=np.full(len(right), np.nan), where=usable > 0))
    stacked = np.array(each)
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.divide(
        total, known.sum(axis=0), out=np.full(len(total), np.nan), where=known.any(axis=0)
    )


def _roles(time: Floats, event: NDArray[np.bool_], at: float) -> tuple[Floats, Floats]:
    """Weights of each patient as the one with the earlier event, and as the one who outlives it."""
    if np.isnan(at):
        return event.astype(float), np.ones(len(time))
    case = event & (time <= at)
    weight = np.zeros(len(time))
    weight[case] = 1.0 / censoring(time, event).before(time[case])
    return weight, (time > at).astype(float)


def _outlived(time: Floats, event: NDArray[np.bool_]) -> Floats:
    """Whether the patient of a column outlives the time of the patient of a row."""
    same = time[:, None] == time[None, :]
    return ((time[:, None] < time[None, :]) | (same & ~event[None, :])).astype(float)


def _spread(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else float("nan")


def _band(deviations: Floats, spread: Floats, confidence: float) -> float:
    known = np.isfinite(spread) & (spread > 0)
    if not known.any():
        return float("nan")
    scaled = np.abs(deviations[known] / spread[known, None])
    scaled = scaled[:, np.isfinite(scaled).all(axis=0)]
    return float(np.quantile(scaled.max(axis=0), confidence)) if scaled.size else float("nan")
