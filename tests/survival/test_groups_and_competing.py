"""Competing risks, left truncation and variants of the log-rank test: R's numbers on other data.

Developed on ``cgvhd``, ``gbsg2`` and simulations; compared on ``flchain`` and ``bmt``.
"""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.auc import auc_over_time
from qupath_hccmil.survival.statistics.brier import brier_scores
from qupath_hccmil.survival.statistics.competing_risks import cumulative_incidence, incidence_at
from qupath_hccmil.survival.statistics.cox import fit_cox
from qupath_hccmil.survival.statistics.decision_curve import net_benefit
from qupath_hccmil.survival.statistics.fine_gray import cross_fitted_risks, fit_fine_gray
from qupath_hccmil.survival.statistics.gray_test import gray_test
from qupath_hccmil.survival.statistics.horizon_calibration import calibration
from qupath_hccmil.survival.statistics.kaplan_meier import (
    at_horizons,
    curves,
    log_rank,
    medians,
)
from qupath_hccmil.survival.statistics.log_rank_tests import (
    holm,
    pairwise_tests,
    trend_test,
    weighted_tests,
)
from qupath_hccmil.survival.statistics.proportional_hazards import schoenfeld_test
from qupath_hccmil.survival.statistics.survival_outcome import outcome
from qupath_hccmil.survival.statistics.variables import Variable
from tests.survival import datasets
from tests.survival.frozen import frozen, frozen_at

CAUSES = {1: "neoplasm", 2: "other"}
SCORE, SEX, AGE = (
    Variable("score", "numeric"),
    Variable("sex", "categorical", ("F", "M")),
    Variable("age", "numeric"),
)
R_TESTS = {
    "Log-rank": "1",
    "Gehan–Breslow": "n",
    "Tarone–Ware": "sqrtN",
    "Peto–Peto": "S1",
    "Fleming–Harrington (0, 1)": "FH_p=0_q=1",
    "Fleming–Harrington (1, 1)": "FH_p=1_q=1",
}


@pytest.fixture(scope="module")
def everything() -> pd.DataFrame:
    return datasets.flchain()


@pytest.fixture(scope="module")
def plain(everything) -> pd.DataFrame:
    """Without delayed entry."""
    return everything.drop(columns="entry_time")


@pytest.fixture(scope="module")
def untied(plain) -> pd.DataFrame:
    return plain.assign(time=plain["untied"])


@pytest.fixture(scope="module")
def late(everything) -> pd.DataFrame:
    """Age as the time scale: everybody enters late."""
    return everything.assign(time=everything["exit_age"])


def test_weighted_log_rank_tests_are_those_of_r(plain):
    found = weighted_tests(plain, "group").set_index("test")["statistic"]
    truth = frozen("flchain", "weighted")["chisq"]
    for ours, theirs in R_TESTS.items():
        assert found[ours] == pytest.approx(truth[theirs], rel=1e-9)


def test_trend_and_pairs_are_those_of_r(plain):
    truth = frozen("flchain", "trend").iloc[0]
    found = trend_test(plain, "group")
    assert found.statistic == pytest.approx(truth["chisq"], rel=1e-9)
    assert found.p == pytest.approx(truth["p"], rel=1e-7)
    pairs = pairwise_tests(plain, "group")
    for _, row in pairs.iterrows():
        truth = frozen("flchain", "pairs").loc[f"{row['reference']}-{row['group']}"]
        assert row["p"] == pytest.approx(truth["p"], rel=1e-7)
        assert row["p_holm"] == pytest.approx(truth["holm"], rel=1e-7)


def test_strata_go_into_every_variant(plain):
    truth = frozen("flchain", "logrank-by-sex").iloc[0]["chisq"]
    found = weighted_tests(plain, "group", strata="sex").set_index("test")["statistic"]
    assert found["Log-rank"] == pytest.approx(truth, rel=1e-9)


