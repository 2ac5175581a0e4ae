"""From a training with folds to the survival report, by the commands of the page as printed."""

import json
import re
import shlex

import pandas as pd
import pytest

from qupath_hccmil.cli.main import run
from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import risk
from qupath_hccmil.mil.cross_validation import FoldScore, write_predictions
from qupath_hccmil.mil.risk_evaluation import BagScore
from qupath_hccmil.mil.threshold_and_temperature import Decision
from qupath_hccmil.tables.score_table import read_scores
from qupath_hccmil.training.clinical_table import ClinicalColumns
from qupath_hccmil.training.evaluate_mil import evaluate_mil
from tests.conftest import ROOT
from tests.training.feature_cohort import feature_cohort

PAGE = ROOT / "docs" / "how-to" / "train.md"


def commands():
    text = PAGE.read_text(encoding="utf-8").split("## From folds to a survival report")[1]
    block = text.split("```")[1]
    return [shlex.split(line) for line in re.findall(r"^qupath-hccmil (.*)$", block, re.MULTILINE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cohort with the names of the page; the features stand in for the slides."""
    folder = feature_cohort(tmp_path_factory.mktemp("cohort"), patients=40)
    table = pd.read_csv(folder / "clinical.csv")
    table["rfs_days"] = (table["time_years"] * 365.25).round().clip(lower=1).astype(int)
    table.rename(columns={"event": "rfs_event"}).drop(columns="time_years").to_csv(
        folder / "clinical.csv", index=False
    )
    return folder


def test_the_two_commands_of_the_page(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "fast.toml").write_text("epochs = 1\nbatch = 8\ntiles = 4\n[arguments]\nhidden = 8\n")
    training, survival = commands()
    training[training.index("slides")] = "features"
    assert run([*training, "--settings", "fast.toml", "--quiet"]) == 0, capsys.readouterr().err
    assert run([*survival, "--bootstrap", "20"]) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "Note: The scores are out of fold (5 folds)" in told
    assert "Risk groups: the threshold of each patient's own fold" in told
    results = json.loads((folder / "report/results.json").read_text(encoding="utf-8"))
    rows = pd.read_csv(folder / "own/predictions.csv")
    assert [fold["patients"] for fold in results["cohort"]["folds"]] == (
        rows.groupby("fold").size().tolist()
    )
    # The C-index is that which the training has put into its model.
    config = json.loads((folder / "own/model/config.json").read_text(encoding="utf-8"))
    trained = config["metrics"]["cross_validation"]["pooled"]["c_index"]
    found = results["performance"]["within_folds"]["table"][0]
    assert found["estimate"] == pytest.approx(trained["value"], abs=0.01)
    page = (folder / "report/report.html").read_text(encoding="utf-8")
    assert "Scores out of fold" in page

    columns = ClinicalColumns(time="rfs_days", event="rfs_event")
    with pytest.raises(DataError, match=r"predictions.csv: its scores are out of fold, .*survival"):
        evaluate_mil(folder / "own/predictions.csv", folder / "clinical.csv", columns=columns)


def test_what_the_writer_writes_is_what_is_read(tmp_path):
    """Heads and tile networks have one writer, so this holds for both."""
    decisions = {1: Decision(0.4, 1.0, False), 2: Decision(0.6, 2.0, False)}
    patients = [
        FoldScore(
            fold, BagScore(name, 10, logit, float(risk(logit / decisions[fold].temperature))),
            decisions[fold],
        )
        for name, fold, logit in (("a", 1, -1.0), ("b", 2, 0.5), ("c", 1, 1.0), ("d", 2, 2.0))
    ]  # fmt: skip
    path = tmp_path / "predictions.csv"
    write_predictions(path, patients, {"a": 1}, {"b": (2.0, 1)}, "pool: all slides")
    found = read_scores(path)
    assert found.scores.to_dict() == {one.score.patient: one.score.risk for one in patients}
    assert found.out_of_fold.fold.to_dict() == {"a": "1", "b": "2", "c": "1", "d": "2"}
    assert found.out_of_fold.thresholds == {"1": 0.4, "2": 0.6}
