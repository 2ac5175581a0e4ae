"""``qupath-hccmil tiles --reviews``: what reviewers wrote as tables, which ``survival`` reads."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest

import qupath_hccmil as hm
from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.tiles_of_interest import compare_counts, count_features
from qupath_hccmil.tables.export_columns import columns_of
from qupath_hccmil.tables.table_reader import read_table
from tests.survival.conftest import made_cohort as clinical_cohort
from tests.tiles_of_interest.conftest import NATIVE
from tests.tiles_of_interest.scored_projects import (
    Scored,
    make_project,
    review,
    write_reviews,
)

STROMA, IMMUNE = "Stroma", "Immune cell infiltration"
TABLES = {
    "reviews.csv": "review",
    "reviewers.csv": "reviewer",
    "verdicts.csv": "verdict",
    "agreement.csv": "agreement",
    "features.csv": "feature",
    "artefacts.csv": "artefact",
}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three slides of eight tiles each; the first four are high, the others low."""
    values = [4.0, 3.0, 2.0, 1.0, -1.0, -2.0, -3.0, -4.0]
    images = [
        Scored(f"{letter}.tif", [v + k / 10 for v in values], patient=f"P{k // 2}")
        for k, letter in enumerate("abc")
    ]
    return make_project(tmp_path_factory.mktemp("three") / "cohort", images)


@pytest.fixture
def project(three, tmp_path):
    """A copy that a test may change; the slides stay where they are."""
    return shutil.copytree(three, tmp_path / "cohort" / "qupath")


def reviewed(project, *, reviewer="Dr A", flip=()):
    """One reviewer's word on all 24 tiles: stroma is in high tiles, mostly."""
    entries = []
    for image_id in "123":
        for place in range(8):
            stroma = (place < 4) != ((image_id, place) in {("1", 0), ("2", 6), *flip})
            verdict = "artefact" if (image_id, place) == ("3", 7) else "agree"
            features = {STROMA: stroma, IMMUNE: place == 5}
            entries.append(review(image_id, place, verdict=verdict, features=features))
    return write_reviews(project, reviewer, entries)


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as source:
        return list(csv.DictReader(source))


def run(cli, project, out, *options):
    return cli("tiles", project, "--reviews", "--out", out, "--bootstrap", 50, *options, *NATIVE)


def test_all_tables_are_written(cli, project, tmp_path):
    reviewed(project)
    reviewed(project, reviewer="Dr B", flip=[("1", 1), ("3", 3)])
    out = tmp_path / "out"
    ran = run(cli, project, out)
    assert ran.code == 0, ran.err
    names = {path.name for path in out.iterdir()}
    assert names == {*TABLES, "reviews.json", "survival-tiles.csv"}
    for name, table in TABLES.items():
        found = rows(out / name)
        expected = [column.name for column in columns_of(table)]
        assert found
        assert list(found[0]) == expected
    assert "Dr A: 24 tiles, 24 of them blinded" in ran.out
    assert "Stroma: Cohen's kappa of Dr A, Dr B over 24 tiles: 0.83" in ran.out
    assert "Artefacts: 1 of 12 low tiles" in ran.out
    assert "tiles left out of the comparison, as most reviewers call them an artefact: 1" in ran.out
    assert "answers on features that do not count, as reviewers are split on them: 2" in ran.out
    record = json.loads((out / "reviews.json").read_text(encoding="utf-8"))
    assert set(record["files"]) == names


