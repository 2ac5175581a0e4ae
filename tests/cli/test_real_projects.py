"""Projects that QuPath itself wrote, with the real slide: both engines, end to end."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.project_differences import difference
from tests.conftest import qupath_dirs

PROJECTS = ("qupath-0_5_1", "qupath-0_6_0", "qupath-0_7_0")


@pytest.fixture
def copied(data_dir: Path, tmp_path: Path) -> Path:
    """The real projects and their slide, in the places where they find each other."""
    for name in ("projects", "slides"):
        shutil.copytree(data_dir / name, tmp_path / name)
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "projects"


def results_of(project: Path):
    with NativeProject(project) as opened:
        return opened.read(opened.images[0]).results


@pytest.mark.parametrize("name", PROJECTS)
def test_scoring_adds_ours_and_changes_nothing_else(cli, copied, data_dir, name):
    ran = cli("score", copied / name, "--engine", "native", "--json")
    assert ran.code == 0, ran.err
    (image,) = json.loads(ran.out)["images"]
    assert image["tiles"] > 5
    assert image["mpp"] == 0.499
    assert difference(data_dir / "projects" / name, copied / name) == []
    names = {
        a.id: a for a in NativeProject(copied / name).read(image_of(copied / name)).annotations
    }
    ellipse = next(a for a in names.values() if a.name == "nested ellipse")
    assert ellipse.parent is not None
    assert names[ellipse.parent].class_name == "Region*"


def image_of(project: Path):
    with NativeProject(project) as opened:
        return opened.images[0]


@pytest.mark.qupath
@pytest.mark.parametrize("qupath", qupath_dirs() or [None], ids=lambda path: path and path.name)
def test_both_engines_give_the_same_tiles_and_values(cli, copied, data_dir, qupath):
    if qupath is None:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it at /opt/QuPath-*")
    name = "qupath-" + qupath.name.removeprefix("QuPath-").replace(".", "_")
    if not (copied / name).is_dir():
        name = PROJECTS[0]
    other = copied / "by-paquo"
    shutil.copytree(copied / name, other)
    cli("score", copied / name, "--engine", "native", "--quiet")
    # One JVM a process, and QuPath's signal handlers do not suit pytest.
    done = subprocess.run(
        [sys.executable, "-m", "qupath_hccmil", "score", str(other), "--engine", "paquo"],
        env={**os.environ, "PAQUO_QUPATH_DIR": str(qupath)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "engine paquo" in done.stdout
    native, paquo = results_of(copied / name), results_of(other)
    assert native.annotations.keys() == paquo.annotations.keys()
    for key, values in native.annotations.items():
        assert values == pytest.approx(paquo.annotations[key], abs=1e-6)
    assert native.root == pytest.approx(paquo.root, abs=1e-6)
    assert native.tiles.keys() == paquo.tiles.keys()
    for key, tiles in native.tiles.items():
        np.testing.assert_allclose(tiles.bounds, paquo.tiles[key].bounds, atol=1e-6)
        assert list(tiles.class_names) == list(paquo.tiles[key].class_names)
        for measured, values in tiles.measurements.items():
            np.testing.assert_allclose(values, paquo.tiles[key].measurements[measured], atol=1e-6)
    for project in (copied / name, other):
        assert difference(data_dir / "projects" / name, project) == []


def test_a_project_whose_slide_is_gone_says_so_and_is_left(cli, copied):
    project = copied / "coscialab-0_6_0"
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    with NativeProject(project) as opened:
        classes = {a.class_name for a in opened.read(opened.images[0]).annotations}
    chosen = next(name for name in classes if name)
    ran = cli("score", project, "--engine", "native", "--annotation-class", chosen, "--force")
    assert ran.code == 3
    assert "the slide is not at" in ran.err
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
