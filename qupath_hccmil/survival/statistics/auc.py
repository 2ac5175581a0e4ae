"""Time-dependent AUC (cumulative cases, dynamic controls) with intervals, bands and comparisons.

scikit-survival has the estimate without an interval. The standard errors here come from the
influence function of the weighted estimate, including the estimated weights (Blanche, Dartigues and
Jacqmin-Gadda 2013, Statistics in Medicine 32:5381), as in ``timeROC`` and ``riskRegression``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.ipcw import censoring
from qupath_hccmil.survival.statistics.survival_outcome import (
    numbers,
    outcome,
    outcome_by_cause,
)

NOBODY = "there is no case or no control at this time"
NO_INTERVAL = "no interval, as the standard error is 0"
# Rounding leaves a standard error of about 1e-17 where it is 0.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class TimeAuc:
    """AUC(t) of markers, and their paired differences from one of them.

    Attributes
    ----------
    table : DataFrame
        ``marker, time, cases, controls, auc, se, lower, upper, band_lower, band_upper, note``.
        The bands are simultaneous for all times of a marker. Where the standard error is 0, as for
        a marker that separates cases and controls without error, there is no interval and no band,
        and the note says so: the estimate is not certain, the method just cannot tell.
    differences : DataFrame
        ``marker, reference, time, difference, se, lower, upper, z, p``: the reference marker's
        AUC minus the AUC of this one, in the same patients. Where the standard error is 0, there is
        neither an interval nor a test.
    """

    table: pd.DataFrame
    differences: pd.DataFrame


def auc_over_time(
    frame: pd.DataFrame,
    markers: Sequence[str],
    times: Sequence[float],
    *,
    cause: str | None = None,
    confidence: float = 0.95,
    simulations: int = 2000,
    seed: int = 0,
) -> TimeAuc:
    """AUC(t) of every marker at every time, with the first marker compared with each other one.

    AUC(t) is the probability that a patient with an event up to ``t`` has a higher marker than one
    without an event at ``t``; equal markers count one half. With competing events, those who had
    one up to ``t`` are controls too, since they no longer can have the event.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event`` (or the cause) and the markers, none missing.
    markers : sequence of str
        Columns; higher means higher risk. The first is the reference of the comparisons.
    times : sequence of float
        In the unit of ``time``.
    cause : str, optional
        Column of how the follow-up ended if events compete: 0 censored, 1 the event, 2 a competing
        event. It is used instead of ``event``.
    confidence : float
        Level of the intervals (Wald, limited to [0, 1]), of the bands and of the differences.
    simulations : int
        Number of draws of the Gaussian process for the simultaneous bands (Lin, Wei and Ying 1994).
    seed : int
        Seed of these draws.
    """
    if not markers:
        raise DataError("no marker was given for the time-dependent AUC")
    setting = _Setting(*outcome_by_cause(frame, cause))
    rows: list[pd.DataFrame] = []
    compared: list[pd.DataFrame] = []
    reference: tuple[np.ndarray, np.ndarray] | None = None
    for marker in markers:
        estimate, influence = _curve(setting, numbers(frame, marker), times)
        table = _intervals(estimate, influence, confidence, simulations, seed)
        rows.append(_describe(table, setting, marker, times))
        if reference is None:
            reference = estimate, influence
            continue
        gap = _wald(reference[0] - estimate, _standard_error(reference[1] - influence), confidence)
        gap.insert(0, "marker", marker)
        gap.insert(1, "reference", markers[0])
        gap.insert(2, "time", np.asarray(times, float))
        compared.append(gap)
    columns = ["marker", "reference", "time", "difference", "se", "lower", "upper", "z", "p"]
    differences = (
        pd.concat(compared, ignore_index=True) if compared else pd.DataFrame(columns=columns)
    )
    return TimeAuc(pd.concat(rows, ignore_index=True), differences)


def clinical_times(frame: pd.DataFrame, last: float, points: int = 25) -> np.ndarray:
    """Evenly spaced times for a curve: from the first tenth of the events up to ``last``.

    Earlier there are too few cases for a meaningful AUC.
    """
    time, event = outcome(frame)
    if not event.any():
        raise DataError("there are no events, so the AUC over time cannot be estimated")
    first = float(np.quantile(time[event], 0.1))
    return np.linspace(min(first, last), last, points)


class _Setting:
    """The outcome with patients sorted by time once, for all markers and times."""

    def __init__(self, time: np.ndarray, event: np.ndarray, competing: np.ndarray) -> None:
        self.time, self.event, self.competing = time, event, competing
        self.ended = event | competing
        self.by_time = np.argsort(time, kind="stable")
        self.censoring = censoring(time, self.ended)
        self.weight = np.zeros(len(time))
        self.weight[self.ended] = 1.0 / self.censoring.before(time[self.ended])
        times = self.censoring.times
        # Position of the first case after each censoring time, in the order of time.
        self.after = np.searchsorted(time[self.by_time], times, side="right")
        # A patient with an event at u is no longer at risk for the censorings at u.
        self.seen = np.where(
            self.ended,
            np.searchsorted(times, time, side="left"),
            np.searchsorted(times, time, side="right"),
        )

    def cases(self, at: float) -> np.ndarray:
        return self.event & (self.time <= at)

    def controls(self, at: float) -> np.ndarray:
        return (self.time > at) | (self.competing & (self.time <= at))

    def control_weights(self, at: float) -> np.ndarray:
        """Weight of each control, relative to the others; 1 for each if nothing competes."""
        free = self.time > at
        if not self.competing.any():
            return free.astype(float)
        weight = np.where(self.competing & (self.time <= at), self.weight, 0.0)
        if free.any():
            weight[free] = 1.0 / self.censoring.at(at)
        return weight


class _Sorted:
    """A marker sorted once, so that the weight below each patient is a cumulative sum."""

    def __init__(self, marker: np.ndarray) -> None:
        self.order = np.argsort(marker, kind="stable")
        ordered = marker[self.order]
        self.first = np.searchsorted(ordered, marker, side="left")
        self.last = np.searchsorted(ordered, marker, side="right")

    def share_below(self, weight: np.ndarray) -> np.ndarray:
        """Weight of the patients with a lower marker, plus half of those with an equal one."""
        summed = np.r_[0.0, np.cumsum(weight[self.order])]
        return (summed[self.first] + summed[self.last]) / 2


def _curve(
    setting: _Setting, marker: np.ndarray, times: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    estimate = np.full(len(times), np.nan)
    influence = np.full((len(marker), len(times)), np.nan)
    ordered = _Sorted(marker)
    for column, at in enumerate(times):
        if setting.cases(at).any() and setting.controls(at).any():
            estimate[column], influence[:, column] = _at(setting, ordered, at)
    return estimate, influence


def _at(setting: _Setting, ordered: _Sorted, at: float) -> tuple[float, np.ndarray]:
    case = setting.cases(at)
    cases = np.where(case, setting.weight, 0.0)
    cases /= cases.sum()
    controls = setting.control_weights(at)
    controls /= controls.sum()
    above = ordered.share_below(controls)
    auc = min(float(cases @ above), 1.0)  # not above 1 by rounding
    by_case = len(case) * cases * (above - auc)
    by_control = len(case) * controls * (1.0 - ordered.share_below(cases) - auc)
    free = setting.time > at
    weighted = by_case + np.where(free, 0.0, by_control)
    # The weights of those who are free of events are estimated at the time itself. If nothing
    # competes, their contributions sum to 0.
    late = float(by_control[free].sum()) if setting.competing.any() else 0.0
    return auc, by_case + by_control + _weights_influence(setting, weighted, late, at)


def _weights_influence(
    setting: _Setting, weighted: np.ndarray, late: float, at: float
) -> np.ndarray:
    """Influence of each patient on the estimate through the estimated weights.

    This uses the martingale representation of the reverse Kaplan-Meier estimate: each censoring
    time ``u`` affects the events after it (``weighted``), and the patients who are free of events
    at ``at`` (``late`` in total).
    """
    times = setting.censoring.times
    if not len(times):
        return np.zeros(len(weighted))
    after = np.r_[np.cumsum(weighted[setting.by_time][::-1])[::-1], 0.0]
    carried = after[setting.after] + np.where(times <= at, late, 0.0)
    at_risk, censored = setting.censoring.at_risk, setting.censoring.censored
    drift = np.r_[0.0, np.cumsum(carried * censored / at_risk**2)]
    influence = -drift[setting.seen]
    left = ~setting.ended
    influence[left] += (carried / at_risk)[np.searchsorted(times, setting.time[left])]
    return influence


def _standard_error(influence: np.ndarray) -> np.ndarray:
    n = len(influence)
    if n < 2:
        return np.full(influence.shape[1], np.nan)
    error = influence.std(axis=0, ddof=1) / np.sqrt(n)
    return np.where(error <= _ROUNDING, 0.0, error)


def _intervals(
    estimate: np.ndarray,
    influence: np.ndarray,
    confidence: float,
    simulations: int,
    seed: int,
) -> pd.DataFrame:
    error = _standard_error(influence)
    critical = stats.norm.ppf(0.5 + confidence / 2)
    wide = _band_factor(influence, confidence, simulations, seed)
    told = np.where(error > 0, error, np.nan)
    return pd.DataFrame(
        {
            "auc": estimate,
            "se": error,
            "lower": np.clip(estimate - critical * told, 0, 1),
            "upper": np.clip(estimate + critical * told, 0, 1),
            "band_lower": np.clip(estimate - wide * told, 0, 1),
            "band_upper": np.clip(estimate + wide * told, 0, 1),
        }
    )


def _band_factor(influence: np.ndarray, confidence: float, simulations: int, seed: int) -> float:
    """Number of standard errors for a band that covers the curve at all times simultaneously."""
    spread = influence.std(axis=0)
    known = np.isfinite(spread) & (spread > _ROUNDING * np.sqrt(len(influence)))
    if not known.any():
        return float("nan")
    scaled = (influence[:, known] - influence[:, known].mean(axis=0)) / spread[known]
    correlation = scaled.T @ scaled / len(scaled)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    draws = np.random.default_rng(seed).normal(size=(simulations, len(values))) @ root.T
    return float(np.quantile(np.abs(draws).max(axis=1), confidence))


def _describe(
    table: pd.DataFrame, setting: _Setting, marker: str, times: Sequence[float]
) -> pd.DataFrame:
    table.insert(0, "marker", marker)
    table.insert(1, "time", np.asarray(times, float))
    table.insert(2, "cases", [int(setting.cases(at).sum()) for at in times])
    table.insert(3, "controls", [int(setting.controls(at).sum()) for at in times])
    table["note"] = np.where(
        table["auc"].isna(), NOBODY, np.where(table["se"] == 0, NO_INTERVAL, "")
    )
    return table


def _wald(gap: np.ndarray, error: np.ndarray, confidence: float) -> pd.DataFrame:
    critical = stats.norm.ppf(0.5 + confidence / 2)
    told = np.where(error > 0, error, np.nan)
    z = gap / told
    return pd.DataFrame(
        {
            "difference": gap,
            "se": error,
            "lower": gap - critical * told,
            "upper": gap + critical * told,
            "z": z,
            "p": 2 * stats.norm.sf(np.abs(z)),
        }
    )