def test_tests_that_are_not_defined_say_so(plain):
    one = plain[plain["group"] == "Q1"]
    with pytest.raises(DataError, match="only one group"):
        weighted_tests(one, "group")
    with pytest.raises(DataError, match="no event"):
        pairwise_tests(plain.assign(event=0), "group")
    assert trend_test(plain[plain["group"] < "Q3"], "group").note == "fewer than three groups"
    assert trend_test(plain.assign(event=0), "group").note == "no events"
    np.testing.assert_allclose(holm(np.array([0.01, np.nan, 0.04])), [0.02, np.nan, 0.04])


def test_late_entry_gives_the_curve_of_r(late):
    truth = frozen_at("flchain", "late-km")
    found = at_horizons(late, truth.index.tolist()).set_index("time")
    for name in ("survival", "lower", "upper"):
        np.testing.assert_allclose(found[name], truth[name], rtol=1e-9)
    # summary.survfit counts those who enter at the very time; they are at risk from just after it.
    entry = late["entry_time"].to_numpy()[:, None]
    entering = (entry == truth.index.to_numpy()).sum(axis=0)
    np.testing.assert_array_equal(found["at_risk"] + entering, truth["at_risk"])
    middle = frozen("flchain", "late-median").iloc[0]
    row = medians(late).iloc[0]
    for name in ("median", "lower", "upper"):
        assert row[name] == pytest.approx(middle[name], rel=1e-9)


def test_late_entry_gives_the_cox_model_of_r(late):
    fit = fit_cox(late, [SCORE, SEX])
    truth = frozen("flchain", "late-cox")
    found = fit.table[~fit.table["reference"]]
    np.testing.assert_allclose(found["coefficient"], truth["coef"].dropna(), atol=1e-7)
    np.testing.assert_allclose(found["se"], truth["se"].dropna(), atol=1e-7)
    assert fit.log_likelihood == pytest.approx(truth["loglik"].dropna().iloc[0], rel=1e-9)
    assert fit.log_likelihood_null == pytest.approx(truth["loglik_null"].dropna().iloc[0], rel=1e-9)
    test = schoenfeld_test(late, fit.variables, fit.coefficients)
    np.testing.assert_allclose(test["statistic"], frozen("flchain", "late-zph")["chisq"], rtol=1e-6)


def test_late_entry_gives_the_log_rank_test_of_r(late):
    apart = late.assign(time=late["time"] + np.arange(1, len(late) + 1) * 1e-5)
    truth = frozen("flchain", "late-logrank").iloc[0]["chisq"]
    assert log_rank(apart, "group").statistic == pytest.approx(truth, rel=1e-6)


def test_late_entry_gives_the_incidence_of_r(late):
    table = cumulative_incidence(late.assign(event=late["cause"]), CAUSES)
    for code, cause in CAUSES.items():
        truth = frozen_at("flchain", f"late-cif-{code}")
        found = incidence_at(table, truth.index.tolist())
        found = found[found["cause"] == cause]
        np.testing.assert_allclose(found["incidence"], truth["cif"], rtol=1e-9)
        # survfit has the infinitesimal jackknife, which is another estimate of the same.
        np.testing.assert_allclose(found["se"], truth["se"], rtol=0.02)


def test_an_entry_of_zero_changes_nothing(plain):
    zero = plain.assign(entry_time=0.0)
    np.testing.assert_allclose(curves(zero)["survival"], curves(plain)["survival"])
    found, truth = (fit_cox(frame, [SCORE]).coefficients for frame in (zero, plain))
    assert found == truth
    one = cumulative_incidence(zero.assign(event=zero["cause"]), CAUSES)
    two = cumulative_incidence(plain.assign(event=plain["cause"]), CAUSES)
    np.testing.assert_allclose(one["incidence"], two["incidence"])


