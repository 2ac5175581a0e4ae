"""The suite's own tool: logits moved as by another processor."""

import numpy as np
import pytest
import torch

from qupath_hccmil.mil.tile_network import TileNetwork
from tests.logit_noise import move_logits
from tests.networks import drawn_bags, wired_network


def test_moves_each_logit_by_at_most_so_much_always_the_same_and_no_gradient(monkeypatch):
    network = wired_network(0.001)
    tiles = torch.from_numpy(np.concatenate([bag.tiles for bag in drawn_bags(4)[0]])).float() / 255

    def gradient():
        network.zero_grad()
        network(tiles).sum().backward()
        return network.mobilenet.classifier[1].weight.grad.clone()

    exact, slope = network(tiles).detach(), gradient()
    # Whatever moves logits by an option of this run is moved further, and put back.
    monkeypatch.setattr(TileNetwork, "forward", TileNetwork.forward)
    move_logits(1e-3)
    moved = network(tiles).detach()
    assert torch.equal(network(tiles).detach(), moved)
    assert 0.0009 < float((moved - exact).abs().max()) < 0.001 + 1e-6
    assert float((moved - exact).min()) < 0 < float((moved - exact).max())
    assert torch.equal(gradient(), slope)


@pytest.mark.parametrize("most", [1e-5, -1e-5])
def test_scores_moved_by_rounding_are_still_one_score(monkeypatch, most):
    from qupath_hccmil.mil.metrics import score_ranks
    from qupath_hccmil.mil.risk_evaluation import score_bag, torch_tile_predictor

    monkeypatch.setattr(TileNetwork, "forward", TileNetwork.forward)
    move_logits(most)
    predict = torch_tile_predictor(wired_network())
    scores = [score_bag(bag, predict).logit for bag in drawn_bags(4)[0]]
    assert set(score_ranks(scores).tolist()) == {0}
