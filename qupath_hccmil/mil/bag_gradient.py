"""The gradient of a whole bag in the memory of one chunk of its tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")


def backward_by_chunks(
    forward: Callable[[Part], Tensor],
    parts: Sequence[Part],
    loss: Callable[[Tensor], Tensor],
    scale: Callable[[Tensor], Tensor] = lambda value: value,
) -> Tensor:
    """Add the gradient of a bag's loss to the parameters', chunk by chunk.

    Parameters
    ----------
    forward : callable
        A chunk to its tile logits ``(k,)``. It is called twice for a chunk and must give the same
        both times, dropout included.
    parts : sequence
        The chunks of the bag, at least one.
    loss : callable
        All tile logits ``(n,)`` to a scalar.
    scale : callable
        What the loss is multiplied by before the gradient is taken, as float16 needs.

    Returns
    -------
    Tensor
        The loss, a scalar without graph, not scaled.

    Notes
    -----
    The first pass, without a graph, gives every logit, and with them ``dloss/ds`` of each tile,
    which needs no network. By the chain rule the second pass may then go back from each chunk
    alone, with its tiles' share: the sum is the gradient of the whole bag, and the activations of
    one chunk at a time are in memory. A bag of one chunk needs one pass.
    """
    if len(parts) == 1:
        value = loss(forward(parts[0]))
        scale(value).backward()
        return value.detach()
    with torch.no_grad():
        pieces = [forward(part) for part in parts]
    logits = torch.cat(pieces).requires_grad_()
    value = loss(logits)
    (slope,) = torch.autograd.grad(scale(value), logits)
    for part, own in zip(parts, slope.split([len(piece) for piece in pieces]), strict=True):
        forward(part).backward(own)
    return value.detach()
