import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qupath_hccmil.method.aggregation import (
    contributions,
    good_outcome_probability,
    is_high_risk,
    risk,
    slide_logit,
)
from qupath_hccmil.method.published_numbers import THRESHOLD
from qupath_hccmil.mil import aggregation_torch

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=30)


def test_is_the_cubic_mean_with_sign():
    assert slide_logit([1.0, -2.0, 3.0]) == pytest.approx(((1 - 8 + 27) / 3) ** (1 / 3))
    assert slide_logit([-1.0, -2.0]) == pytest.approx(-((9 / 2) ** (1 / 3)))
    assert slide_logit([2.0, -2.0]) == 0
    assert slide_logit([0.7] * 5) == pytest.approx(0.7)


@given(LOGITS)
def test_contributions_reproduce_the_slide(logits):
    m = contributions(logits).sum()
    assert np.cbrt(m) == pytest.approx(slide_logit(logits), abs=1e-9)


@given(LOGITS, st.sampled_from([1.0, 2.0, 3.0, 5.0]))
def test_torch_agrees_with_numpy(logits, p):
    found = aggregation_torch.slide_logit(torch.tensor(logits, dtype=torch.double), p)
    assert float(found) == pytest.approx(slide_logit(logits, p), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("logits", [[], [[1.0]], [float("nan")], [1.0, float("inf")]])
def test_refuses_what_has_no_mean(logits):
    with pytest.raises(ValueError, match="tile logits"):
        slide_logit(logits)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_gradient_is_exact_away_from_cancellation(p):
    torch.manual_seed(1)
    s = (torch.randn(9, dtype=torch.double) + 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: aggregation_torch.slide_logit(x, p), (s,))


@given(LOGITS)
def test_gradient_is_the_published_formulas(logits):
    s = torch.tensor(logits, dtype=torch.double, requires_grad=True)
    aggregation_torch.slide_logit(s).backward()
    m, powers = np.mean(np.power(logits, 3)), np.mean(np.abs(logits) ** 3)
    if powers > 1e-12 and abs(m) > aggregation_torch.CANCELLATION * powers:
        expected = np.square(logits) / len(logits) * abs(m) ** (-2 / 3)
        # the smallest numbers have no digits to compare
        np.testing.assert_allclose(s.grad.numpy(), expected, rtol=1e-9, atol=1e-300)


def test_gradient_of_one_tile_is_exact_at_zero_too():
    s = torch.zeros(1, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(aggregation_torch.slide_logit, (s,))


@pytest.mark.parametrize(
    "logits", [[0.0, 0.0], [1.0, -1.0], [1e-30, -1e-30], [5.0, 0.0, -5.0], [1e-8, -2e-8, 1e-8]]
)
def test_gradient_is_finite_where_the_mean_vanishes(logits):
    s = torch.tensor(logits, requires_grad=True)
    aggregation_torch.slide_logit(s).backward()
    assert torch.isfinite(s.grad).all()
    assert (s.grad >= 0).all()


def test_gradient_at_zero_is_that_of_equal_tiles():
    s = torch.zeros(4, requires_grad=True)
    aggregation_torch.slide_logit(s).backward()
    assert s.grad.tolist() == [0.25] * 4


def test_probability_of_a_good_outcome_has_the_published_corners():
    t = THRESHOLD
    assert good_outcome_probability([0.0, t, 1.0]).tolist() == pytest.approx([1, 0.5, 0])
    assert float(good_outcome_probability(0.2)) == pytest.approx(((t - 0.2) / t + 1) * 0.5)
    assert float(good_outcome_probability(0.7)) == pytest.approx((1 - (0.7 - t) / (1 - t)) * 0.5)


def test_risk_is_a_sigmoid_without_overflow():
    np.testing.assert_allclose(risk([-1000.0, 0.0, 1000.0]), [0, 0.5, 1])
    assert float(risk(1.3)) == pytest.approx(1 / (1 + np.exp(-1.3)))


def test_high_risk_is_above_the_threshold():
    assert is_high_risk([0.4456, 0.4457, 0.4458]).tolist() == [False, False, True]
