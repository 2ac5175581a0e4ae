"""The gradient of a whole bag, with memory for only one chunk of its tiles."""

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
    """Add the gradient of the loss of a bag to that of the parameters, chunk by chunk.

    Parameters
    ----------
    forward : callable
        Maps a chunk to its tile logits ``(k,)``. It is called twice for each chunk and must give
        the same result both times, including dropout.
    parts : sequence
        The chunks of the bag, at least one.
    loss : callable
        Maps all tile logits ``(n,)`` to a scalar.
    scale : callable
        Scales the loss before the gradient is computed, as needed for float16.

    Returns
    -------
    Tensor
        The unscaled loss, a scalar without graph.

    Notes
    -----
    The first pass, without a graph, gives all logits and from them ``dloss/ds`` for each tile,
    which does not need the network. By the chain rule, the second pass can then propagate back from
    each chunk separately, with the values for its tiles. The sum is the gradient of the whole bag,
    while the activations of only one chunk are in memory. A bag with one chunk needs one pass.
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
