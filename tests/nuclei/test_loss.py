import pytest
import torch

from qupath_hccmil.nuclei.loss import dice_loss


def test_is_the_published_formula():
    p = torch.tensor([0.9, 0.2, 0.4])
    y = torch.tensor([1.0, 0.0, 1.0])
    expected = 1 - 2 * (0.9 + 0.4 + 1e-8) / (1.5 + 2 + 1e-8)
    assert float(dice_loss(p, y)) == pytest.approx(expected, abs=1e-6)


def test_is_zero_for_a_perfect_prediction():
    y = torch.tensor([1.0, 0.0, 1.0])
    assert float(dice_loss(y, y)) == pytest.approx(0, abs=1e-6)


def test_gradient_is_right():
    p = torch.rand(2, 1, 3, 3, dtype=torch.double, requires_grad=True)
    y = (torch.rand(2, 1, 3, 3) > 0.5).double()
    assert torch.autograd.gradcheck(lambda x: dice_loss(x, y), (p,))
