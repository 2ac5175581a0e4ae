"""Competing risks: cumulative incidence (Aalen-Johansen) and cause-specific hazards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sksurv.nonparametric import (
    cumulative_incidence_competing_risks,
    kaplan_meier_estimator,
)

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.cox import univariable
from qupath_hccmil.survival.statistics.kaplan_meier import groups_of
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME, need
from qupath_hccmil.survival.statistics.variables import Variable


def cumulative_incidence(
    frame: pd.DataFrame,
    causes: Mapping[int, str],
    by: str | None = None,
    *,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Cumulative incidence of each cause (Aalen and Johansen 1978), by scikit-survival.

    The interval is on the log(-log) scale with Aalen's variance. In a group without other causes,
    the incidence is 1 − Kaplan-Meier, with the Kaplan-Meier interval (Greenwood's variance).

    Parameters
    ----------
    frame : DataFrame
        ``time``, and ``event`` with 0 for censored and the keys of ``causes``.
    causes : mapping of int to str
        Code of each cause (1, 2, …) and its name.
    by : str, optional
        Column of the group.

    Returns
    -------
    DataFrame
        ``group, cause, time, at_risk, incidence, lower, upper``; the first row of each curve is
        time 0.
    """
    need(frame, [TIME, EVENT])
    unknown = set(frame[EVENT].unique()) - {0, *causes}
    if unknown:
        raise DataError(f"event code {min(unknown)} is not one of 0, {list(causes)}")
    parts = []
    for name, group in groups_of(frame, by):
        time = group[TIME].to_numpy(float)
        for code, cause in causes.items():
            table = _one_cause(time, group[EVENT].to_numpy(int), code, confidence)
            table.insert(0, "group", name)
            table.insert(1, "cause", cause)
            parts.append(table)
    return pd.concat(parts, ignore_index=True)


def incidence_at(table: pd.DataFrame, horizons: Sequence[float]) -> pd.DataFrame:
    """Values of ``cumulative_incidence`` at horizons; NaN after the last follow-up of a group."""
    rows = []
    for (group, cause), curve in table.groupby(["group", "cause"], sort=False):
        times = curve["time"].to_numpy()
        for horizon in horizons:
            if horizon > times[-1]:
                rows.append((group, cause, float(horizon), 0, np.nan, np.nan, np.nan))
                continue
            at = curve.iloc[int(np.searchsorted(times, horizon, side="right")) - 1]
            left = curve[curve["time"] >= horizon]["at_risk"].iloc[0]
            rows.append(
                (group, cause, float(horizon), int(left), *at[["incidence", "lower", "upper"]])
            )
    names = ["group", "cause", "time", "at_risk", "incidence", "lower", "upper"]
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


def _one_cause(time: np.ndarray, event: np.ndarray, code: int, confidence: float) -> pd.DataFrame:
    # scikit-survival needs the codes 1, 2, … without gaps: this cause, and all others.
    coded = np.where(event == code, 1, np.where(event == 0, 0, 2))
    present = np.unique(coded[coded > 0])
    at = np.unique(time)
    if 1 not in present:
        incidence, low, high = (np.zeros(len(at)) for _ in range(3))
    elif 2 not in present:
        with np.errstate(divide="ignore", invalid="ignore"):
            _, survival, interval = kaplan_meier_estimator(
                coded == 1, time, conf_level=confidence, conf_type="log-log"
            )
        incidence, low, high = 1 - survival, 1 - interval[1], 1 - interval[0]
        low, high = np.where(incidence > 0, low, 0.0), np.where(incidence > 0, high, 0.0)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            _, every, interval = cumulative_incidence_competing_risks(
                coded, time, conf_level=confidence, conf_type="log-log", var_type="Aalen"
            )
        incidence, (low, high) = every[1], interval[1]
        # Before the first event of this cause the interval is 0 to 0.
        low, high = np.where(incidence > 0, low, 0.0), np.where(incidence > 0, high, 0.0)
    ordered = np.sort(time)
    at_risk = len(time) - np.searchsorted(ordered, at, side="left")
    table = pd.DataFrame(
        {"time": at, "at_risk": at_risk, "incidence": incidence, "lower": low, "upper": high}
    )
    if at[0] > 0:
        start = pd.DataFrame(
            {"time": [0.0], "at_risk": [len(time)], "incidence": [0.0], "lower": [0.0],
             "upper": [0.0]}
        )  # fmt: skip
        table = pd.concat([start, table], ignore_index=True)
    return table
