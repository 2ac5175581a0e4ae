"""Kaplan-Meier curves with intervals, survival at horizons, medians and the log-rank test."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from scipy import stats

from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME, complete, need, outcome

OVERALL = "All patients"
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
        Columns ``time``, ``event`` and ``by``. Rows without a group are left out.
    by : str, optional
        Column of the group; without it, all patients together.
    confidence : float
        In (0, 1).

    Returns
    -------
    DataFrame
        ``group, time, at_risk, events, censored, survival, lower, upper``; the first row of a
        group is time 0. ``at_risk`` counts the patients just before ``time``. If the survival is 1
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
                    "at_risk": table["at_risk"].to_numpy(int),
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
            at_risk = int((_times_of(frame, by, str(name)) >= horizon).sum())
            values = {key: float(at[key]) for key in ("survival", "lower", "upper")}
            rows.append({**row, "at_risk": at_risk, **values, "note": ""})
    columns = ["group", "time", "at_risk", "survival", "lower", "upper", "note"]
    return pd.DataFrame(rows, columns=columns)


def survival_at(time: np.ndarray, event: np.ndarray, horizon: float) -> float:
    """Survival at one time without an interval, for hundreds of subgroups.

    NaN after the last follow-up. lifelines takes 10 ms per curve, and a decision curve needs 50.
    """
    if horizon > time.max():
        return float("nan")
    at, deaths = np.unique(time[event & (time <= horizon)], return_counts=True)
    at_risk = len(time) - np.searchsorted(np.sort(time), at, side="left")
    return float(np.prod(1 - deaths / at_risk))


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
    time, event = outcome(frame)
    reverse = pd.DataFrame({TIME: time, EVENT: 1 - event.astype(int)})
    row = medians(reverse, confidence=confidence).iloc[0]
    found = {key: float(row[key]) for key in ("median", "lower", "upper")}
    return {**found, "longest": float(time.max())}


def log_rank(frame: pd.DataFrame, by: str, *, strata: str | None = None) -> LogRank:
    """Compare groups by the log-rank test (Mantel 1966), stratified by ``strata`` if given.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event``, ``by`` and ``strata``; rows without a group are left out.
    """
    frame = complete(frame, [by] + ([strata] if strata else []))
    _, event = outcome(frame)
    names = tuple(str(name) for name, _ in groups_of(frame, by))
    degrees = len(names) - 1
    if degrees < 1:
        return LogRank(np.nan, 0, np.nan, names, "only one group")
    if not event.any():
        return LogRank(np.nan, degrees, np.nan, names, "no events")
    codes = {name: code for code, (name, _) in enumerate(groups_of(frame, by))}
    group = frame[by].map(codes).to_numpy(int)
    layers = frame[strata].to_numpy() if strata else np.zeros(len(frame))
    gap = np.zeros(len(names))
    variance = np.zeros((len(names), len(names)))
    for layer in pd.unique(layers):
        inside = layers == layer
        part_gap, part_variance = _observed_less_expected(frame[inside], group[inside], len(names))
        gap += part_gap
        variance += part_variance
    statistic = float(gap[1:] @ np.linalg.pinv(variance[1:, 1:]) @ gap[1:])
    return LogRank(statistic, degrees, float(stats.chi2.sf(statistic, degrees)), names)


def groups_of(frame: pd.DataFrame, by: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each group that is not empty with its rows, in the order of categories or sorted."""
    if by is None:
        yield OVERALL, frame
        return
    need(frame, [by])
    for name, group in frame.groupby(by, sort=True, observed=True):
        yield str(name), group


def _observed_less_expected(
    frame: pd.DataFrame, group: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    time, event = outcome(frame)
    at = np.unique(time[event])
    at_risk = np.empty((len(at), count))
    deaths = np.empty((len(at), count))
    for code in range(count):
        inside = np.sort(time[group == code])
        at_risk[:, code] = len(inside) - np.searchsorted(inside, at, side="left")
        died = np.sort(time[(group == code) & event])
        deaths[:, code] = np.searchsorted(died, at, "right") - np.searchsorted(died, at, "left")
    total, dead = at_risk.sum(axis=1), deaths.sum(axis=1)
    share = at_risk / total[:, None]
    # The hypergeometric variance; it is 0 for the last patient at risk.
    factor = np.where(total > 1, dead * (total - dead) / np.maximum(total - 1, 1), 0.0)
    variance = np.diag(factor @ share) - (share * factor[:, None]).T @ share
    return (deaths - dead[:, None] * share).sum(axis=0), variance


def _times_of(frame: pd.DataFrame, by: str | None, name: str) -> np.ndarray:
    rows = frame if by is None else frame[frame[by].astype(str) == name]
    return rows[TIME].to_numpy(float)


def _fit(group: pd.DataFrame, confidence: float) -> KaplanMeierFitter:
    time, event = outcome(group)
    with warnings.catch_warnings():
        # lifelines computes log(0) where the curve is 0 or 1; the limit is right.
        warnings.simplefilter("ignore", RuntimeWarning)
        return KaplanMeierFitter(alpha=1 - confidence).fit(time, event)


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
