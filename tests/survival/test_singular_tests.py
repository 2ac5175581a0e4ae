"""Groups that cannot all be compared: degrees of freedom, and what is said without any."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.report.build import build_report
from qupath_hccmil.survival.statistics.gray_test import gray_test
from qupath_hccmil.survival.statistics.kaplan_meier import log_rank
from qupath_hccmil.survival.statistics.log_rank_tests import (
    pairwise_tests,
    trend_test,
    weighted_tests,
)
from qupath_hccmil.survival.statistics.score_test import NO_COMPARISON
from tests.survival.conftest import made_cohort
from tests.survival.test_output import analysed
from tests.survival.test_r_script import reproduced


def frame_of(time, event, group, entry=None) -> pd.DataFrame:
    frame = pd.DataFrame({"time": np.array(time, float), "event": event, "g": list(group)})
    return frame if entry is None else frame.assign(entry_time=np.array(entry, float))


@pytest.fixture
def gone_early() -> pd.DataFrame:
    """Two groups, and one that is censored before the first event."""
    return frame_of(
        [3, 5, 4, 6, 7, 2, 4.5, 8, 1, 0.5, 1.5], [1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0], "aaaabbbbccc"
    )


@pytest.fixture
def in_turn() -> pd.DataFrame:
    """Groups a and b, and after them c and d, who enter when a and b are gone."""
    return frame_of(
        [1, 3, 2, 4, 11, 13, 14, 15], [1, 1, 1, 1, 1, 1, 1, 1], "aabbccdd", [0] * 4 + [10] * 4
    )


def test_a_group_that_is_gone_before_the_first_event_costs_its_degree_of_freedom(gone_early):
    two = gone_early[gone_early["g"] != "c"]
    found, truth = log_rank(gone_early, "g"), log_rank(two, "g")
    assert (found.degrees_of_freedom, found.note) == (1, "")
    assert found.statistic == pytest.approx(truth.statistic)
    assert found.p == pytest.approx(truth.p)
    both, few = weighted_tests(gone_early, "g"), weighted_tests(two, "g")
    assert (both["degrees_of_freedom"] == 1).all()
    np.testing.assert_allclose(both["p"], few["p"])
    causes = {1: "event"}
    gray, less = gray_test(gone_early, causes, "g"), gray_test(two, causes, "g")
    assert gray["degrees_of_freedom"].tolist() == [1]
    assert gray["p"].tolist() == pytest.approx(less["p"].tolist())
    pairs = pairwise_tests(gone_early, "g").set_index(["group", "reference"])["p_holm"]
    assert np.isfinite(pairs[("b", "a")])
    assert pairs[[("c", "a"), ("c", "b")]].isna().all()


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is absent")
def test_the_degrees_of_freedom_are_those_of_survdiff(gone_early, tmp_path):
    gone_early.to_csv(tmp_path / "d.csv", index=False)
    told = subprocess.run(
        ["Rscript", "-e", "library(survival); d <- read.csv('d.csv'); "
         "f <- survdiff(Surv(time, event) ~ g, d); cat(f$chisq, sum(f$exp > 0) - 1)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    found = log_rank(gone_early, "g")
    assert found.statistic == pytest.approx(float(told[0]), rel=1e-5)
    assert found.degrees_of_freedom == int(told[1])


def test_groups_that_never_meet_are_compared_with_those_they_meet(in_turn):
    parts = [log_rank(in_turn[in_turn["g"].isin(list(pair))], "g") for pair in ("ab", "cd")]
    found = log_rank(in_turn, "g")
    assert found.degrees_of_freedom == 2
    assert found.statistic == pytest.approx(sum(part.statistic for part in parts))
    # The same in strata, where the groups of one are not those of the other.
    layered = in_turn.assign(layer=[0] * 4 + [1] * 4).drop(columns="entry_time")
    assert log_rank(layered, "g", strata="layer").degrees_of_freedom == 2


def test_where_no_groups_meet_there_is_no_test(in_turn):
    alone = in_turn[in_turn["g"].isin(["a", "c"])]
    found = log_rank(alone, "g")
    assert (found.degrees_of_freedom, found.note) == (0, NO_COMPARISON)
    assert np.isnan([found.statistic, found.p]).all()
    assert weighted_tests(alone, "g")[["statistic", "p"]].isna().all(axis=None)
    stratified = frame_of([1, 3, 2, 4], [1, 1, 1, 1], "aabb").assign(layer=[0, 0, 1, 1])
    assert log_rank(stratified, "g", strata="layer").note == NO_COMPARISON
    three = frame_of([1, 2, 11, 12, 21, 22], [1] * 6, "aabbcc", [0, 0, 10, 10, 20, 20])
    assert trend_test(three, "g").note == NO_COMPARISON
    assert pairwise_tests(three, "g")["p_holm"].isna().all()


def test_late_weights_say_nothing_of_a_single_time_of_events():
    frame = frame_of([1, 1, 2, 3, 4, 5], [1, 0, 0, 0, 0, 0], "abaabb")
    found = weighted_tests(frame, "g").set_index("test")
    assert found.loc["Log-rank", "degrees_of_freedom"] == 1
    assert found.loc["Fleming–Harrington (0, 1)", "degrees_of_freedom"] == 0
    assert np.isnan(found.loc["Fleming–Harrington (0, 1)", "p"])


def test_a_report_says_where_groups_cannot_be_compared(tmp_path):
    frame = made_cohort(90)
    low = frame["risk_score"] < frame["risk_score"].quantile(1 / 3)
    frame.loc[low, "rfs_event"] = 0
    frame.loc[low, "rfs_days"] = 1
    found = analysed(tmp_path / "in", frame, cut="tertiles")
    tables = {table.key: table for table in build_report(found).tables()}
    assert "on 1 degree of freedom" in tables["medians"].note
    assert NO_COMPARISON in tables["log_rank_pairwise"].note
    pairs, _ = reproduced(write_analysis(found, tmp_path / "out").parent)
    assert {"log_rank_weighted", "log_rank_pairwise"} <= set(pairs["table"])
