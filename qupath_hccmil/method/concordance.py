"""Concordance of scores with follow-up in O(n log² n), so that bootstraps are affordable.

Both training and survival report it. scikit-survival's implementation takes one pass over the
patients for each event.
"""

from __future__ import annotations

import numpy as np


def concordance(
    time: np.ndarray,
    event: np.ndarray,
    score: np.ndarray,
    weight: np.ndarray | None = None,
) -> float:
    """Harrell's C: the share of pairs in which the patient with the earlier event scores higher.

    A pair is usable if the earlier time is an event; a censoring at the time of an event counts as
    later. Equal scores count one half (Harrell et al. 1996), as in ``survival::concordance``.

    Parameters
    ----------
    time, score : (n,) float64
    event : (n,) bool
    weight : (n,) float64, optional
        Weight of the pairs in which the patient has the earlier event; 0 excludes them. By default
        all pairs have the same weight. Uno's C uses such weights.

    Returns
    -------
    float
        In [0, 1]; NaN if no pair is usable.
    """
    weight = np.ones(len(time)) if weight is None else weight
    # Latest first; at equal times the censored come first, since they outlive the event.
    order = np.lexsort((event, -time))
    time, event, score, weight = time[order], event[order], score[order], weight[order]
    rank = np.unique(score, return_inverse=True)[1]
    used = np.flatnonzero(event & (weight > 0))
    # For each event: how many patients outlive it.
    keys = -time * 1.0
    later = np.searchsorted(keys, keys[used], side="left")
    same_time_end = np.searchsorted(keys, keys[used], side="right")
    censored = np.r_[0, np.cumsum(~event)]
    later = later + censored[same_time_end] - censored[later]
    lower, equal = _count_in_prefix(rank, later, rank[used])
    usable = float(weight[used] @ later)
    return float(weight[used] @ (lower + 0.5 * equal)) / usable if usable else float("nan")


def _count_in_prefix(
    rank: np.ndarray, prefix: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # Count how many of the first `prefix` ranks are below, and equal to, `value`: the prefix is cut
    # into blocks with a power of two as size (its binary digits), and each block is sorted once.
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
