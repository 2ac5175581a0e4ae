"""Competing risks: cumulative incidence (Aalen-Johansen) and cause-specific hazards.

The incidence is our own code because scikit-survival has neither delayed entry nor the variance of
R's ``cmprsk``, and lifelines breaks ties at random.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.cox import univariable
from qupath_hccmil.survival.statistics.kaplan_meier import groups_of
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME, entry_of, need, outcome
from qupath_hccmil.survival.statistics.variables import Variable


def cumulative_incidence(
    frame: pd.DataFrame,
    causes: Mapping[int, str],
    by: str | None = None,
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Cumulative incidence of each cause (Aalen and Johansen 1978).

    The interval is on the log(-log) scale, with the variance of Aalen (1978, Annals of Statistics
    6:534) and the hypergeometric correction for ties, as ``cuminc`` of R's ``cmprsk``.

    Parameters
    ----------
    frame : DataFrame
        ``time``, and ``event`` with 0 for censored and the keys of ``causes``; ``entry_time`` if
        patients enter late.
    causes : mapping of int to str
        Code of each cause (1, 2, …) and its name.
    by : str, optional
        Column of the group.

    Returns
    -------
    DataFrame
        ``group, cause, time, at_risk, incidence, se, lower, upper``; the first row of each curve
        is time 0.
    """
    coded_outcome(frame, causes, delayed=True)
    parts = []
    for name, group in groups_of(frame, by):
        time, event = coded_outcome(group, causes, delayed=True)
        for code, cause in causes.items():
            table = _one_cause(group, time, event, code, confidence)
            table.insert(0, "group", name)
            table.insert(1, "cause", cause)
            parts.append(table)
    return pd.concat(parts, ignore_index=True)


