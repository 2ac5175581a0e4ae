"""Calibration: whether poor outcomes are as frequent as predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EDGE = 1e-6
_STEPS = 50
_LARGEST = 50.0
_Z = 1.959963984540054  # for a 95 % interval


@dataclass(frozen=True)
class CalibrationGroup:
    """A group of patients with similar predictions.

    Attributes
    ----------
    patients, poor : int
    predicted : float
        Mean probability of a poor outcome.
    observed, low, high : float
        Share of poor outcomes and its 95 % interval (Wilson 1927).
    """

    patients: int
    poor: int
    predicted: float
    observed: float
    low: float
    high: float


def calibration_slope(poor: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """Slope of the outcome's log odds on those predicted; below 1, predictions are too extreme.

    1 is ideal (Cox 1958). NaN if it is not defined: one outcome is absent, the outcomes are
    separated without error, or all predictions are the same.
    """
    x = _log_odds(probability)
    return _logistic(np.column_stack([np.ones_like(x), x]), poor, np.zeros_like(x))[1]


def calibration_intercept(poor: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """Log odds by which predictions are too low overall; 0 is ideal (calibration in the large).

    The slope is fixed at 1 (Cox 1958). NaN if one outcome is absent.
    """
    x = _log_odds(probability)
    return _logistic(np.ones((len(x), 1)), poor, x)[0]


def calibration_groups(
    poor: NDArray[np.bool_], probability: NDArray[np.float64], groups: int = 5
) -> list[CalibrationGroup]:
    """Compare predictions with outcomes in groups of equal size, ordered by prediction.

    Equal predictions stay in one group, so there may be fewer groups.
    """
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, groups + 1)[1:-1]))
    place = np.searchsorted(edges, probability, side="left")
    result = []
    for number in np.unique(place):
        inside = place == number
        n, hits = int(inside.sum()), int(poor[inside].sum())
        low, high = _wilson(hits, n)
        result.append(
            CalibrationGroup(n, hits, float(probability[inside].mean()), hits / n, low, high)
        )
    return result


def _wilson(hits: int, n: int) -> tuple[float, float]:
    share = hits / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * float(np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)))
    return max(0.0, middle - half), min(1.0, middle + half)


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _logistic(
    x: NDArray[np.float64], poor: NDArray[np.bool_], offset: NDArray[np.float64]
) -> list[float]:
    """Coefficients of a logistic regression by Newton's method; NaN if there is no solution."""
    nothing = [float("nan")] * x.shape[1]
    if poor.all() or not poor.any():
        return nothing
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        fitted = 0.5 * (1 + np.tanh((x @ beta + offset) / 2))
        information = (x * (fitted * (1 - fitted))[:, None]).T @ x
        if np.linalg.cond(information) > 1e12:
            return nothing
        step = np.linalg.solve(information, x.T @ (poor - fitted))
        # Far from the solution Newton's step may overshoot.
        beta += np.clip(step, -2, 2)
        if np.abs(beta).max() > _LARGEST:
            return nothing
        if np.abs(step).max() < 1e-8:
            return [float(value) for value in beta]
    return nothing
