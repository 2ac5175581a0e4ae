"""The report of a judgement: what it says, its files, and what becomes of those of the user."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.judgement.judge import judge
from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.judgement.output_folder import write_judgement
from qupath_hccmil.judgement.report_page import build_report
from qupath_hccmil.tables.score_table import read_scores
from tests.judgement.small_learner import small_cohort

QUICK = NestedSettings(folds=3, inner=2, repeats=2, bootstrap=60)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    learner, cohort = small_cohort(confounded="Bonn")
    return judge(
        learner, cohort, tmp_path_factory.mktemp("judged"), QUICK, told={"Head": "a small one"}
    )


@pytest.fixture
def report(judged):
    return build_report(judged)


def test_the_sections_answer_in_order(report):
    assert [section.key for section in report.sections] == [
        "comparisons", "auc", "calibration", "groups", "folds", "size", "patients", "methods",
        "provenance",
    ]  # fmt: skip
    assert [fact.label for fact in report.facts] == [
        "C-index of the slides", "C-index, clinical alone", "C-index, outcomes permuted",
        "Added to clinical by the slides", "AUC at 3 years",
    ]  # fmt: skip
    assert any(line.startswith("Centre Bonn is its outcome") for line in report.warnings)


def test_every_fold_of_every_repeat_is_in_the_table(report, judged):
    table = next(t for t in report.tables() if t.key == "folds")
    assert [row[0] for row in table.rows if not any(row[1:])] == ["Repeat 1", "Repeat 2"]
    assert len(table.rows) == 2 * (1 + 3)
    assert len(table.data) == 6
    assert table.data["patients"].sum() == 2 * len(judged.cohort.frame)


def test_the_comparisons_stand_in_one_table(report):
    table = next(t for t in report.tables() if t.key == "comparisons")
    assert [row[0] for row in table.rows] == [
        "Score of the slides", "Clinical variables", "Clinical variables and score",
        "Number of tiles", "Mean colour", "Outcomes permuted within centres",
    ]  # fmt: skip
    assert table.rows[0][2] == ""
    assert all(" to " in row[2] for row in table.rows[1:-1])


def test_the_folder_has_the_page_its_numbers_and_the_predictions(judged, tmp_path):
    page = write_judgement(judged, tmp_path / "judgement")
    results = json.loads((tmp_path / "judgement/results.json").read_text(encoding="utf-8"))
    files = {
        path.relative_to(tmp_path / "judgement").as_posix()
        for path in (tmp_path / "judgement").rglob("*")
        if path.is_file()
    }
    assert files == set(results["files"])
    assert {"report.html", "predictions.csv", "tables/folds.csv", "figures/auc.svg"} <= files
    assert results["learner"] == {"Head": "a small one"}
    assert len(results["folds"]) == 6
    text = page.read_text(encoding="utf-8")
    assert "Centre Bonn is its outcome" in text
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
    predictions = pd.read_csv(tmp_path / "judgement/predictions.csv")
    assert len(predictions) == 2 * len(judged.cohort.frame)
    assert set(predictions["group"]) <= {"low", "high"}


def test_the_survival_analysis_takes_the_predictions_of_one_repeat(judged, tmp_path):
    path = tmp_path / "predictions.csv"
    judged.predictions.to_csv(path, index=False)
    with pytest.raises(DataError, match="has several repeats, and its own report analyses them"):
        read_scores(path)
    one = judged.predictions[judged.predictions["repeat"] == judged.predictions["repeat"].min()]
    one.to_csv(path, index=False)
    found = read_scores(path)
    assert set(found.scores.index) == set(judged.cohort.frame.index)
    assert found.out_of_fold.thresholds.keys() == set(one["fold"].astype(str))


def test_the_users_files_are_left_and_ours_are_replaced(judged, tmp_path):
    folder = tmp_path / "judgement"
    write_judgement(judged, folder)
    (folder / "notes.txt").write_text("mine")
    write_judgement(replace(judged, calibrations=[], net_benefit=None), folder)
    assert not list(folder.glob("figures/calibration*"))
    assert (folder / "notes.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    (other / "report.html").write_text("mine")
    with pytest.raises(DataError, match="no earlier run wrote it"):
        write_judgement(judged, other)
    assert (other / "report.html").read_text() == "mine"


def test_without_centres_colour_or_clinical_variables_the_report_says_so(tmp_path):
    learner, cohort = small_cohort(90)
    frame = cohort.frame.drop(columns=[v.name for v in cohort.variables])
    frame = frame.assign(centre__="not known", red__=float("nan"))
    found = judge(
        learner, replace(cohort, frame=frame, variables=(), centre_column=""), tmp_path,
        replace(QUICK, repeats=1),
    )  # fmt: skip
    report = build_report(found)
    text = [b.text for s in report.sections for b in s.blocks if hasattr(b, "text")]
    assert any(line.startswith("There are no clinical variables") for line in text)
    assert any(line.startswith("The mean colour of the slides is not known") for line in text)
    assert "patients" not in [section.key for section in report.sections]
    write_judgement(found, tmp_path / "judgement")


def test_a_cohort_with_one_risk_group_and_short_follow_up_still_has_a_report(judged, tmp_path):
    predictions = judged.predictions.assign(group="low")
    report = build_report(replace(judged, predictions=predictions))
    groups = next(section for section in report.sections if section.key == "groups")
    assert groups.blocks[-1].text == "All patients fall into one group."
