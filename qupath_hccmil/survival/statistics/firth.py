"""Cox regression with Firth's penalty, for finite hazard ratios if a group has no events.

Heinze and Schemper 2001, Biometrics 57:114: the log partial likelihood plus half the logarithm of
the determinant of the information (Jeffreys' prior). Intervals and p-values come from the profile
of the penalised likelihood, because Wald intervals would be misleading.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.partial_likelihood import WIDEST as WIDEST_SPAN
from qupath_hccmil.survival.statistics.partial_likelihood import RiskSets
from qupath_hccmil.survival.statistics.strata import risk_sets

TOLERANCE = 1e-8
ROUNDS = 200
WIDEST = 40.0


@dataclass(frozen=True)
class FirthFit:
    """Coefficients with profile-likelihood intervals, all of shape (p,)."""

    coefficients: np.ndarray
    standard_errors: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    p: np.ndarray
    log_likelihood: float
    log_likelihood_null: float


def fit_firth(
    time: np.ndarray,
    event: np.ndarray,
    columns: np.ndarray,
    *,
    entry: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    confidence: float = 0.95,
) -> FirthFit:
    """Fit a Cox model with Firth's penalty, ties by Efron.

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
    columns : (n, p) float64
    entry : (n,) float64, optional
        Time from which each patient is at risk.
    strata : (n,) array, optional
        Each of its values has its own baseline hazard.
    confidence : float
        Level of the profile intervals.

    Raises
    ------
    DataError
        There are no events, or columns depend on each other.
    """
    spread, problem = _problem(time, event, columns, entry, strata)
    p = len(spread)
    best = problem.maximise(np.zeros(p))
    top = problem.value(best)
    half = stats.chi2.ppf(confidence, 1) / 2
    bounds = np.array([problem.bounds(best, index, top - half) for index in range(p)])
    statistic = [2 * (top - problem.profile(best, index, 0.0)) for index in range(p)]
    errors = np.sqrt(np.diag(np.linalg.inv(problem.information(best))))
    return FirthFit(
        best / spread,
        errors / spread,
        bounds[:, 0] / spread,
        bounds[:, 1] / spread,
        stats.chi2.sf(np.maximum(statistic, 0), 1),
        top,
        problem.value(np.zeros(p)),
    )


def firth_coefficients(time: np.ndarray, event: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Find only the coefficients, shape (p,), quickly and without profiles; see ``fit_firth``."""
    spread, problem = _problem(time, event, columns)
    return problem.maximise(np.zeros(len(spread))) / spread