def test_table_3_counts_tiles_and_survival_gives_the_same(cli, project, tmp_path):
    reviewed(project)
    run(cli, project, tmp_path / "out")
    found = {row["feature"]: row for row in rows(tmp_path / "out" / "features.csv")}
    stroma = found[STROMA]
    # of 12 high tiles one lacks it; of 11 low tiles, the artefact left out, one has it
    counts = [int(stroma[name]) for name in ("high", "high_total", "low", "low_total")]
    assert counts == [11, 12, 1, 11]
    assert (stroma["units"], found[IMMUNE]["high"], found[IMMUNE]["low"]) == ("3", "0", "3")
    again = compare_counts(count_features(read_table(tmp_path / "out/survival-tiles.csv").frame))
    for row in again.to_dict("records"):
        for name in ("high", "low_total", "odds_ratio", "lower", "upper", "fisher_p"):
            assert float(found[row["feature"]][name]) == pytest.approx(row[name], rel=1e-12)


def test_survival_takes_the_table(cli, project, tmp_path):
    reviewed(project)
    run(cli, project, tmp_path / "out")
    frame = clinical_cohort(60)
    frame[["patient", "risk_score"]].to_csv(tmp_path / "scores.csv", index=False)
    frame.drop(columns="risk_score").to_csv(tmp_path / "clinical.csv", index=False)
    ran = cli(
        "survival", tmp_path / "scores.csv", tmp_path / "clinical.csv", "--out", tmp_path / "s",
        "--time", "rfs_days", "--event", "rfs_event", "--bootstrap", 0, "--variable", "none",
        "--horizon", 3, "--tiles", tmp_path / "out" / "survival-tiles.csv",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    with (tmp_path / "s" / "tables" / "tiles_of_interest.csv").open(encoding="utf-8-sig") as file:
        features = [row["feature"] for row in csv.DictReader(file)]
    assert features == [STROMA, IMMUNE]


def test_a_project_of_one_image_has_no_id_taken_for_a_feature(cli, tmp_path):
    project = make_project(tmp_path / "one", [Scored("1", [2.0, 1.0, -1.0, -2.0], patient="1")])
    entries = [review("1", k, features={STROMA: k < 2}) for k in range(4)]
    write_reviews(project, "A", entries)
    run(cli, project, tmp_path / "out")
    frame = read_table(tmp_path / "out" / "survival-tiles.csv").frame
    assert count_features(frame)["feature"].tolist() == [STROMA]


def test_tiles_that_are_not_extreme_count_for_the_agreement_alone(cli, project, tmp_path):
    reviewed(project)
    reviewed(project, reviewer="Dr B")
    ran = run(cli, project, tmp_path / "out", "--top", 3)
    assert "reviews of tiles that are not among the highest and lowest: 36" in ran.out
    (verdict, stroma, _) = rows(tmp_path / "out" / "agreement.csv")
    assert (verdict["compared_tiles"], stroma["kappa"]) == ("24", "1.0")
    assert [row["high_total"] for row in rows(tmp_path / "out" / "features.csv")] == ["3", "3"]


def test_patients_are_drawn_at_their_level(cli, project, tmp_path):
    reviewed(project)
    reviewed(project, reviewer="Dr B", flip=[("1", 1)])
    # tiles that are gone are still of the patient of their image
    for name in ("Dr A", "Dr B"):
        write_reviews(project, name, [review("2", 9, verdict="agree")], name=f"{name} again")
    ran = run(cli, project, tmp_path / "out", "--level", "patient")
    assert "by patient p" in ran.out
    found = rows(tmp_path / "out" / "agreement.csv")
    assert found[0]["compared_tiles"] == "25"
    assert {row["units"] for row in found} == {"2"}
    assert "bootstrap over 2 patients, 50 samples" in {row["interval"] for row in found}


def test_reviews_of_another_model_or_of_tiles_that_are_gone_are_said(cli, project, tmp_path):
    entries = [review("1", 0, verdict="agree", model="c" * 64), review("1", 9, verdict="agree"),
               review("77", 0, verdict="agree")]  # fmt: skip
    write_reviews(project, "Dr A", entries)
    ran = run(cli, project, tmp_path / "out")
    assert ran.code == 0
    assert "reviews made with another model's scores: 1" in ran.out
    assert "reviews of tiles that are no longer in the projects: 2" in ran.out
    found = {row["entry_id"] + row["y_px"]: row for row in rows(tmp_path / "out" / "reviews.csv")}
    assert found["10.0"]["other_model"] == "true"
    assert found["770.0"]["other_model"] == ""
    assert found["770.0"]["image"] == "as shown"
    assert "No feature was judged in both high and low tiles" in ran.out
    assert not (tmp_path / "out" / "features.csv").exists()


def test_the_latest_word_of_a_reviewer_counts(cli, project, tmp_path):
    early = review("1", 0, verdict="agree", time="2026-11-27T03:40:00Z")
    late = review("1", 0, verdict="artefact", time="2026-11-27T05:00:00+01:00", blinded=False)
    write_reviews(project, "Dr A", [late], name="Dr A (1)")
    write_reviews(project, "Dr A", [early])
    run(cli, project, tmp_path / "out")
    (row,) = rows(tmp_path / "out" / "reviews.csv")
    assert (row["verdict"], row["blinded"], row["chosen_as"]) == ("artefact", "false", "high")


def test_bounds_that_are_rounded_are_the_same_tile(cli, tmp_path):
    project = make_project(tmp_path / "p", [Scored("a.tif", [1.0, -1.0])])
    entry = review("1", 0, verdict="agree")
    entry["tile"] = [0.0002, -0.0, 127.9999, 128.0]
    write_reviews(project, "Dr A", [entry])
    run(cli, project, tmp_path / "out")
    assert rows(tmp_path / "out" / "reviews.csv")[0]["chosen_as"] == "high"


EMPTY = '{"format": "hccmil-reviews 1", "reviewer": "A", "features": [], "reviews": []}'
DAMAGED = {
    "not json": "{",
    "another format": EMPTY.replace("reviews 1", "reviews 2"),
    "no reviewer": EMPTY.replace('"A"', '" "'),
    "a list": "[]",
    "deep": "[" * 100_000,
    "latin-1": '{"reviewer": "Müller"}'.encode("latin-1"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_and_the_others_count(cli, project, tmp_path, name):
    reviewed(project)
    content = DAMAGED[name]
    path = project / "hccmil-reviews" / "broken.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    ran = run(cli, project, tmp_path / "out")
    assert ran.code == 3
    (line,) = ran.err.splitlines()
    assert line.startswith(f"FAILED: {path}: ")
    assert line.endswith("; left out")
    assert len(rows(tmp_path / "out" / "reviews.csv")) == 24


ENTRIES = {
    "verdict": {"verdict": "maybe"},
    "tile of three": {"tile": [0, 0, 128]},
    "tile without area": {"tile": [0, 0, 0, 128]},
    "tile of text": {"tile": ["0", 0, 128, 128]},
    "infinite": {"tile": [float("inf"), 0, 128, 128]},
    "feature of text": {"features": {STROMA: "yes"}},
    "feature called verdict": {"features": {"Verdict": True}},
    "number as id": {"image_id": 1},
    "no time": {"time": "yesterday"},
    "blinded of text": {"blinded": "true"},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_is_not_as_agreed_damages_its_file(cli, project, tmp_path, name):
    reviewed(project)
    path = write_reviews(project, "Dr B", [review("1", 0), review("1", 1, **ENTRIES[name])])
    ran = run(cli, project, tmp_path / "out")
    assert ran.code == 3
    (line,) = ran.err.splitlines()
    assert line.startswith(f"FAILED: {path}: ")
    assert {row["reviewer"] for row in rows(tmp_path / "out" / "reviews.csv")} == {"Dr A"}


def test_what_a_later_version_adds_is_passed_over(cli, project, tmp_path):
    entry = {**review("1", 0, verdict="agree"), "zoom": 4, "new": {"x": [1]}}
    write_reviews(project, "Dr A", [entry], tool={"name": "QuPath", "version": "0.7.0"})
    (project / "hccmil-reviews" / ".new-Dr A-x.json").write_text("half")
    (project / "hccmil-reviews" / "notes.txt").write_text("mine")
    assert run(cli, project, tmp_path / "out").code == 0


def test_a_file_with_a_byte_order_mark_is_read(cli, project, tmp_path):
    path = reviewed(project)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert run(cli, project, tmp_path / "out").code == 0


def test_no_reviews_at_all(cli, project, tmp_path):
    ran = run(cli, project, tmp_path / "out")
    assert ran.code == 1
    assert f"{project / 'hccmil-reviews'}: no reviews" in ran.err


def test_a_gallerys_file_of_several_projects_counts_for_each(cli, project, tmp_path):
    other = make_project(tmp_path / "second", [Scored("x.tif", [5.0, -5.0])])
    entries = [
        {**review("1", 0, verdict="agree"), "project": str(project)},
        {**review("1", 0, verdict="artefact"), "project": str(other)},
        {**review("1", 0, verdict="agree"), "project": "/elsewhere"},
    ]
    write_reviews(other, "Dr A", entries)
    ran = cli("tiles", project, other, "--reviews", "--out", tmp_path / "out", *NATIVE)
    found = {row["project"]: row["verdict"] for row in rows(tmp_path / "out" / "reviews.csv")}
    assert found == {str(project): "agree", str(other): "artefact"}
    assert "reviews of projects that were not given, left out: 1" in ran.out


def test_a_project_that_was_renamed_keeps_its_reviews(cli, project, tmp_path):
    write_reviews(project, "Dr A", [review("1", 0, verdict="agree")], project="its old name")
    assert run(cli, project, tmp_path / "out").code == 0
    assert len(rows(tmp_path / "out" / "reviews.csv")) == 1


def test_the_folder_may_be_the_gallerys_and_files_of_the_users_stay(cli, project, tmp_path):
    out = tmp_path / "out"
    cli("tiles", project, "--out", out, "--top", 2, *NATIVE)
    before = {path.name for path in out.iterdir()}
    reviewed(project)
    assert run(cli, project, out).code == 0
    assert before < {path.name for path in out.iterdir()}
    (out / "reviews.json").unlink()
    (out / "artefacts.csv").write_text("mine")
    ran = run(cli, project, out)
    assert ran.code == 1
    assert "artefacts.csv: exists, but no earlier run wrote it" in ran.err


def test_json(cli, project, tmp_path):
    reviewed(project)
    ran = run(cli, project, tmp_path / "out", "--json")
    content = json.loads(ran.out)
    assert content["reviewers"][0]["reviewed_tiles"] == 24
    assert "features.csv" in content["files"]


def test_reviewing_changes_no_score_and_scoring_no_review(cli, project, tmp_path):
    path = reviewed(project)
    before = path.read_bytes(), (project / "project.qpproj").read_bytes()
    run(cli, project, tmp_path / "out")
    assert (path.read_bytes(), (project / "project.qpproj").read_bytes()) == before


def test_from_python(project):
    reviewed(project)
    (project / "hccmil-reviews" / "x.json").write_text("{")
    report = hm.tile_reviews([project], bootstrap=0, engine="native")
    assert isinstance(report.features, pd.DataFrame)
    assert report.features["high"].tolist() == [11, 0]
    assert np.isnan(report.features["units_lower"]).all()
    assert any("x.json" in note for note in report.notes)


def test_one_bootstrap_sample_is_refused(cli, tmp_path):
    project = make_project(tmp_path / "p", [Scored("a.tif", [1.0, -1.0])])
    with pytest.raises(DataError, match=r"bootstrap samples must be 0 .*, or 2 or more, not 1"):
        hm.tile_reviews([project], bootstrap=1)
    ran = cli("tiles", project, "--reviews", "--out", tmp_path / "out", "--bootstrap", 1, *NATIVE)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "bootstrap samples must be 0 (no intervals), or 2 or more, not 1" in ran.err
