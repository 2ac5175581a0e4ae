"""External validation: R's numbers, and whole analyses with several cohorts."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis import analyse
from qupath_hccmil.survival.analysis_cohort import read_cohort
from qupath_hccmil.survival.analysis_settings import CohortRequest, Settings, read_settings
from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.statistics.external_validation import (
    AS_IS,
    AUC,
    BASELINE,
    BOTH,
    HARRELL,
    RATIO,
    SLOPE,
    harrell_with_error,
    pool_cohorts,
    recalibrated,
    update,
    validate,
)
from tests.survival import datasets
from tests.survival.conftest import made_cohort
from tests.survival.frozen import frozen
from tests.survival.test_r_script import reproduced

HORIZON = 8.0
NAMES = {HARRELL: "c", AUC: "auc", SLOPE: "slope", RATIO: "ratio"}


@pytest.fixture(scope="module")
def three() -> dict[str, pd.DataFrame]:
    return dict(tuple(datasets.cohorts().groupby("cohort")))


@pytest.fixture(scope="module")
def validated(three) -> dict[str, pd.DataFrame]:
    return {
        name: validate(frame, "score", frame[["risk"]].to_numpy(), [HORIZON])
        for name, frame in three.items()
    }


def test_each_cohort_is_that_of_r(validated):
    for name, table in validated.items():
        truth = frozen("cohorts", "validation").loc[name]
        found = table.set_index("quantity")
        for quantity, short in NAMES.items():
            assert found.loc[quantity, "estimate"] == pytest.approx(truth[short], abs=1e-7)
        for quantity, key in ((HARRELL, "c_se"), (SLOPE, "slope_se")):
            assert found.loc[quantity, "se"] == pytest.approx(truth[key], abs=1e-7)
        assert found.loc[AUC, "se"] == pytest.approx(truth["auc_se"], abs=1e-6)
        log_error = found.loc[RATIO, "se"] / found.loc[RATIO, "estimate"]
        assert log_error == pytest.approx(truth["ratio_se_log"], abs=1e-9)


def test_pooled_values_are_those_of_metafor(validated):
    found = pool_cohorts(validated).set_index("quantity")
    for quantity, short in NAMES.items():
        truth = frozen("cohorts", "pooled").loc[short]
        for key in truth.index:
            assert found.loc[quantity, key] == pytest.approx(truth[key], abs=2e-6)
    assert (found["cohorts"] == 3).all()


def test_updated_predictions_are_those_of_r(three):
    for name, frame in three.items():
        found = recalibrated(frame, frame["risk"].to_numpy(), HORIZON, seed=7).set_index("version")
        assert found.loc[AS_IS, ["intercept", "slope"]].tolist() == [0, 1]
        for version, item in ((BASELINE, "baseline"), (BOTH, "both")):
            truth = frozen("cohorts", f"recalibrated-{item}").loc[name]
            for key in truth.index:
                assert found.loc[version, key] == pytest.approx(truth[key], abs=1e-6)


def test_what_cannot_be_measured_is_a_note(three):
    frame = three["Y1995"]
    risks = np.column_stack([frame["risk"], np.full(len(frame), np.nan), frame["risk"]])
    table = validate(frame, "score", risks, [HORIZON, HORIZON, 0.0001])
    notes = table["note"].tolist()
    assert any("somebody has no prediction" in note for note in notes)
    assert any("no event up to the horizon" in note for note in notes)
    assert any("no case or no control" in note for note in notes)
    with pytest.raises(DataError, match="nothing can be updated"):
        update(frame, frame["risk"].to_numpy(), 0.0001, BASELINE)
    same = frame.iloc[:4].assign(event=[1, 0, 0, 0], time=[4.0, 3, 2, 1])
    assert np.isnan(harrell_with_error(same, "score")[0])


def test_a_perfect_score_has_no_interval(three):
    frame = three["Y1995"].assign(score=lambda f: -f["time"], event=1)
    table = validate(frame, "score", frame[["risk"]].to_numpy(), [HORIZON]).set_index("quantity")
    assert table.loc[HARRELL, "estimate"] == 1
    assert np.isnan(table.loc[HARRELL, "lower"])


def made(folder, name: str, frame: pd.DataFrame) -> CohortRequest:
    scores, clinical = folder / f"{name}_s.csv", folder / f"{name}_c.csv"
    frame[["patient", "risk_score"]].to_csv(scores, index=False)
    frame.drop(columns="risk_score").to_csv(clinical, index=False)
    return CohortRequest(name, str(scores), str(clinical))


SETTINGS = Settings(time="rfs_days", event="rfs_event", bootstrap=0, horizons=(3.0,))
QUICK = replace(SETTINGS, variables=())


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohorts")
    first = made(folder, "first", made_cohort(150))
    months = made_cohort(130, seed=8)
    months["months_to_end"] = months.pop("rfs_days") / 30.4375
    months["status"] = months.pop("rfs_event").map({0: "zensiert", 1: "Rezidiv"})
    other = made(folder, "Köln", months.drop(columns="stage"))
    given = {"time": "months_to_end", "event": "status", "unit": "months"}
    other = CohortRequest(other.name, other.scores, other.clinical, given)
    third = made(folder, "Lyon", made_cohort(140, seed=9).replace({"stage": {"III": "IV"}}))
    settings = replace(SETTINGS, cohorts=(other, third))
    cohort = read_cohort(first.scores, first.clinical, settings)
    return analyse(cohort, settings), folder


def test_cohorts_stand_side_by_side(analysis):
    found, folder = analysis
    assert found.problems == []
    external = found.external
    assert list(external.cohorts) == ["Development", "Köln", "Lyon"]
    assert external.first == "Development"
    assert set(external.recalibrated) == {"Köln", "Lyon"}
    assert (external.pooled["cohorts"] == 2).all()
    assert external.cohorts["Köln"].follow_up["longest"] < 12  # years, from months
    own = external.cohorts["Development"].table.set_index("quantity")
    internal = found.performance.calibrations[0].summary.set_index("quantity")
    assert own.loc[SLOPE, "estimate"] == pytest.approx(internal.loc[SLOPE, "estimate"])
    report = write_analysis(found, folder / "out").read_text("utf-8")
    for told in ("Cohorts side by side", "stage: IV", "The prediction updated to each cohort"):
        assert told in report
    assert "SHA-256 of Lyon_c.csv (Lyon)" in report
    results = json.loads((folder / "out" / "results.json").read_text("utf-8"))
    assert set(results["external"]["cohorts"]["Lyon"]) >= {"patients", "table"}
    assert "risks" not in results["external"]["cohorts"]["Lyon"]
    assert results["settings"]["cohorts"] == ["Köln", "Lyon"]


@pytest.mark.slow
def test_r_computes_the_same(analysis):
    found, folder = analysis
    out = write_analysis(found, folder / "out").parent
    pairs, told = reproduced(out)
    assert "analysis_cohorts.csv" in {path.name for path in out.iterdir()}
    if "is not installed" not in told:
        assert set(pairs["table"]) >= {"cohorts", "cohorts_pooled", "cohorts_recalibrated"}


def test_with_a_given_baseline_every_cohort_is_external(analysis, tmp_path):
    found, folder = analysis
    write_analysis(found, folder / "out")
    second = made(tmp_path, "second", made_cohort(120, seed=11))
    settings = replace(QUICK, baseline=str(folder / "out" / "baseline.json"), cohorts=(second,))
    again = analyse(read_cohort(second.scores, second.clinical, settings), settings)
    assert list(again.external.cohorts) == ["This cohort", "second"]
    assert (again.external.pooled["cohorts"] == 2).all()
    assert set(again.external.recalibrated) == {"This cohort", "second"}
    report = write_analysis(again, folder / "given" / "out")
    assert "every cohort is an external one" in report.read_text("utf-8")


@pytest.mark.slow
def test_r_computes_the_same_with_a_given_baseline(analysis, tmp_path):
    test_with_a_given_baseline_every_cohort_is_external(analysis, tmp_path)
    pairs, _ = reproduced(analysis[1] / "given" / "out")
    assert (pairs["table"] == "cohorts").sum() > 20


def test_a_short_cohort_costs_only_what_it_cannot_have(tmp_path):
    first = made(tmp_path, "first", made_cohort(120))
    short = made_cohort(80, seed=4)
    short["rfs_event"] = short["rfs_event"].where(short["rfs_days"] < 500, 0)
    short["rfs_days"] = short["rfs_days"].clip(upper=500)
    settings = replace(QUICK, horizons=(1.0, 3.0), cohorts=(made(tmp_path, "short", short),))
    found = analyse(read_cohort(first.scores, first.clinical, settings), settings)
    assert found.problems == []
    table = found.external.cohorts["short"].table
    late = table[table["horizon"] == 3.0]
    assert late["estimate"].isna().all()
    assert late["note"].str.contains("after the last follow-up|no case or no control").all()
    assert found.external.recalibrated["short"]["horizon"].unique().tolist() == [1.0]
    assert found.external.pooled is None
    write_analysis(found, tmp_path / "out")


def test_wrong_cohorts_are_named(tmp_path):
    first = made(tmp_path, "first", made_cohort(60))
    twice = replace(SETTINGS, cohorts=(first, first))
    cohort = read_cohort(first.scores, first.clinical, SETTINGS)
    with pytest.raises(DataError, match="two cohorts are named 'first'"):
        analyse(cohort, twice)
    absent = replace(SETTINGS, cohorts=(CohortRequest("away", "none.csv", first.clinical),))
    with pytest.raises(DataError, match=r"cohort 'away': .*none\.csv"):
        analyse(cohort, absent)


def test_cohorts_in_the_settings_file(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(
        'time = "rfs_days"\nevent = "rfs_event"\n[cohorts.Lyon]\nscores = "s.csv"\n'
        'clinical = "c.csv"\ntime = "zeit"\nevent_values = [2]\n[cohorts.Lyon.exclude]\n'
        "arm = 1\n",
        encoding="utf-8",
    )
    (found,) = read_settings(path).cohorts
    assert (found.name, found.scores, found.clinical) == ("Lyon", "s.csv", "c.csv")
    assert dict(found.given) == {
        "time": "zeit", "event_values": ("2",), "exclude": (("arm", "1"),),
    }  # fmt: skip
    for wrong, told in (
        ('[cohorts.A]\nscores = "s.csv"', "needs scores and clinical"),
        ('[cohorts.A]\nscores = "s"\nclinical = "c"\nhorizons = [3]', "'horizons' is not one of"),
        ("[cohorts]\nA = 3", "cohorts.A must be a table"),
    ):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(DataError, match=told):
            read_settings(path)
