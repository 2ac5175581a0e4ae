"""Calibration against statsmodels, and what has no value."""

import numpy as np
import pytest
import statsmodels.api as sm

from qupath_hccmil.mil.outcome_calibration import (
    calibration_groups,
    calibration_intercept,
    calibration_slope,
)


def cohort(n=400, seed=0):
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.02, 0.98, n)
    odds = 0.6 * np.log(probability / (1 - probability)) + 0.4
    return rng.random(n) < 1 / (1 + np.exp(-odds)), probability


def test_slope_and_intercept_are_those_of_a_logistic_regression():
    poor, probability = cohort()
    odds = np.log(probability / (1 - probability))
    family = sm.families.Binomial()
    slope = sm.GLM(poor.astype(float), sm.add_constant(odds), family=family).fit().params[1]
    large = sm.GLM(poor.astype(float), np.ones_like(odds), family=family, offset=odds).fit()
    assert calibration_slope(poor, probability) == pytest.approx(slope, abs=1e-6)
    assert calibration_intercept(poor, probability) == pytest.approx(large.params[0], abs=1e-6)


def test_certain_predictions_count_as_nearly_certain():
    poor = np.array([True, False, True, False, True, False])
    probability = np.array([1.0, 0.0, 0.0, 1.0, 0.9, 0.2])
    assert np.isfinite(calibration_slope(poor, probability))


@pytest.mark.parametrize(
    ("poor", "probability"),
    [
        ([True, True], [0.2, 0.4]),
        ([False, True], [0.3, 0.3]),
        ([False, False, True, True], [0.1, 0.2, 0.7, 0.9]),
    ],
    ids=["one outcome", "one prediction", "told apart without error"],
)
def test_a_slope_that_is_not_there_is_no_number(poor, probability):
    assert np.isnan(calibration_slope(np.array(poor), np.array(probability)))


def test_groups_hold_every_patient_once():
    poor, probability = cohort(103)
    groups = calibration_groups(poor, probability)
    assert len(groups) == 5
    assert sum(g.patients for g in groups) == 103
    assert sum(g.poor for g in groups) == poor.sum()
    for group in groups:
        assert 0 <= group.low <= group.observed <= group.high <= 1
    assert [g.predicted for g in groups] == sorted(g.predicted for g in groups)
    assert len(calibration_groups(poor, np.full(103, 0.3))) == 1


def test_interval_of_a_share_is_wilsons():
    (group,) = calibration_groups(np.array([True] * 3 + [False] * 7), np.full(10, 0.5))
    assert (group.low, group.high) == pytest.approx((0.10779, 0.60322), abs=1e-5)
