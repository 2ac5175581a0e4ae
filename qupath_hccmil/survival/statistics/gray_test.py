"""Gray's test that the cumulative incidence of one cause is equal in several groups.

Our own code because lifelines, scikit-survival and statsmodels do not have the test.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.competing_risks import coded_outcome
from qupath_hccmil.survival.statistics.kaplan_meier import groups_of
from qupath_hccmil.survival.statistics.score_test import score_test
from qupath_hccmil.survival.statistics.survival_outcome import complete


def gray_test(frame: pd.DataFrame, causes: Mapping[int, str], by: str) -> pd.DataFrame:
    """Compare the cumulative incidence of each cause between groups (Gray 1988, ρ = 0).

    Gray, Annals of Statistics 16:1141: the score is a log-rank test of the subdistribution hazards,
    and its variance that of a martingale of both kinds of event, with the correction for ties, as
    ``cuminc`` of R's ``cmprsk``.

    Parameters
    ----------
    frame : DataFrame
        ``time``, ``event`` with 0 for censored and the keys of ``causes``, and ``by``. Rows without
        a group are left out.
    causes : mapping of int to str
        Code of each cause and its name.
    by : str

    Returns
    -------
    DataFrame
        ``cause, statistic, degrees_of_freedom, p``; NaN for a cause without events. The degrees of
        freedom are the rank of the variance.

    Raises
    ------
    DataError
        There is only one group, or patients enter late.
    """
    rows = complete(frame, [by])
    time, event = coded_outcome(rows, causes)
    names = [name for name, _ in groups_of(rows, by)]
    if len(names) < 2:
        raise DataError("there is only one group, so there is nothing to compare")
    group = rows[by].astype(str).map({name: code for code, name in enumerate(names)})
    found = []
    for code, cause in causes.items():
        counts = _Counts(time, np.where(event == code, 1, np.where(event == 0, 0, 2)), group)
        if not counts.ours.any():
            found.append((cause, np.nan, len(names) - 1, np.nan))
            continue
        score, variance = _score(counts), _variance(counts)
        found.append((cause, *score_test(score, variance)))
    return pd.DataFrame(found, columns=["cause", "statistic", "degrees_of_freedom", "p"])


class _Counts:
    """Numbers of each group at each time with an event, all of shape (times, groups).

    Attributes
    ----------
    at_risk, ours, others : float64
        At risk, with the event of this cause, with one of another cause.
    free : float64
        Kaplan-Meier estimate of no event of any cause, just before the time.
    free_after : float64
        The same after it.
    incidence : float64
        Cumulative incidence of this cause just before the time.
    scaled : float64
        At risk divided by ``free``: the number at risk if nobody had an event; 0 if nobody is left.
    pooled, pooled_after : (times,) float64
        Cumulative incidence of all groups together if they are equal, before and after the time.
    """

    def __init__(self, time: np.ndarray, event: np.ndarray, group: pd.Series) -> None:
        at = np.unique(time[event > 0])
        count = int(group.max()) + 1
        shape = (len(at), count)
        self.at_risk, self.ours, self.others = (np.zeros(shape) for _ in range(3))
        for code in range(count):
            inside = (group == code).to_numpy()
            ordered = np.sort(time[inside])
            self.at_risk[:, code] = len(ordered) - np.searchsorted(ordered, at, side="left")
            for kind, table in ((1, self.ours), (2, self.others)):
                had = np.searchsorted(at, time[inside & (event == kind)])
                table[:, code] = np.bincount(had, minlength=len(at))
        left = np.divide(
            self.at_risk - self.ours - self.others,
            self.at_risk,
            out=np.ones(shape),
            where=self.at_risk > 0,
        )
        self.free_after = np.cumprod(left, axis=0)
        self.free = np.vstack([np.ones(count), self.free_after[:-1]])
        there = self.at_risk > 0
        rise = np.divide(self.free * self.ours, self.at_risk, out=np.zeros(shape), where=there)
        self.incidence = np.cumsum(rise, axis=0) - rise
        self.scaled = np.divide(self.at_risk, self.free, out=np.zeros(shape), where=there)
        self.step = self.ours.sum(axis=1) / self.scaled.sum(axis=1)
        self.pooled_after = np.cumsum(self.step)
        self.pooled = self.pooled_after - self.step


def _score(counts: _Counts) -> np.ndarray:
    """Observed minus expected events of this cause in each group, shape (groups,)."""
    # The risk set of the subdistribution: everybody without an event of this cause.
    sets = counts.scaled * (1 - counts.incidence)
    share = sets / sets.sum(axis=1, keepdims=True)
    return np.asarray((counts.ours - counts.ours.sum(axis=1)[:, None] * share).sum(axis=0))


def _variance(counts: _Counts) -> np.ndarray:
    """Covariance of the score under equal incidences, shape (groups, groups)."""
    scaled = counts.scaled
    share = scaled / scaled.sum(axis=1, keepdims=True)
    # The weight of each group's events in each group's score, (times, groups, groups).
    weight = scaled[:, :, None] * (np.eye(scaled.shape[1]) - share[:, None, :])
    per_time = counts.step / np.where(counts.step > 0, 1 - counts.pooled, 1.0)
    run = np.cumsum(weight * per_time[:, None, None], axis=0)
    # An event also changes the later incidence of its group, and so what is expected of it.
    later = run[-1] - run
    below = counts.free_after > 0
    still = np.divide(
        1 - counts.pooled_after[:, None],
        counts.free_after,
        out=np.zeros_like(scaled),
        where=below,
    )
    by_ours = weight + np.where(below, 1 - still, 1.0)[:, None, :] * later
    by_others = -still[:, None, :] * later
    there = scaled > 0
    ours = counts.ours.sum(axis=1)
    total = scaled.sum(axis=1)[:, None] * counts.free
    tied = np.where(
        ours[:, None] > 1, 1 - (ours[:, None] - 1) / np.where(total != 1, total - 1, 1.0), 1.0
    )
    size = np.divide(tied * counts.step[:, None], scaled, out=np.zeros_like(scaled), where=there)
    alone = np.where(counts.at_risk > 1, counts.at_risk - 1, 1.0)
    tied_others = np.where(counts.others > 1, 1 - (counts.others - 1) / alone, 1.0)
    size_others = np.divide(
        tied_others * counts.others, scaled**2, out=np.zeros_like(scaled), where=there & below
    )
    return np.asarray(
        np.einsum("tk,tik,tjk->ij", size, by_ours, by_ours)
        + np.einsum("tk,tik,tjk->ij", size_others, by_others, by_others)
    )
