"""Performance of one prediction in one cohort, with standard errors, so that cohorts can be pooled.

C and AUC are pooled on the logit scale and the ratio of observed to expected on the log scale
(Debray et al. 2019, Statistical Methods in Medical Research 28:2768).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats
from scipy.special import expit, logit

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.auc import NO_INTERVAL, auc_over_time
from qupath_hccmil.survival.statistics.baseline import assigned_folds
from qupath_hccmil.survival.statistics.brier import brier_scores
from qupath_hccmil.survival.statistics.cox import refit
from qupath_hccmil.survival.statistics.horizon_calibration import calibration
from qupath_hccmil.survival.statistics.kaplan_meier import incidences
from qupath_hccmil.survival.statistics.random_effects import Pooled, pool
from qupath_hccmil.survival.statistics.survival_outcome import numbers, outcome

HARRELL, AUC, SLOPE, RATIO = "Harrell's C", "AUC", "Calibration slope", "Observed / expected"
ICI, SCALED, OBSERVED = "ICI", "Scaled Brier score", "Observed risk"
# What is pooled, and the scale on which it is roughly normal.
POOLED = (HARRELL, AUC, SLOPE, RATIO)
AS_IS, BASELINE, BOTH = "as it is", "baseline updated", "baseline and slope updated"


@dataclass(frozen=True)
class Scale:
    """A transformation, its inverse, and its derivative, of floats or arrays."""

    there: np.ufunc
    back: np.ufunc
    slope: Callable[[float], float]

    def error(self, value: float, error: float) -> float:
        """Standard error on the scale, by the delta method."""
        return float(error * self.slope(value))


_IDENTITY = Scale(np.positive, np.positive, lambda value: 1.0)
_LOGIT = Scale(logit, expit, lambda value: 1 / (value * (1 - value)))
_LOG = Scale(np.log, np.exp, lambda value: 1 / value)
SCALES = {HARRELL: _LOGIT, AUC: _LOGIT, SLOPE: _IDENTITY, RATIO: _LOG}


def harrell_with_error(frame: pd.DataFrame, score: str) -> tuple[float, float]:
    """Harrell's C and its standard error by the infinitesimal jackknife.

    As ``survival::concordance`` of R (Therneau and Watson 2017): the influence of a patient is the
    excess of concordant pairs that he is in, over C times all of his pairs.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event`` and the score, of which higher means higher risk.
    score : str
    """
    time, event = outcome(frame, at_least=2)
    value = numbers(frame, score)
    better, pairs = np.zeros(len(time)), np.zeros(len(time))
    for index in np.flatnonzero(event):
        outlives = (time > time[index]) | ((time == time[index]) & ~event)
        gain = np.where(value < value[index], 1.0, np.where(value == value[index], 0.5, 0.0))
        gain = gain * outlives
        better[index] += gain.sum()
        pairs[index] += outlives.sum()
        better += gain
        pairs += outlives
    total = pairs.sum() / 2
    if not total:
        return float("nan"), float("nan")
    estimate = float(better.sum() / 2 / total)
    influence = (better - estimate * pairs) / total
    return estimate, float(np.sqrt((influence**2).sum()))


def validate(
    frame: pd.DataFrame,
    score: str,
    risks: np.ndarray,
    horizons: Sequence[float],
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Measure discrimination and calibration in one cohort.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event`` and the score.
    score : str
    risks : (n, horizons) float64
        Predicted risk of an event up to each horizon, in (0, 1); NaN if it is not predicted.
    horizons : sequence of float
    confidence : float

    Returns
    -------
    DataFrame
        ``quantity, horizon, estimate, se, lower, upper, note``; Harrell's C has no horizon, the
        scaled Brier score and the ICI no interval. Intervals of C are made on the logit scale, of
        the ratio on the log scale. A quantity that cannot be estimated is NaN, and the note says
        why.
    """
    critical = float(stats.norm.ppf(0.5 + confidence / 2))
    c, error = harrell_with_error(frame, score)
    limits = _with_limits(HARRELL, c, error, critical)
    note = NO_INTERVAL if np.isfinite(c) and np.isnan(limits[1]) else ""
    rows: list[tuple[object, ...]] = [(HARRELL, np.nan, *limits, note)]
    areas = auc_over_time(frame, [score], horizons, confidence=confidence, simulations=2).table
    for index, horizon in enumerate(horizons):
        area = areas.iloc[index]
        limits = _with_limits(AUC, float(area["auc"]), float(area["se"]), critical)
        rows.append((AUC, horizon, *limits, area["note"]))
        rows += _calibrated(frame, risks[:, index], horizon, confidence)
    names = ["quantity", "horizon", "estimate", "se", "lower", "upper", "note"]
    return pd.DataFrame(rows, columns=names)


