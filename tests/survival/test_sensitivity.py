"""The score under other choices: other patients, a later start, a curve, and influence.

`test_r_script.py` compares every number of these with R.
"""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis_cohort import SCORE
from qupath_hccmil.survival.report.build import build_report
from qupath_hccmil.survival.statistics.cox import fit_cox, refit
from qupath_hccmil.survival.statistics.influence import dfbeta
from qupath_hccmil.survival.statistics.nonlinearity import nonlinearity_tests, spline_curve
from qupath_hccmil.survival.statistics.variables import Variable, VariableRequest
from tests.survival.conftest import made_cohort
from tests.survival.test_odd_cohorts import reported
from tests.survival.test_output import analysed


@pytest.mark.parametrize("tied", [False, True])
def test_influence_is_nearly_the_change_without_the_patient(gbsg2, tied):
    rows = gbsg2.iloc[:200]
    time = rows["time"].to_numpy()
    time = np.ceil(time) if tied else time
    event = rows["event"].to_numpy(bool)
    columns = rows[["score", "age"]].to_numpy(float) / [1, 10]
    beta = refit(time, event, columns)
    found = dfbeta(time, event, columns, beta)
    assert found.sum(axis=0) == pytest.approx([0, 0], abs=1e-9)
    out = np.flatnonzero(np.abs(found[:, 0]) > np.quantile(np.abs(found[:, 0]), 0.8))
    exact = [
        beta - refit(np.delete(time, i), np.delete(event, i), np.delete(columns, i, axis=0))
        for i in out
    ]
    assert np.corrcoef(found[out, 0], np.array(exact)[:, 0])[0, 1] > 0.995


def test_influence_with_late_entry_counts_from_the_entry(gbsg2):
    rows = gbsg2.iloc[:150].assign(entry_time=lambda frame: frame["time"] * 0.4)
    model = [Variable("score", "numeric", per=0.5), Variable("age", "numeric", per=10)]
    fit = fit_cox(rows, model)
    columns = rows[["score", "age"]].to_numpy(float) / [0.5, 10]
    time, event = rows["time"].to_numpy(), rows["event"].to_numpy(bool)
    beta, entry = np.array(fit.coefficients), rows["entry_time"].to_numpy()
    found = dfbeta(time, event, columns, beta, entry)
    assert found.sum(axis=0) == pytest.approx([0, 0], abs=1e-9)
    without = dfbeta(time, event, columns, beta, np.zeros_like(entry))
    assert without == pytest.approx(dfbeta(time, event, columns, beta))
    out = np.argsort(-np.abs(found[:, 0]))[:25]
    exact = [beta[0] - fit_cox(rows.drop(index=rows.index[i]), model).coefficients[0] for i in out]
    assert np.corrcoef(found[out, 0], exact)[0, 1] > 0.99


def test_patients_who_enter_late_have_every_sensitivity_analysis(tmp_path):
    frame = made_cohort(120)
    frame["entry_days"] = np.where(frame.index % 2, (frame["rfs_days"] * 0.3).round(), 0)
    variables = (VariableRequest("stage"), VariableRequest("age"))
    found = analysed(tmp_path / "in", frame, entry="entry_days", variables=variables)
    told = found.sensitivity
    assert not [part for part, _ in found.problems if part.startswith(("Sens", "Infl", "Haz"))]
    rows = found.cohort.frame
    later = rows[rows["time"] > 0.5]
    later = later.assign(
        time=later["time"] - 0.5, entry_time=(later["entry_time"] - 0.5).clip(lower=0)
    )
    expected = fit_cox(later, [found.cohort.score_variable]).coefficients[0]
    by = told.effects.set_index(["analysis", "model"])["coefficient"]
    assert by["Landmark at 0.5 years", "score alone"] == expected
    assert len(told.influence) == rows["age"].notna().sum()
    assert told.nonlinearity["p"].notna().all()
    assert told.curve is not None


