"""Risk sets of several strata: each has its own baseline hazard, and the likelihoods are added.

Only patients of one stratum are ever compared (Kalbfleisch and Prentice 2002, The Statistical
Analysis of Failure Time Data, §4.4), as with ``strata()`` in ``coxph`` of R.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qupath_hccmil.survival.statistics.partial_likelihood import Moments, RiskSets


class Strata(RiskSets):
    """Risk sets of the strata that have events; the others add nothing to the likelihood.

    Parameters
    ----------
    parts : sequence of RiskSets
        With the same columns.
    rows : sequence of (k,) int
        Rows of each part, in the order of all patients.
    patients : int
        Of all strata, also those without events.
    """

    def __init__(
        self, parts: Sequence[RiskSets], rows: Sequence[np.ndarray], patients: int
    ) -> None:
        self.parts, self.rows, self.patients = list(parts), list(rows), patients
        self.columns = np.concatenate([part.columns for part in self.parts])

    def moments(self, beta: np.ndarray) -> Moments:
        """Likelihood, residuals and variances at ``beta``, the events stratum after stratum."""
        found = [part.moments(beta) for part in self.parts]
        return Moments(
            np.concatenate([each.times for each in found]),
            sum(each.log_likelihood for each in found),
            np.concatenate([each.residuals for each in found]),
            np.concatenate([each.variances for each in found]),
            np.concatenate([each.hazards for each in found]),
        )

    def third_moments(self, beta: np.ndarray, moments: Moments, inverse: np.ndarray) -> np.ndarray:
        """Slope of ``log det`` of the information, which is the sum over the strata."""
        del moments  # each stratum needs its own
        slopes = [part.third_moments(beta, part.moments(beta), inverse) for part in self.parts]
        return np.asarray(np.sum(slopes, axis=0))


def risk_sets(
    time: np.ndarray,
    event: np.ndarray,
    columns: np.ndarray,
    entry: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> RiskSets:
    """Make the risk sets of all patients, or of strata.

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
        At least one.
    columns : (n, p) float64
    entry : (n,) float64, optional
        Time from which each patient is at risk.
    strata : (n,) array, optional
        Each of its values has its own baseline hazard.
    """
    if strata is None:
        return RiskSets(time, event, columns, entry)
    rows = [np.flatnonzero(strata == layer) for layer in np.unique(strata)]
    rows = [part for part in rows if event[part].any()]
    parts = [
        RiskSets(time[part], event[part], columns[part], None if entry is None else entry[part])
        for part in rows
    ]
    return Strata(parts, rows, len(time))
