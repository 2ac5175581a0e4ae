"""The distribution of censoring, for weighting patients with a known outcome by its inverse.

All analyses use the same definition: at equal times an event comes before a censoring, and a
patient with an event at ``T`` has the weight ``1 / G(T-)``, as in ``riskRegression`` and
``survival`` of R. scikit-survival uses ``1 / G(T)``, which differs if both happen at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Censoring:
    """The reverse Kaplan-Meier estimate ``G(t)`` of staying uncensored.

    Attributes
    ----------
    times : (k,) float64
        Distinct censoring times, ascending.
    values : (k,) float64
        ``G`` at and after each of them.
    at_risk : (k,) float64
        Patients who could be censored at that time, without those with an event at that time.
    censored : (k,) float64
        Number of patients censored at that time.
    """

    times: np.ndarray
    values: np.ndarray
    at_risk: np.ndarray
    censored: np.ndarray

    def at(self, time: float | np.ndarray) -> np.ndarray:
        """``G(t)``."""
        return np.r_[1.0, self.values][np.searchsorted(self.times, time, side="right")]

    def before(self, time: float | np.ndarray) -> np.ndarray:
        """``G(t-)``, the limit from the left."""
        return np.r_[1.0, self.values][np.searchsorted(self.times, time, side="left")]


def censoring(time: np.ndarray, event: np.ndarray) -> Censoring:
    """Estimate the distribution of censoring.

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
    """
    times, censored = np.unique(time[~event], return_counts=True)
    ordered, with_event = np.sort(time), np.sort(time[event])
    at_risk = len(time) - np.searchsorted(ordered, times, side="left")
    leaving = np.searchsorted(with_event, times, "right") - np.searchsorted(
        with_event, times, "left"
    )
    at_risk = (at_risk - leaving).astype(float)
    return Censoring(times, np.cumprod(1 - censored / at_risk), at_risk, censored.astype(float))