def recalibrated(
    frame: pd.DataFrame, risk: np.ndarray, horizon: float, *, seed: int = 0
) -> pd.DataFrame:
    """Update a prediction to a cohort, and measure how much that helps.

    With ``L = log(−log(1 − risk))``, the updated risk is ``1 − exp(−exp(α + β L))``. The baseline
    is updated by the α with which the mean prediction is the observed risk (β = 1); the slope by
    the β of a Cox model of L with follow-up ended at the horizon (van Houwelingen 2000, Statistics
    in Medicine 19:3401). α and β are of all patients; the performance is that of α and β of the
    other nine tenths, in 10-fold cross-fitting, so that it is not optimistic.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time`` and ``event``.
    risk : (n,) float64
        In (0, 1).
    horizon : float
    seed : int
        Of the folds, which are balanced by event.

    Returns
    -------
    DataFrame
        ``version, intercept, slope`` (α and β), and the performance of the updated risk: ``ratio``
        (observed / expected), ``calibration_slope``, ``ici``, ``brier``, ``scaled``.
    """
    _, event = outcome(frame, at_least=2)
    fold = assigned_folds(event, seed)
    found = []
    for version in (AS_IS, BASELINE, BOTH):
        shift, slope = update(frame, risk, horizon, version)
        new = np.empty_like(risk)
        for number in np.unique(fold):
            test = fold == number
            new[test] = updated(risk[test], *update(frame[~test], risk[~test], horizon, version))
        shown = calibration(frame.assign(risk__=new), "risk__", horizon, repeats=0).summary
        shown = shown.set_index("quantity")["estimate"]
        error = brier_scores(frame, new[:, None], [], [horizon]).table.iloc[0]
        found.append(
            (version, shift, slope, shown[RATIO], shown[SLOPE], shown[ICI], error["brier"],
             error["scaled"])
        )  # fmt: skip
    names = [
        "version",
        "intercept",
        "slope",
        "ratio",
        "calibration_slope",
        "ici",
        "brier",
        "scaled",
    ]
    return pd.DataFrame(found, columns=names)


def update(
    frame: pd.DataFrame, risk: np.ndarray, horizon: float, version: str
) -> tuple[float, float]:
    """Find α and β of one version of the prediction; see ``recalibrated``.

    Raises
    ------
    DataError
        There is no event, or everybody has one, up to the horizon.
    """
    if version == AS_IS:
        return 0.0, 1.0
    time, event = outcome(frame, at_least=2)
    link = np.log(-np.log1p(-risk))
    slope = 1.0
    if version == BOTH:
        ended, had = np.minimum(time, horizon), event & (time <= horizon)
        slope = float(refit(ended, had, link[:, None])[0])
    observed = float(incidences(time, event, np.zeros_like(event), np.array([horizon]))[0])
    if not 0 < observed < 1:
        raise DataError(f"the observed risk at {horizon:g} is {observed:g}; nothing can be updated")

    def gap(shift: float) -> float:
        return float(updated(risk, shift, slope).mean()) - observed

    centre = float(np.log(-np.log1p(-observed))) - slope * float(link.mean())
    return float(optimize.brentq(gap, centre - 30, centre + 30, xtol=1e-12)), slope


def updated(risk: np.ndarray, shift: float, slope: float) -> np.ndarray:
    """Risks with ``α = shift`` and ``β = slope``, inside (0, 1), shape (n,)."""
    link = np.clip(shift + slope * np.log(-np.log1p(-risk)), -40, 3.5)
    return np.clip(-np.expm1(-np.exp(link)), 1e-9, 1 - 1e-9)


