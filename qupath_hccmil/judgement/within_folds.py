"""Concordance and AUC(t) of cross-validated predictions, with bootstrap intervals.

Each outer fold has its own model, so predictions are compared within a fold and never between two.
The estimate is the share of concordant pairs among all pairs that lie within a fold, averaged over
repeats (Airola et al. 2011 call the opposite "pooling", and show its bias). The interval is a
percentile bootstrap of patients, drawn with their predictions of all repeats. It is conditional on
the trained models: what another training set would have changed is not in it (Bengio and Grandvalet
2004: no unbiased estimate of that variance exists for one cross-validation), so it is somewhat too
narrow, as the influence-curve interval of LeDell, Petersen and van der Laan 2015 is for the same
reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    drawn : mapping of (marker, statistic, time) to (samples,) float64
        Bootstrap values.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    drawn: Mapping[tuple[str, str, float], Floats]


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
    keys = [(C_INDEX, np.nan), *((AUC, float(at)) for at in times)]
    estimates: dict[tuple[str, int], float] = {}
    drawn: dict[tuple[str, int], Floats] = {}
    for name, values in markers.items():
        for place, (_, at) in enumerate(keys):
            all_counts = np.vstack([np.ones(counts.shape[1]), counts])
            found = _statistic(outcomes, values, at, all_counts)
            estimates[name, place], drawn[name, place] = float(found[0]), found[1:]
    patients, events = outcomes.time.shape[1], int(outcomes.event[0].sum())
    rows = [
        (name, *key, patients, events, estimates[name, place],
         *percentile_interval(drawn[name, place], confidence))
        for name in markers for place, key in enumerate(keys)
    ]  # fmt: skip
    first = next(iter(markers))
    gaps = [
        (name, first, *key, estimates[first, place] - estimates[name, place],
         *percentile_interval(drawn[first, place] - drawn[name, place], confidence))
        for name in markers if name != first for place, key in enumerate(keys)
    ]  # fmt: skip
    columns = ["marker", "statistic", "time", "patients", "events", "estimate", "lower", "upper"]
    gap_columns = ["marker", "reference", "statistic", "time", "difference", "lower", "upper"]
    return Compared(
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(gaps, columns=gap_columns),
        {(name, *keys[place]): values for (name, place), values in drawn.items()},
    )


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
        rows = compared.table[
            (compared.table["marker"] == name) & (compared.table["statistic"] == AUC)
        ]
        values = np.array([compared.drawn[name, AUC, float(at)] for at in times])
        estimate = rows["estimate"].to_numpy(float)
        spread = np.array([_spread(row) for row in values])
        wide = _band(values - estimate[:, None], spread, confidence)
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