def test_entries_that_cannot_be_are_refused_and_what_has_no_version_too(late):
    with pytest.raises(DataError, match="from 0 to before the time"):
        curves(late.assign(entry_time=late["time"]))
    with pytest.raises(DataError, match="nobody is left at risk"):
        curves(pd.DataFrame({"time": [2.0, 9, 9.5], "event": 1, "entry_time": [1.0, 5, 5]}))
    for refuses in (
        lambda: outcome(late),
        lambda: gray_test(late.assign(event=late["cause"]), CAUSES, "group"),
        lambda: fit_fine_gray(late, [SCORE], "cause"),
        lambda: auc_over_time(late, ["score"], [70.0], cause="cause"),
    ):
        with pytest.raises(DataError, match="patients who enter late"):
            refuses()


@pytest.mark.parametrize("name", ["flchain", "bmt"])
def test_gray_and_incidence_are_those_of_r(name, plain):
    frame = plain.assign(event=plain["cause"]) if name == "flchain" else datasets.bmt()
    test = gray_test(frame, CAUSES, "group")
    truth = frozen(name, "gray")
    np.testing.assert_allclose(test["statistic"], truth["chisq"], rtol=1e-9)
    np.testing.assert_allclose(test["p"], truth["p"], rtol=1e-7, atol=1e-12)
    table = cumulative_incidence(frame, CAUSES)
    for code, cause in CAUSES.items():
        truth = frozen_at(name, f"cuminc-{code}")
        found = incidence_at(table, truth.index.tolist())
        found = found[found["cause"] == cause]
        np.testing.assert_allclose(found["incidence"], truth["cif"], rtol=1e-9)
        np.testing.assert_allclose(found["se"], truth["se"], rtol=1e-9)


def test_gray_test_needs_two_groups_and_events():
    frame = datasets.bmt()
    with pytest.raises(DataError, match="only one group"):
        gray_test(frame.assign(group="x"), CAUSES, "group")
    none = gray_test(frame[frame["event"] != 2], CAUSES, "group")
    assert none["p"].isna().tolist() == [False, True]


def test_fine_gray_is_that_of_r(untied, plain):
    fit = fit_fine_gray(untied, [SCORE, SEX, AGE], "cause")
    truth = frozen("flchain", "crr-untied")
    found = fit.table[~fit.table["reference"]]
    np.testing.assert_allclose(found["coefficient"], truth["coef"].dropna(), atol=1e-7)
    np.testing.assert_allclose(found["se"], truth["se"].dropna(), atol=1e-7)
    assert fit.log_likelihood == pytest.approx(truth["loglik"].dropna().iloc[0], rel=1e-9)
    assert fit.log_likelihood_null == pytest.approx(truth["loglik_null"].dropna().iloc[0], rel=1e-9)
    for time, row in frozen_at("flchain", "crr-risk").iterrows():
        np.testing.assert_allclose(fit.risk(untied.iloc[:4], time), row, atol=1e-7)
    tied = fit_fine_gray(plain, [SCORE, SEX, AGE], "cause")
    np.testing.assert_allclose(
        tied.coefficients, frozen("flchain", "finegray-tied")["coef"], atol=1e-7
    )
    shifted = frozen("flchain", "crr-tied")
    np.testing.assert_allclose(tied.coefficients, shifted["coef"], atol=1e-7)
    found = tied.table[~tied.table["reference"]]
    np.testing.assert_allclose(found["se"], shifted["se"], atol=1e-7)


def test_fine_gray_without_competing_events_is_cox(untied):
    fit = fit_fine_gray(untied, [SCORE, AGE], "event")
    np.testing.assert_allclose(
        fit.coefficients, fit_cox(untied, [SCORE, AGE]).coefficients, atol=1e-7
    )