def coded_outcome(
    frame: pd.DataFrame, causes: Iterable[int], *, delayed: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Follow-up of each patient, and the code of its end: 0 for censored, or that of the cause.

    Parameters
    ----------
    frame : DataFrame
        ``time``, and ``event`` with 0 and codes of ``causes``.
    causes : iterable of int
    delayed : bool
        As for ``survival_outcome.outcome``.

    Returns
    -------
    time : (n,) float64
    event : (n,) int64
    """
    need(frame, [TIME, EVENT])
    causes = list(causes)
    unknown = set(frame[EVENT].unique()) - {0, *causes}
    if unknown:
        raise DataError(f"event code {min(unknown)} is not one of 0, {causes}")
    ended = frame.assign(**{EVENT: (frame[EVENT] != 0).astype(int)})
    # Groups are compared, never scores.
    time, _ = outcome(ended, delayed=delayed, stratified=True)
    return time, frame[EVENT].to_numpy(int)


def incidence_at(table: pd.DataFrame, horizons: Sequence[float]) -> pd.DataFrame:
    """Values of ``cumulative_incidence`` at horizons; NaN after the last follow-up of a group."""
    rows = []
    for (group, cause), curve in table.groupby(["group", "cause"], sort=False):
        times = curve["time"].to_numpy()
        for horizon in horizons:
            if horizon > times[-1]:
                rows.append((group, cause, float(horizon), 0, *[np.nan] * 4))
                continue
            at = curve.iloc[int(np.searchsorted(times, horizon, side="right")) - 1]
            left = curve[curve["time"] >= horizon]["at_risk"].iloc[0]
            rows.append(
                (
                    group,
                    cause,
                    float(horizon),
                    int(left),
                    *at[["incidence", "se", "lower", "upper"]],
                )
            )
    names = ["group", "cause", "time", "at_risk", "incidence", "se", "lower", "upper"]
    return pd.DataFrame(rows, columns=names)


def cause_specific(
    frame: pd.DataFrame,
    causes: Mapping[int, str],
    variables: Sequence[Variable],
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Cox models of each cause, with the other causes censored at their time.

    Returns
    -------
    DataFrame
        As ``cox.univariable``, with a column ``cause``. A cause without events is left out.
    """
    parts = []
    for code, cause in causes.items():
        one = frame.assign(**{EVENT: (frame[EVENT] == code).astype(int)})
        if one[EVENT].any():
            table = univariable(one, variables, confidence=confidence)
            table.insert(0, "cause", cause)
            parts.append(table)
    if not parts:
        raise DataError("there is no event of any cause, so no hazard ratio can be estimated")
    return pd.concat(parts, ignore_index=True)


def _one_cause(
    group: pd.DataFrame, time: np.ndarray, event: np.ndarray, code: int, confidence: float
) -> pd.DataFrame:
    ours, others = event == code, (event != code) & (event > 0)
    entry = entry_of(group)
    at = np.unique(time if entry is None else np.r_[time, entry])
    at_risk = _count_from(time, at)
    if entry is not None:
        at_risk = at_risk - _count_from(entry, at)
    deaths = np.array([_count_at(time[kind], at) for kind in (ours, others)])
    at_risk_or_one = np.maximum(at_risk, 1)
    free = np.cumprod(1 - deaths.sum(axis=0) / at_risk_or_one)
    before = np.r_[1.0, free[:-1]]
    incidence = np.cumsum(before * deaths[0] / at_risk_or_one)
    error = np.sqrt(_variance(deaths, at_risk_or_one, before, free, incidence))
    low, high = _interval(incidence, error, confidence)
    table = pd.DataFrame(
        {
            "time": at,
            "at_risk": at_risk.astype(int),
            "incidence": incidence,
            "se": error,
            "lower": low,
            "upper": high,
        }
    )
    if at[0] > 0:
        start = pd.DataFrame(
            {
                "time": [0.0],
                "at_risk": [len(time) if entry is None else int((entry == 0).sum())],
                "incidence": [0.0],
                "se": [0.0],
                "lower": [0.0],
                "upper": [0.0],
            }
        )
        table = pd.concat([start, table], ignore_index=True)
    return table


def _count_from(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return len(values) - np.searchsorted(np.sort(values), at, side="left")


def _count_at(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(at, values), minlength=len(at)).astype(float)


def _variance(
    deaths: np.ndarray,
    at_risk: np.ndarray,
    before: np.ndarray,
    free: np.ndarray,
    incidence: np.ndarray,
) -> np.ndarray:
    """Variance of the incidence at each time, shape (times,).

    An event at ``u`` adds ``1`` (if it is of this cause) ``− (F(t) − F(u)) / S(u)`` times
    ``S(u−) / Y(u)``; the square is expanded so that cumulative sums suffice. ``deaths`` is of shape
    (2, times): of this cause, and of others.
    """
    inverse = np.divide(1.0, free, out=np.zeros_like(free), where=free > 0)
    sums = np.zeros((3, len(free)))
    for ours, number in zip((1.0, 0.0), deaths, strict=True):
        # The hypergeometric correction for ties.
        tied = np.where(number > 1, 1 - (number - 1) / np.maximum(at_risk - 1, 1), 1.0)
        size = before**2 * tied * number / at_risk**2
        own = ours + inverse * incidence
        sums += np.array([own**2, own * inverse, inverse**2]) * size
    squared, mixed, plain = np.cumsum(sums, axis=1)
    return np.maximum(squared - 2 * incidence * mixed + incidence**2 * plain, 0.0)


def _interval(
    incidence: np.ndarray, error: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """On the log(−log) scale; where the incidence is 0 or 1 it has no width."""
    inside = (incidence > 0) & (incidence < 1)
    value = np.where(inside, incidence, 0.5)
    wide = stats.norm.ppf(0.5 + confidence / 2) * error / (value * np.log(value))
    ends = [np.where(inside, value ** np.exp(sign * wide), incidence) for sign in (-1, 1)]
    return ends[0], ends[1]
