"""Variants of the log-rank test: weighted, for trend, and between pairs of groups.

Our own code because no library has all of them with strata and delayed entry: lifelines has the
weights without either, and statsmodels has strata without a test for trend.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.kaplan_meier import (
    LogRank,
    Weigh,
    groups_of,
    log_rank,
    observed_less_expected,
)
from qupath_hccmil.survival.statistics.score_test import NO_COMPARISON, score_test
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, complete


def _left_survival(at_risk: np.ndarray, events: np.ndarray) -> np.ndarray:
    """Kaplan-Meier estimate of all groups together just before each event time."""
    return np.r_[1.0, np.cumprod(1 - events / at_risk)[:-1]]


# Fleming and Harrington 1991, Counting Processes and Survival Analysis, table 7.3.1. The weights of
# Peto and Peto are those of their modified estimate of survival, with n + 1 for n.
WEIGHTS: dict[str, Weigh] = {
    "Log-rank": lambda at_risk, events: np.ones_like(at_risk),
    "Gehan–Breslow": lambda at_risk, events: at_risk,
    "Tarone–Ware": lambda at_risk, events: np.sqrt(at_risk),
    "Peto–Peto": lambda at_risk, events: np.cumprod(1 - events / (at_risk + 1)),
    "Fleming–Harrington (0, 1)": lambda at_risk, events: 1 - _left_survival(at_risk, events),
    "Fleming–Harrington (1, 1)": lambda at_risk, events: (
        _left_survival(at_risk, events) * (1 - _left_survival(at_risk, events))
    ),
}


def weighted_tests(frame: pd.DataFrame, by: str, *, strata: str | None = None) -> pd.DataFrame:
    """Compare groups by log-rank tests that give more weight to early or to late events.

    The weights of Gehan and Breslow (number at risk), Tarone and Ware (its root) and Peto and Peto
    (survival) favour early differences; Fleming and Harrington's (0, 1) late, (1, 1) middle ones.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event``, ``by`` and ``strata``; ``entry_time`` if patients enter late.
        Rows without a group are left out.
    by : str
    strata : str, optional

    Returns
    -------
    DataFrame
        ``test, statistic, degrees_of_freedom, p``; the degrees of freedom are the rank of the
        variance, and statistic and p are NaN where there are none.

    Raises
    ------
    DataError
        There is only one group, or no event.
    """
    rows = _comparable(frame, by, strata)
    found = []
    for name, weigh in WEIGHTS.items():
        _, gap, variance = observed_less_expected(rows, by, strata=strata, weigh=weigh)
        found.append((name, *score_test(gap, variance)))
    return pd.DataFrame(found, columns=["test", "statistic", "degrees_of_freedom", "p"])


def trend_test(frame: pd.DataFrame, by: str, *, strata: str | None = None) -> LogRank:
    """Log-rank test for a trend over ordered groups, numbered 1, 2, … (Tarone 1975).

    Parameters
    ----------
    frame : DataFrame
        As for ``weighted_tests``.
    by : str
        Ordered categories, or groups whose sorted names are their order.

    Returns
    -------
    LogRank
        With one degree of freedom; not defined for fewer than three groups, where it is the
        log-rank test itself.
    """
    rows = complete(frame, [by, *([strata] if strata else [])])
    names, gap, variance = observed_less_expected(rows, by, strata=strata)
    if len(names) < 3:
        return LogRank(np.nan, 1, np.nan, names, "fewer than three groups")
    if not rows[EVENT].any():
        return LogRank(np.nan, 1, np.nan, names, "no events")
    place = np.arange(1.0, len(names) + 1)
    # The trend along the places of the groups, which is nothing where none can be compared.
    along = np.array([[1.0, -1.0]]).T * place
    statistic, degrees, p = score_test(along @ gap, along @ variance @ along.T)
    return LogRank(statistic, degrees, p, names, "" if degrees else NO_COMPARISON)


def pairwise_tests(frame: pd.DataFrame, by: str, *, strata: str | None = None) -> pd.DataFrame:
    """Log-rank tests between all pairs of groups, p-values corrected by Holm's method (1979).

    Returns
    -------
    DataFrame
        ``group, reference, statistic, p, p_holm``; a pair without an event, or never
        at risk at the same event, has no p (NaN) and is not counted in the correction.

    Raises
    ------
    DataError
        There is only one group, or no event.
    """
    rows = _comparable(frame, by, strata)
    found = []
    for first, second in combinations([name for name, _ in groups_of(rows, by)], 2):
        pair = rows[rows[by].astype(str).isin((first, second))]
        test = log_rank(pair, by, strata=strata)
        found.append((second, first, test.statistic, test.p))
    table = pd.DataFrame(found, columns=["group", "reference", "statistic", "p"])
    return table.assign(p_holm=holm(table["p"].to_numpy(float)))


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values for their number by Holm's method; NaN stays NaN and is not counted.

    Parameters
    ----------
    p : (n,) float64

    Returns
    -------
    (n,) float64
    """
    corrected = np.full(len(p), np.nan)
    known = np.isfinite(p)
    if known.any():
        corrected[known] = multipletests(p[known], method="holm")[1]
    return corrected


def _comparable(frame: pd.DataFrame, by: str, strata: str | None) -> pd.DataFrame:
    rows = complete(frame, [by, *([strata] if strata else [])])
    if len(list(groups_of(rows, by))) < 2:
        raise DataError("there is only one group, so there is nothing to compare")
    if not rows[EVENT].any():
        raise DataError("there is no event, so groups cannot be compared")
    return rows
