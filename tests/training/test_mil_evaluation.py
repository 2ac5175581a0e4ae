"""Figures of a risk model from a table of scores, and what is said where there are none."""

import csv
import json

import numpy as np
import pytest
from sksurv.metrics import concordance_index_censored

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import good_outcome_probability
from qupath_hccmil.training.calibration_figure import title_of as _calibration_title
from qupath_hccmil.training.clinical_table import ClinicalColumns
from qupath_hccmil.training.evaluate_mil import FIGURES, evaluate_mil, write_evaluation

PATIENTS = 60


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Scores that tell outcomes fairly well, and the follow-up."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(5)
    r = rng.uniform(0.02, 0.98, PATIENTS).round(4)
    time = rng.exponential(1 / (0.05 + 0.7 * r**2)).round(3) + 0.01
    end = rng.uniform(2, 9, PATIENTS).round(3)
    event = (time <= end).astype(int)
    time = np.minimum(time, end)
    names = [f"P{number}" for number in range(PATIENTS)]
    scores, clinical = folder / "scores.csv", folder / "clinical.csv"
    lines = [f"{name},{value},0.4" for name, value in zip(names, r, strict=True)]
    scores.write_text("\n".join(["patient,risk_score,threshold", *lines, "nobody,0.5,0.4"]))
    lines = [f"{name},{t},{e}" for name, t, e in zip(names, time, event, strict=True)]
    clinical.write_text("\n".join(["patient,time_years,event", *lines]))
    return scores, clinical, r, time, event


@pytest.fixture(scope="module")
def found(tables):
    scores, clinical, *_ = tables
    return evaluate_mil(scores, clinical, columns=ClinicalColumns(time="time_years"), repeats=200)


def test_figures_are_of_the_distinct_outcomes_and_c_of_everybody(tables, found):
    _, _, r, time, event = tables
    poor, good = (time < 1.6) & (event == 1), (time >= 4) & (event == 0)
    assert (found.scores.poor, found.scores.good) == (poor.sum(), good.sum())
    assert found.followed == PATIENTS
    expected = concordance_index_censored(event.astype(bool), time, r)[0]
    assert found.c_index.value == pytest.approx(expected)
    probability = 1 - good_outcome_probability(r[poor | good], 0.4)
    brier = np.mean((probability - poor[poor | good]) ** 2)
    assert found.scores.brier.value == pytest.approx(brier)
    assert found.threshold == 0.4
    assert found.scores.sensitivity.value == pytest.approx((r[poor] > 0.4).mean())
    for name in ("auc", "brier", "calibration_slope", "calibration_intercept"):
        estimate = getattr(found.scores, name)
        assert estimate.low <= estimate.value <= estimate.high


