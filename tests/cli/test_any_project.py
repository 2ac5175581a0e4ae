"""Whatever the project of a real QuPath holds, ``score`` and ``project`` say what they do."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.conftest import ROOT

DATA = ROOT / "tests" / "data"
NATIVE = ("--engine", "native")


@pytest.fixture
def fixture(tmp_path: Path):
    """Copy a project of a QuPath, with the slide where it leads to."""

    def copy(version: str) -> Path:
        shutil.copytree(DATA / "slides", tmp_path / "slides", dirs_exist_ok=True)
        name = f"qupath-{version}"
        return Path(shutil.copytree(DATA / "projects" / name, tmp_path / "projects" / name))

    return copy


def planned(cli, project: Path, *more: object) -> dict[str, dict]:
    """ImageOutcome of each image in a dry run, by its label."""
    ran = cli("score", project, *NATIVE, "--dry-run", "--json", *more)
    images = json.loads(ran.out)["images"]
    assert ran.code == (3 if any(each["status"] == "failed" for each in images) else 0)
    return {each["image"]: each for each in images}


def test_every_image_is_planned_or_refused_for_a_reason(cli, fixture):
    found = planned(cli, fixture("0.7.0"))
    assert {name for name, each in found.items() if each["status"] == "planned"} == {
        *("objects 肝 🧬.tif", "connections.tif", "unset.tif", "pyramid.tif"),
        *(
            "caf\u00e9.tif (id:8)",
            "cafe\u0301.tif (id:9)",
            "twice.tif (id:10)",
            "twice.tif (id:11)",
        ),
        *("cropped.tif", "rotated 90.tif", "rotated 180.tif", "rotated 270.tif"),
        *("cropped, rotated, cropped.tif", "flipped horizontal.tif", "flipped vertical.tif"),
        "flipped both.tif",
    }
    reasons = {
        "TMA.tif": "BRIGHTFIELD_H_DAB, not H&E",
        "fluorescence.tif": "FLUORESCENCE, not H&E; set the image type in QuPath or use --force",
        "other.tif": "BRIGHTFIELD_OTHER, not H&E",
        "affine.tif": "shows this slide through affine, which cannot be scored",
        "sparse.tif": "composes this image from several files",
        "never opened.tif": "no annotations; outline the tumour",
        "missing slide.svs": "the slide is not at /srv/gone/a b.svs",
        "windows.svs": r"the slide is not at C:\Users\Müller\a.svs",
        "share.svs": r"the slide is not at \\server\share\a.svs",
        "web.svs": "the slide is on a server (https://example.org/slides/a.svs?x=1)",
        "planes.tif": "slides/stack.tif; put it back",
    }
    for name, reason in reasons.items():
        assert reason in found[name]["reason"]
        assert "\n" not in found[name]["reason"]
    assert len(found) == 27


def test_another_type_is_scored_when_forced(cli, fixture):
    found = planned(cli, fixture("0.6.0"), "--force", "--image", "fluor*")
    assert found["fluorescence.tif"]["tiles"] == 1


def test_images_of_one_name_are_told_apart(cli, fixture):
    project = fixture("0.5.1")
    assert set(planned(cli, project, "--image", "twice.tif")) == {
        "twice.tif (id:10)",
        "twice.tif (id:11)",
    }
    assert set(planned(cli, project, "--image", "id:11")) == {"twice.tif (id:11)"}
    assert set(planned(cli, project, "--image", "caf\u00e9.tif")) == {"caf\u00e9.tif (id:8)"}
    ran = cli("score", project, *NATIVE, "--image", "id:99")
    assert (ran.code, "no image is named id:99" in ran.err) == (1, True)


@pytest.mark.parametrize("tiled", [False, True])
def test_outlines_on_other_planes_are_left_and_named(cli, fixture, tmp_path: Path, tiled: bool):
    pages = np.full((6, 768, 1024, 3), 200, np.uint8)
    tile = {"tile": (256, 256)} if tiled else {}
    project = fixture("0.7.0")
    tifffile.imwrite(tmp_path / "slides" / "stack.tif", pages, photometric="rgb", **tile)
    found = planned(cli, project, "--image", "planes.tif")["planes.tif"]
    if tiled:
        # OpenSlide reads it: one of its planes
        assert "has 6 focal planes or time points" in found["reason"]
    else:
        assert (found["status"], found["annotations"]) == ("planned", 1)
        left = [note for note in found["notes"] if "only the first plane is scored" in note]
        assert len(left) == 5
        assert "z 2 t 1: is on plane z 2, t 1, but only the first plane is scored" in left


@pytest.mark.parametrize("version", ["0.2.3", "0.3.2"])
def test_files_of_an_old_qupath_are_read_and_not_scored(cli, fixture, version: str):
    project = fixture(version)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    found = planned(cli, project, "--image", "unset.tif")
    assert (
        "it is read only: results are written into files of QuPath 0.4 to 0.7"
        in (found["unset.tif"]["reason"])
    )
    # before a network is loaded or a pixel read
    ran = cli("score", project, *NATIVE, "--image", "unset.tif")
    assert (ran.code, "read only" in ran.out + ran.err) == (3, True)
    assert "read only" in cli("project", "info", project, *NATIVE).out
    ran = cli("project", "clear", project, *NATIVE)
    assert (ran.code, "has no results of ours" in ran.out) == (0, True)
    assert {path: path.read_bytes() for path in before} == before
