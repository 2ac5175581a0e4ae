"""Threshold and temperature from held-out patients."""

import numpy as np
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import good_outcome_probability, risk
from qupath_hccmil.method.published_numbers import THRESHOLD
from qupath_hccmil.mil.metrics import cross_entropy
from qupath_hccmil.mil.threshold_and_temperature import (
    COOLEST,
    HOTTEST,
    Decision,
    DecisionRule,
    decide,
)

DERIVE = DecisionRule(derive_threshold=True)
FIT = DecisionRule(fit_temperature=True)


def patients(temperature, n=4000, seed=0):
    """Patients whose outcomes follow their risks at a temperature."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, n)
    good = rng.random(n) < good_outcome_probability(risk(true))
    return true * temperature, good


def test_nothing_is_derived_unless_asked_for():
    assert decide(np.array([1.0, 2.0]), np.array([True, True]), DecisionRule()) == Decision()
    assert Decision() == Decision(THRESHOLD, 1.0)


def test_threshold_is_youdens_between_two_patients():
    logits = np.array([-2.0, -1.0, 0.5, 1.5, 3.0])
    good = np.array([True, True, False, True, False])
    # sensitivity + specificity: 1 + 2/3 at -0.25; all other cuts are lower.
    found = decide(logits, good, DERIVE)
    assert found.threshold == pytest.approx(float(risk(-0.25)))
    assert found.temperature == 1


def test_of_equal_cuts_the_nearest_to_the_threshold_as_it_was():
    logits = np.array([-3.0, -1.0, 1.0, 3.0])
    good = np.array([True, False, True, False])
    low = decide(logits, good, DERIVE, threshold=0.1)
    high = decide(logits, good, DERIVE, threshold=0.9)
    assert (low.threshold, high.threshold) == pytest.approx((float(risk(-2)), float(risk(2))))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_found_again(temperature):
    logits, good = patients(temperature)
    found = decide(logits, good, FIT)
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    assert found.threshold == THRESHOLD

    # No temperature beside it is better.
    def loss(t):
        return cross_entropy(good, good_outcome_probability(risk(logits / t)))

    assert loss(found.temperature) <= min(
        loss(0.98 * found.temperature), loss(1.02 * found.temperature)
    )


def test_temperature_leaves_the_derived_groups_alone():
    logits, good = patients(2.0, n=300, seed=4)
    alone = decide(logits, good, DERIVE)
    both = decide(logits, good, DecisionRule(True, True))
    assert both.temperature != 1
    high = risk(logits) > alone.threshold
    np.testing.assert_array_equal(risk(logits / both.temperature) > both.threshold, high)


def test_temperature_stays_in_its_range_where_patients_are_told_apart_without_error():
    logits = np.array([-1.0, -0.5, 0.5, 1.0])
    found = decide(logits, logits < 0, FIT)
    assert COOLEST <= found.temperature <= HOTTEST


def test_needs_both_outcomes():
    with pytest.raises(DataError, match="both outcomes"):
        decide(np.array([1.0, 2.0]), np.array([True, True]), FIT)


@pytest.mark.parametrize("rule", [DecisionRule(), DERIVE, FIT, DecisionRule(True, True)])
@pytest.mark.parametrize("rounding", [0, 1e-5])
def test_from_scores_that_differ_by_rounding_alone_nothing_is_derived(rule, rounding):
    logits = 0.3 + rounding * np.array([1.0, -1.0, -0.3, 0.7])
    found = decide(logits, np.array([True, False, True, False]), rule, threshold=0.4)
    assert found == Decision(0.4, 1.0, collapsed=True)


def test_no_cut_runs_between_scores_that_differ_by_rounding_alone():
    # Youden's J would be 1 between the two patients that rounding parts.
    logits = np.array([-1.0, 0.5, 0.5 + 1e-5, 2.0])
    good = np.array([True, True, False, False])
    found = decide(logits, good, DERIVE)
    assert found.threshold == pytest.approx(float(risk(-0.25)), abs=1e-5)
    assert not found.collapsed


@pytest.mark.parametrize("fit", [True, False])
def test_a_cut_stays_where_it_is_for_every_temperature(fit):
    logits = np.array([-2.0, -1.5, 0.5, 1.0, 2.5, 3.0])
    good = np.array([True, True, False, True, False, False])
    found = decide(logits, good, DecisionRule(fit_temperature=fit), cut=0.75)
    assert (found.temperature == 1) == (not fit)
    assert found.threshold == pytest.approx(float(risk(0.75 / found.temperature)))
    # What is derived comes before what is given.
    derived = decide(logits, good, DecisionRule(derive_threshold=True), cut=2.9)
    assert derived == decide(logits, good, DecisionRule(derive_threshold=True))