def test_a_bent_effect_is_found_and_a_straight_one_is_not():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-1, 1, 600), rng.normal(size=600)
    frame = pd.DataFrame({"x": x, "y": y, "event": 1})
    frame["time"] = rng.exponential(np.exp(-(3 * np.abs(x) + y)))
    found = nonlinearity_tests(frame, [Variable("x", "numeric"), Variable("y", "numeric")])
    p = found.set_index("variable")["p"]
    assert p["x"] < 1e-10
    assert p["y"] > 0.05
    curve = spline_curve(frame, "x")
    middle = np.abs(curve["value"] - np.median(x)).argmin()
    assert curve["hazard_ratio"].iloc[middle] == pytest.approx(1, abs=0.02)
    assert curve["hazard_ratio"].iloc[[0, -1]].min() > 3
    assert (curve["lower"] <= curve["hazard_ratio"]).all()
    assert (curve["upper"] >= curve["hazard_ratio"]).all()


def test_a_number_with_few_values_has_no_curve(gbsg2):
    rows = gbsg2.assign(x=(gbsg2["age"] > 50) * 1.0)
    found = nonlinearity_tests(rows, [Variable("x", "numeric"), Variable("age", "numeric")])
    assert found["p"].isna().tolist() == [True, False]
    with pytest.raises(DataError, match="too few different values"):
        spline_curve(rows, "x")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    frame = made_cohort(120)
    frame.loc[:3, "rfs_days"] = 0
    frame.loc[:3, "rfs_event"] = 0
    return analysed(
        tmp_path_factory.mktemp("in"), frame, landmarks=(1.0, 8.9), imputations=2,
        variables=(VariableRequest("stage"), VariableRequest("age")),
    )  # fmt: skip


def test_each_analysis_is_of_its_patients(found):
    table = found.sensitivity.effects.set_index(["analysis", "model"])
    alone = table.xs("score alone", level="model")
    frame = found.cohort.frame
    later = frame[frame["time"] > 1]
    assert alone["patients"].to_dict() == {
        "All patients": 120,
        "Without a follow-up of 0": 116,
        "Complete cases": frame["age"].notna().sum(),
        "Landmark at 1 years": len(later),
        "Without the 3 most influential patients": 117,
    }
    shifted = later.assign(time=later["time"] - 1)
    expected = fit_cox(shifted, [found.cohort.score_variable])
    assert alone.loc["Landmark at 1 years", "coefficient"] == expected.coefficients[0]
    imputed = table.loc[("After multiple imputation", "with the clinical variables")]
    assert imputed["patients"] == 120
    assert dict(found.problems) == {"Landmark at 8.9 years": "fewer than 5 events are later"}


def test_the_most_influential_patients_are_those_who_change_most(found):
    table = found.sensitivity.influence
    assert table["change"].abs().is_monotonic_decreasing
    alone = found.sensitivity.effects.query("model == 'with the clinical variables'")
    by = alone.set_index("analysis")["coefficient"]
    gone = by["All patients"] - by["Without the 3 most influential patients"]
    assert gone == pytest.approx(table["change"].head(3).sum(), rel=0.25)


def test_the_section_shows_all_of_it(found):
    report = build_report(found)
    section = next(section for section in report.sections if section.key == "sensitivity")
    keys = {getattr(block, "key", "") for block in section.blocks}
    assert {"sensitivity", "nonlinearity", "influence"} <= keys
    assert "score_curve" in {image.key for image in report.images()}


def test_a_bent_score_is_warned_of(tmp_path):
    frame = made_cohort(300)
    score = frame["risk_score"]
    rng = np.random.default_rng(1)
    hazard = np.exp(6 * (score - 0.5).abs())
    frame["rfs_days"] = np.ceil(rng.exponential(1500 / hazard)) + 1
    frame["rfs_event"] = (rng.uniform(size=300) < 0.9).astype(int)
    told = build_report(analysed(tmp_path / "in", frame)).found
    assert any("not a straight line in: Risk score" in line for line in told)


def test_without_a_model_there_is_one_line_and_no_section(tmp_path):
    frame = made_cohort()
    frame["rfs_event"] = 0
    frame.loc[frame["rfs_days"].idxmax(), "rfs_event"] = 1
    found = analysed(tmp_path / "in", frame)
    assert not [part for part in reported(found) if part.startswith("Sensitivity")]
    assert found.sensitivity.effects is None


def test_with_firths_penalty_influence_is_a_line(tmp_path):
    frame = made_cohort()
    frame["rare"] = np.where((frame["rfs_event"] == 0) & (frame.index % 4 == 0), "yes", "no")
    found = analysed(tmp_path / "in", frame, variables=(VariableRequest("rare"),))
    problems = reported(found)
    assert problems == {"Influence of each patient": "it is not defined for Firth's penalty"}
    assert SCORE not in str(problems)
