"""How well bags' risks tell their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from qupath_hccmil.errors import DataError
from qupath_hccmil.mil.aggregation import (
    POWER,
    THRESHOLD,
    good_outcome_probability,
    is_high_risk,
    risk,
    slide_logit,
)
from qupath_hccmil.mil.bags import Bag, chunks, draw
from qupath_hccmil.mil.metrics import (
    Estimate,
    accuracy,
    auc,
    bootstrap,
    sensitivity,
    specificity,
)

TilePredictor = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""(n, 4, s, s) uint8 to (n,) tile logits."""

_CHUNK = 16


@dataclass(frozen=True)
class BagScore:
    """Risk of one patient."""

    patient: str
    tiles: int
    logit: float
    risk: float


@dataclass(frozen=True)
class RiskScores:
    """Figures over patients; the positive class is a poor outcome, called by a high risk."""

    bags: list[BagScore]
    good: int
    poor: int
    auc: Estimate
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    cross_entropy: float

    def as_dict(self) -> dict[str, Any]:
        """All figures as JSON-able values."""
        return asdict(self)


def torch_tile_predictor(network: nn.Module) -> TilePredictor:
    """Make a predictor that runs a torch tile network as it is, in evaluation mode."""

    def predict(tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
        network.eval()
        with torch.inference_mode():
            device = next(network.parameters()).device
            logits = network(torch.from_numpy(tiles).to(device).float().div(255))
            return np.asarray(logits.cpu().numpy(), dtype=np.float64)

    return predict


def score_bag(
    bag: Bag, predict: TilePredictor, p: float = POWER, tiles: int | None = None, seed: int = 0
) -> BagScore:
    """Score a bag, in bounded memory.

    Parameters
    ----------
    bag : Bag
    predict : callable
    p : float
    tiles : int, optional
        Score only so many random tiles; default all.
    seed : int
        Of that choice.
    """
    indices = draw(bag, tiles or len(bag), np.random.default_rng(seed))
    logits = np.concatenate([predict(bag.read(part)) for part in chunks(indices, _CHUNK)])
    logit = slide_logit(logits, p)
    return BagScore(bag.patient, len(indices), logit, float(risk(logit)))


def evaluate(
    bags: Iterable[Bag],
    labels: Mapping[str, int],
    predict: TilePredictor,
    p: float = POWER,
    threshold: float = THRESHOLD,
    tiles: int | None = None,
    seed: int = 0,
) -> RiskScores:
    """Score bags and compare their risks with their outcomes.

    Parameters
    ----------
    bags : iterable of Bag
    labels : mapping of str to int
        Patient to 1 (good) or 0 (poor); bags without a label are left out.
    predict : callable
    p, threshold : float
        Of the model.
    tiles : int, optional
        At most so many random tiles a bag; default all.
    seed : int
        Of that choice and of the bootstrap.

    Raises
    ------
    DataError
        No bag has a label.
    """
    scores = [score_bag(bag, predict, p, tiles, seed) for bag in bags if bag.patient in labels]
    if not scores:
        raise DataError("no bag has a label; the table's patients must be the bags' names")
    r = np.array([score.risk for score in scores])
    good = np.array([bool(labels[score.patient]) for score in scores])

    def interval(metric: Callable[..., float], by_group: bool = True) -> Estimate:
        values = is_high_risk(r, threshold) if by_group else r
        return bootstrap(metric, ~good, values, seed=seed)

    return RiskScores(
        bags=scores,
        good=int(good.sum()),
        poor=int((~good).sum()),
        auc=interval(auc, by_group=False),
        accuracy=interval(accuracy),
        sensitivity=interval(sensitivity),
        specificity=interval(specificity),
        cross_entropy=_cross_entropy(good, good_outcome_probability(r, threshold)),
    )


def _cross_entropy(good: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    # As torch's: a logarithm counts as at least -100.
    of_outcome = np.where(good, probability, 1 - probability)
    with np.errstate(divide="ignore"):
        return float(-np.maximum(np.log(of_outcome), -100).mean())
