"""The loss of the tile network: cross-entropy of a bag's outcome, and a penalty on weights."""

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
    """Binary cross-entropy of one bag on its probability of a good outcome.

    Parameters
    ----------
    tile_logits : (n,) Tensor
    good : int
        1 for a good outcome, 0 for a poor one.
    p, threshold : float
        Of the aggregation.

    Returns
    -------
    Tensor
        Scalar.

    Notes
    -----
    Liu et al. 2021 (arXiv 2106.00090): ``−log p`` or ``−log(1 − p)`` with p the
    `aggregation.good_outcome_probability` of r. Where the bag is on the wrong side of the
    threshold, p is proportional to 1 − r (or 1 − p to r), whose logarithm is taken from the logit:
    in single precision r is 1 beyond a logit of 17, and there would be no gradient to come back.
    """
    logit = slide_logit(tile_logits, p)
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
    """``α Σ w²`` over the weights of the output layer, or of every layer; biases never count.

    Notes
    -----
    The paper doesn't say which weights count. Over all of MobileNetV2 from ImageNet the sum is
    2·10⁵, against a cross-entropy near 0.7: the penalty would be the loss. The output layer is
    what the method adds to MobileNetV2. Of every layer the convolutions and the output layer
    count; the scales of batch normalisation don't, as they are no weights of a neuron.
    """
    if penalised == "output layer":
        weight: Tensor = network.mobilenet.classifier[1].weight
        return alpha * weight.square().sum()
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return alpha * torch.stack([layer.weight.square().sum() for layer in layers]).sum()
