"""The cohort and the whole analysis: everybody accounted for, and no crash on odd cohorts."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis import analyse
from qupath_hccmil.survival.analysis_cohort import GROUP, read_cohort
from qupath_hccmil.survival.analysis_context import choose_horizons
from qupath_hccmil.survival.analysis_settings import Settings, read_settings
from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.results_json import plain
from qupath_hccmil.survival.statistics.variables import VariableRequest
from tests.survival.conftest import made_cohort
from tests.survival.datasets import SCORES

SETTINGS = Settings(time="rfs_days", event="rfs_event", bootstrap=0)
ONE = {"horizons": (3.0,)}  # what needs no more is quicker with one horizon


def both(tmp_path, frame: pd.DataFrame):
    scores, clinical = tmp_path / "s.csv", tmp_path / "c.csv"
    frame[["patient", "risk_score"]].to_csv(scores, index=False)
    frame.drop(columns="risk_score").to_csv(clinical, index=False)
    return scores, clinical


def run(tmp_path, frame: pd.DataFrame, **changes):
    settings = replace(SETTINGS, **changes)
    return analyse(read_cohort(*both(tmp_path, frame), settings), settings)


def test_everybody_is_accounted_for(tmp_path):
    frame = made_cohort(30)
    clinical = frame.drop(columns="risk_score")
    clinical.loc[1, "rfs_days"] = np.nan
    clinical.loc[2, "rfs_event"] = np.nan
    clinical.loc[3, "rfs_days"] = -5
    clinical["arm"] = ["x" if i == 4 else "y" for i in range(30)]
    differing = clinical.iloc[[5]].assign(stage="IV")
    clinical = pd.concat([clinical, clinical.iloc[[6]], differing])
    scores = frame[["patient", "risk_score"]].drop(index=[7])
    scores.loc[8, "risk_score"] = np.nan
    scores = pd.concat([scores, pd.DataFrame({"patient": ["stranger"], "risk_score": [0.5]})])
    clinical.to_csv(tmp_path / "c.csv", index=False)
    scores.to_csv(tmp_path / "s.csv", index=False)
    settings = replace(SETTINGS, exclude=(("arm", "x"),), variables=())
    cohort = read_cohort(tmp_path / "s.csv", tmp_path / "c.csv", settings)
    why = cohort.left_out.set_index("patient")["reason"].to_dict()
    assert why == {
        "P001": "no time (rfs_days)",
        "P002": "no event status (rfs_event)",
        "P003": "negative time (rfs_days)",
        "P004": "excluded: arm is 'x'",
        "P005": "several rows that differ (none is used)",
        "P006": "identical row repeated (one is kept)",
        "P007": "no row in the scores table",
        "P008": "the scores table has no value for them",
        "stranger": "scored, but not in the clinical table",
    }
    assert cohort.flow["patients"].tolist() == [29, 27, 26, 23]
    assert len(cohort.frame) == 23


def test_times_are_converted_and_stay_tied(tmp_path):
    frame = made_cohort(40).assign(rfs_days=[365.25, 730.5] * 20)
    cohort = read_cohort(*both(tmp_path, frame), SETTINGS)
    assert sorted(cohort.frame["time"].unique()) == [1.0, 2.0]
    months = read_cohort(*both(tmp_path, frame), replace(SETTINGS, report_unit="months"))
    assert sorted(months.frame["time"].unique()) == pytest.approx([12, 24])


def test_no_patient_in_both_tables_shows_some_of_each(tmp_path):
    frame = made_cohort(5)
    scores, clinical = both(tmp_path, frame)
    clinical.write_text(clinical.read_text().replace("P00", "Q00"))
    with pytest.raises(DataError, match=r"no patient is in both tables.*P000.*Q000"):
        read_cohort(scores, clinical, SETTINGS)


def test_variables_are_recognised_by_name_and_told(tmp_path):
    cohort = read_cohort(*both(tmp_path, made_cohort()), SETTINGS)
    assert [variable.name for variable in cohort.variables] == ["stage", "age"]
    assert any(
        "columns with the usual name of a prognostic variable" in note for note in cohort.notes
    )


def test_values_that_look_missing_are_used_and_told(tmp_path):
    frame = made_cohort().replace({"stage": {"III": "[Not Available]"}})
    cohort = read_cohort(*both(tmp_path, frame), SETTINGS)
    assert cohort.variables[0].levels == ("I", "II", "[Not Available]")
    assert any("[Not Available]" in note for note in cohort.notes)
    told = read_cohort(*both(tmp_path, frame), replace(SETTINGS, missing=("[Not Available]",)))
    assert told.variables[0].levels == ("I", "II")


def test_analysis_finds_that_the_score_predicts(tmp_path):
    found = run(tmp_path, made_cohort(200))
    assert found.problems == []
    fit = found.effects.with_score
    assert fit is not None
    assert fit.table.loc[0, "hazard_ratio"] > 1
    assert found.effects.gain.p < 0.001
    assert found.performance.auc["auc"].iloc[0] > 0.6
    assert found.horizons == (1.0, 3.0, 5.0)
    assert found.survival.test.p < 0.01


def test_a_reversed_score_is_noticed(tmp_path):
    frame = made_cohort(200).assign(risk_score=lambda f: 1 - f["risk_score"])
    found = run(tmp_path, frame, variables=(), **ONE)
    assert found.effects.with_score.table.loc[0, "hazard_ratio"] < 1
    report = write_analysis(found, tmp_path / "out").read_text()
    assert "the score may be reversed" in report.replace("\n", " ")


def test_competing_deaths_are_analysed(tmp_path):
    frame = made_cohort(150)
    died = (frame["rfs_event"] == 0) & (np.arange(150) % 3 == 0)
    frame["rfs_event"] = frame["rfs_event"].where(~died, 2)
    found = run(
        tmp_path, frame, event_values=("1",), censored_values=("0",), competing_values=("2",)
    )
    assert found.cohort.frame["event"].sum() == (frame["rfs_event"] == 1).sum()
    at = found.competing.horizons
    assert set(at["cause"]) == {"Event", "Death without recurrence"}
    assert found.competing.hazards is not None
    with pytest.raises(DataError, match="event code '2' is not recognised"):
        run(tmp_path, frame)


def competing_cohort() -> pd.DataFrame:
    frame = made_cohort(150)
    died = (frame["rfs_event"] == 0) & (np.arange(150) % 3 == 0)
    return frame.assign(rfs_event=frame["rfs_event"].where(~died, 2))


COMPETING = {"event_values": ("1",), "censored_values": ("0",), "competing_values": ("2",)}


def test_competing_risks_are_tested_modelled_and_predicted(tmp_path):
    found = run(tmp_path, competing_cohort(), **COMPETING, horizons=(1.0, 3.0))
    assert found.problems == []
    competing = found.competing
    assert competing.gray["p"].iloc[0] < 0.05
    assert set(competing.fine_gray["cause"]) == {"Event", "Death without recurrence"}
    assert competing.fine_gray_model.table.loc[0, "hazard_ratio"] > 1
    performance = competing.performance
    assert set(performance.auc["marker"]) == {"Risk score", "Clinical model"}
    assert [one.horizon for one in performance.calibrations] == [1.0, 3.0]
    assert performance.brier.table["scaled"].iloc[-1] > 0
    assert set(performance.net_benefit["horizon"]) == {1.0, 3.0}
    report = write_analysis(found, tmp_path / "out")
    text = report.read_text("utf-8")
    assert "sHR (95 % interval)" in text
    tables = {path.name for path in (tmp_path / "out" / "tables").iterdir()}
    assert tables >= {
        "gray_test.csv", "fine_gray.csv", "fine_gray_multivariable.csv", "auc_competing.csv",
        "auc_competing_differences.csv", "calibration_competing.csv", "brier_competing.csv",
        "log_rank_weighted.csv",
    }  # fmt: skip
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert figures >= {"calibration_competing_3.svg", "decision_curve_competing_1.svg"}


def test_a_cause_without_events_in_a_group_costs_its_own_models(tmp_path):
    frame = competing_cohort()
    low = frame["risk_score"] <= 0.4457
    frame.loc[low & (frame["rfs_event"] == 2), "rfs_event"] = 0
    found = run(tmp_path, frame, **COMPETING, **ONE)
    parts = [part for part, _ in found.problems]
    assert parts == ["Fine–Gray model of Risk group, Death without recurrence"]
    assert found.competing.gray["p"].notna().all()
    assert found.competing.fine_gray_model is not None


def test_patients_who_enter_late_are_at_risk_from_then(tmp_path):
    frame = competing_cohort()
    plain = run(tmp_path, frame, **COMPETING, **ONE, cut="tertiles")
    assert plain.survival.group_tests.trend.p < 0.05
    assert len(plain.survival.group_tests.pairwise) == 3
    frame["entry_days"] = np.where(np.arange(150) % 2 == 0, 200.0, 0.0)
    frame.loc[[1, 3], "entry_days"] = [np.nan, -1]
    # A variable with the name that the entry has here stays a variable.
    frame["entry_time"] = np.arange(150.0)
    found = run(
        tmp_path,
        frame,
        **COMPETING,
        **ONE,
        entry="entry_days",
        cut="tertiles",
        variables=(VariableRequest("stage"), VariableRequest("entry_time")),
    )
    why = found.cohort.left_out.set_index("patient")["reason"]
    assert why["P001"] == "no time of entry (entry_days)"
    assert why["P003"] == "entry before time zero (entry_days)"
    too_late = frame["rfs_days"] <= 200
    assert (why == "follow-up ends before the entry (entry_days)").sum() == (
        (too_late & (np.arange(150) % 2 == 0)).sum()
    )
    assert [variable.title for variable in found.cohort.variables] == ["stage", "entry_time"]
    parts = [part for part, _ in found.problems]
    assert parts == [
        "Discrimination and predicted risks",
        "Gray's test, Fine–Gray models and predicted risks",
    ]
    assert found.survival.group_tests.trend.p < 0.05
    assert found.competing.hazards is not None
    assert found.effects.with_score.table.loc[0, "hazard_ratio"] != pytest.approx(
        plain.effects.with_score.table.loc[0, "hazard_ratio"]
    )
    text = write_analysis(found, tmp_path / "out", "md").read_text("utf-8")
    assert "Left truncation: patients are at risk from" in text
    assert "Log-rank tests of pairs of risk groups" in text


def test_the_effect_in_subgroups_and_centres_is_reported(tmp_path):
    frame = made_cohort(200)
    place = np.arange(200)
    frame["hospital"] = np.array(["North", "South", "West"])[place % 3]
    frame.loc[0, "hospital"] = None
    frame["sex"] = np.where(place % 2, "f", "m")
    frame["time"] = np.where(place % 5 < 2, "early", "late")
    found = run(
        tmp_path,
        frame,
        **ONE,
        centre="Hospital",
        variables=(VariableRequest("stage"), VariableRequest("age")),
        subgroups=("age", "sex", "time"),
    )
    assert found.problems == []
    subgroups, centres = found.groups.subgroups, found.groups.centres
    assert list(dict.fromkeys(subgroups.tests["label"])) == ["age", "sex", "time"]
    assert centres.by_centre["centre"].tolist() == ["North", "South", "West"]
    assert centres.by_centre["patients"].sum() == 199
    assert centres.pooled.estimate > 0
    report = write_analysis(found, tmp_path / "out").read_text("utf-8")
    assert "The subgroups are those that were named for this analysis. 3 tests" in report
    assert "1 patient(s) without a centre are not in this section." in report
    assert "95 % prediction interval for a new one" in report
    names = {path.name for path in (tmp_path / "out").glob("*/*")}
    assert names >= {
        "forest_subgroups.svg", "forest_centres.svg", "interactions.csv", "centre_models.csv",
        "leave_one_centre_out.csv",
    }  # fmt: skip


def test_no_subgroups_and_wrong_ones(tmp_path):
    frame = made_cohort(100)
    assert run(tmp_path, frame, **ONE, subgroups=("none",)).groups.subgroups is None
    with pytest.raises(DataError, match="subgroup 'rfs_days' is the follow-up itself"):
        run(tmp_path, frame, subgroups=("rfs_days",))
    with pytest.raises(DataError, match="no column 'ward'"):
        run(tmp_path, frame, centre="ward")
    one = run(tmp_path, frame.assign(ward="A"), **ONE, centre="ward", subgroups=("none",))
    assert one.problems == [("Centres", "there is only one centre")]


def test_one_risk_group_still_has_an_analysis(tmp_path):
    found = run(tmp_path, made_cohort(100), threshold=0.999, **ONE)
    assert found.effects.with_group is None
    assert found.effects.with_score is not None
    assert [part for part, _ in found.problems] == ["Univariable Cox, Risk group"]
    text = write_analysis(found, tmp_path / "out").read_text()
    assert "All patients fall into one group" in text


def test_a_horizon_past_follow_up_is_left_out_and_told(tmp_path):
    found = run(tmp_path, made_cohort(100), horizons=(2.0, 50.0))
    assert found.horizons == (2.0,)
    assert found.problems[0][0] == "Horizon 50 years"
    assert "after the last follow-up" in found.problems[0][1]


def test_short_follow_up_uses_the_median_event():
    frame = pd.DataFrame({"time": [0.1, 0.2, 0.3], "event": 1})
    horizons, problems = choose_horizons(frame, (), "years")
    assert horizons == (0.2,)
    assert "median time to an event" in problems[0][1]


def test_a_level_without_events_does_not_stop_the_analysis(tmp_path):
    frame = made_cohort(120)
    frame.loc[frame["stage"] == "III", "rfs_event"] = 0
    found = run(tmp_path, frame, variables=(VariableRequest("stage"),), **ONE)
    table = found.effects.univariable
    assert (table.loc[table["variable"] == "stage", "method"] == "Firth").all()
    assert "no events" in write_analysis(found, tmp_path / "out").read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rfs_event": 0}, "none of the 30 patients has an event"),
        ({"risk_score": 0.4}, "has the score 0.4"),
        ({"rfs_days": np.nan}, "no patient is left"),
    ],
)
def test_a_cohort_without_information_is_refused(tmp_path, change, told):
    with pytest.raises(DataError, match=told):
        run(tmp_path, made_cohort(30).assign(**change))


def test_one_patient_is_refused(tmp_path):
    with pytest.raises(DataError, match="1 patient"):
        run(tmp_path, made_cohort(1))


@pytest.mark.parametrize("patients", [2, 5, 15])
def test_tiny_cohorts_are_analysed_as_far_as_they_go(tmp_path, patients):
    frame = made_cohort(patients, seed=9).assign(rfs_event=1)
    found = run(tmp_path, frame, bootstrap=3, variables=())
    write_analysis(found, tmp_path / "out")
    json.loads((tmp_path / "out" / "results.json").read_text())


def test_a_perfect_score_is_analysed(tmp_path):
    frame = made_cohort(80)
    rank = frame["rfs_days"].rank(method="first")
    perfect = frame.assign(risk_score=1 - rank / 81, rfs_event=1)
    found = run(tmp_path, perfect, variables=(), **ONE)
    assert found.performance.discrimination.table["apparent"].iloc[0] == pytest.approx(1, abs=0.01)
    write_analysis(found, tmp_path / "out")


@pytest.mark.slow
def test_a_hundred_thousand_patients(tmp_path):
    frame = made_cohort(100_000).assign(patient=[f"P{i}" for i in range(100_000)])
    found = run(tmp_path, frame)
    assert found.problems == []
    report = write_analysis(found, tmp_path / "out")
    assert report.stat().st_size < 8_000_000


def test_tcga_gives_the_stage_hazard_ratios_of_its_readme(tcga_file):
    config = read_settings(SCORES.parent / "tcga_lihc.toml")
    settings = replace(config, bootstrap=0, exclude=())
    found = analyse(read_cohort(SCORES, tcga_file, settings), settings)
    table = found.effects.univariable
    stage = table[table["variable"] == "ajcc_stage"].set_index("level")
    assert stage["patients"].sum() == 352
    assert stage.loc["II", "hazard_ratio"] == pytest.approx(1.82, abs=0.02)
    assert stage.loc["III–IV", "hazard_ratio"] == pytest.approx(2.57, abs=0.03)
    assert found.cohort.frame[GROUP].nunique() == 2


def test_imputation_stands_beside_complete_cases(tmp_path):
    found = run(tmp_path, made_cohort(120), imputations=2, **ONE)
    assert found.effects.imputed.patients == 120 > found.effects.with_score.patients


def test_a_baseline_of_another_cohort_predicts_here(tmp_path):
    first = run(tmp_path, made_cohort(150, seed=1), variables=())
    write_analysis(first, tmp_path / "first")
    path = str(tmp_path / "first" / "baseline.json")
    second = run(tmp_path, made_cohort(150, seed=2), baseline=path, report_unit="months",
                 horizons=(12.0, 36.0), variables=())  # fmt: skip
    slope = (
        second.performance.calibrations[1]
        .summary.set_index("quantity")
        .loc["Calibration slope", "estimate"]
    )
    assert 0.3 < slope < 3
    assert "150 patients" in second.performance.baseline_told
    write_analysis(second, tmp_path / "second")
    assert not (tmp_path / "second" / "baseline.json").exists()


def test_results_are_strict_json_with_every_part(tmp_path):
    found = run(tmp_path, made_cohort(100))
    write_analysis(found, tmp_path / "out")
    content = json.loads(
        (tmp_path / "out" / "results.json").read_text(), parse_constant=lambda name: 1 / 0
    )
    assert content["cohort"]["patients"] == 100
    assert content["settings"]["horizons"] == [1.0, 3.0, 5.0]
    found_ratio = content["effects"]["with_score"]["table"][0]["hazard_ratio"]
    assert found_ratio == found.effects.with_score.table.loc[0, "hazard_ratio"]
    assert set(content["provenance"]) >= {"SHA-256 of s.csv", "numpy", "qupath-hccmil"}


def test_json_writes_what_has_no_number():
    assert plain({"a": np.nan, "b": np.inf, "c": np.float64(2), "d": (None, True)}) == {
        "a": None, "b": "inf", "c": 2.0, "d": [None, True]
    }  # fmt: skip


def test_named_variables_must_be_usable(tmp_path):
    with pytest.raises(DataError, match="no column 'nope' for the variable"):
        run(tmp_path, made_cohort(30), variables=(VariableRequest("nope"),))


def test_two_tables_of_one_name_are_both_known_by_their_hash(tmp_path):
    frame = made_cohort()
    for name, columns in (("a", ["patient", "risk_score"]), ("b", None)):
        (tmp_path / name).mkdir()
        part = frame[columns] if columns else frame.drop(columns="risk_score")
        part.to_csv(tmp_path / name / "table.csv", index=False)
    paths = [tmp_path / name / "table.csv" for name in "ab"]
    cohort = read_cohort(*paths, SETTINGS)
    assert list(cohort.hashes) == [str(path) for path in paths]
    assert len(set(cohort.hashes.values())) == 2
