"""The differentiable signed mean equals the one in numpy, and its gradient is finite."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qupath_hccmil.method.aggregation import slide_logit
from qupath_hccmil.mil import aggregation_torch

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=30)


@given(LOGITS, st.sampled_from([1.0, 2.0, 3.0, 5.0]))
def test_torch_agrees_with_numpy(logits, p):
    found = aggregation_torch.slide_logit(torch.tensor(logits, dtype=torch.double), p)
    assert float(found) == pytest.approx(slide_logit(logits, p), rel=1e-9, abs=1e-12)


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
