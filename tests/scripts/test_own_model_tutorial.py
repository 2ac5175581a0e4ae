"""Every command of the tutorial, as it stands there, on a simulated cohort."""

import importlib
import json
import re
import shlex
import sys

import pytest

from qupath_hccmil.cli.main import run
from qupath_hccmil.features.feature_file import feature_files, open_features
from tests.blobs import blob_image
from tests.conftest import ROOT
from tests.drawn_slides import write_pyramid

PAGE = ROOT / "docs" / "tutorials" / "own-model.md"
PATIENTS = 48


@pytest.fixture
def simulated():
    sys.path.insert(0, str(ROOT / "scripts" / "research"))
    try:
        yield importlib.import_module("simulated_features")
    finally:
        sys.path.remove(str(ROOT / "scripts" / "research"))
        sys.modules.pop("simulated_features", None)


def commands(name: str) -> list[list[str]]:
    """Commands of the page that begin with a name, as words."""
    text = PAGE.read_text(encoding="utf-8")
    lines = re.findall(r"^qupath-hccmil (.*)$", text, flags=re.MULTILINE)
    return [shlex.split(line) for line in lines if line.startswith(name)]


def test_features_are_computed_from_slides(tmp_path, monkeypatch, capsys):
    (tmp_path / "slides").mkdir()
    name = "TCGA-2V-A95S-01Z-00-DX1"
    pixels = blob_image(0, side=1100, count=900, radius=14)[0]
    write_pyramid(tmp_path / f"slides/{name}.tif", pixels)
    monkeypatch.chdir(tmp_path)
    (words,) = commands("features")
    assert run(words) == 0, capsys.readouterr().err
    (path,) = feature_files(tmp_path / "features")
    assert open_features(path).slide == f"{name}.tif"


def test_the_commands_on_a_simulated_cohort(simulated, tmp_path, monkeypatch, capsys):
    cohort = simulated.simulate(PATIENTS, seed=1, tiles=(8, 12), confounded=True)
    simulated.write_cohort(cohort, tmp_path)
    (tmp_path / "training.toml").write_text("epochs = 1\ntiles = 8\n")
    monkeypatch.chdir(tmp_path)
    training = commands("train mil")
    assert len(training) == 2
    for words in [*training, *commands("evaluate mil")]:
        code = run(words)
        assert code == 0, capsys.readouterr().err
    own, by_centre = (
        json.loads((tmp_path / out / "judgement/results.json").read_text(encoding="utf-8"))
        for out in ("own", "by-centre")
    )
    assert own["cohort"]["patients"] == PATIENTS
    assert own["cohort"]["variables"] == ["age", "ajcc_stage"]
    assert [fold["fold"] for fold in by_centre["folds"]] == ["A", "B", "C", "D"]
    for found in (own, by_centre):
        assert any(line.startswith("Centre D is its outcome") for line in found["cautions"])
        assert {row["marker"] for row in found["comparisons"]} >= {"Mean colour"}
    assert (tmp_path / "own/model/config.json").is_file()
    assert list((tmp_path / "evaluation").iterdir())