def _problem(
    time: np.ndarray,
    event: np.ndarray,
    columns: np.ndarray,
    entry: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> tuple[np.ndarray, _Penalised]:
    if not event.any():
        raise DataError("there are no events, so no hazard ratio can be estimated")
    spread = columns.std(axis=0)
    if (spread == 0).any() or np.linalg.matrix_rank(columns - columns.mean(axis=0)) < len(spread):
        raise DataError(
            "Firth's regression: a column is constant or depends on others; leave it out"
        )
    problem = _Penalised(risk_sets(time, event, columns / spread, entry, strata))
    if np.linalg.matrix_rank(problem.information(np.zeros(len(spread)))) < len(spread):
        raise DataError(
            f"at each event ({int(event.sum())}), all patients at risk have equal values, so no "
            "hazard ratio can be estimated"
        )
    return spread, problem


class _Penalised:
    def __init__(self, sets: RiskSets) -> None:
        self.sets = sets

    def information(self, beta: np.ndarray) -> np.ndarray:
        return self.sets.moments(beta).variances.sum(axis=0)

    def value(self, beta: np.ndarray) -> float:
        if self._is_far(beta):
            return -np.inf
        moments = self.sets.moments(beta)
        sign, log_determinant = np.linalg.slogdet(moments.variances.sum(axis=0))
        return moments.log_likelihood + log_determinant / 2 if sign > 0 else -np.inf

    def _is_far(self, beta: np.ndarray) -> bool:
        return bool(np.ptp(self.sets.columns @ beta) > WIDEST_SPAN)

    def slopes(self, beta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Penalised likelihood, its score and the information at ``beta``.

        Returns
        -------
        value : float
        score : (p,) float64
        information : (p, p) float64
        """
        moments = self.sets.moments(beta)
        information = moments.variances.sum(axis=0)
        inverse = np.linalg.inv(information)
        sign, log_determinant = np.linalg.slogdet(information)
        value = moments.log_likelihood + log_determinant / 2 if sign > 0 else -np.inf
        penalty = self.sets.third_moments(beta, moments, inverse) / 2
        return value, moments.residuals.sum(axis=0) + penalty, information

    def maximise(self, start: np.ndarray, fixed: int | None = None) -> np.ndarray:
        """Maximise by Newton steps on the modified score, halved until the likelihood increases."""
        beta = start.copy()
        free = np.array([index for index in range(len(beta)) if index != fixed], int)
        if not len(free):
            return beta
        value, score, information = self.slopes(beta)
        for _ in range(ROUNDS):
            step = np.linalg.solve(information[np.ix_(free, free)], score[free])
            step *= min(1.0, 3.0 / np.abs(step).max(initial=1e-300))
            found = self._search(beta, free, step, value)
            if found is None:
                break
            beta, step, (value, score, information) = found
            if np.abs(step).max() < TOLERANCE:
                break
        return beta

    def _search(
        self, beta: np.ndarray, free: np.ndarray, step: np.ndarray, value: float
    ) -> tuple[np.ndarray, np.ndarray, tuple[float, np.ndarray, np.ndarray]] | None:
        """Halve a step until the likelihood increases; returns its end, the step, the slopes."""
        for _ in range(25):
            trial = beta.copy()
            trial[free] += step
            if not self._is_far(trial):
                reached = self.slopes(trial)
                if reached[0] >= value - 1e-13 * abs(value):
                    return trial, step, reached
            step = step / 2
        return None

    def profile(self, best: np.ndarray, index: int, at: float) -> float:
        start = best.copy()
        start[index] = at
        return self.value(self.maximise(start, index))

    def bounds(self, best: np.ndarray, index: int, level: float) -> tuple[float, float]:
        """Both limits of the profile interval of one coefficient."""
        error = float(np.sqrt(np.linalg.inv(self.information(best))[index, index]))
        low, high = (self._bound(best, index, level, side) for side in (-1.0, 1.0))
        if low is None or high is None:

            def gap(value: float) -> float:
                return self.profile(best, index, value) - level

            low = _root(gap, best[index], -error) if low is None else low
            high = _root(gap, best[index], error) if high is None else high
        return low, high

    def _bound(self, best: np.ndarray, index: int, level: float, side: float) -> float | None:
        """One limit by the steps of Venzon and Moolgavkar (1988, Applied Statistics 37:87).

        Each step solves simultaneously for the likelihood at its level and all other slopes at 0.
        Returns None if the steps do not converge, so that the profile itself must be searched.
        """
        beta = best.copy()
        for _ in range(ROUNDS):
            if self._is_far(beta):
                return None
            try:
                value, score, information = self.slopes(beta)
                inverse = np.linalg.inv(information)
            except np.linalg.LinAlgError:
                return None
            others = np.delete(score, index)
            if abs(value - level) < TOLERANCE and np.abs(others).max(initial=0.0) < 1e-6:
                return float(beta[index]) if side * (beta[index] - best[index]) > 0 else None
            room = 2 * (value - level) + score @ inverse @ score
            if not np.isfinite(room):
                return None
            push = side * np.sqrt(max(room, 0.0) / inverse[index, index])
            step = inverse @ (score + push * np.eye(len(beta))[index])
            step *= min(1.0, 1.5 / np.abs(step).max(initial=1e-300))
            beta = beta + step
            if np.abs(beta - best).max() > WIDEST:
                return None
        return None


def _root(gap: Callable[[float], float], start: float, step: float) -> float:
    """Find where the profile falls to the level, from ``start`` in the direction of ``step``."""
    inner, reach = start, 2.0 * step
    while abs(reach) < WIDEST:
        if gap(start + reach) < 0:
            return float(optimize.brentq(gap, inner, start + reach, xtol=1e-8))
        inner, reach = start + reach, reach * 1.6
    return float(np.copysign(np.inf, step))
