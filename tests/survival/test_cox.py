"""Cox models, Firth's penalty and proportional hazards: R's numbers, and the odd cohorts."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.cox import EFRON, FIRTH, fit_cox, gain_of, univariable
from qupath_hccmil.survival.statistics.proportional_hazards import (
    log_log,
    scaled_residuals,
    schoenfeld_test,
)
from qupath_hccmil.survival.statistics.variables import Variable
from tests.survival.frozen import frozen


def numeric(*names: str) -> list[Variable]:
    return [Variable(name, "numeric") for name in names]


def category(name: str, *levels: str) -> Variable:
    return Variable(name, "categorical", levels)


CLINICAL = [category("horTh", "no", "yes"), category("tgrade", "I", "II", "III")]
CLINICAL += numeric("age", "tsize")
STAGE = category("stage", "I", "II", "III-IV")
MODELS = [
    ("rossi", "multi", numeric("fin", "age", "race", "wexp", "mar", "paro", "prio")),
    ("rossi", "uni-prio", numeric("prio")),
    ("gbsg2", "multi", [*numeric("score"), *CLINICAL]),
    ("gbsg2", "clinical", CLINICAL),
    ("gbsg2", "uni-tgrade", [CLINICAL[1]]),
    ("tcga", "uni-stage", [STAGE]),
    ("tcga", "uni-vascular", [category("vascular", "None", "Micro", "Macro")]),
    (
        "tcga",
        "multi",
        [
            *numeric("score"),
            STAGE,
            category("vascular", "None", "Micro", "Macro"),
            *numeric("age"),
            category("gender", "FEMALE", "MALE"),
        ],
    ),
]
RESULTS = {
    "coefficient": "coef", "se": "se", "z": "z", "p": "p", "hazard_ratio": "hr",
    "lower": "lower", "upper": "upper",
}  # fmt: skip


@pytest.mark.parametrize(("name", "item", "variables"), MODELS)
def test_model_is_that_of_r(frame_of, name, item, variables):
    frame = frame_of(name)
    fit = fit_cox(frame, variables)
    truth = frozen(name, item)
    whole, truth = truth.loc[""], truth[truth.index != ""]
    found = fit.table[~fit.table["reference"]]
    for ours, theirs in RESULTS.items():
        np.testing.assert_allclose(found[ours], truth[theirs], rtol=1e-6, atol=1e-9)
    assert (fit.patients, fit.events) == (whole["n"], whole["events"])
    assert fit.log_likelihood == pytest.approx(whole["loglik"], abs=1e-6)
    assert fit.log_likelihood_null == pytest.approx(whole["loglik_null"], abs=1e-6)
    assert fit.method == EFRON


@pytest.mark.parametrize(("name", "item", "variables"), MODELS)
def test_proportional_hazards_test_is_that_of_r(frame_of, name, item, variables):
    frame = frame_of(name)
    fit = fit_cox(frame, variables)
    found = schoenfeld_test(frame, variables, fit.coefficients)
    truth = frozen(name, f"{item}-zph")
    np.testing.assert_allclose(found["statistic"], truth["chisq"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found["degrees_of_freedom"], truth["df"])
    np.testing.assert_allclose(found["p"], truth["p"], rtol=1e-6)


def test_score_per_sd_is_that_of_r(tcga):
    spread = float(tcga["score"].std(ddof=1))
    row = fit_cox(tcga, [Variable("score", "numeric", per=spread, unit="per SD")]).table.iloc[0]
    assert row["step"] == "per SD"
    assert row["coefficient"] == pytest.approx(frozen("tcga", "uni-score")["coef"].iloc[0])


def test_likelihood_ratio_of_the_score_is_that_of_r(gbsg2):
    truth = frozen("gbsg2", "lr").loc["score"]
    found = gain_of(gbsg2, numeric("score")[0], CLINICAL)
    assert found.statistic == pytest.approx(truth["chisq"], rel=1e-9)
    assert found.degrees_of_freedom == truth["df"]
    assert found.p == pytest.approx(truth["p"], rel=1e-6)


def test_small_groups_converge_where_lifelines_does_not(cgvhd):
    one = cgvhd.assign(event=(cgvhd["event"] == 2).astype(int))
    row = fit_cox(one, [category("extent", "L", "E")]).table.iloc[1]
    assert row["coefficient"] == pytest.approx(frozen("cgvhd", "cause-2")["coef"].iloc[0], rel=1e-6)


def test_model_agrees_with_lifelines(rossi):
    from lifelines import CoxPHFitter

    names = ["fin", "age", "prio"]
    theirs = CoxPHFitter().fit(rossi[["time", "event", *names]], "time", "event")
    ours = fit_cox(rossi, numeric(*names))
    np.testing.assert_allclose(ours.coefficients, theirs.params_, atol=1e-6)


@pytest.fixture
def quiet(rossi) -> pd.DataFrame:
    """Nobody over 35 who is marked has an event."""
    marked = (rossi["event"] == 0) & (rossi["age"] > 35)
    return rossi.assign(no_events=marked.astype(int).astype(str))


def test_firth_is_the_maximum_that_r_finds(quiet):
    # R's reference maximises the same penalised likelihood with optim, hence the tolerance.
    variables = [category("no_events", "0", "1"), *numeric("prio")]
    for item, model in (("firth", variables), ("firth-one", variables[:1])):
        truth = frozen("rossi", item)
        fit = fit_cox(quiet, model, penalty="firth")
        found = fit.table[~fit.table["reference"]]
        np.testing.assert_allclose(found["coefficient"], truth["coef"], atol=2e-6)
        np.testing.assert_allclose(np.log(found["lower"]), truth["lower"], atol=1e-6)
        np.testing.assert_allclose(np.log(found["upper"]), truth["upper"], atol=1e-6)
        np.testing.assert_allclose(found["p"], truth["p"], rtol=1e-6)


def test_a_group_without_events_gets_firths_penalty_and_says_so(quiet):
    fit = fit_cox(quiet, [category("no_events", "0", "1")])
    row = fit.table.iloc[1]
    assert fit.method == FIRTH
    assert row["events"] == 0
    assert 0 < row["hazard_ratio"] < row["upper"] < 1
    with pytest.raises(DataError, match="use Firth's penalty"):
        fit_cox(quiet, [category("no_events", "0", "1")], penalty="none")


def test_a_perfect_score_has_a_high_finite_hazard_ratio(rossi):
    row = fit_cox(rossi.assign(perfect=-rossi["time"]), numeric("perfect")).table.iloc[0]
    assert row["method"] == FIRTH
    assert row["hazard_ratio"] > 10
    assert row["lower"] > 1
    assert row["p"] < 1e-50


def test_reversing_the_score_turns_the_hazard_ratio_over(gbsg2):
    ahead = fit_cox(gbsg2, numeric("score")).table["hazard_ratio"].iloc[0]
    back = fit_cox(gbsg2.assign(score=-gbsg2["score"]), numeric("score")).table["hazard_ratio"]
    assert ahead > 1
    assert back.iloc[0] == pytest.approx(1 / ahead)


def test_the_scale_of_a_variable_does_not_matter(gbsg2):
    small = fit_cox(gbsg2.assign(x=gbsg2["pnodes"] * 1e-6), numeric("x"))
    plain = fit_cox(gbsg2, numeric("pnodes"))
    assert small.coefficients[0] * 1e-6 == pytest.approx(plain.coefficients[0], rel=1e-9)
    assert small.log_likelihood == pytest.approx(plain.log_likelihood)


def test_patients_without_a_value_are_counted(tcga):
    fit = fit_cox(tcga, [STAGE])
    assert fit.left_out == int(tcga["stage"].isna().sum()) > 0
    assert fit.patients + fit.left_out == len(tcga)


def test_univariable_gives_each_variable_its_own_patients(tcga):
    found = univariable(tcga, [STAGE, category("vascular", "None", "Micro", "Macro")])
    assert found.groupby("variable")["left_out"].first().to_dict() == {"stage": 24, "vascular": 56}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"event": 0}, "none of the 686 patients has an event"),
        ({"score": 0.5}, "does not vary"),
        ({"score": lambda f: f["age"] * 2}, "determine each other"),
    ],
)
def test_what_cannot_be_fitted_is_named(gbsg2, change, told):
    with pytest.raises(DataError, match=told):
        fit_cox(gbsg2.assign(**change), numeric("score", "age") if "score" in change and
                callable(change["score"]) else numeric("score"))  # fmt: skip


def test_one_patient_is_too_few():
    with pytest.raises(DataError, match="at least 2"):
        fit_cox(pd.DataFrame({"time": [1.0], "event": [1], "x": [1.0]}), numeric("x"))


def test_scaled_residuals_average_to_the_coefficient(gbsg2):
    fit = fit_cox(gbsg2, numeric("score", "age"))
    found = scaled_residuals(gbsg2, numeric("score", "age"), fit.coefficients)
    means = found.groupby("variable", sort=False)["beta"].mean()
    np.testing.assert_allclose(means, fit.coefficients, atol=1e-6)


def test_log_log_points_are_finite(gbsg2):
    found = log_log(gbsg2, "group")
    assert np.isfinite(found[["log_time", "log_minus_log"]]).all().all()
    assert set(found["group"]) == {"high", "low"}
