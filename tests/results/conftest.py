"""A small cohort: projects of a few images with a few tiles each, on one drawn slide."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from shapely.geometry import Polygon, box

from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.stain import vahadane
from tests.cli.conftest import cli, drawn_demo  # noqa: F401

SIDE = 512
IMAGES = {
    "First": [box(SIDE, SIDE, 3 * SIDE, 2 * SIDE)],
    "Second": [box(SIDE, 2 * SIDE, 3 * SIDE, 3 * SIDE), box(3 * SIDE, SIDE, 4 * SIDE, 2 * SIDE)],
    "Third": [box(2 * SIDE, SIDE, 4 * SIDE, 3 * SIDE)],
}

MakeProject = Callable[..., Path]
TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
STAMP = re.compile(rb'"timestamp": ?\d+')


@pytest.fixture(autouse=True)
def quick_stain_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rough fit in a tenth of the time: what is tested here is where results go."""
    monkeypatch.setattr(vahadane, "_ITERATIONS", 200)


@pytest.fixture
def make_project(drawn_demo: Path, tmp_path: Path) -> MakeProject:  # noqa: F811
    """Makes a project in a folder of that name; `images` are outlines by name."""
    (slide,) = (drawn_demo / "slides").glob("*.tif")
    own = tmp_path / "slides" / slide.name
    own.parent.mkdir()
    shutil.copy2(slide, own)

    def make(name: str = "project", images: dict[str, list[Polygon]] | None = None) -> Path:
        entries = [
            NewImage(
                own,
                image,
                3000,
                2400,
                0.25,
                annotations=[
                    NewAnnotation(shape, "Tumor", f"Nodule {n}") for n, shape in enumerate(shapes)
                ],
            )
            for image, shapes in (IMAGES if images is None else images).items()
        ]
        folder = tmp_path / name
        create_project(folder, entries)
        return folder

    return make


@pytest.fixture
def cohort(make_project: MakeProject) -> Path:
    return make_project()


def states(project: Path) -> dict[str, ImageState]:
    with NativeProject(project) as opened:
        return {entry.name: opened.read(entry) for entry in opened.images}


def contents(project: Path) -> dict[str, bytes]:
    """All files of a project but our backups, without the times of runs."""
    return {
        str(path.relative_to(project)): STAMP.sub(b"", TIME.sub(b"T", path.read_bytes()))
        for path in sorted(project.rglob("*"))
        if path.is_file() and "hccmil" not in str(path.relative_to(project))
    }


def everything(project: Path) -> dict[str, bytes]:
    """Every file in a project's folder, to the byte."""
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file()
    }
