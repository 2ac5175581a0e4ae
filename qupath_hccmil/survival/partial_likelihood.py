"""The Cox partial likelihood with Efron's ties, its score and information, at a given beta.

lifelines fits; this gives what it does not: the pieces that the Firth penalty and the test of
proportional hazards are made of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """What each event contributes, in ascending time; ``d`` events, ``p`` columns.

    Attributes
    ----------
    times : (d,) float64
    log_likelihood : float
    residuals : (d, p) float64
        Covariates of the patient with the event less their weighed mean in the risk set
        (Schoenfeld's residuals). Their sum is the score.
    variances : (d, p, p) float64
        The weighed covariance in the risk set. Their sum is the information.
    """

    times: np.ndarray
    log_likelihood: float
    residuals: np.ndarray
    variances: np.ndarray


class RiskSets:
    """Patients sorted once, so that the likelihood at many betas is cheap.

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
    columns : (n, p) float64
    """

    def __init__(self, time: np.ndarray, event: np.ndarray, columns: np.ndarray) -> None:
        order = np.argsort(-time, kind="stable")
        self.columns = columns[order] - columns.mean(axis=0)
        time, event = time[order], event[order]
        dead = np.flatnonzero(event)[::-1]
        self.dead = dead
        self.times = time[dead]
        # Everyone from the latest down to the last of this time is at risk.
        self.end = np.searchsorted(-time, -self.times, side="right")
        distinct, self.group, count = np.unique(
            self.times, return_inverse=True, return_counts=True
        )
        first = np.searchsorted(self.times, distinct)
        # Efron: the l-th of d tied events leaves l/d of the tied patients out.
        self.fraction = (np.arange(len(dead)) - first[self.group]) / count[self.group]
        self.groups = len(distinct)

    def moments(self, beta: np.ndarray) -> Moments:
        """Likelihood, residuals and variances at ``beta``, shape (p,)."""
        x = self.columns
        linear = x @ beta
        shift = float(linear.max(initial=0.0))
        weight = np.exp(linear - shift)
        first = weight[:, None] * x
        second = first[:, :, None] * x[:, None, :]
        s0, s1, s2 = (self._at_events(part) for part in (weight, first, second))
        mean = s1 / s0[:, None]
        variance = s2 / s0[:, None, None] - mean[:, :, None] * mean[:, None, :]
        likelihood = float((linear[self.dead] - shift - np.log(s0)).sum())
        return Moments(self.times, likelihood, x[self.dead] - mean, variance)

    def _at_events(self, part: np.ndarray) -> np.ndarray:
        total = np.cumsum(part, axis=0)[self.end - 1]
        tied = np.zeros((self.groups, *part.shape[1:]))
        np.add.at(tied, self.group, part[self.dead])
        fraction = self.fraction.reshape(-1, *[1] * (part.ndim - 1))
        return total - fraction * tied[self.group]
