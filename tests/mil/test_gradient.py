"""The gradient by chunks is that of the whole bag, and its memory that of a chunk."""

import numpy as np
import pytest
import torch
from torch import nn

from qupath_hccmil.mil.bag_gradient import backward_by_chunks
from qupath_hccmil.mil.outcome_loss import bag_loss
from qupath_hccmil.mil.tile_network import TileNetwork


def gradients(module):
    return torch.cat([parameter.grad.flatten() for parameter in module.parameters()])


@pytest.mark.parametrize("good", [0, 1])
@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_is_the_gradient_of_the_whole_bag(good, chunk):
    torch.manual_seed(0)
    network = TileNetwork().double().eval()
    tiles = torch.rand(11, 4, 32, 32, dtype=torch.double)
    expected = bag_loss(network(tiles), good)
    expected.backward()
    expected = expected.detach()
    whole = gradients(network)
    network.zero_grad()
    loss = backward_by_chunks(network, tiles.split(chunk), lambda s: bag_loss(s, good))
    assert float(loss) == pytest.approx(float(expected))
    torch.testing.assert_close(gradients(network), whole, rtol=1e-5, atol=1e-9)


def test_is_exact_to_1e5_in_single_precision_too():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(x):
        return network(x)[:, 0]

    tiles = torch.rand(500, 3, 4, 4)
    bag_loss(forward(tiles), 1).backward()
    whole = gradients(network)
    network.zero_grad()
    backward_by_chunks(forward, tiles.split(7), lambda s: bag_loss(s, 1))
    torch.testing.assert_close(gradients(network), whole, rtol=1e-5, atol=1e-6)


def test_the_loss_is_told_without_the_scale_and_the_gradient_has_it():
    weight = torch.tensor([2.0], requires_grad=True)
    for parts in ([torch.ones(4)], [torch.ones(2), torch.ones(2)]):
        weight.grad = None
        loss = backward_by_chunks(
            lambda x: x * weight, parts, lambda s: s.mean(), lambda value: value * 8
        )
        assert float(loss) == 2
        assert weight.grad.tolist() == [8]


def test_no_more_than_a_chunk_is_in_memory():
    """A bag of 2,000 chunks: what the graph holds at a time stays that of one."""
    held = {"now": 0, "most": 0}

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.save_for_backward(x, weight)
            if x.requires_grad or weight.requires_grad:
                held["now"] += len(x)
                held["most"] = max(held["most"], held["now"])
            return x @ weight

        @staticmethod
        def backward(ctx, grad):
            x, _ = ctx.saved_tensors
            held["now"] -= len(x)
            return None, x.T @ grad

    weight = torch.ones(3, requires_grad=True)
    parts = np.array_split(np.random.default_rng(0).random((20_000, 3), dtype=np.float32), 2000)

    def forward(part):
        # Without a graph nothing is saved, and autograd says so by grad mode.
        x = torch.from_numpy(part)
        return Counted.apply(x, weight) if torch.is_grad_enabled() else x @ weight

    backward_by_chunks(forward, parts, lambda s: bag_loss(s, 0))
    assert held == {"now": 0, "most": 10}
