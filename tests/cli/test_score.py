"""``score``: what it writes, that it repeats, and that it can be undone."""

import json
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.method.aggregation import risk, slide_logit
from qupath_hccmil.method.published_numbers import POWER
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.staleness import recorded

NATIVE = ("--engine", "native", "--quiet")


def state_of(project: Path) -> ImageState:
    with NativeProject(project) as opened:
        return opened.read(opened.images[0])


def values_of(state: ImageState) -> dict:
    """Everything that scoring found, without the time of the run."""
    tiles = {
        key: (
            part.bounds.tolist(),
            list(part.class_names),
            {k: v.tolist() for k, v in part.measurements.items()},
        )
        for key, part in state.results.tiles.items()
    }
    return {
        "metadata": state.results.metadata,
        "tiles": tiles,
        "annotations": dict(state.results.annotations),
    }


def data_files(project: Path) -> dict[str, bytes]:
    """The project's own files; backups are ours."""
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file() and "hccmil" not in str(path.relative_to(project))
    }


def test_the_risk_is_found_inside_the_project(cli, project):
    assert cli("score", project, *NATIVE).code == 0
    state = state_of(project)
    root, tiles = state.results.root, state.results.tiles
    assert 0 < root[names.SLIDE_RISK] < 1
    assert set(tiles) == set(state.results.annotations)
    assert root[names.SLIDE_TILES] == sum(len(part) for part in tiles.values())
    for key, values in state.results.annotations.items():
        part = tiles[key]
        logits = part.measurements[names.TILE_LOGIT]
        assert values[names.ANNOTATION_LOGIT] == pytest.approx(slide_logit(logits), abs=1e-5)
        high = part.measurements[names.TILE_RISK] > recorded(state).threshold
        assert values[names.ANNOTATION_HIGH_FRACTION] == pytest.approx(high.mean())
        expected = np.where(high, names.CLASS_HIGH, names.CLASS_LOW)
        assert list(part.class_names) == expected.tolist()
    assert names.META_RISK in state.entry.metadata


def test_tile_contributions_reproduce_the_slides_logit(cli, project):
    cli("score", project, *NATIVE)
    state = state_of(project)
    m = sum(
        part.measurements[names.TILE_CONTRIBUTION].sum() for part in state.results.tiles.values()
    )
    logit = np.sign(m) * abs(m) ** (1 / POWER)
    assert state.results.root[names.SLIDE_LOGIT] == pytest.approx(logit, abs=1e-5)
    assert state.results.root[names.SLIDE_RISK] == pytest.approx(float(risk(logit)), abs=1e-5)


def test_two_runs_give_the_same_bits_and_one_set(cli, project):
    cli("score", project, *NATIVE)
    first = state_of(project)
    cli("score", project, *NATIVE)
    second = state_of(project)
    assert values_of(first) == values_of(second)
    assert second.object_count == first.object_count


def test_clear_leaves_the_files_as_if_never_scored(cli, project):
    before = data_files(project)
    cli("score", project, *NATIVE)
    assert data_files(project) != before
    assert cli("project", "clear", project, "--engine", "native").code == 0
    after = data_files(project)
    for path, content in before.items():
        if path.endswith((".qpdata", ".qpproj")):
            assert after[path] == content, path
    assert not state_of(project).results


def test_restore_brings_every_file_back(cli, project):
    before = data_files(project)
    cli("score", project, *NATIVE)
    assert cli("project", "restore", project).code == 0
    assert data_files(project) == before


def test_openvino_and_torch_agree(cli, project):
    risks = []
    for runtime in ("openvino", "torch"):
        cli("score", project, *NATIVE, "--runtime", runtime, "--precision", "f32")
        risks.append(state_of(project).results.root[names.SLIDE_RISK])
    assert risks[0] == pytest.approx(risks[1], abs=1e-4)


def test_random_tiles_are_chosen_by_the_seed(cli, project):
    found = {}
    for seed in (1, 1, 2):
        cli("score", project, *NATIVE, "--max-tiles", 3, "--seed", seed)
        state = state_of(project)
        assert state.results.root[names.SLIDE_TILES] == 3
        found.setdefault(seed, []).append(values_of(state)["tiles"])
    assert found[1][0] == found[1][1] != found[2][0]


def test_dry_run_counts_and_writes_nothing(cli, project):
    before = data_files(project)
    ran = cli("score", project, "--engine", "native", "--dry-run")
    assert ran.code == 0
    assert "would score up to" in ran.out
    assert data_files(project) == before
    assert not (project / "hccmil-backups").exists()


def test_resume_scores_only_what_is_not_up_to_date(cli, project):
    cli("score", project, *NATIVE)
    before = data_files(project)
    resumed = json.loads(cli("score", project, "--engine", "native", "--resume", "--json").out)
    assert [image["status"] for image in resumed["images"]] == ["up to date"]
    assert data_files(project) == before
    other = ("score", project, "--engine", "native", "--resume", "--json", "--min-inside", 0.9)
    refused = cli(*other)
    assert refused.code == 3
    (image,) = json.loads(refused.out)["images"]
    assert "was scored with min_inside 0.5, not 0.9, so it is left as it is" in image["reason"]
    assert data_files(project) == before
    (image,) = json.loads(cli(*other, "--force").out)["images"]
    assert image["status"] == "scored"


def test_out_holds_the_record_the_tables_and_the_map(cli, project, tmp_path):
    out = tmp_path / "out"
    ran = cli("score", project, "--engine", "native", "--json", "--out", out)
    record = json.loads(ran.out)
    assert record == json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert "research use only" in record["note"]
    for name in ("images.csv", "annotations.csv", "tiles.csv"):
        assert len((out / name).read_text(encoding="utf-8").splitlines()) > 1
    (image,) = out.glob("*-risk-map.png")
    assert image.stat().st_size > 50_000


def test_an_overridden_resolution_is_recorded(cli, project):
    cli("score", project, *NATIVE, "--mpp", 0.3)
    assert (recorded(state_of(project)).mpp, recorded(state_of(project)).mpp_source) == (
        0.3,
        "override",
    )


def test_the_workflow_step_reproduces_the_run(cli, project):
    cli("score", project, *NATIVE, "--max-tiles", 3, "--seed", 7)
    step = state_of(project).results.step
    assert '"--max-tiles", "3", "--seed", "7"' in step.script
    assert step.parameters["weights_sha256"] == recorded(state_of(project)).weights_sha256
