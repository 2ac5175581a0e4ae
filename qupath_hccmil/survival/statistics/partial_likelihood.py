"""The Cox partial likelihood with Efron's ties, its score and information, at a given beta.

This is our own code because lifelines is not sufficient. Its Newton steps are not guarded, so it
stops far from the maximum for small groups (5 events among 100 patients of ``cgvhd``: 8.5 instead
of 2.18). A fit takes 40 ms, which is too slow for a bootstrap. And it has neither Firth's penalty,
nor Efron's baseline hazard, nor the exact test of proportional hazards, which all use the same
parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

MOST_STEPS = 60
# If the information falls to this share of its value at 0, in any direction, the likelihood has
# become flat and has no maximum. The size of a coefficient does not show this, because a covariate
# with nearly always the same value has a small SD.
FLAT = 1e-6
WIDEST = 600.0  # span of log hazards beyond which the smallest weights underflow


@dataclass(frozen=True)
class Moments:
    """The contribution of each event, in ascending time; ``d`` events, ``p`` columns.

    Attributes
    ----------
    times : (d,) float64
    log_likelihood : float
    residuals : (d, p) float64
        Covariates of the patient with the event minus their weighted mean in the risk set
        (Schoenfeld's residuals). Their sum is the score.
    variances : (d, p, p) float64
        Weighted covariance in the risk set. Their sum is the information.
    hazards : (d,) float64
        Efron's increments of the baseline hazard, at the mean of the columns.
    """

    times: np.ndarray
    log_likelihood: float
    residuals: np.ndarray
    variances: np.ndarray
    hazards: np.ndarray


class RiskSets:
    """Patients sorted once, so that the likelihood can be computed quickly for many betas.

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
    columns : (n, p) float64
    entry : (n,) float64, optional
        Time from which each patient is at risk.
    """

    def __init__(
        self,
        time: np.ndarray,
        event: np.ndarray,
        columns: np.ndarray,
        entry: np.ndarray | None = None,
    ) -> None:
        order = np.argsort(-time, kind="stable")
        self.order = order
        self.columns = columns[order] - columns.mean(axis=0)
        time, event = time[order], event[order]
        self.time = time
        self.entry = None if entry is None else entry[order]
        dead = np.flatnonzero(event)[::-1]
        self.dead = dead
        self.times = time[dead]
        # Everybody from the latest time down to this time is at risk.
        self.end = np.searchsorted(-time, -self.times, side="right")
        self.late = None
        if self.entry is not None and self.entry.any():
            # Those who have not entered yet are taken from the risk sets.
            self.late = np.argsort(-self.entry, kind="stable")
            entered = self.entry[self.late]
            self.waiting = np.searchsorted(-entered, -self.times, side="right")
        distinct, self.group, count = np.unique(self.times, return_inverse=True, return_counts=True)
        first = self.first = np.searchsorted(self.times, distinct)
        # Efron: the l-th of d tied events leaves l/d of the tied patients out.
        self.fraction = (np.arange(len(dead)) - first[self.group]) / count[self.group]

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
        hazards = np.exp(-shift) / s0
        return Moments(self.times, likelihood, x[self.dead] - mean, variance, hazards)

    def maximise(self) -> np.ndarray | None:
        """Coefficients by Newton's method, shape (p,); None if there is no maximum."""
        beta = np.zeros(self.columns.shape[1])
        scale = self.columns.std(axis=0)
        moments = self.moments(beta)
        null = moments.variances.sum(axis=0)
        for _ in range(MOST_STEPS):
            information = moments.variances.sum(axis=0)
            try:
                step = np.linalg.solve(information, moments.residuals.sum(axis=0))
            except np.linalg.LinAlgError:
                return None
            while np.ptp(self.columns @ (beta + step)) > WIDEST:
                step = step / 2
            before = moments.log_likelihood
            moments = self.moments(beta + step)
            while moments.log_likelihood < before - 1e-9 and np.abs(step * scale).max() > 1e-9:
                step = step / 2
                moments = self.moments(beta + step)
            beta = beta + step
            if np.ptp(self.columns @ beta) > WIDEST / 2 or _is_flat(
                moments.variances.sum(axis=0), null
            ):
                return None
            if np.abs(step * scale).max() < 1e-9:
                return beta
        return None

    def third_moments(self, beta: np.ndarray, moments: Moments, inverse: np.ndarray) -> np.ndarray:
        """Slope of ``log det`` of the information at ``beta``, shape (p,): ``tr(I⁻¹ ∂I/∂β)``.

        The derivative of a weighted covariance is the third central moment, so the slope is the sum
        over events of the mean of ``(x − m)ᵀI⁻¹(x − m) (x − m)``.

        Parameters
        ----------
        beta : (p,) float64
        moments : Moments
            At ``beta``.
        inverse : (p, p) float64
            Inverse of the information.
        """
        x = self.columns
        linear = x @ beta
        weight = np.exp(linear - float(linear.max(initial=0.0)))
        size = np.einsum("ni,ij,nj->n", x, inverse, x, optimize=True)
        s0, sized, first = (
            self._at_events(part) for part in (weight, weight * size, (weight * size)[:, None] * x)
        )
        mean = x[self.dead] - moments.residuals
        skew = (first - sized[:, None] * mean) / s0[:, None]
        bent = np.einsum("dij,dj->di", moments.variances, mean @ inverse)
        return np.asarray((skew - 2 * bent).sum(axis=0))

    def _at_events(self, part: np.ndarray) -> np.ndarray:
        total = np.cumsum(part, axis=0)[self.end - 1]
        if self.late is not None:
            missed = np.cumsum(part[self.late], axis=0)
            total = total - np.concatenate([np.zeros_like(missed[:1]), missed])[self.waiting]
        if not self.fraction.any():
            return total
        tied = np.add.reduceat(part[self.dead], self.first, axis=0)
        fraction = self.fraction.reshape(-1, *[1] * (part.ndim - 1))
        return total - fraction * tied[self.group]


def _is_flat(information: np.ndarray, null: np.ndarray) -> bool:
    try:
        shares = linalg.eigh(information, null, eigvals_only=True)
    except (linalg.LinAlgError, ValueError):
        return True
    return bool(shares[0] < FLAT)
