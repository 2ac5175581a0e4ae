"""Kaplan-Meier, medians, log-rank and restricted means: R's numbers, and the odd cohorts."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.kaplan_meier import (
    at_horizons,
    curves,
    follow_up,
    log_rank,
    medians,
)
from qupath_hccmil.survival.statistics.rmst import restricted_means
from tests.survival.frozen import frozen, frozen_at

DATASETS = [("rossi", 50.0), ("gbsg2", 5.0), ("tcga", 3.0)]
TOLERANCE = 1e-9


@pytest.mark.parametrize("name", ["rossi", "gbsg2", "tcga"])
@pytest.mark.parametrize("group", ["overall", "high", "low"])
def test_curve_at_horizons_is_that_of_r(frame_of, name, group):
    frame = frame_of(name)
    frame = frame if group == "overall" else frame[frame["group"] == group]
    truth = frozen_at(name, f"km-{group}")
    found = at_horizons(frame, truth.index.tolist())
    for column in ("survival", "lower", "upper", "at_risk"):
        np.testing.assert_allclose(found[column], truth[column], atol=TOLERANCE)


@pytest.mark.parametrize("name", ["rossi", "gbsg2", "tcga"])
def test_medians_and_follow_up_are_those_of_r(frame_of, name):
    frame = frame_of(name)
    found = medians(frame, "group").set_index("group")
    for group in ("high", "low"):
        truth = frozen(name, f"median-{group}").iloc[0].fillna(np.inf)
        for column in ("median", "lower", "upper"):
            assert found.loc[group, column] == pytest.approx(truth[column], abs=TOLERANCE)
    truth = frozen(name, "median-followup").iloc[0].fillna(np.inf)
    for column, value in truth.items():
        assert follow_up(frame)[column] == pytest.approx(value, abs=TOLERANCE)


@pytest.mark.parametrize("name", ["rossi", "gbsg2", "tcga"])
def test_log_rank_is_that_of_r(frame_of, name):
    truth = frozen(name, "logrank").loc["high"]
    found = log_rank(frame_of(name), "group")
    assert found.statistic == pytest.approx(truth["chisq"], rel=1e-9)
    assert found.p == pytest.approx(truth["p"], rel=1e-6)


def test_log_rank_of_three_groups_and_stratified_is_that_of_r(gbsg2):
    truth = frozen("gbsg2", "logrank").loc["tgrade"]
    found = log_rank(gbsg2, "tgrade")
    assert found.degrees_of_freedom == 2
    assert found.statistic == pytest.approx(truth["chisq"], rel=1e-9)
    truth = frozen("gbsg2", "logrank-stratified").loc["high"]
    found = log_rank(gbsg2, "group", strata="tgrade")
    assert found.statistic == pytest.approx(truth["chisq"], rel=1e-9)
    assert found.p == pytest.approx(truth["p"], rel=1e-6)


def test_log_rank_agrees_with_lifelines(gbsg2):
    from lifelines.statistics import multivariate_logrank_test

    theirs = multivariate_logrank_test(gbsg2["time"], gbsg2["group"], gbsg2["event"])
    assert log_rank(gbsg2, "group").statistic == pytest.approx(theirs.test_statistic, rel=1e-9)


@pytest.mark.parametrize(("name", "tau"), DATASETS)
def test_restricted_mean_is_that_of_r(frame_of, name, tau):
    found = restricted_means(frame_of(name), tau, "group").means.set_index("group")
    for group in ("high", "low"):
        truth = frozen(name, f"rmst-{group}").iloc[0]
        assert found.loc[group, "rmst"] == pytest.approx(truth["rmst"], abs=1e-9)
        assert found.loc[group, "se"] == pytest.approx(truth["se"], abs=1e-9)


def test_restricted_mean_difference_has_the_sign_of_living_longer():
    frame = pd.DataFrame({"time": [1.0, 2, 3, 8, 9, 9], "event": 1, "arm": list("aaabbb")})
    row = restricted_means(frame, 9, "arm").differences.iloc[0]
    assert (row["group"], row["reference"]) == ("b", "a")
    assert row["difference"] > 0
    assert row["difference"] == pytest.approx(26 / 3 - 2)


def test_restricted_mean_past_follow_up_is_refused():
    frame = pd.DataFrame({"time": [1.0, 2.0], "event": [1, 0]})
    with pytest.raises(DataError, match="followed only to 2"):
        restricted_means(frame, 5)


def test_everyone_censored_survives_and_has_no_test():
    frame = pd.DataFrame({"time": [1.0, 2, 3, 4], "event": 0, "arm": list("aabb")})
    assert (curves(frame)["survival"] == 1).all()
    assert medians(frame)["median"].iloc[0] == np.inf
    found = log_rank(frame, "arm")
    assert np.isnan(found.p)
    assert found.note == "no events"


def test_one_patient_has_a_curve_and_one_group_has_no_test():
    frame = pd.DataFrame({"time": [2.0], "event": [1], "arm": ["a"]})
    assert curves(frame)["survival"].tolist() == [1.0, 0.0]
    assert log_rank(frame, "arm").note == "only one group"


def test_survival_past_the_last_follow_up_is_not_known():
    frame = pd.DataFrame({"time": [1.0, 2.0], "event": [1, 0]})
    row = at_horizons(frame, [5.0]).iloc[0]
    assert np.isnan(row["survival"])
    assert row["note"] == "after the last follow-up (2.00)"


def test_events_at_time_zero_count():
    frame = pd.DataFrame({"time": [0.0, 0.0, 1.0, 2.0], "event": [1, 0, 1, 0]})
    assert at_horizons(frame, [0.0])["survival"].iloc[0] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (pd.DataFrame({"time": [1.0], "event": [3]}), "only 0 \\(censored\\) and 1"),
        (pd.DataFrame({"time": [-1.0], "event": [1]}), "not negative"),
        (pd.DataFrame({"time": [np.nan], "event": [1]}), "not negative"),
        (pd.DataFrame({"time": [1.0]}), "no column 'event'"),
        (pd.DataFrame({"time": [], "event": []}), "at least 1"),
    ],
)
def test_a_wrong_outcome_is_named(frame, told):
    with pytest.raises(DataError, match=told):
        curves(frame)


def test_the_median_of_a_curve_that_rests_on_one_half_is_the_middle_of_the_rest():
    frame = pd.DataFrame({"time": [1.0, 2.0, 3.0, 4.0], "event": 1})
    assert medians(frame)["median"].iloc[0] == 2.5


def test_a_curve_at_one_or_zero_has_no_interval():
    table = curves(pd.DataFrame({"time": [1.0, 2.0, 3.0], "event": [0, 1, 1]}))
    assert table["survival"].tolist() == pytest.approx([1, 1, 0.5, 0])
    assert table["lower"].isna().tolist() == [True, True, False, True]
