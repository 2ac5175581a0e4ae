"""The Dice loss of the nuclei network, as published."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-8


def dice_loss(probability: Tensor, target: Tensor, epsilon: float = EPSILON) -> Tensor:
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
    Liu et al. 2021 (arXiv 2106.00090). The paper doesn't say over what the sums run. They run over
    the batch here: a crop without a single nucleus has no Dice of its own, but its false
    positives count in the sum.
    """
    overlap = (probability * target).sum()
    return 1 - 2 * (overlap + epsilon) / (probability.sum() + target.sum() + epsilon)
