"""C and AUC(t): R's numbers, scikit-survival's, orientation, ties, and the odd cohorts."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.survival.statistics.auc import auc_over_time
from qupath_hccmil.survival.statistics.c_index import harrell, uno
from qupath_hccmil.survival.statistics.discrimination import (
    CLINICAL,
    COMBINED,
    HARRELL,
    SCORE,
    discrimination,
)
from qupath_hccmil.survival.statistics.variables import Variable
from tests.survival.frozen import frozen, frozen_at

MARKERS = [
    ("gbsg2", ["score", "tsize"], ["score", "tsize"]),
    ("tcga", ["score", "age"], ["score", "age"]),
    ("rossi", ["score", "younger"], ["score", "age"]),
]


@pytest.mark.parametrize("name", ["rossi", "gbsg2", "tcga"])
def test_c_is_that_of_r(frame_of, name):
    frame = frame_of(name)
    assert harrell(frame, "score") == pytest.approx(frozen(name, "harrell")["c"].iloc[0], abs=1e-12)
    for tau, row in frozen_at(name, "uno").iterrows():
        assert uno(frame, "score", tau) == pytest.approx(row["c"], abs=1e-12)


def test_harrells_c_is_that_of_scikit_survival(gbsg2):
    from sksurv.metrics import concordance_index_censored

    theirs = concordance_index_censored(gbsg2["event"] == 1, gbsg2["time"], gbsg2["score"])
    assert harrell(gbsg2, "score") == pytest.approx(theirs[0], abs=1e-12)


@pytest.mark.parametrize(("name", "ours", "theirs"), MARKERS)
def test_auc_and_its_interval_are_those_of_riskregression(frame_of, name, ours, theirs):
    frame = frame_of(name).dropna(subset=ours)
    times = frozen_at(name, f"auc-{theirs[0]}").index.tolist()
    found = auc_over_time(frame, ours, times)
    for marker, key in zip(ours, theirs, strict=True):
        truth = frozen_at(name, f"auc-{key}")
        table = found.table[found.table["marker"] == marker]
        np.testing.assert_allclose(table["auc"], truth["auc"], atol=1e-9)
        for column in ("se", "lower", "upper"):
            np.testing.assert_allclose(table[column], truth[column], atol=1e-6)
    truth = frozen_at(name, "auc-difference")
    gap = found.differences
    np.testing.assert_allclose(gap["difference"], -truth["delta"], atol=1e-9)
    np.testing.assert_allclose(gap["lower"], -truth["upper"], atol=1e-6)
    # The p-value magnifies the 1e-7 in which the standard errors differ.
    np.testing.assert_allclose(gap["p"], truth["p"], rtol=1e-4)


def test_auc_is_that_of_scikit_survival_without_ties(gbsg2):
    from sksurv.metrics import cumulative_dynamic_auc
    from sksurv.util import Surv

    count = np.arange(len(gbsg2))
    # scikit-survival takes scores that differ by less than 1e-8 for tied.
    frame = gbsg2.assign(time=gbsg2["time"] + count * 1e-9, score=gbsg2["score"] + count * 1e-6)
    truth = Surv.from_arrays(frame["event"] == 1, frame["time"])
    theirs, _ = cumulative_dynamic_auc(truth, truth, frame["score"], [1.0, 3.0, 5.0])
    ours = auc_over_time(frame, ["score"], [1.0, 3.0, 5.0]).table["auc"]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_a_reversed_score_mirrors_everything(gbsg2):
    back = gbsg2.assign(score=-gbsg2["score"])
    assert harrell(back, "score") == pytest.approx(1 - harrell(gbsg2, "score"))
    assert uno(back, "score", 5) == pytest.approx(1 - uno(gbsg2, "score", 5))
    ahead = auc_over_time(gbsg2, ["score"], [3.0]).table["auc"].iloc[0]
    assert auc_over_time(back, ["score"], [3.0]).table["auc"].iloc[0] == pytest.approx(1 - ahead)
    assert ahead > 0.5


def test_a_constant_score_is_worth_one_half(gbsg2):
    flat = gbsg2.assign(score=0.3)
    assert harrell(flat, "score") == 0.5
    assert uno(flat, "score", 5) == 0.5
    assert auc_over_time(flat, ["score"], [3.0]).table["auc"].iloc[0] == pytest.approx(0.5)


def test_a_perfect_score_is_worth_one(gbsg2):
    distinct = gbsg2["time"] + np.arange(len(gbsg2)) * 1e-9
    perfect = gbsg2.assign(time=distinct, score=-distinct)
    assert harrell(perfect, "score") == 1
    assert uno(perfect, "score", 5) == pytest.approx(1)
    row = auc_over_time(perfect, ["score"], [3.0]).table.iloc[0]
    assert row["auc"] == pytest.approx(1)
    assert row["se"] == 0
    assert np.isnan(row["upper"])


def test_ties_in_time_count_as_r_counts_them():
    # Two events at one time are no pair; a censoring at the time of an event outlives it.
    frame = pd.DataFrame({"time": [1.0, 1.0, 1.0], "event": [1, 1, 0], "score": [3.0, 2.0, 1.0]})
    assert harrell(frame, "score") == 1
    assert harrell(frame.assign(score=[1.0, 2.0, 3.0]), "score") == 0


def test_without_events_there_is_no_c():
    frame = pd.DataFrame({"time": [1.0, 2.0], "event": 0, "score": [1.0, 2.0]})
    assert np.isnan(harrell(frame, "score"))


def test_a_horizon_without_controls_has_no_auc(gbsg2):
    row = auc_over_time(gbsg2, ["score"], [99.0]).table.iloc[0]
    assert np.isnan(row["auc"])
    assert row["note"] == "there is no case or no control at this time"


def test_bands_hold_the_intervals(gbsg2):
    table = auc_over_time(gbsg2, ["score"], [1.0, 2.0, 3.0, 4.0]).table
    assert (table["band_lower"] < table["lower"]).all()
    assert (table["band_upper"] > table["upper"]).all()


def test_standard_error_is_that_of_the_bootstrap(gbsg2):
    rng = np.random.default_rng(1)
    drawn = [
        auc_over_time(gbsg2.iloc[rng.integers(0, len(gbsg2), len(gbsg2))], ["score"], [3.0])
        .table["auc"]
        .iloc[0]
        for _ in range(150)
    ]
    formula = auc_over_time(gbsg2, ["score"], [3.0]).table["se"].iloc[0]
    assert np.std(drawn) == pytest.approx(formula, rel=0.2)


@pytest.fixture(scope="module")
def found(gbsg2):
    clinical = [Variable("tgrade", "categorical", ("I", "II", "III")), Variable("age", "numeric")]
    return discrimination(gbsg2, "score", clinical, 5.0, repeats=40, seed=1)


def test_discrimination_compares_the_score_with_the_clinical_model(found, gbsg2):
    table = found.table.set_index(["model", "statistic"])
    assert table.loc[(SCORE, HARRELL), "estimate"] == pytest.approx(harrell(gbsg2, "score"))
    assert table.loc[(SCORE, HARRELL), "optimism"] == 0
    assert table.loc[(CLINICAL, HARRELL), "optimism"] > 0
    assert table.loc[(COMBINED, HARRELL), "estimate"] > table.loc[(CLINICAL, HARRELL), "estimate"]
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()
    gain = found.differences.iloc[0]
    assert gain["lower"] < gain["difference"] < gain["upper"]


def test_bootstrap_is_repeatable_and_can_be_left_out(gbsg2):
    twice = [discrimination(gbsg2, "score", [], 5.0, repeats=5, seed=4).table for _ in range(2)]
    pd.testing.assert_frame_equal(*twice)
    none = discrimination(gbsg2, "score", [], 5.0, repeats=0).table
    assert none["lower"].isna().all()
