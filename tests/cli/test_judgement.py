"""``train mil --judge``: a report and the chosen head, resumed after a kill; options that clash."""

import json

import pytest

from qupath_hccmil.model_store.model_folder import load_model_folder
from tests.training.feature_cohort import feature_cohort

QUICK = ("--epochs", 1, "--tiles", 8, "--device", "cpu", "--loss", "cox")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = feature_cohort(tmp_path_factory.mktemp("cohort"), 60)
    lines = (folder / "clinical.csv").read_text().splitlines()
    rows = [lines[0] + ",centre"] + [f"{line},{'AB'[n % 2]}" for n, line in enumerate(lines[1:])]
    (folder / "clinical.csv").write_text("\n".join(rows))
    return folder


def command(cohort, out, *further):
    features = cohort / "features"
    return ("train", "mil", features, cohort / "clinical.csv", "--out", out,
            "--features", features, *QUICK, *further)  # fmt: skip


def test_a_training_is_judged_before_the_model_is_trained(cli, cohort, tmp_path):
    out = tmp_path / "out"
    typed = command(cohort, out, "--head", "mean", "--also-head", "published", "--judge",
                    "--power", 2,  # which the other head alone uses
                    "--folds", 2, "--variable", "age", "--inner-folds", 2)  # fmt: skip
    ran = cli(*typed)
    assert ran.code == 0, ran.err
    results = json.loads((out / "judgement/results.json").read_text(encoding="utf-8"))
    assert len(results["folds"]) == 2
    assert results["chosen"] in ("mean", "published")
    assert results["command"].startswith("qupath-hccmil train mil ")
    assert "--also-head published" in results["command"]
    assert results["cohort"]["variables"] == ["age"]
    assert results["cohort"]["centre_column"] == "centre"
    assert f"{out / 'judgement/report.html'}: C-index 0." in ran.out
    assert "note: Too few events: " in ran.out
    model = load_model_folder(out / "model", "mil").config
    assert model.architecture["name"] == results["chosen"]
    assert not (out / "predictions.csv").exists()
    assert not (out / "features_cache").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("fold.json")}
    assert len(kept) == 2 + 1 + 2  # outer folds, the choice on all patients, permuted outcomes
    again = cli(*typed)
    assert again.code == 0, again.err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("fold.json")} == kept
    assert "inner split" not in again.err


def test_centres_are_left_out_one_at_a_time(cli, cohort, tmp_path):
    ran = cli(*command(cohort, tmp_path, "--head", "mean", "--group-column", "centre",
                       "--inner-folds", 2, "--quiet"))  # fmt: skip
    assert ran.code == 0, ran.err
    results = json.loads((tmp_path / "judgement/results.json").read_text(encoding="utf-8"))
    assert [fold["fold"] for fold in results["folds"]] == ["A", "B"]
    assert ran.out == ""


@pytest.mark.parametrize(
    ("further", "line"),
    [
        (("--repeats", 2), "--repeats needs --judge or --group-column"),
        (("--group-column", "centre", "--folds", 3), "--folds does not go with --group-column"),
        (("--group-column", "hospital"), "has no column 'hospital' for the centre"),
        (("--judge", "--variable", "size"), "has no column 'size' for the variable"),
        (("--judge", "--folds", 40), "are too few for 40 folds"),
    ],
)
def test_what_does_not_go_is_one_line(cli, cohort, tmp_path, further, line):
    ran = cli(*command(cohort, tmp_path, *further))
    assert ran.code != 0
    assert line in ran.err


def test_a_judgement_needs_features_and_follow_up(cli, cohort, tmp_path):
    ran = cli("train", "mil", cohort, cohort / "clinical.csv", "--out", tmp_path, "--judge")
    assert "--judge needs --features" in ran.err
    labels = tmp_path / "labels.csv"
    labels.write_text("patient,label\n" + "".join(f"p{n:03d},good\n" for n in range(60)))
    ran = cli("train", "mil", cohort / "features", labels, "--out", tmp_path / "out",
              "--features", cohort / "features", "--judge")  # fmt: skip
    assert "a judgement needs time and event of the patients, not labels alone" in ran.err