def test_fine_gray_says_what_it_cannot_fit(plain):
    nobody = plain.assign(cause=plain["cause"].where(plain["sex"] == "F", 0))
    with pytest.raises(DataError, match="no maximum"):
        fit_fine_gray(nobody, [SEX], "cause")
    with pytest.raises(DataError, match="has an event of this cause"):
        fit_fine_gray(plain.assign(cause=0), [SEX], "cause")
    with pytest.raises(DataError, match="determine each other"):
        fit_fine_gray(plain.assign(twice=plain["age"] * 2), [AGE, Variable("twice", "numeric")],
                      "cause")  # fmt: skip
    with pytest.raises(DataError, match="does not vary"):
        fit_fine_gray(plain.assign(age=1.0), [AGE], "cause")
    with pytest.raises(DataError, match="must have only 0"):
        fit_fine_gray(plain.assign(cause=3), [AGE], "cause")
    with pytest.raises(DataError, match="follow-up ends"):
        fit_fine_gray(plain, [AGE], "cause").risk(plain, 99.0)


def test_auc_with_competing_events_is_that_of_r(untied):
    found = auc_over_time(untied, ["score", "age"], [2, 5, 10], cause="cause")
    for marker in ("score", "age"):
        truth = frozen_at("flchain", f"competing-auc-{marker}")
        ours = found.table[found.table["marker"] == marker]
        np.testing.assert_allclose(ours["auc"], truth["auc"], rtol=1e-9)
        np.testing.assert_allclose(ours["se"], truth["se"], atol=1e-6)
    truth = frozen_at("flchain", "competing-auc-difference")
    np.testing.assert_allclose(-found.differences["difference"], truth["delta"], atol=1e-9)
    np.testing.assert_allclose(found.differences["p"], truth["p"], rtol=1e-4)


def test_brier_score_with_competing_events_is_that_of_r(untied):
    risk = untied["predicted"].to_numpy()
    risks = np.column_stack([1 - (1 - risk) ** 0.4, risk])
    found = brier_scores(untied, risks, [], [4, 10], cause="cause").table
    for name, column in (("model", "brier"), ("Null model", "null")):
        truth = frozen_at("flchain", f"competing-brier-{name}")["brier"]
        np.testing.assert_allclose(found[column], truth, rtol=1e-9)


def test_calibration_with_competing_events_is_that_of_r(untied):
    found = calibration(untied, "predicted", 10, cause="cause", repeats=0)
    summary = found.summary.set_index("quantity")
    truth = frozen("flchain", "competing-calibration").iloc[0]
    oe = summary.loc["Observed / expected"]
    assert summary.loc["Observed risk", "estimate"] == pytest.approx(truth["observed"], rel=1e-9)
    assert oe["estimate"] == pytest.approx(truth["oe"], rel=1e-9)
    wide = np.log(oe["upper"] / oe["lower"]) / 2 / 1.959963984540054
    assert wide == pytest.approx(truth["oe_se_log"], rel=1e-9)
    slope = summary.loc["Calibration slope"]
    assert slope["estimate"] == pytest.approx(truth["slope"], abs=1e-7)
    wide = (slope["upper"] - slope["lower"]) / 2 / 1.959963984540054
    assert wide == pytest.approx(truth["slope_se"], abs=1e-7)
    for ours, theirs in (("ICI", "ici"), ("E50", "e50"), ("E90", "e90"), ("Emax", "emax")):
        assert summary.loc[ours, "estimate"] == pytest.approx(truth[theirs], abs=1e-7)
    assert found.groups["patients"].sum() == len(untied)


def test_net_benefit_with_competing_events_is_that_of_r(untied):
    truth = frozen_at("flchain", "competing-net-benefit")["model"]
    found = net_benefit(untied, "predicted", 10, truth.index.tolist(), cause="cause")
    np.testing.assert_allclose(found["model"], truth, rtol=1e-9)


def test_cross_fitted_risks_are_calibrated_and_bootstrapped(plain):
    few = plain.iloc[:600]
    risk = cross_fitted_risks(few, [SCORE, AGE], "cause", [8.0, 99.0], folds=5, seed=1)
    assert np.isnan(risk[:, 1]).all()
    found = calibration(few.assign(risk=risk[:, 0]), "risk", 8.0, cause="cause", repeats=5)
    ratio = found.summary.set_index("quantity").loc["Observed / expected"]
    assert ratio["lower"] < 1 < ratio["upper"]
    assert found.curve["lower"].notna().all()