def read(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_writes_tables_figure_and_json(found, tmp_path):
    write_evaluation(tmp_path / "out", found)
    rows = read(tmp_path / "out" / "scores.csv")
    assert len(rows) == PATIENTS
    assert {row["label"] for row in rows} == {"good", "poor", ""}
    groups = read(tmp_path / "out" / "calibration.csv")
    labelled = found.scores.good + found.scores.poor
    assert sum(int(group["patients"]) for group in groups) == labelled
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert content["c_index"]["value"] == found.c_index.value
    assert (tmp_path / "out" / "calibration.png").stat().st_size > 5000


def test_one_outcome_has_no_auc_and_json_stays_json(tmp_path):
    (tmp_path / "s.csv").write_text("patient,risk,threshold\na,0.2,0.5\nb,0.7,0.5\n")
    (tmp_path / "c.csv").write_text("patient,label\na,good\nb,good\n")
    found = evaluate_mil(tmp_path / "s.csv", tmp_path / "c.csv", repeats=20)
    assert found.c_index is None
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content["auc"] == {"value": None, "low": None, "high": None, "undefined": 20}
    assert content["accuracy"]["value"] == 0.5
    write_evaluation(tmp_path / "out", found)
    no_poor = "no patient with a score has a poor outcome"
    names = ("auc", "sensitivity", "calibration_slope", "calibration_intercept")
    assert found.not_given == {
        **dict.fromkeys(names, no_poor), "c_index": "the table has no follow-up (time and event)",
    }  # fmt: skip
    title = _calibration_title(found.scores)
    assert title == "slope –, intercept –"


def test_without_bootstrap_there_are_no_intervals_and_json_stays_json(tables, tmp_path):
    scores, clinical, *_ = tables
    columns = ClinicalColumns(time="time_years")
    found = evaluate_mil(scores, clinical, columns=columns, repeats=0)
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content["c_index"]["value"] == pytest.approx(found.c_index.value)
    assert content["c_index"]["low"] is None
    write_evaluation(tmp_path / "out", found)


def test_one_bootstrap_sample_is_refused(tables):
    scores, clinical, *_ = tables
    with pytest.raises(DataError, match=r"bootstrap samples must be 0 .*, or 2 or more, not 1"):
        evaluate_mil(scores, clinical, columns=ClinicalColumns(time="time_years"), repeats=1)


def test_without_a_distinct_outcome_there_is_still_a_c_index(tmp_path):
    (tmp_path / "s.csv").write_text(
        "patient,risk,threshold\na,0.2,0.5\nb,0.7,0.5\nc,0.4,0.5\nd,0.1,0.5\n"
    )
    # Recurrence at 1.6 years or later, and less than 4 years without it: no distinct outcome.
    (tmp_path / "c.csv").write_text("patient,time_years,event\na,3,0\nb,2,1\nc,2.5,1\nd,3,1\n")
    out = tmp_path / "out"
    found = evaluate_mil(tmp_path / "s.csv", tmp_path / "c.csv", repeats=20)
    # b before a, c, d and c before a, d are in order; d and the censored a are not.
    assert found.c_index.value == pytest.approx(5 / 6)
    assert found.scores is None
    reason = "none of the 4 patients with a score has a distinct outcome"
    assert set(found.not_given.values()) == {reason}
    assert list(found.not_given) == list(FIGURES)
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (content["auc"], content["good"], content["calibration"]) == (None, 0, [])
    assert content["not_given"]["auc"] == reason
    # The picture of an earlier evaluation in the folder would show another cohort.
    (tmp_path / "c2.csv").write_text("patient,label\na,good\nb,poor\n")
    write_evaluation(out, evaluate_mil(tmp_path / "s.csv", tmp_path / "c2.csv", repeats=0))
    assert (out / "calibration.png").is_file()
    write_evaluation(out, found)
    assert sorted(path.name for path in out.iterdir()) == [
        "calibration.csv", "evaluation.json", "scores.csv",
    ]  # fmt: skip
    assert read(out / "calibration.csv") == []
    assert [row["group"] for row in read(out / "scores.csv")] == ["low", "high", "low", "low"]


def test_a_picture_that_no_evaluation_wrote_stays(tmp_path):
    (tmp_path / "s.csv").write_text("patient,risk,threshold\na,0.2,0.5\nb,0.7,0.5\n")
    (tmp_path / "c.csv").write_text("patient,time_years,event\na,3,0\nb,2,1\n")
    (tmp_path / "calibration.png").write_text("mine")
    write_evaluation(tmp_path, evaluate_mil(tmp_path / "s.csv", tmp_path / "c.csv", repeats=0))
    assert (tmp_path / "calibration.png").read_text() == "mine"


def test_without_an_event_the_figures_of_distinct_outcomes_are_given(tmp_path):
    (tmp_path / "s.csv").write_text("patient,risk,threshold\na,0.2,0.5\nb,0.7,0.5\n")
    (tmp_path / "c.csv").write_text("patient,time_years,event\na,5,0\nb,6,0\n")
    found = evaluate_mil(tmp_path / "s.csv", tmp_path / "c.csv", repeats=0)
    assert found.c_index is None
    assert found.scores.specificity.value == 0.5
    assert found.not_given["c_index"] == "none of 2 patients with follow-up had an event"


def test_a_cohort_on_which_nothing_can_be_measured_is_refused(tmp_path):
    (tmp_path / "s.csv").write_text("patient,risk,threshold\na,0.2,0.5\nb,0.7,0.5\n")
    # The only event comes after everybody else is lost.
    (tmp_path / "c.csv").write_text("patient,time_years,event\na,2,0\nb,3,1\n")
    told = r"none of 2 patients has a distinct outcome \(0 good, .* and of no two patients"
    with pytest.raises(DataError, match=told):
        evaluate_mil(tmp_path / "s.csv", tmp_path / "c.csv")
    (tmp_path / "c.csv").write_text("patient,time_years,event\na,2,0\nb,3,0\n")
    # Before anything is scored: the slides need not even exist.
    (tmp_path / "slides").mkdir()
    with pytest.raises(DataError, match="none of 2 patients with follow-up had an event"):
        evaluate_mil(tmp_path / "slides", tmp_path / "c.csv")


def test_degenerate_bootstrap_samples_are_counted(tmp_path):
    (tmp_path / "s.csv").write_text("patient,risk,threshold\na,0.2,0.5\nb,0.7,0.5\nc,0.1,0.5\n")
    (tmp_path / "c.csv").write_text("patient,label\na,good\nb,poor\nc,good\n")
    found = evaluate_mil(tmp_path / "s.csv", tmp_path / "c.csv", repeats=500)
    # A sample of three lacks the one poor outcome with probability (2/3)³, the good with (1/3)³.
    assert found.scores.auc.undefined / 500 == pytest.approx(8 / 27 + 1 / 27, abs=0.06)
    # In all others the AUC is 1, which is not certain for that.
    assert found.scores.auc.value == 1
    assert np.isnan([found.scores.auc.low, found.scores.auc.high]).all()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("patient,risk\na,1.2\n", r"patient 'a' has the risk 1\.2, which is not in \[0, 1\]"),
        ("patient,risk\nz,0.2\n", "none of its patients is in"),
        ("patient,colour\na,red\n", "no column is known as the score"),
    ],
)
def test_bad_scores_are_refused_in_one_line(tmp_path, scores, message):
    (tmp_path / "s.csv").write_text(scores)
    (tmp_path / "c.csv").write_text("patient,label\na,good\nb,poor\n")
    with pytest.raises(DataError, match=message):
        evaluate_mil(tmp_path / "s.csv", tmp_path / "c.csv")


def test_a_source_that_is_nothing_is_said_so(tmp_path):
    (tmp_path / "c.csv").write_text("patient,label\na,good\n")
    (tmp_path / "x.svs").write_text("")
    with pytest.raises(DataError, match="neither a QuPath project nor a folder"):
        evaluate_mil(tmp_path / "x.svs", tmp_path / "c.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no QuPath project, slides, prepared bags"):
        evaluate_mil(tmp_path / "empty", tmp_path / "c.csv")
