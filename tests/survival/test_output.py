"""A run's folder is what that run wrote; a part that fails costs that part."""

import json

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis import analyse
from qupath_hccmil.survival.analysis_cohort import read_cohort
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.report.build import build_report
from qupath_hccmil.survival.statistics.baseline import read_baseline
from qupath_hccmil.survival.statistics.competing_risks import cumulative_incidence
from qupath_hccmil.survival.statistics.variables import VariableRequest
from tests.survival.conftest import made_cohort

SETTINGS = {"time": "rfs_days", "event": "rfs_event", "bootstrap": 0, "horizons": (2.0,)}


def analysed(folder, frame=None, **change):
    frame = made_cohort() if frame is None else frame
    folder.mkdir(exist_ok=True)
    frame[["patient", "risk_score"]].to_csv(folder / "s.csv", index=False)
    frame.drop(columns="risk_score").to_csv(folder / "c.csv", index=False)
    settings = Settings(**{**SETTINGS, "variables": (), **change})
    return analyse(read_cohort(folder / "s.csv", folder / "c.csv", settings), settings)


def files(folder):
    return {str(p.relative_to(folder).as_posix()) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    stage = (VariableRequest("stage"), VariableRequest("age"))
    return analysed(folder, variables=stage), analysed(folder)


def test_a_second_run_leaves_nothing_of_the_first(two, tmp_path):
    large, small = two
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    write_analysis(large, out)
    (out / "tables" / "mine.csv").write_text("kept")
    (out / "notes.txt").write_text("kept")
    more = files(out)
    write_analysis(small, out, "md")
    write_analysis(small, fresh, "md")
    assert files(out) == files(fresh) | {"tables/mine.csv", "notes.txt"}
    assert files(out) < more | {"report.md"}
    listed = json.loads((out / "results.json").read_text(encoding="utf-8"))["files"]
    assert set(listed) == files(fresh)


def test_files_of_the_users_own_are_not_overwritten(two, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(DataError, match=r"report\.html: exists, but no earlier run wrote it"):
        write_analysis(two[1], tmp_path)
    assert files(tmp_path) == {"report.html"}


@pytest.mark.parametrize("content", ["{}", "no json", '{"files": 3}'])
def test_a_folder_that_does_not_say_what_is_of_it_is_refused(two, tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match="does not list the files of its run"):
        write_analysis(two[1], tmp_path)


def test_nothing_outside_the_folder_is_ever_removed(two, tmp_path):
    out = tmp_path / "out"
    write_analysis(two[1], out)
    (tmp_path / "mine").write_text("kept")
    content = json.loads((out / "results.json").read_text(encoding="utf-8"))
    content["files"] += ["../mine", "figures/../../mine", str(tmp_path / "mine")]
    (out / "results.json").write_text(json.dumps(content))
    write_analysis(two[1], out)
    assert (tmp_path / "mine").read_text() == "kept"


def test_whatever_a_part_raises_costs_that_part(two):
    work = AnalysisContext(two[1].cohort, two[1].settings, lambda text: None)

    def broken():
        raise ZeroDivisionError("of nothing")

    assert work.attempt("Some part", broken) is None
    assert work.problems[-1] == (
        "Some part", "failed with ZeroDivisionError: of nothing; please report it",
    )  # fmt: skip


@pytest.mark.parametrize(("gone", "instead"), [(1, 0), (1, 2), (2, 0), (2, 1)])
def test_a_group_without_events_of_one_cause_has_its_curves(gone, instead):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"time": rng.exponential(1, 60), "event": rng.integers(0, 3, 60), "g": ["a", "b"] * 30}
    )
    frame.loc[(frame["g"] == "b") & (frame["event"] == gone), "event"] = instead
    table = cumulative_incidence(frame, {1: "x", 2: "y"}, "g")
    b = table[table["group"] == "b"].set_index("cause")
    names = {1: "x", 2: "y"}
    assert (b.loc[names[gone], "incidence"] == 0).all()
    rest = b.loc[names[3 - gone]]
    assert (rest["lower"] <= rest["incidence"]).all()
    assert (rest["incidence"] <= rest["upper"]).all()
    # Where nothing competes the incidence is what the Kaplan–Meier curve falls by.
    order = np.argsort(frame.loc[frame["g"] == "b", "time"].to_numpy())
    events = (frame.loc[frame["g"] == "b", "event"].to_numpy() > 0)[order]
    survival = np.cumprod(1 - events / np.arange(30, 0, -1))
    assert rest["incidence"].to_numpy()[1:] == pytest.approx(1 - survival)


def test_a_reversed_score_is_said_first(tmp_path):
    frame = made_cohort()
    frame["risk_score"] = 1 - frame["risk_score"]
    report = build_report(analysed(tmp_path / "in", frame))
    assert "A higher score goes with a lower risk" in report.warnings[0]
    assert "“High risk” means the group with high scores" in report.warnings[0]


def test_the_report_claims_nothing_it_cannot_know(two):
    text = str(build_report(two[0])).lower()
    for claim in ("retrospective", "beforehand", "fixed threshold"):
        assert claim not in text


def test_variables_that_are_picked_say_how_many_events_they_want(tmp_path):
    found = analysed(tmp_path / "in", variables=None)
    assert any("coefficients, which need" in note for note in found.cohort.notes)


def test_the_auc_with_competing_events_stays_where_the_clinical_model_fails(tmp_path):
    frame = made_cohort(120)
    frame.loc[(frame["rfs_event"] == 0) & (frame.index % 2 == 0), "rfs_event"] = 2
    quiet = (frame["rfs_event"] == 0) & (frame.index % 3 == 0)
    frame["rare"] = np.where(quiet, "yes", "no")
    found = analysed(
        tmp_path / "in", frame, event_values=("1",), censored_values=("0",),
        competing_values=("2",), variables=(VariableRequest("rare"),),
    )  # fmt: skip
    assert "AUC of the clinical model with competing events" in dict(found.problems)
    assert found.competing.performance.auc["marker"].unique().tolist() == ["Risk score"]


def test_one_bootstrap_sample_and_a_baseline_without_a_known_unit_are_refused(two, tmp_path):
    with pytest.raises(DataError, match=r"bootstrap samples must be 0 .*, or 2 or more, not 1"):
        Settings(**{**SETTINGS, "bootstrap": 1}).check()
    with pytest.raises(DataError, match="imputations must be 0, or 2 or more"):
        Settings(**{**SETTINGS, "imputations": 1}).check()
    values = json.loads(two[1].performance.baseline.to_json())
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({**values, "unit": "fortnights"}))
    with pytest.raises(DataError, match="its unit 'fortnights' is not one of"):
        read_baseline(path)
