"""analysis.R computes the numbers of a report again, from analysis.csv, wherever R is."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.survival.analysis import analyse
from qupath_hccmil.survival.analysis_cohort import read_cohort
from qupath_hccmil.survival.analysis_settings import read_settings
from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.r_script.analysis_data import (
    analysis_table,
    column_names,
    imputed_table,
)
from qupath_hccmil.survival.r_script.write_script import r_script
from qupath_hccmil.survival.statistics.variables import VariableRequest
from tests.conftest import ROOT
from tests.survival.conftest import made_cohort
from tests.survival.datasets import SCORES
from tests.survival.test_output import analysed

VARIABLES = (VariableRequest("stage"), VariableRequest("age", per=10))
COMPETING = {
    "event_values": ("1",), "censored_values": ("0",), "competing_values": ("2",),
    "competing_name": "Tod ohne Rückfall",
}  # fmt: skip


def reproduced(folder, locale="C"):
    """The pairs of numbers, after the script has run."""
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    script = folder / "analysis.R"
    out = folder.parent / "compared.csv"
    done = subprocess.run(
        ["Rscript", "--vanilla", str(script), str(out)], capture_output=True, text=True,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": locale, "HOME": str(folder.parent)},
    )  # fmt: skip
    if "package survival is not installed" in done.stdout:
        pytest.skip("the R package survival is not installed")
    assert done.returncode == 0, done.stdout + done.stderr
    pairs = pd.read_csv(out, keep_default_na=False, na_values=["NA"])
    assert pairs["agrees"].all()
    return pairs, done.stdout


def skip_if_not_all_of_it_was_done(told):
    """R has optional packages that only some parts of the script need."""
    lacking = [line for line in told.splitlines() if "is not installed" in line]
    if lacking:
        pytest.skip(lacking[0])


def exact(pairs):
    return pairs[~pairs["quantity"].str.contains("simulated")]


@pytest.fixture(scope="module")
def competing(tmp_path_factory):
    """Competing risks, imputation, three groups, and names that neither R nor a sheet likes."""
    folder = tmp_path_factory.mktemp("competing")
    frame = made_cohort(160)
    rng = np.random.default_rng(5)
    other = (frame["rfs_event"] == 0) & (rng.uniform(size=160) < 0.4)
    frame["rfs_event"] = np.where(other, 2, frame["rfs_event"])
    frame["hospital"] = rng.choice(["A", "B", "C"], 160)
    frame["Sex"] = rng.choice(["f", "m"], 160)
    frame["Größe [cm]"] = rng.choice(["=klein", "groß", 'a"b\\'], 160)
    found = analysed(
        folder / "in", frame, cut="tertiles", imputations=3, bootstrap=25, **COMPETING,
        variables=(*VARIABLES, VariableRequest("Größe [cm]")), endpoint="Rückfall",
        centre="hospital", subgroups=("Sex", "stage", "age"),
    )  # fmt: skip
    assert found.problems == []
    return found, write_analysis(found, folder / "out").parent


def test_every_kind_of_number_is_reproduced(competing):
    _, folder = competing
    pairs, told = reproduced(folder)
    written = {path.stem for path in (folder / "tables").glob("*.csv")}
    words = {
        "endpoint", "flow", "left_out", "methods", "provenance", "remark", "settings", "tripod_ai",
        "variables",
    }  # fmt: skip
    assert exact(pairs)["tolerance"].max() < 0.05
    assert "1 of" not in told.splitlines()[-1]
    assert f"{len(pairs)} of {len(pairs)} numbers agree" in told
    skip_if_not_all_of_it_was_done(told)
    assert set(pairs["table"]) == written - words
    simulated = pairs[pairs["quantity"].str.contains("simulated")]
    assert set(simulated["table"]) == {
        "calibration", "brier", "concordance", "concordance_differences",
        "calibration_competing", "brier_competing",
    }  # fmt: skip


def test_the_numbers_that_r_gives_are_those_of_the_report_and_not_its_own_reading(competing):
    _, folder = competing
    path = folder / "tables" / "medians.csv"
    was = path.read_text(encoding="utf-8-sig")
    table = pd.read_csv(path)
    table.loc[0, "median"] *= 1.001
    table.to_csv(path, index=False)
    try:
        with pytest.raises(AssertionError, match="DIFFERENT:"):
            reproduced(folder)
    finally:
        path.write_text(was, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("no variables", {"variables": (), "report_unit": "months", "horizons": (20.0,)}),
        ("one group", {"threshold": 0.999, "confidence": 0.9}),
        ("no events in a level", {"variables": (VariableRequest("rare"), *VARIABLES)}),
    ],
)
def test_other_analyses_are_reproduced(tmp_path, name, change):
    frame = made_cohort(110)
    quiet = (frame["rfs_event"] == 0) & (frame.index % 4 == 0)
    frame["rare"] = np.where(quiet, "yes", "no")
    frame.loc[3:5, "rfs_days"] = 0
    found = analysed(tmp_path / "in", frame, **{"variables": VARIABLES, **change})
    pairs, _ = reproduced(write_analysis(found, tmp_path / "out").parent)
    assert len(pairs) > 150
    if name.startswith("no events"):
        assert found.effects.with_score.method == "Firth"


def test_late_entry_is_reproduced(tmp_path):
    frame = made_cohort(150)
    rng = np.random.default_rng(2)
    other = (frame["rfs_event"] == 0) & (rng.uniform(size=150) < 0.4)
    frame["rfs_event"] = np.where(other, 2, frame["rfs_event"])
    frame["entry_days"] = np.where(rng.uniform(size=150) < 0.5, rng.integers(1, 400, 150), 0)
    frame["hospital"] = rng.choice(["A", "B"], 150)
    found = analysed(
        tmp_path / "in", frame, entry="entry_days", cut="tertiles", centre="hospital",
        variables=VARIABLES, **COMPETING,
    )  # fmt: skip
    folder = write_analysis(found, tmp_path / "out").parent
    assert (pd.read_csv(folder / "analysis.csv")["entry_time"] > 0).any()
    pairs, told = reproduced(folder)
    skip_if_not_all_of_it_was_done(told)
    assert set(pairs["table"]) >= {
        "survival_at_horizons", "medians", "log_rank_weighted", "log_rank_pairwise",
        "restricted_means", "cox_univariable", "proportional_hazards", "cumulative_incidence",
        "cause_specific", "subgroups", "interactions", "centre_models", "numbers_in_text",
    }  # fmt: skip


@pytest.mark.parametrize("competing", [False, True])
def test_a_standard_error_of_0_is_no_certainty_in_either_language(tmp_path, competing):
    frame = made_cohort(110)
    first = frame[frame["rfs_event"] == 1].sort_values("rfs_days").iloc[:4]
    # Nobody is as old as the patients who had the first events.
    frame.loc[first.index, "age"] = [99, 98, 97, 96]
    early = float(first["rfs_days"].iloc[-1])
    given = {}
    if competing:
        other = (frame["rfs_event"] == 0) & (frame.index % 3 == 0) & (frame["rfs_days"] > early)
        frame["rfs_event"] = np.where(other, 2, frame["rfs_event"])
        given = COMPETING
    found = analysed(
        tmp_path / "in", frame, variables=VARIABLES[1:], horizons=(early / 365.25, 2.0), **given
    )
    folder = write_analysis(found, tmp_path / "out").parent
    name = "auc_competing" if competing else "auc"
    table = pd.read_csv(folder / "tables" / f"{name}.csv")
    row = table[table["se"] == 0].squeeze()
    assert row["auc"] == pytest.approx(1, abs=1e-12)
    assert row[["lower", "upper", "band_lower", "band_upper"]].isna().all()
    assert row["note"] == "no interval, as the standard error is 0"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "1.000 (no interval, as the standard error is 0)" in page
    pairs, told = reproduced(folder)
    skip_if_not_all_of_it_was_done(told)
    assert (pairs["table"] == name).sum() > 10


@pytest.mark.slow
def test_a_baseline_of_another_cohort_is_in_the_script(tmp_path):
    write_analysis(analysed(tmp_path / "a", report_unit="months", horizons=(24.0,)), tmp_path / "b")
    found = analysed(
        tmp_path / "in", made_cohort(100, seed=9), baseline=str(tmp_path / "b" / "baseline.json"),
        horizons=(1.0, 3.0),
    )  # fmt: skip
    assert "fold" not in analysis_table(found)
    pairs, told = reproduced(write_analysis(found, tmp_path / "out").parent)
    skip_if_not_all_of_it_was_done(told)
    assert {"brier", "calibration", "decision_curve"} <= set(pairs["table"])


@pytest.mark.slow
def test_the_example_cohort_is_reproduced(tcga_file, tmp_path):
    settings = read_settings(ROOT / "examples" / "survival_tcga" / "tcga_lihc.toml")
    settings = replace(settings, bootstrap=0)
    found = analyse(read_cohort(SCORES, tcga_file, settings), settings)
    pairs, _ = reproduced(write_analysis(found, tmp_path / "out").parent)
    assert len(pairs) > 1000


def test_published_tile_counts_are_reproduced(tmp_path):
    tiles = tmp_path / "tiles.csv"
    pd.DataFrame(
        {"group": ["high"] * 200 + ["low"] * 200, "stroma": [1] * 25 + [0] * 371 + [1] * 4,
         "none": [0] * 391 + [1] * 9}
    ).to_csv(tiles, index=False)  # fmt: skip
    found = analysed(tmp_path / "in", tiles=str(tiles))
    pairs, _ = reproduced(write_analysis(found, tmp_path / "out").parent)
    assert (pairs["table"] == "tiles_of_interest").sum() == 12


def test_a_package_that_is_not_installed_costs_its_part(tmp_path):
    folder = write_analysis(analysed(tmp_path / "in"), tmp_path / "out").parent
    script = folder / "analysis.R"
    text = script.read_text(encoding="ascii")
    script.write_text(text.replace('"riskRegression"), function', '"noSuchPackage"), function'))
    pairs, told = reproduced(folder)
    assert 'the R package noSuchPackage is not installed; install.packages("noSuchPackage")' in told
    assert "auc" not in set(pairs["table"])
    assert "calibration" in set(pairs["table"])


# -- without R -------------------------------------------------------------------------------------


def test_the_data_are_every_patient_as_analysed(competing):
    found, folder = competing
    table = pd.read_csv(
        folder / "analysis.csv", keep_default_na=False, na_values=[""], float_precision="round_trip"
    )
    frame = found.cohort.frame
    assert list(table.columns) == [
        "patient", "time", "event", "cause", "risk_score", "risk_group", "fold", "stage", "age",
        "grosse_cm", "sex", "centre",
    ]  # fmt: skip
    assert table["patient"].tolist() == frame.index.tolist()
    assert (table["time"].to_numpy() == frame["time"].to_numpy()).all()
    assert table["age"].isna().sum() == frame["age"].isna().sum() > 0
    assert sorted(table["fold"].unique()) == list(range(1, 11))
    assert set(table["grosse_cm"]) == {"'=klein", "groß", 'a"b\\'}
    imputed = imputed_table(found, found.effects.imputed)
    assert len(imputed) == 3 * len(frame)
    assert imputed.notna().all(axis=None)
    assert "tables" not in json.loads((folder / "results.json").read_text())["effects"]["imputed"]


def test_the_script_is_ascii_for_any_r_in_any_locale(competing):
    text = r_script(competing[0])
    assert text.isascii()
    assert r'name = "Gr\u00f6\u00dfe [cm]"' in text
    assert r'"a\"b\\"' in text
    assert max(len(line) for line in text.splitlines() if " = list(" not in line) <= 100
    assert not re.search(r"\{\w+\}", text)


def test_names_of_columns_are_unique_and_start_with_a_letter(tmp_path):
    frame = made_cohort(40)
    for name in ("Time", "時間", "1st", "a b", "A_b", "cause"):
        frame[name] = frame["stage"]
    names = ("Time", "時間", "1st", "a b", "A_b", "cause")
    found = analysed(tmp_path / "in", frame, variables=tuple(map(VariableRequest, names)))
    assert list(column_names(found).values()) == [
        "time_2", "v", "v_1st", "a_b", "a_b_2", "cause_2",
    ]  # fmt: skip
