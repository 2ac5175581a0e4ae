"""The Dice loss of the nuclei network, as published, and combined with cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from qupath_hccmil.method.published_numbers import DICE_EPSILON


def dice_loss(probability: Tensor, target: Tensor, epsilon: float = DICE_EPSILON) -> Tensor:
    """``1 − 2(Σ p·y + ε)/(Σ p + Σ y + ε)``, summed over the whole batch.

    Parameters
    ----------
    probability : Tensor
        Heat map in [0, 1], any shape.
    target : Tensor
        Mask of the same shape, 0 or 1.
    epsilon : float
        Keeps the quotient finite.

    Returns
    -------
    Tensor
        Scalar, 0 for a perfect prediction and near 1 for a useless one.

    Notes
    -----
    Liu et al. 2021 (arXiv 2106.00090). The paper does not say what the sums run over. Here they run
    over the batch: a crop without any nucleus has no Dice of its own, but its false positives count
    in the sum.
    """
    overlap = (probability * target).sum()
    return 1 - 2 * (overlap + epsilon) / (probability.sum() + target.sum() + epsilon)


def heat_map_loss(logits: Tensor, target: Tensor, cross_entropy: float, focus: float) -> Tensor:
    """Dice loss plus `cross_entropy` times the mean binary cross-entropy of a pixel.

    Parameters
    ----------
    logits, target : Tensor
        Logits and mask of the same shape.
    cross_entropy : float
        Weight of the cross-entropy; 0 gives the published loss. Dice alone pushes heat maps to 0
        and 1.
    focus : float
        Exponent γ of the focal loss (Lin et al. 2017), which weights the cross-entropy of a pixel
        by ``(1 − p_t)^γ``, where p_t is the probability of its true class; 0 weights all equally.
    """
    loss = dice_loss(torch.sigmoid(logits), target)
    if cross_entropy:
        pixels = binary_cross_entropy_with_logits(logits, target, reduction="none")
        if focus:
            pixels = (1 - torch.exp(-pixels)) ** focus * pixels
        loss = loss + cross_entropy * pixels.mean()
    return loss
