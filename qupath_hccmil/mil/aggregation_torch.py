"""The torch version of `aggregation.slide_logit`, with a gradient that is finite everywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qupath_hccmil.method.published_numbers import POWER

# In the gradient, |m| is at least this share of mean(|s|^p). This bounds the gradient where tiles
# of opposite sign cancel, is exact elsewhere, and does not depend on the scale of s.
CANCELLATION = 0.01


def slide_logit(tile_logits: Tensor, p: float = POWER) -> Tensor:
    """Signed generalised mean: ``m = mean(sign(s)·|s|^p)``, ``S = sign(m)·|m|^(1/p)``.

    Parameters
    ----------
    tile_logits : (n,) Tensor
    p : float

    Returns
    -------
    Tensor
        Scalar.

    Notes
    -----
    The value follows the published formula everywhere. Its gradient
    ``|s_i|^(p−1)/n · |m|^(1/p − 1)`` is infinite if m = 0 and some s are not 0; there |m| is kept
    at `CANCELLATION` times ``mean(|s|^p)``. If every s is 0, the gradient is 1/n, the limit along
    equal s.
    """
    result: Tensor = _SignedMean.apply(tile_logits, p)
    return result


class _SignedMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s: Tensor, p: float) -> Tensor:
        powers = s.abs() ** p
        mean = (s.sign() * powers).mean()
        ctx.save_for_backward(s, mean, powers.mean())
        ctx.p = p
        return mean.sign() * mean.abs() ** (1 / p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        s, mean, mean_of_powers = ctx.saved_tensors
        if mean_of_powers == 0:
            return grad.expand_as(s) / s.numel(), None
        bounded = torch.maximum(mean.abs(), CANCELLATION * mean_of_powers)
        slope = s.abs() ** (ctx.p - 1) * bounded ** (1 / ctx.p - 1)
        return grad * slope / s.numel(), None
