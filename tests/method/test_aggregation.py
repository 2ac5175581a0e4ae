"""The published method in numpy: the signed mean, the risk and its groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qupath_hccmil.method.aggregation import (
    contributions,
    good_outcome_probability,
    group_name,
    is_high_risk,
    risk,
    slide_logit,
)
from qupath_hccmil.method.published_numbers import THRESHOLD

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


@pytest.mark.parametrize("logits", [[], [[1.0]], [float("nan")], [1.0, float("inf")]])
def test_refuses_what_has_no_mean(logits):
    with pytest.raises(ValueError, match="tile logits"):
        slide_logit(logits)


def test_probability_of_a_good_outcome_has_the_published_corners():
    t = THRESHOLD
    assert t == 0.4457
    assert good_outcome_probability([0.0, t, 1.0]).tolist() == pytest.approx([1, 0.5, 0])
    assert float(good_outcome_probability(0.2)) == pytest.approx(((t - 0.2) / t + 1) * 0.5)
    assert float(good_outcome_probability(0.7)) == pytest.approx((1 - (0.7 - t) / (1 - t)) * 0.5)


def test_risk_is_a_sigmoid_without_overflow():
    assert risk([-800.0, 800.0]).tolist() == [0, 1]  # warnings are errors here
    np.testing.assert_allclose(risk([-1000.0, 0.0, 1000.0]), [0, 0.5, 1])
    assert float(risk(1.3)) == pytest.approx(1 / (1 + np.exp(-1.3)))


def test_high_risk_is_above_the_threshold():
    assert is_high_risk([0.4456, 0.4457, 0.4458]).tolist() == [False, False, True]
    assert [group_name(r, 0.4457) for r in (0.4457, 0.4458)] == ["low", "high"]
