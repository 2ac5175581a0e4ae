"""How well the risks of bags predict their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit as log_odds
from torch import nn

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import (
    good_outcome_probability,
    is_high_risk,
    risk,
    slide_logit,
)
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.method.published_numbers import POWER, THRESHOLD
from qupath_hccmil.mil.bags import Bag, chunks, draw
from qupath_hccmil.mil.metrics import (
    Estimate,
    Metric,
    accuracy,
    auc,
    bootstrap,
    brier,
    cross_entropy,
    score_ranks,
    sensitivity,
    specificity,
)
from qupath_hccmil.mil.outcome_calibration import (
    CalibrationGroup,
    calibration_groups,
    calibration_intercept,
    calibration_slope,
)

TilePredictor = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Maps (n, 4, s, s) uint8 tiles to (n,) tile logits."""

_CHUNK = 16


@dataclass(frozen=True)
class BagScore:
    """The risk of one patient."""

    patient: str
    tiles: int
    logit: float
    risk: float


@dataclass(frozen=True)
class RiskScores:
    """Performance figures; the positive class is a poor outcome, predicted by a high risk.

    Attributes
    ----------
    bags : list of BagScore
        Scores of the patients with a label.
    good, poor : int
    auc, accuracy, sensitivity, specificity : Estimate
    brier, calibration_slope, calibration_intercept : Estimate
        Figures for the probability of a poor outcome, ``1 − p(good outcome)``.
    cross_entropy : float
        The published loss without its penalty.
    calibration : list of CalibrationGroup
    """

    bags: list[BagScore]
    good: int
    poor: int
    auc: Estimate
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    brier: Estimate
    calibration_slope: Estimate
    calibration_intercept: Estimate
    cross_entropy: float
    calibration: list[CalibrationGroup] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """All figures as JSON values; None for absent values."""
        content: dict[str, Any] = without_nan(asdict(self))
        return content


def torch_tile_predictor(network: nn.Module) -> TilePredictor:
    """Make a predictor that runs a torch tile network in evaluation mode."""

    def predict(tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
        network.eval()
        with torch.inference_mode():
            device = next(network.parameters()).device
            x = torch.from_numpy(tiles).to(device).float().div(255)
            logits = network(x.contiguous(memory_format=torch.channels_last))
            return np.asarray(logits.cpu().numpy(), dtype=np.float64)

    return predict


def score_bag(
    bag: Bag, predict: TilePredictor, p: float = POWER, tiles: int | None = None, seed: int = 0
) -> BagScore:
    """Score a bag with limited memory.

    Parameters
    ----------
    bag : Bag
    predict : callable
    p : float
    tiles : int, optional
        Score only this many random tiles; by default all.
    seed : int
        Seed of the random choice.

    Raises
    ------
    DataError
        The network gives no finite logit.
    """
    indices = draw(bag, tiles or len(bag), np.random.default_rng(seed))
    logits = np.concatenate([predict(bag.read(part)) for part in chunks(indices, _CHUNK)])
    if not np.isfinite(logits).all():
        raise DataError(
            f"{bag.patient}: the network gives logits that are not numbers, so its training "
            "diverged; lower --learning-rate or --clip"
        )
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
    repeats: int = 1000,
) -> RiskScores:
    """Score bags and compare their risks with their outcomes.

    Parameters
    ----------
    bags : iterable of Bag
    labels : mapping of str to int
        For each patient 1 (good) or 0 (poor); bags without a label are ignored.
    predict : callable
    p, threshold : float
        Exponent and threshold of the model.
    tiles : int, optional
        Largest number of random tiles per bag; by default all.
    seed : int
        Seed of the random choice and of the bootstrap.
    repeats : int
        Number of bootstrap samples; 0 for no intervals.

    Raises
    ------
    DataError
        No bag has a label.
    """
    scores = [score_bag(bag, predict, p, tiles, seed) for bag in bags if bag.patient in labels]
    return judge(scores, labels, threshold, seed=seed, repeats=repeats)


def judge(
    scores: Sequence[BagScore],
    labels: Mapping[str, int],
    threshold: ArrayLike = THRESHOLD,
    *,
    seed: int = 0,
    repeats: int = 1000,
) -> RiskScores:
    """Compare risks with outcomes.

    Parameters
    ----------
    scores : sequence of BagScore
        Scores of patients; those without a label are ignored.
    labels : mapping of str to int
        For each patient 1 (good) or 0 (poor).
    threshold : float or (n,) array_like
        t of the model; one for each score if they come from several models.
    seed, repeats : int
        Seed and number of samples of the bootstrap.

    Raises
    ------
    DataError
        No score has a label.
    """
    t = np.broadcast_to(np.asarray(threshold, dtype=np.float64), (len(scores),))
    known = [score.patient in labels for score in scores]
    t, scores = t[np.array(known, dtype=bool)], [s for s, k in zip(scores, known, strict=True) if k]
    if not scores:
        raise DataError("no bag has a label; the table's patients must match the names of the bags")
    r = np.array([score.risk for score in scores])
    poor = np.array([not labels[score.patient] for score in scores])
    good_probability = good_outcome_probability(r, t)
    probability = 1 - good_probability
    high = is_high_risk(r, t)

    def interval(metric: Metric, values: NDArray[Any]) -> Estimate:
        return bootstrap(metric, poor, values, repeats=repeats, seed=seed)

    return RiskScores(
        bags=scores,
        good=int((~poor).sum()),
        poor=int(poor.sum()),
        # Scores that differ only by rounding are ties; otherwise a collapsed network could have an
        # AUC.
        auc=interval(auc, score_ranks(log_odds(r))),
        accuracy=interval(accuracy, high),
        sensitivity=interval(sensitivity, high),
        specificity=interval(specificity, high),
        brier=interval(brier, probability),
        calibration_slope=interval(calibration_slope, probability),
        calibration_intercept=interval(calibration_intercept, probability),
        cross_entropy=cross_entropy(~poor, good_probability),
        calibration=calibration_groups(poor, probability),
    )


def c_index(
    scores: Sequence[BagScore],
    follow_up: Mapping[str, tuple[float, int]],
    *,
    seed: int = 0,
    repeats: int = 1000,
) -> tuple[Estimate | None, int]:
    """Harrell's C of risks, and the number of patients with follow-up.

    Parameters
    ----------
    scores : sequence of BagScore
        Scores of patients; those without follow-up are ignored.
    follow_up : mapping of str to (float, int)
        Years, and event (1 or 0).
    seed, repeats : int
        Seed and number of samples of the bootstrap.

    Returns
    -------
    c_index : Estimate or None
        None if no patient with follow-up had an event.
    followed : int
    """
    followed = [score for score in scores if score.patient in follow_up]
    times = np.array([follow_up[score.patient][0] for score in followed])
    events = np.array([bool(follow_up[score.patient][1]) for score in followed])
    if not events.any():
        return None, len(followed)
    ranks = score_ranks(log_odds([score.risk for score in followed]))
    return bootstrap(concordance, times, events, ranks, repeats=repeats, seed=seed), len(followed)


def without_nan(content: Any) -> Any:
    """Replace every NaN and infinity in dicts and lists by None, since JSON has neither."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content
