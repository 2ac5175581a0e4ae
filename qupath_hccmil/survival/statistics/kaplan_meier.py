"""Kaplan-Meier curves with intervals, survival at horizons, medians and the log-rank test."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from lifelines.exceptions import StatError

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.score_test import NO_COMPARISON, score_test
from qupath_hccmil.survival.statistics.survival_outcome import (
    EVENT,
    TIME,
    complete,
    entry_of,
    need,
    outcome,
)

OVERALL = "All patients"
Weigh = Callable[[np.ndarray, np.ndarray], np.ndarray]
HALF_TOLERANCE = 1.5e-8  # the square root of the machine precision, as in R


@dataclass(frozen=True)
class LogRank:
    """A log-rank test. ``p`` is NaN if the test is not defined, and ``note`` says why."""

    statistic: float
    degrees_of_freedom: int
    p: float
    groups: tuple[str, ...]
    note: str = ""


def curves(frame: pd.DataFrame, by: str | None = None, *, confidence: float = 0.95) -> pd.DataFrame:
    """Kaplan-Meier curves, with one row per group and time.

    The interval is Greenwood's on the log(-log) scale (Kalbfleisch and Prentice 1980), as
    ``survfit(conf.type = "log-log")`` of R.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event`` and ``by``; ``entry_time`` if patients enter late. Rows without
        a group are left out.
    by : str, optional
        Column of the group; without it, all patients together.
    confidence : float
        In (0, 1).

    Returns
    -------
    DataFrame
        ``group, time, at_risk, events, censored, survival, lower, upper``; the first row of a
        group is time 0. ``at_risk`` counts the patients just before ``time``; where patients enter
        late there is also a row for each entry, without events. If the survival is 1
        or 0 there is no interval (NaN), as in R.
    """
    parts = []
    for name, group in groups_of(frame, by):
        fit = _fit(group, confidence)
        table = fit.event_table
        survival = fit.survival_function_.iloc[:, 0].to_numpy(float)
        # At 1 and 0 the interval is not defined on this scale; lifelines gives a width of 0.
        between = (survival > 0) & (survival < 1)
        bounds = np.where(between[:, None], fit.confidence_interval_.to_numpy(float), np.nan)
        parts.append(
            pd.DataFrame(
                {
                    "group": name,
                    "time": table.index.to_numpy(float),
                    "at_risk": _before(table),
                    "events": table["observed"].to_numpy(int),
                    "censored": table["censored"].to_numpy(int),
                    "survival": survival,
                    "lower": bounds[:, 0],
                    "upper": bounds[:, 1],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def at_horizons(
    frame: pd.DataFrame,
    horizons: Sequence[float],
    by: str | None = None,
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Survival at horizons, with one row per group and horizon.

    Returns
    -------
    DataFrame
        ``group, time, at_risk, survival, lower, upper, note``. After the last follow-up of a group
        the survival is not known; it is NaN, and ``note`` says so.
    """
    table = curves(frame, by, confidence=confidence)
    rows = []
    for name, curve in table.groupby("group", sort=False):
        times = curve["time"].to_numpy()
        for horizon in horizons:
            row = {"group": name, "time": float(horizon)}
            if horizon > times[-1]:
                note = f"after the last follow-up ({times[-1]:.2f})"
                rows.append({**row, "at_risk": 0, "survival": np.nan, "note": note})
                continue
            at = curve.iloc[int(np.searchsorted(times, horizon, side="right")) - 1]
            at_risk = _at_risk(frame if by is None else rows_of(frame, by, str(name)), horizon)
            values = {key: float(at[key]) for key in ("survival", "lower", "upper")}
            rows.append({**row, "at_risk": at_risk, **values, "note": ""})
    columns = ["group", "time", "at_risk", "survival", "lower", "upper", "note"]
    return pd.DataFrame(rows, columns=columns)


