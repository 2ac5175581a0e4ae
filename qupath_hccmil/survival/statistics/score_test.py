"""The test that a score is zero, also where its variance is singular."""

from __future__ import annotations

import numpy as np
from scipy import stats

NO_COMPARISON = "at no event can the groups be compared"
_NOTHING = 1e-12  # share of the largest variance below which a variance is none
_RANK = 1e-8


def score_test(gap: np.ndarray, variance: np.ndarray) -> tuple[float, int, float]:
    """Test that all parts of a score are zero, by chi-square.

    Groups that are never at risk at the same event cannot be compared, and a group that is not at
    risk at any event says nothing. The variance is singular there, by more than the one dimension
    in which the parts always sum to zero, and so the degrees of freedom are its rank, as in
    ``survdiff`` of R for groups without expected events.

    Parameters
    ----------
    gap : (k,) float64
        Observed minus expected events of each group; they sum to zero.
    variance : (k, k) float64

    Returns
    -------
    statistic : float
    degrees_of_freedom : int
    p : float
        Statistic and p are NaN where there are no degrees of freedom.
    """
    own = np.diag(variance)
    there = own > _NOTHING * own.max()
    spread = np.sqrt(own[there])
    # Correlations, so that groups of very different size count alike.
    values, vectors = np.linalg.eigh(variance[np.ix_(there, there)] / np.outer(spread, spread))
    kept = values > _RANK
    if not kept.any():
        return float("nan"), 0, float("nan")
    along = (gap[there] / spread) @ vectors[:, kept]
    statistic, degrees = float(along**2 @ (1 / values[kept])), int(kept.sum())
    return statistic, degrees, float(stats.chi2.sf(statistic, degrees))
