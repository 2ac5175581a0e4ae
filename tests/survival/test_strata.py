"""Strata, each with its own baseline hazard: R's numbers, and what has no version refuses."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.auc import auc_over_time
from qupath_hccmil.survival.statistics.baseline import fit_baseline
from qupath_hccmil.survival.statistics.c_index import harrell
from qupath_hccmil.survival.statistics.cox import fit_cox
from qupath_hccmil.survival.statistics.fine_gray import fit_fine_gray
from qupath_hccmil.survival.statistics.influence import dfbeta
from qupath_hccmil.survival.statistics.kaplan_meier import curves
from qupath_hccmil.survival.statistics.multiple_imputation import imputed_cox
from qupath_hccmil.survival.statistics.nonlinearity import nonlinearity_tests, spline_curve
from qupath_hccmil.survival.statistics.proportional_hazards import schoenfeld_test
from qupath_hccmil.survival.statistics.strata import risk_sets
from qupath_hccmil.survival.statistics.stratified_cox import fit_stratified
from qupath_hccmil.survival.statistics.subgroups import subgroup_effects
from qupath_hccmil.survival.statistics.survival_outcome import STRATUM, entry_of, strata_of
from qupath_hccmil.survival.statistics.variables import Variable, design
from tests.survival import datasets
from tests.survival.frozen import frozen

SCORE, SEX = Variable("score", "numeric"), Variable("sex", "categorical", ("F", "M"))


@pytest.fixture(scope="module")
def late() -> pd.DataFrame:
    """The light chain study with the year of the sample as stratum, age as the time scale."""
    frame = datasets.flchain()
    return frame.rename(columns={"year": STRATUM}).assign(time=frame["exit_age"])


@pytest.fixture(scope="module")
def layered(late) -> pd.DataFrame:
    """Without delayed entry."""
    return late.assign(time=datasets.flchain()["time"]).drop(columns="entry_time")


def test_the_cox_model_is_that_of_r(layered):
    fit, truth = fit_cox(layered, [SCORE, SEX]), frozen("flchain", "strata-cox")
    found = fit.table[~fit.table["reference"]]
    np.testing.assert_allclose(found["coefficient"], truth["coef"], atol=1e-8)
    np.testing.assert_allclose(found["se"], truth["se"], atol=1e-8)
    assert fit.log_likelihood == pytest.approx(truth["loglik"].dropna().iloc[0], rel=1e-10)
    assert fit.log_likelihood_null == pytest.approx(
        truth["loglik_null"].dropna().iloc[0], rel=1e-10
    )
    test = schoenfeld_test(layered, fit.variables, fit.coefficients)
    np.testing.assert_allclose(
        test["statistic"], frozen("flchain", "strata-zph")["chisq"], rtol=1e-6
    )
    columns, _ = design(layered, fit.variables)
    change = dfbeta(
        layered["time"].to_numpy(), layered["event"].to_numpy(bool), columns.to_numpy(float),
        np.array(fit.coefficients), entry_of(layered), strata_of(layered),
    )  # fmt: skip
    truth = frozen("flchain", "strata-dfbeta")["change"]
    np.testing.assert_allclose(change[: len(truth), 0], truth, atol=1e-9)


def test_late_entry_within_strata_is_that_of_r(late):
    found = fit_cox(late, [SCORE, SEX]).table
    truth = frozen("flchain", "strata-late-cox")
    np.testing.assert_allclose(found[~found["reference"]]["coefficient"], truth["coef"], atol=1e-8)
    np.testing.assert_allclose(found[~found["reference"]]["se"], truth["se"], atol=1e-8)


def test_the_level_of_a_stratum_does_not_matter(layered):
    """Every Cox model of the report: only scores of one stratum are compared."""
    level = layered[STRATUM].astype(int) - 1994.0
    shifted = layered.assign(score=layered["score"] + 10 * level)
    for model in (
        lambda frame: fit_cox(frame, [SCORE, SEX]).table["coefficient"],
        lambda frame: fit_cox(frame, [SCORE], penalty="firth").table[["coefficient", "lower", "p"]],
        lambda frame: fit_stratified(frame, [SCORE], strata="sex").table["coefficient"],
        lambda frame: subgroup_effects(frame, SCORE, [SEX]).table["coefficient"],
        lambda frame: subgroup_effects(frame, SCORE, [SEX]).tests["statistic"],
    ):
        np.testing.assert_allclose(model(shifted), model(layered), atol=1e-6)


def test_strata_within_strata_are_their_combinations(layered):
    both = layered.assign(both=layered[STRATUM] + layered["sex"]).drop(columns=STRATUM)
    one = fit_stratified(both, [SCORE], strata="both")
    other = fit_stratified(layered, [SCORE], strata="sex")
    assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-12)
    with_events = both.loc[both["event"] == 1, "both"]
    assert other.strata == one.strata == with_events.nunique()


def test_the_penalty_has_the_slope_of_all_strata(layered):
    few = layered.iloc[:200]
    columns = np.column_stack([few["score"], few["age"] / 10])
    sets = risk_sets(
        few["time"].to_numpy(), few["event"].to_numpy(bool), columns, strata=strata_of(few)
    )
    beta = np.array([0.7, 0.4])
    moments = sets.moments(beta)
    slope = sets.third_moments(beta, moments, np.linalg.inv(moments.variances.sum(axis=0)))

    def height(at):
        return np.linalg.slogdet(sets.moments(at).variances.sum(axis=0))[1]

    numeric = [(height(beta + h) - height(beta - h)) / 2e-5 for h in 1e-5 * np.eye(2)]
    np.testing.assert_allclose(slope, numeric, rtol=1e-5)


def test_a_stratum_without_events_adds_nothing(layered):
    quiet = layered.iloc[:50].assign(**{STRATUM: "quiet", "event": 0})
    more = pd.concat([layered, quiet], ignore_index=True)
    one, other = fit_cox(layered, [SCORE, SEX]), fit_cox(more, [SCORE, SEX])
    assert other.coefficients == pytest.approx(one.coefficients, abs=1e-10)
    assert other.patients == one.patients + 50
    change = dfbeta(
        more["time"].to_numpy(), more["event"].to_numpy(bool), more[["score"]].to_numpy(),
        np.array([1.0]), strata=strata_of(more),
    )  # fmt: skip
    assert (change[-50:] == 0).all()
    assert (change[:-50] != 0).any()


def test_imputed_tables_keep_their_strata(layered):
    frame = layered.iloc[:300].copy()
    frame.loc[::7, "age"] = np.nan
    found = imputed_cox(frame, [SCORE, Variable("age", "numeric")], 2)
    assert all((table[STRATUM] == frame[STRATUM]).all() for table in found.tables)


def test_curves_and_splines_have_a_version_for_strata(layered):
    frame = layered.iloc[:300]
    assert nonlinearity_tests(frame, [SCORE])["p"].between(0, 1).all()
    assert not spline_curve(frame, "score").equals(
        spline_curve(frame.drop(columns=STRATUM), "score")
    )
    # A curve of survival compares no scores.
    assert curves(frame).equals(curves(frame.drop(columns=STRATUM)))


def test_what_would_compare_scores_of_different_strata_refuses(layered):
    for compares in (
        lambda: harrell(layered, "score"),
        lambda: auc_over_time(layered, ["score"], [5.0]),
        lambda: fit_baseline(layered, "score", name="here", unit="years"),
        lambda: fit_fine_gray(layered, [SCORE], "cause"),
    ):
        with pytest.raises(DataError, match="no version of this for strata"):
            compares()
