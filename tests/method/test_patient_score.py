"""The rules that join the slides of a patient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qupath_hccmil.method.aggregation import risk, slide_logit
from qupath_hccmil.method.patient_score import (
    PATIENT_RULES,
    patient_logit,
    patient_value,
    rule_of_text,
    rule_text,
)

SLIDES = st.lists(
    st.tuples(st.floats(-900, 900), st.integers(1, 3000)), min_size=1, max_size=5
).map(lambda rows: (np.array([s for s, _ in rows]), np.array([n for _, n in rows])))


def test_the_mean_is_of_risks():
    # The fault: export said 0.269 (low) and survival 0.449 (high) for the same patient.
    r = float(risk(patient_logit("mean", [2, -4], [10, 10])))
    assert r == pytest.approx((1 / (1 + np.exp(-2)) + 1 / (1 + np.exp(4))) / 2, rel=1e-14)
    assert round(r, 3) == 0.449


def test_the_highest_risk_is_that_of_the_highest_logit():
    assert patient_logit("max", [-1, 2], [10, 1]) == 2


@given(st.lists(st.lists(st.floats(-6, 6), min_size=1, max_size=20), min_size=1, max_size=4))
def test_pooling_equals_the_score_of_all_tiles_as_one_slide(slides):
    pooled = patient_logit("pool", [slide_logit(s) for s in slides], [len(s) for s in slides])
    # the cube root is steep at zero, so m is what has to agree
    everything = slide_logit([tile for slide in slides for tile in slide])
    assert pooled**3 == pytest.approx(everything**3, rel=1e-9, abs=1e-9)


@given(SLIDES, st.sampled_from(["mean", "max"]))
def test_risks_alone_give_what_logits_give(slides, rule):
    logits, tiles = slides
    expected = float(risk(patient_logit(rule, logits, tiles)))
    assert patient_value(rule, risk(logits)) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(SLIDES, st.sampled_from(PATIENT_RULES), st.permutations(range(5)))
def test_order_never_shows_and_every_patient_has_a_finite_logit_within_the_slides(
    slides, rule, order
):
    logits, tiles = slides
    found = patient_logit(rule, logits, tiles)
    order = [place for place in order if place < len(logits)]
    assert patient_logit(rule, logits[order], tiles[order]) == found
    slack = 1e-9 * max(1, np.abs(logits).max())
    assert logits.min() - slack <= found <= logits.max() + slack


@pytest.mark.parametrize("rule", PATIENT_RULES)
@pytest.mark.parametrize("logit", [-800.0, -0.7, 0.0, 1 / 3, 800.0])
def test_one_slide_is_the_patient_to_the_last_digit(rule, logit):
    assert patient_logit(rule, [logit], [7]) == logit
    assert patient_logit(rule, [logit, logit], [7, 9]) == logit


def test_saturated_risks_keep_their_logit():
    assert patient_logit("mean", [-800, -802], [1, 1]) == pytest.approx(-800.566, abs=1e-3)
    assert patient_logit("mean", [800, 802], [1, 1]) == pytest.approx(800.566, abs=1e-3)


def test_a_text_begins_with_its_rule():
    assert [rule_of_text(rule_text(rule, 3)) for rule in PATIENT_RULES] == list(PATIENT_RULES)
    assert rule_text("pool", 3).endswith("p=3")
    assert rule_of_text("the surgeon's choice") is None


@pytest.mark.parametrize(
    ("rule", "logits", "tiles", "told"),
    [
        ("median", [1.0], [1], "pool, max, mean"),
        ("max", [], [], "needs slides"),
        ("mean", [np.nan], [1], "finite logit"),
        ("pool", [1.0], [0], "need tiles"),
    ],
)
def test_what_has_no_score_is_refused(rule, logits, tiles, told):
    with pytest.raises(ValueError, match=told):
        patient_logit(rule, logits, tiles)


def test_scores_alone_cannot_be_pooled():
    with pytest.raises(ValueError, match="logits and tiles"):
        patient_value("pool", [0.1])
    with pytest.raises(ValueError, match="finite scores"):
        patient_value("mean", [])
