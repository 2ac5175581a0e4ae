import pytest
import torch

from qupath_hccmil.nuclei.dice_loss import dice_loss, heat_map_loss


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


def test_cross_entropy_is_added_to_the_dice_loss():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 4).round()
    dice = dice_loss(torch.sigmoid(logits), target)
    pixels = -torch.log(torch.where(target > 0, torch.sigmoid(logits), torch.sigmoid(-logits)))
    torch.testing.assert_close(heat_map_loss(logits, target, 0, 0), dice)
    torch.testing.assert_close(heat_map_loss(logits, target, 0.5, 0), dice + 0.5 * pixels.mean())
    focal = ((1 - torch.exp(-pixels)) ** 2 * pixels).mean()
    torch.testing.assert_close(heat_map_loss(logits, target, 1, 2), dice + focal)
