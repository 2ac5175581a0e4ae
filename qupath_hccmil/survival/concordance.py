"""Harrell's and Uno's C in O(n log² n), so that cohorts of any size and bootstraps are affordable.

lifelines has no Uno's C, and scikit-survival's takes one pass over the patients for each event
and weighs by ``G(T)`` instead of ``G(T-)`` (see ``ipcw``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from qupath_hccmil.survival.ipcw import censoring
from qupath_hccmil.survival.outcome import numbers, outcome


def harrell(frame: pd.DataFrame, score: str) -> float:
    """Harrell's C: of two patients, the one with the earlier event has the higher score.

    A pair is usable when the earlier time is an event; a censoring at the time of an event counts
    as later. Equal scores count one half (Harrell et al. 1996), as ``survival::concordance``.

    Returns
    -------
    float
        In [0, 1]; NaN when no pair is usable.
    """
    time, event = outcome(frame)
    return concordance(time, event, numbers(frame, score))


def uno(frame: pd.DataFrame, score: str, tau: float) -> float:
    """Uno's C: pairs with the earlier event up to ``tau``, weighed by ``1 / G(T-)²`` (Uno 2011).

    It does not depend on the distribution of censoring. Beyond ``tau`` nothing is used, so state
    it. As ``survival::concordance(timewt = "n/G2", ymax = tau)``.
    """
    time, event = outcome(frame)
    return concordance(time, event, numbers(frame, score), tau=tau, weighed=True)


def concordance(
    time: np.ndarray,
    event: np.ndarray,
    score: np.ndarray,
    *,
    tau: float = np.inf,
    weighed: bool = False,
) -> float:
    """Concordance of scores with times; a higher score should mean an earlier event.

    Parameters
    ----------
    time, score : (n,) float64
    event : (n,) bool
    tau : float
        Events after it are not used.
    weighed : bool
        Weigh by the inverse squared probability of being uncensored (Uno's C).
    """
    # Latest first; at one time the censored come first, since they outlive the event.
    order = np.lexsort((event, -time))
    time, event, score = time[order], event[order], score[order]
    rank = np.unique(score, return_inverse=True)[1]
    used = np.flatnonzero(event & (time <= tau))
    # For each used event: how many patients of this order outlive it.
    keys = -time * 1.0
    later = np.searchsorted(keys, keys[used], side="left")
    same_time_end = np.searchsorted(keys, keys[used], side="right")
    censored = np.r_[0, np.cumsum(~event)]
    later = later + censored[same_time_end] - censored[later]
    lower, equal = _count_in_prefix(rank, later, rank[used])
    weight = censoring(time, event).before(time[used]) ** -2 if weighed else np.ones(len(used))
    usable = float(weight @ later)
    return float(weight @ (lower + 0.5 * equal)) / usable if usable else float("nan")


def _count_in_prefix(
    rank: np.ndarray, prefix: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # How many of the first `prefix` ranks are below, and equal to, `value`: the prefix is cut into
    # blocks of a power of two (its binary digits), each of which is sorted once.
    lower = np.zeros(len(value))
    equal = np.zeros(len(value))
    top = int(rank.max(initial=0)) + 2
    for level in range(max(len(rank).bit_length(), 1)):
        asked = np.flatnonzero((prefix >> level) & 1)
        if not len(asked):
            continue
        keys = np.sort((np.arange(len(rank)) >> level) * top + rank)
        block = ((prefix[asked] >> (level + 1)) << 1) * top
        start = np.searchsorted(keys, block, side="left")
        below = np.searchsorted(keys, block + value[asked], side="left")
        upto = np.searchsorted(keys, block + value[asked], side="right")
        lower[asked] += below - start
        equal[asked] += upto - below
    return lower, equal
