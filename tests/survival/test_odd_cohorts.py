"""Cohorts and names that are odd: each costs a line, and the rest goes on."""

import pytest

from qupath_hccmil.survival.analysis_cohort import SCORE
from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.report.build import build_report
from qupath_hccmil.survival.statistics.discrimination import UNO
from qupath_hccmil.survival.statistics.variables import VariableRequest
from tests.survival.conftest import made_cohort
from tests.survival.test_output import analysed


def reported(found):
    """Make the whole report, of which no part may fail either."""
    assert not [line for line in build_report(found).warnings if line.startswith("Section")]
    return dict(found.problems)


@pytest.mark.parametrize("name", ["time", "event", "group", "level", "label", "x0"])
def test_a_variable_may_have_any_name(tmp_path, name):
    frame = made_cohort()
    frame[name] = ["a", "b", "b"] * (len(frame) // 3)
    found = analysed(tmp_path / "in", frame, variables=(VariableRequest(name),))
    assert reported(found) == {}
    variable = found.cohort.variables[0]
    assert variable.title == name
    assert found.cohort.frame[variable.name].value_counts().to_dict() == {"b": 80, "a": 40}
    plain = analysed(tmp_path / "plain")
    assert (found.cohort.frame["time"] == plain.cohort.frame["time"]).all()


def test_a_variable_that_is_named_twice_or_is_the_follow_up_is_a_line(tmp_path):
    names = ("stage", "STAGE", "rfs_days")
    found = analysed(tmp_path / "in", variables=tuple(map(VariableRequest, names)))
    assert [variable.name for variable in found.cohort.variables] == ["stage"]
    assert "Variable “stage” is named twice; it is used once." in found.cohort.notes
    assert "Left out: variable “rfs_days” is the follow-up itself." in found.cohort.notes


def test_one_event_of_the_last_patient_at_risk(tmp_path):
    frame = made_cohort()
    frame["rfs_event"] = 0
    frame.loc[frame["rfs_days"].idxmax(), "rfs_event"] = 1
    problems = reported(analysed(tmp_path / "in", frame))
    assert "all patients at risk have equal values" in problems["Baseline"]
    assert not any("please report it" in reason for reason in problems.values())


@pytest.mark.parametrize("horizon", [1.0, 2.0])
def test_all_times_tied(tmp_path, horizon):
    frame = made_cohort().assign(rfs_days=500)
    problems = reported(analysed(tmp_path / "in", frame, horizons=(horizon,)))
    assert not any("please report it" in reason for reason in problems.values())


def test_a_horizon_at_the_last_follow_up_is_a_line_and_the_others_are_calibrated(tmp_path):
    last = made_cohort()["rfs_days"].max() / 365.25
    found = analysed(tmp_path / "in", horizons=(2.0, last))
    problems = reported(found)
    assert "not followed for long enough" in problems[f"Predicted risks at {last:g} (years)"]
    assert [one.horizon for one in found.performance.calibrations] == [2.0]
    assert found.performance.brier is not None


def test_a_horizon_past_the_baselines_follow_up_costs_that_horizon(tmp_path):
    write_analysis(analysed(tmp_path / "one"), tmp_path / "out")
    frame = made_cohort()
    last = frame["rfs_days"].max() / 365.25
    frame["rfs_days"] *= 3
    found = analysed(
        tmp_path / "two", frame, horizons=(2.0, last * 1.5),
        baseline=str(tmp_path / "out" / "baseline.json"),
    )  # fmt: skip
    assert (
        "not followed for long enough"
        in reported(found)[f"Predicted risks at {last * 1.5:g} (years)"]
    )
    assert [one.horizon for one in found.performance.calibrations] == [2.0]


def test_headlines_are_of_one_population_and_name_it(tmp_path):
    frame = made_cohort()
    frame.loc[:29, "age"] = None
    found = analysed(tmp_path / "in", frame, variables=(VariableRequest("age"),))
    facts = {fact.label: fact.detail for fact in build_report(found).facts}
    told = [detail for label, detail in facts.items() if "Uno" in label or "AUC" in label]
    assert len(told) == 2
    assert all(detail.endswith("120 patients") for detail in told)
    table = found.performance.score_alone.table
    alone = analysed(tmp_path / "alone").performance.discrimination.table
    pick = table["statistic"] == UNO
    assert table[pick]["estimate"].iloc[0] == alone[alone["statistic"] == UNO]["estimate"].iloc[0]
    assert found.cohort.frame[SCORE].notna().all()


def test_a_part_that_fails_costs_that_part(tmp_path, monkeypatch):
    """What raises is made to, since nothing that is known does."""

    def fails(*args, **options):
        raise ZeroDivisionError("first\nsecond")

    for name in ("analysis.table_one", "analysis.count_missing"):
        monkeypatch.setattr(f"qupath_hccmil.survival.{name}", fails)
    monkeypatch.setattr("qupath_hccmil.survival.step_survival._stratum", fails)
    monkeypatch.setattr("qupath_hccmil.survival.report.effect_section.Drawing", fails)
    found = analysed(tmp_path / "in")
    write_analysis(found, tmp_path / "out")
    report = build_report(found)
    said = "failed with ZeroDivisionError: first; please report it"
    failed = [line.partition(": ")[0] for line in report.warnings if said in line]
    by_variable = [f"Kaplan-Meier by {each.title}" for each in found.cohort.variables]
    assert set(failed) >= {"Table 1", "Missing values", "Section “Survival”", *by_variable}
    assert {section.key for section in report.sections} >= {"cohort", "groups", "auc", "provenance"}
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "ZeroDivisionError: first" in page
