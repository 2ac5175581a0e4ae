"""``qupath-hccmil survival`` as users call it."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from qupath_hccmil.cli.survival import survival
from qupath_hccmil.errors import DataError, WriteError
from tests.survival.conftest import made_cohort

COLUMNS = ["--time", "rfs_days", "--event", "rfs_event", "--bootstrap", "0"]
QUICK = [*COLUMNS, "--variable", "none", "--horizon", "3"]


@pytest.fixture
def tables(tmp_path):
    frame = made_cohort()
    scores, clinical = tmp_path / "scores.csv", tmp_path / "clinical.xlsx"
    frame[["patient", "risk_score"]].to_csv(scores, index=False)
    frame.drop(columns="risk_score").to_excel(clinical, index=False)
    return str(scores), str(clinical)


def run(*arguments: str):
    return CliRunner().invoke(survival, arguments, catch_exceptions=False)


def test_the_command_of_the_readme_makes_a_report(tables, tmp_path):
    out = tmp_path / "report"
    done = run(*tables, *COLUMNS, "--out", str(out))
    assert done.exit_code == 0
    assert "120 patients" in done.output
    assert "“1” = event, “0” = censored (recognised from the values)" in done.output
    assert done.output.splitlines()[-1] == f"Report: {out / 'report.html'}"
    for name in ("report.html", "results.json", "baseline.json", "tables/table_1.csv"):
        assert (out / name).stat().st_size


def test_late_entry_is_an_option(tmp_path):
    frame = made_cohort().assign(entry_days=30)
    scores, clinical = str(tmp_path / "scores.csv"), str(tmp_path / "clinical.csv")
    frame[["patient", "risk_score"]].to_csv(scores, index=False)
    frame.drop(columns="risk_score").to_csv(clinical, index=False)
    out = tmp_path / "report"
    done = run(scores, clinical, *QUICK, "--entry", "Entry_days", "--out", str(out))
    assert "Note: Left truncation: patients are at risk from “entry_days”, " in done.output
    settings = json.loads((out / "results.json").read_text())["settings"]
    assert settings["entry"] == "Entry_days"


def test_centres_and_subgroups_are_options(tmp_path):
    frame = made_cohort().assign(hospital=["A", "B", "C"] * 40, sex=["f", "m"] * 60)
    scores, clinical = str(tmp_path / "scores.csv"), str(tmp_path / "clinical.csv")
    frame[["patient", "risk_score"]].to_csv(scores, index=False)
    frame.drop(columns="risk_score").to_csv(clinical, index=False)
    out = tmp_path / "report"
    done = run(
        scores, clinical, *QUICK, "--centre", "hospital", "--subgroup", "sex",
        "--subgroup", "stage", "--out", str(out),
    )  # fmt: skip
    assert done.exit_code == 0
    groups = json.loads((out / "results.json").read_text())["groups"]
    assert len(groups["centres"]["by_centre"]) == 3
    assert [row["variable"] for row in groups["subgroups"]["tests"]] == ["sex", "stage"]


def test_other_cohorts_are_an_option(tables, tmp_path):
    out = tmp_path / "report"
    done = run(*tables, *QUICK, "--cohort", "Same again", *tables, "--out", str(out))
    assert done.exit_code == 0
    external = json.loads((out / "results.json").read_text())["external"]
    assert list(external["cohorts"]) == ["Development", "Same again"]


def test_json_and_quiet(tables, tmp_path):
    out = tmp_path / "report"
    done = run(*tables, *QUICK, "--out", str(out), "--json", "--format", "md")
    content = json.loads(done.output)
    assert content["patients"] == 120
    assert content["report"] == str(out / "report.md")
    assert run(*tables, *QUICK, "--out", str(out), "--quiet").output == ""
    settings = json.loads((out / "results.json").read_text())["settings"]
    assert settings["variables"] == []


def test_options_go_before_the_file(tables, tmp_path):
    config = tmp_path / "s.toml"
    config.write_text(
        'time = "rfs_days"\nevent = "rfs_event"\nbootstrap = 0\ncut = "median"\n'
        '[variables.stage]\nlabel = "Stage"\n[variables.age]\n'
    )
    out = tmp_path / "report"
    done = run(
        *tables, "--config", str(config), "--out", str(out), "--cut", "0.6", "--variable", "stage",
        "--reference", "stage=II", "--horizon", "2", "--quiet",
    )  # fmt: skip
    assert done.exit_code == 0
    content = json.loads((out / "results.json").read_text())
    assert content["settings"]["cuts"] == [0.6]
    assert content["settings"]["variables"] == ["stage"]
    assert content["horizons"] == [2.0]
    first = next(r for r in content["effects"]["univariable"] if r["variable"] == "stage")
    assert (first["label"], first["level"], first["reference"]) == ("Stage", "II", True)


def test_bad_input_is_one_clear_error(tables, tmp_path):
    with pytest.raises(DataError, match="no column 'nope' for the time"):
        run(*tables, "--time", "nope", "--event", "rfs_event", "--out", str(tmp_path / "o"))
    with pytest.raises(DataError, match="give the columns of time and event"):
        run(*tables, "--out", str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def test_a_folder_that_cannot_be_used_is_refused_before_the_analysis(tables, tmp_path, monkeypatch):
    monkeypatch.setattr("qupath_hccmil.survival.analysis.analyse", None)
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="file: cannot be written"):
        run(*tables, *QUICK, "--out", str(tmp_path / "file"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("mine")
    with pytest.raises(DataError, match=r"report\.html: exists, but no earlier run wrote it"):
        run(*tables, *QUICK, "--out", str(tmp_path / "mine"))


def test_bad_usage_is_exit_code_2(tables, tmp_path):
    assert run(*tables).exit_code == 2
    assert run(*tables, *COLUMNS, "--out", "o", "--exclude", "stage").exit_code == 2
    wrong = run(*tables, *COLUMNS, "--out", "o", "--variable", "age", "--reference", "stage=I")
    assert wrong.exit_code == 2


def test_help_names_what_matters():
    text = run("--help").output
    for name in ("--time", "--event", "--out", "--patient-rule", "--competing-value", "research"):
        assert name in text


def test_warnings_of_the_results_are_on_screen_too(tables, tmp_path):
    given = [*tables, *QUICK, "--cut", "median", "--out", str(tmp_path / "o")]
    told = "Risk groups: The cut was chosen on these patients, so every comparison of the groups"
    assert f"Note: {told}" in run(*given).output
    assert any(note.startswith(told) for note in json.loads(run(*given, "--json").output)["notes"])


def test_follow_up_from_dates(tmp_path):
    frame = made_cohort(60)
    frame["op"] = "01/02/2010"
    frame["last"] = (
        pd.Timestamp("2010-02-01") + pd.to_timedelta(frame["rfs_days"], "D")
    ).dt.strftime("%d/%m/%Y")
    scores, clinical = tmp_path / "scores.csv", tmp_path / "clinical.csv"
    frame[["patient", "risk_score"]].to_csv(scores, index=False)
    frame[["patient", "op", "last", "rfs_event"]].to_csv(clinical, index=False)
    given = [
        str(scores),
        str(clinical),
        "--event",
        "rfs_event",
        "--bootstrap",
        "0",
        "--horizon",
        "2",
    ]
    out = tmp_path / "report"
    done = run(*given, "--start", "op", "--end", "last", "--out", str(out))
    assert (
        "Note: column 'op': the date “01/02/2010” is read as 2010-02-01 (day first)" in done.output
    )
    shown = (out / "tables" / "endpoint.csv").read_text(encoding="utf-8-sig")
    assert "days from the date “op” to the date “last”, reported in years" in shown
    with pytest.raises(DataError, match="give both dates"):
        run(*given, "--start-date", "op", "--out", str(out))
    with pytest.raises(DataError, match="give either --time"):
        run(*given, "--time", "op", "--start", "op", "--end", "last", "--out", str(out))
