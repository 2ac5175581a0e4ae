"""Loss of the tile network: cross-entropy of the outcome of a bag, and a penalty on weights."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from qupath_hccmil.method.published_numbers import POWER, THRESHOLD, WEIGHT_PENALTY
from qupath_hccmil.mil.aggregation_torch import slide_logit
from qupath_hccmil.mil.tile_network import TileNetwork


def bag_loss(
    tile_logits: Tensor, good: int, p: float = POWER, threshold: float = THRESHOLD
) -> Tensor:
    """Loss of a bag, from its tile logits; see :func:`outcome_loss`.

    Parameters
    ----------
    tile_logits : (n,) Tensor
    good : int
        1 for a good outcome, 0 for a poor one.
    p, threshold : float
        Exponent of the aggregation and threshold t.

    Returns
    -------
    Tensor
        Scalar.
    """
    return outcome_loss(slide_logit(tile_logits, p), good, threshold)


def outcome_loss(logit: Tensor, good: int, threshold: float = THRESHOLD) -> Tensor:
    """Binary cross-entropy between the outcome of a bag and its probability of a good outcome.

    Parameters
    ----------
    logit : () Tensor
        S of the bag.
    good : int
        1 for a good outcome, 0 for a poor one.
    threshold : float
        Threshold t.

    Returns
    -------
    Tensor
        Scalar.

    Notes
    -----
    Liu et al. 2021 (arXiv 2106.00090): ``−log p`` or ``−log(1 − p)``, where p is the
    `aggregation.good_outcome_probability` of r. If the bag is on the wrong side of the threshold,
    p is proportional to 1 − r (or 1 − p to r), and its logarithm is computed from the logit: in
    single precision, r is 1 above a logit of 17, and the gradient would vanish.
    """
    r = torch.sigmoid(logit)
    low = float(r.detach()) <= threshold
    if good:
        if low:
            return -torch.log1p(-0.5 * r / threshold)
        return -functional.logsigmoid(-logit) - math.log(0.5 / (1 - threshold))
    if low:
        return -functional.logsigmoid(logit) - math.log(0.5 / threshold)
    return -torch.log1p(-0.5 * (1 - r) / (1 - threshold))


Penalised = Literal["output layer", "all weights"]


def weight_penalty(
    network: TileNetwork, alpha: float = WEIGHT_PENALTY, penalised: Penalised = "output layer"
) -> Tensor:
    """``α Σ w²`` over the weights of the output layer or of every layer, without biases.

    Notes
    -----
    The paper does not say which weights are penalised. Over all weights of MobileNetV2 from
    ImageNet the sum is 2·10⁵, compared with a cross-entropy near 0.7, so the penalty would dominate
    the loss. The output layer is what the method adds to MobileNetV2. "Every layer" means the
    convolutions and the output layer; the scales of batch normalisation are not included.
    """
    if penalised == "output layer":
        weight: Tensor = network.mobilenet.classifier[1].weight
        return alpha * weight.square().sum()
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return alpha * torch.stack([layer.weight.square().sum() for layer in layers]).sum()
