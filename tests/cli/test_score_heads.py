"""``score`` with a head on features: the map is the head's own, and everything downstream works."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

import qupath_hccmil as hm
from qupath_hccmil.encoders.encoder import load_encoder
from qupath_hccmil.features.feature_file import open_features
from qupath_hccmil.heads.head import load_head
from qupath_hccmil.model_store.model_folder import load_model_folder
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.open_project import open_project
from tests.conftest import qupath_dirs
from tests.encoders.tiny import WIDTH, tiny_encoder
from tests.qupath.conftest import QuPathProcess
from tests.scoring.heads import head_model

NATIVE = ("--engine", "native", "--device", "cpu", "--runtime", "torch")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return load_encoder(tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny").path)


@pytest.fixture
def model(encoder, tmp_path):
    return head_model(tmp_path / "model", encoder, WIDTH)


def results_of(project):
    """Results of the scored image: what it is given, and its only scored state."""
    with open_project(project, "native") as opened:
        states = [opened.read(entry) for entry in opened.images]
    return next(state for state in states if state.results.annotations)


def rows_of(path):
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["published", "abmil", "additive", "transformer", "mean"])
def test_the_score_is_that_of_the_head_on_its_features(cli, project, encoder, tmp_path, name):
    model = head_model(tmp_path / "model", encoder, WIDTH, name=name)
    out = tmp_path / "features"
    given = ("--encoder", encoder.path, "--stain", "none", "--out", out)
    assert cli("features", project, *given, *NATIVE).code == 0
    (path,) = (out / "tiny").glob("*.h5")
    features = open_features(path)
    head = load_head(load_model_folder(model, "mil"))
    with torch.inference_mode():
        expected = head(torch.from_numpy(features.read()))
    ran = cli("score", project, "--model", model, *NATIVE)
    assert ran.code == 0, ran.err
    assert cli("export", project, tmp_path / "t.csv", "--level", "tile").code == 0
    assert cli("export", project, tmp_path / "i.csv", "--level", "image").code == 0
    tiles = {(float(row["x_px"]), float(row["y_px"])): row for row in rows_of(tmp_path / "t.csv")}
    assert len(tiles) == features.count
    (image,) = rows_of(tmp_path / "i.csv")
    # float32 sums in another order; logits are about 1
    assert float(image["risk_logit"]) == pytest.approx(float(expected.logit), abs=1e-5)
    corners = sorted(tiles, key=lambda corner: (corner[1], corner[0]))
    found = np.array([float(tiles[each]["tile_logit"]) for each in corners])
    np.testing.assert_allclose(found, expected.tile_logits.numpy(), atol=1e-5)


def test_contributions_in_the_project_sum_to_the_logit(cli, project, model):
    assert cli("score", project, "--model", model, *NATIVE).code == 0
    state = results_of(project)
    (tiles,) = state.results.tiles.values()
    logit = state.results.root[names.SLIDE_LOGIT]
    total = tiles.measured(names.TILE_CONTRIBUTION).sum()
    assert total == pytest.approx(logit, abs=1e-5)
    assert names.TILE_NUCLEI_FRACTION not in tiles.measurements


@pytest.mark.qupath
def test_both_engines_write_the_same(cli, project, model, tmp_path):
    """Tiles without a nuclei fraction too, which QuPath itself reads and writes."""
    if not qupath_dirs():
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    assert cli("score", project, "--model", model, *NATIVE).code == 0
    found = [results_of(project).results]
    given = ["score", project, "--model", model, "--device", "cpu", "--runtime", "torch"]
    process = QuPathProcess(qupath_dirs()[-1])
    try:
        process("command", [*map(str, given), "--engine", "paquo"])
    finally:
        process.close()
    found.append(results_of(project).results)
    assert found[0].root == pytest.approx(found[1].root, abs=1e-6)
    assert found[0].annotations.keys() == found[1].annotations.keys()
    for key, values in found[0].annotations.items():
        assert values == pytest.approx(found[1].annotations[key], abs=1e-6)
    (ours,), (theirs,) = (each.tiles.values() for each in found)
    assert ours.measurements.keys() == theirs.measurements.keys()
    for name in ours.measurements:
        # Two runs of a network may round differently.
        np.testing.assert_allclose(ours.measured(name), theirs.measured(name), atol=1e-6)


def test_what_comes_after_scoring(cli, project, model, tmp_path):
    """Info, check, resume, results and commit, the gallery, the record."""
    ran = cli("score", project, "--model", model, *NATIVE, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    record = json.loads((tmp_path / "out" / "run.json").read_text())["model"]
    assert record["encoder"] == "tiny"
    assert "nuclei_name" not in record
    assert cli("project", "info", project).code == 0
    assert cli("project", "check", project).code == 0
    ran = cli("score", project, "--model", model, *NATIVE, "--resume")
    assert "up to date" in ran.out, ran.out + ran.err
    for level in ("annotation", "patient"):
        ran = cli("export", project, tmp_path / f"{level}.csv", "--level", level)
        assert ran.code == 0, ran.err
    ran = cli("tiles", project, "--out", tmp_path / "gallery", "--engine", "native")
    assert ran.code == 0, ran.err
    before = results_of(project)
    assert cli("project", "clear", project).code == 0
    ran = cli("score", project, "--model", model, *NATIVE, "--results", tmp_path / "r", "--commit")
    assert ran.code == 0, ran.out + ran.err
    after = results_of(project)
    assert after.results.annotations == before.results.annotations
    assert after.results.root == before.results.root


def test_where_the_encoder_is_found(cli, project, encoder, tmp_path):
    model = head_model(tmp_path / "model", encoder, WIDTH, copied=False)
    ran = cli("score", project, "--model", model, *NATIVE)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "needs the encoder tiny" in ran.err
    assert "give its folder with --encoder DIR" in ran.err
    other = tiny_encoder(tmp_path / "other", "tiny", 9).path
    ran = cli("score", project, "--model", model, *NATIVE, "--encoder", other)
    assert f"{other} is tiny" in ran.err
    given = ("--encoder", other, "--encoder", encoder.path)
    assert cli("score", project, "--model", model, *NATIVE, *given).code == 0
    assert results_of(project).results.step.script.count(str(encoder.path))
    shutil.copytree(encoder.path, tmp_path / "tiny")
    assert cli("score", project, "--model", model, *NATIVE).code == 0


@pytest.mark.parametrize(
    ("change", "given", "said"),
    [
        ({"sha256": None}, (), "do not say which encoder made them"),
        ({"stain": "vahadane"}, ("--stain", "staintools"), "not made with --stain staintools"),
    ],
)
def test_what_a_head_cannot_be_scored_with(cli, project, encoder, tmp_path, change, given, said):
    model = head_model(tmp_path / "model", encoder, WIDTH, **change)
    ran = cli("score", project, "--model", model, *NATIVE, *given)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert said in ran.err


def test_a_head_for_normalised_colours(cli, project, encoder, tmp_path):
    plain, normalised = (
        head_model(tmp_path / stain, encoder, WIDTH, stain=stain) for stain in ("none", "vahadane")
    )
    risks = []
    for model in (plain, normalised):
        assert cli("score", project, "--model", model, *NATIVE).code == 0
        risks.append(results_of(project).results.root[names.SLIDE_LOGIT])
    assert risks[0] != risks[1]


def test_from_python(project, encoder, tmp_path):
    model = head_model(tmp_path / "model", encoder, WIDTH, copied=False)
    (outcome,) = hm.score_project(
        project, engine="native", model=model, encoders=[encoder.path], device="cpu"
    )
    assert outcome.status == "scored"
    slide = next((project.parent).rglob("*.tif*"))
    outlines = [each.geometry for each in results_of(project).annotations if each.geometry]
    score = hm.score_slide(slide, outlines, model=model, encoders=[encoder.path], device="cpu")
    assert score.risk == pytest.approx(outcome.risk, abs=1e-6)
    assert np.isnan(score.tiles.nuclei_fraction).all()
    assert score.tiles.contribution.sum() == pytest.approx(score.logit, abs=1e-5)
