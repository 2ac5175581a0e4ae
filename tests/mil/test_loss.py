import math

import pytest
import torch

from qupath_hccmil.method.aggregation import good_outcome_probability, risk, slide_logit
from qupath_hccmil.mil.outcome_loss import bag_loss, weight_penalty
from qupath_hccmil.mil.tile_network import TileNetwork

LOGITS = [0.3, -0.2, 1.4]


@pytest.mark.parametrize("good", [0, 1])
@pytest.mark.parametrize("logits", [LOGITS, [-0.1, -0.3], [-0.2, -4.0], [6.0, 2.0]])
def test_is_the_cross_entropy_of_the_outcome(good, logits):
    probability = float(good_outcome_probability(risk(slide_logit(logits))))
    expected = -math.log(probability if good else 1 - probability)
    found = bag_loss(torch.tensor(logits, dtype=torch.double), good)
    assert float(found) == pytest.approx(expected)


@pytest.mark.parametrize("good", [0, 1])
def test_gradient_is_right(good):
    s = torch.tensor(LOGITS, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: bag_loss(x, good), (s,))


@pytest.mark.parametrize("logit", [-200.0, 0.0, 200.0])
def test_gradient_is_finite_for_extreme_logits(logit):
    for good in (0, 1):
        s = torch.full((3,), logit, requires_grad=True)
        bag_loss(s, good).backward()
        assert torch.isfinite(s.grad).all()
        # A bag that is quite wrong is never given up.
        assert s.grad.abs().sum() > 0.4 or (logit < 0) == bool(good) or logit == 0


def test_a_poor_outcome_pushes_logits_up():
    s = torch.tensor(LOGITS, requires_grad=True)
    bag_loss(s, good=0).backward()
    assert (s.grad <= 0).all()


def test_penalty_counts_the_output_layer():
    network = TileNetwork()
    layer = network.mobilenet.classifier[1]
    torch.nn.init.constant_(layer.weight, 0.5)
    assert float(weight_penalty(network).detach()) == pytest.approx(0.02 * 0.25 * 1280)


def test_penalty_over_all_weights_leaves_biases_and_normalisation_alone():
    network = TileNetwork()
    expected = sum(
        float((p.detach().double() ** 2).sum())
        for name, p in network.named_parameters()
        if name.endswith("weight") and p.dim() > 1
    )
    found = weight_penalty(network, alpha=1.0, penalised="all weights")
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)