def pool_cohorts(results: Mapping[str, pd.DataFrame], *, confidence: float = 0.95) -> pd.DataFrame:
    """Pool what ``validate`` found in several cohorts, by random effects.

    Parameters
    ----------
    results : mapping of str to DataFrame
        By name of the cohort.
    confidence : float

    Returns
    -------
    DataFrame
        ``quantity, horizon, cohorts, estimate, lower, upper, prediction_lower, prediction_upper,
        tau, q, p, i_squared``, on the scale of the quantity but for ``tau``, which is on that of
        the pooling (logit of C and AUC, log of the ratio). Quantities that fewer than two cohorts
        have are left out.
    """
    every = pd.concat([table.assign(cohort=name) for name, table in results.items()])
    found = []
    for quantity in POOLED:
        part = every[every["quantity"] == quantity]
        for horizon, rows in part.groupby("horizon", dropna=False):
            known = rows[rows["se"].notna() & (rows["se"] > 0)]
            if len(known) < 2:
                continue
            found.append((quantity, horizon, *_pooled(quantity, known, confidence)))
    names = ["quantity", "horizon", "cohorts", "estimate", "lower", "upper", "prediction_lower",
             "prediction_upper", "tau", "q", "p", "i_squared"]  # fmt: skip
    return pd.DataFrame(found, columns=names)


def _pooled(quantity: str, rows: pd.DataFrame, confidence: float) -> tuple[float, ...]:
    scale = SCALES[quantity]
    estimates = scale.there(rows["estimate"].to_numpy(float))
    errors = [
        scale.error(value, error) for value, error in zip(rows["estimate"], rows["se"], strict=True)
    ]
    found: Pooled = pool(estimates, np.array(errors), confidence=confidence)
    ends = (
        found.estimate, found.lower, found.upper, found.prediction_lower, found.prediction_upper
    )  # fmt: skip
    back = (float(scale.back(value)) for value in ends)
    return (found.count, *back, found.tau, found.q, found.p, found.i_squared)


def _with_limits(
    quantity: str, estimate: float, error: float, critical: float
) -> tuple[float, float, float, float]:
    """Estimate, standard error and interval, made on the scale of the quantity."""
    scale = SCALES[quantity]
    inside = np.isfinite(estimate) and not (scale is _LOGIT and not 0 < estimate < 1)
    if not inside or not error > 0:
        return estimate, np.nan, np.nan, np.nan
    middle, wide = float(scale.there(estimate)), critical * scale.error(estimate, error)
    return estimate, error, float(scale.back(middle - wide)), float(scale.back(middle + wide))


def _calibrated(
    frame: pd.DataFrame, risk: np.ndarray, horizon: float, confidence: float
) -> list[tuple[object, ...]]:
    try:
        if not np.isfinite(risk).all():
            raise DataError("somebody has no prediction at this time")
        found = calibration(
            frame.assign(risk__=risk), "risk__", horizon, repeats=0, confidence=confidence
        ).summary.set_index("quantity")
        scaled = float(brier_scores(frame, risk[:, None], [], [horizon]).table["scaled"].iloc[0])
    except DataError as error:
        return [
            (name, horizon, *[np.nan] * 4, str(error))
            for name in (OBSERVED, RATIO, SLOPE, ICI, SCALED)
        ]
    critical = float(stats.norm.ppf(0.5 + confidence / 2))
    rows: list[tuple[object, ...]] = []
    for name in (OBSERVED, RATIO, SLOPE):
        estimate, low, high = (
            float(found.loc[name, key]) for key in ("estimate", "lower", "upper")
        )
        wide = np.nan
        if name == RATIO:
            wide = estimate * np.log(high / low) / 2 / critical
        if name == SLOPE:
            wide = (high - low) / 2 / critical
        rows.append((name, horizon, estimate, wide, low, high, ""))
    rows.append((ICI, horizon, float(found.loc[ICI, "estimate"]), *[np.nan] * 3, ""))
    rows.append((SCALED, horizon, scaled, *[np.nan] * 3, ""))
    return rows
