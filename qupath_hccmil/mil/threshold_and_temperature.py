"""Threshold and temperature of a trained model, from patients not used to fit its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import good_outcome_probability, risk
from qupath_hccmil.method.published_numbers import THRESHOLD
from qupath_hccmil.mil.metrics import cross_entropy, score_ranks, sensitivity, specificity

COOLEST, HOTTEST = 0.05, 20.0
_EDGE = 0.01


@dataclass(frozen=True)
class DecisionRule:
    """Which numbers are derived from held-out patients instead of being used as given.

    Attributes
    ----------
    derive_threshold, fit_temperature : bool
    """

    derive_threshold: bool = False
    fit_temperature: bool = False

    @property
    def asks(self) -> bool:
        """Whether anything is to be derived."""
        return self.derive_threshold or self.fit_temperature


@dataclass(frozen=True)
class Decision:
    """The numbers that turn S into a risk and a group: ``r = sigmoid(S/T)``, high if r > t.

    Attributes
    ----------
    threshold, temperature : float
    collapsed : bool
        Whether all patients have the same score, so that nothing can be derived from them; then t
        is unchanged and T is 1.
    """

    threshold: float = THRESHOLD
    temperature: float = 1.0
    collapsed: bool = False


def decide(
    logits: NDArray[np.float64],
    good: NDArray[np.bool_],
    rule: DecisionRule,
    threshold: float = THRESHOLD,
    cut: float | None = None,
) -> Decision:
    """Derive the numbers that a rule asks for.

    Parameters
    ----------
    logits : (n,) float64
        Slide logits S, without a temperature, of patients that the network was not fitted to; at
        least one.
    good : (n,) bool
    rule : DecisionRule
    threshold : float
        t if it is not derived.
    cut : float, optional
        Slide logit at which t lies if it is not derived, for every temperature, instead of
        `threshold`.

    Returns
    -------
    Decision
        If all scores are equal to within `SAME_LOGIT`, nothing is derived. This does not end the
        training, because its weights took hours.

    Raises
    ------
    DataError
        Something should be derived, but one outcome is absent.

    Notes
    -----
    Threshold: the cut with the largest sensitivity + specificity − 1 (Youden 1950), which is also
    the one with the largest balanced accuracy, between two neighbouring logits that differ by more
    than rounding; of several such cuts, the one nearest to the given t.

    Temperature: one number that does not change the order of patients (Guo et al. 2017). It
    minimises the published cross-entropy on p(good outcome). If the threshold is derived too, it is
    the risk at the same cut for every T, so that the groups do not change with T.
    """
    if rule.asks and (good.all() or not good.any()):
        raise DataError(
            "threshold and temperature need held-out patients with both outcomes; "
            f"{int(good.sum())} of {len(good)} patients have a good outcome"
        )
    if not score_ranks(logits).any():
        return Decision(threshold, collapsed=True)
    if rule.derive_threshold:
        cut = _youden_cut(logits, good, threshold)

    def threshold_at(temperature: float) -> float:
        if cut is None:
            return threshold
        return float(np.clip(risk(cut / temperature), _EDGE, 1 - _EDGE))

    temperature = _coolest_loss(logits, good, threshold_at) if rule.fit_temperature else 1.0
    return Decision(threshold_at(temperature), temperature)


def _youden_cut(logits: NDArray[np.float64], good: NDArray[np.bool_], threshold: float) -> float:
    values = np.sort(logits)
    apart = np.flatnonzero(np.diff(score_ranks(values)))
    cuts = (values[apart] + values[apart + 1]) / 2
    j = np.array([sensitivity(~good, logits > c) + specificity(~good, logits > c) for c in cuts])
    best = cuts[j >= j.max() - 1e-12]
    before = np.log(threshold / (1 - threshold))
    return float(best[np.argmin(np.abs(best - before))])


def _coolest_loss(
    logits: NDArray[np.float64],
    good: NDArray[np.bool_],
    threshold_at: Callable[[float], float],
) -> float:
    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        probability = good_outcome_probability(
            risk(logits / temperature), threshold_at(temperature)
        )
        return cross_entropy(good, probability)

    # The loss may have several minima, so a grid is searched first.
    grid = np.linspace(np.log(COOLEST), np.log(HOTTEST), 61)
    best = int(np.argmin([loss(point) for point in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(loss, bounds=(low, high), method="bounded")
    return float(np.exp(found.x))