def incidences(
    time: np.ndarray, event: np.ndarray, competing: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Risk of an event up to each time without an interval, for hundreds of subgroups.

    1 − Kaplan-Meier, or the cumulative incidence (Aalen-Johansen) if events compete. lifelines
    takes 10 ms per curve, and a decision curve needs 50.

    Parameters
    ----------
    time : (n,) float64
    event, competing : (n,) bool
    times : (k,) float64

    Returns
    -------
    (k,) float64
        NaN after the last follow-up.
    """
    at, place = np.unique(time[event | competing], return_inverse=True)
    at_risk = len(time) - np.searchsorted(np.sort(time), at, side="left")
    every = np.bincount(place, minlength=len(at))
    ours = np.bincount(place[event[event | competing]], minlength=len(at))
    before = np.r_[1.0, np.cumprod(1 - every / at_risk)][:-1]
    risk = np.r_[0.0, np.cumsum(before * ours / at_risk)]
    found = risk[np.searchsorted(at, times, side="right")]
    return np.where(np.asarray(times) > time.max(), np.nan, found)


def medians(
    frame: pd.DataFrame, by: str | None = None, *, confidence: float = 0.95
) -> pd.DataFrame:
    """Median survival of each group with its interval (Brookmeyer and Crowley 1982).

    Returns
    -------
    DataFrame
        ``group, patients, events, median, lower, upper``; infinite if the curve or its limit does
        not fall to one half.
    """
    rows = []
    for name, group in groups_of(frame, by):
        curve = curves(group, confidence=confidence)
        values = [_first_at_or_below_half(curve, key) for key in ("survival", "lower", "upper")]
        rows.append((name, len(group), int(group[EVENT].sum()), *values))
    names = ["group", "patients", "events", "median", "lower", "upper"]
    return pd.DataFrame(rows, columns=names)


def follow_up(frame: pd.DataFrame, *, confidence: float = 0.95) -> dict[str, float]:
    """Median follow-up by the reverse Kaplan-Meier estimate (Schemper and Smith 1996).

    Returns
    -------
    dict
        ``median``, ``lower``, ``upper`` and the longest follow-up ``longest``.
    """
    time, event = outcome(frame, delayed=True)
    reverse = frame.assign(**{EVENT: 1 - event.astype(int)})
    row = medians(reverse, confidence=confidence).iloc[0]
    found = {key: float(row[key]) for key in ("median", "lower", "upper")}
    return {**found, "longest": float(time.max())}


def log_rank(frame: pd.DataFrame, by: str, *, strata: str | None = None) -> LogRank:
    """Compare groups by the log-rank test (Mantel 1966), stratified by ``strata`` if given.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event``, ``by`` and ``strata``; rows without a group are left out.

    Returns
    -------
    LogRank
        Its degrees of freedom are the rank of the variance: one less than the number of groups, and
        fewer where groups are never at risk at the same event.
    """
    frame = complete(frame, [by] + ([strata] if strata else []))
    names, gap, variance = observed_less_expected(frame, by, strata=strata)
    degrees = len(names) - 1
    if degrees < 1:
        return LogRank(np.nan, 0, np.nan, names, "only one group")
    if not frame[EVENT].any():
        return LogRank(np.nan, degrees, np.nan, names, "no events")
    statistic, degrees, p = score_test(gap, variance)
    return LogRank(statistic, degrees, p, names, "" if degrees else NO_COMPARISON)


def observed_less_expected(
    frame: pd.DataFrame,
    by: str,
    *,
    strata: str | None = None,
    weigh: Weigh | None = None,
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Observed minus expected events of each group, summed over strata, and their covariance.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event``, ``by`` and ``strata``, without missing values.
    weigh : callable, optional
        Weight of each event time, from the number at risk and the events there, both (times,)
        float64 in ascending order of time.

    Returns
    -------
    names : tuple of str
        The ``k`` groups.
    gap : (k,) float64
    variance : (k, k) float64
        Hypergeometric.
    """
    outcome(frame, delayed=True)
    codes = {name: code for code, (name, _) in enumerate(groups_of(frame, by))}
    group = frame[by].astype(str).map(codes).to_numpy(int)
    layers = frame[strata].to_numpy() if strata else np.zeros(len(frame))
    gap, variance = np.zeros(len(codes)), np.zeros((len(codes), len(codes)))
    for layer in pd.unique(layers):
        inside = layers == layer
        part_gap, part_variance = _in_one_stratum(frame[inside], group[inside], len(codes), weigh)
        gap += part_gap
        variance += part_variance
    return tuple(codes), gap, variance


def groups_of(frame: pd.DataFrame, by: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each group that is not empty with its rows, in the order of categories or sorted."""
    if by is None:
        yield OVERALL, frame
        return
    need(frame, [by])
    for name, group in frame.groupby(by, sort=True, observed=True):
        yield str(name), group


def _in_one_stratum(
    frame: pd.DataFrame, group: np.ndarray, count: int, weigh: Weigh | None
) -> tuple[np.ndarray, np.ndarray]:
    time, event = outcome(frame, delayed=True)
    entry = entry_of(frame)
    at = np.unique(time[event])
    at_risk = np.empty((len(at), count))
    deaths = np.empty((len(at), count))
    for code in range(count):
        inside = np.sort(time[group == code])
        at_risk[:, code] = len(inside) - np.searchsorted(inside, at, side="left")
        if entry is not None:
            entered = np.sort(entry[group == code])
            at_risk[:, code] -= len(inside) - np.searchsorted(entered, at, side="left")
        died = np.sort(time[(group == code) & event])
        deaths[:, code] = np.searchsorted(died, at, "right") - np.searchsorted(died, at, "left")
    total, dead = at_risk.sum(axis=1), deaths.sum(axis=1)
    share = at_risk / total[:, None]
    weight = np.ones(len(at)) if weigh is None else weigh(total, dead)
    # The hypergeometric variance; it is 0 for the last patient at risk.
    factor = np.where(total > 1, dead * (total - dead) / np.maximum(total - 1, 1), 0.0)
    factor = factor * weight**2
    variance = -(share * factor[:, None]).T @ share
    # Exactly 0 for a group that is alone at risk at every event, or not at risk at any.
    np.fill_diagonal(variance, factor @ (share * (1 - share)))
    return weight @ (deaths - dead[:, None] * share), variance


def rows_of(frame: pd.DataFrame, by: str, name: str) -> pd.DataFrame:
    """Rows of one group."""
    return frame[frame[by].astype(str) == name]


def _at_risk(frame: pd.DataFrame, at: float) -> int:
    inside = frame[TIME].to_numpy(float) >= at
    entry = entry_of(frame)
    return int((inside if entry is None else inside & (entry < at)).sum())


def _before(table: pd.DataFrame) -> np.ndarray:
    """Patients at risk just before each row: lifelines counts those who enter at that time."""
    entering = (table["removed"] == 0) & (np.arange(len(table)) > 0)
    return np.asarray(table["at_risk"] - table["entrance"].where(entering, 0), int)


def _fit(group: pd.DataFrame, confidence: float) -> KaplanMeierFitter:
    time, event = outcome(group, delayed=True)
    entry = entry_of(group)
    if entry is not None:
        # lifelines counts a patient as at risk at the time of entry itself; R from just after it.
        entry = np.where(entry > 0, np.nextafter(entry, np.inf), 0.0)
    with warnings.catch_warnings():
        # lifelines computes log(0) where the curve is 0 or 1; the limit is right.
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return KaplanMeierFitter(alpha=1 - confidence).fit(time, event, entry=entry)
        except StatError as error:
            raise DataError(
                "before the later patients enter, nobody is left at risk, so the survival from "
                "there on is not known; let time zero be later"
            ) from error


def _first_at_or_below_half(curve: pd.DataFrame, column: str) -> float:
    # If the curve is exactly one half over an interval, its middle is used, as in R and SAS.
    known = curve[curve[column] < 0.5 + HALF_TOLERANCE]
    if known.empty:
        return float("inf")
    times, values = known["time"].to_numpy(float), known[column].to_numpy(float)
    lower = np.flatnonzero(values < values[0])
    if abs(values[0] - 0.5) < HALF_TOLERANCE and len(lower):
        return float((times[0] + times[lower[0]]) / 2)
    return float(times[0])
