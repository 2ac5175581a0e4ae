"""A small cohort: projects of a few images with a few tiles each, on one drawn slide."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shapely.geometry import Polygon, box

from qupath_hccmil.cli.main import run
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


@pytest.fixture(scope="package", autouse=True)
def quick_stain_fit() -> Iterator[None]:
    """A rough fit in a tenth of the time: what is tested here is where results go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vahadane, "_ITERATIONS", 200)
        yield


@pytest.fixture(scope="package")
def template(
    drawn_demo: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
    quick_stain_fit: None,
) -> Path:
    """Folder with a slide, a project of it that was not scored, and the results of a run."""
    folder = tmp_path_factory.mktemp("cohort")
    (slide,) = (drawn_demo / "slides").glob("*.tif")
    (folder / "slides").mkdir()
    shutil.copy2(slide, folder / "slides")
    _create(folder / "project", folder / "slides" / slide.name, IMAGES)
    line = ["score", folder / "project", "--results", folder / "results", "--engine", "native"]
    assert run([*map(str, line), "--quiet"]) == 0
    return folder


@pytest.fixture
def cohort(template: Path, tmp_path: Path) -> Path:
    """A copy of the project; the slide stays in its one place."""
    shutil.copytree(template / "project", tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of the results."""
    shutil.copytree(template / "results", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def own_slide(template: Path, cohort: Path, tmp_path: Path) -> Path:
    """The project is of a copy of the slide, which a test may change."""
    (slide,) = (template / "slides").iterdir()
    own = tmp_path / "slides" / slide.name
    own.parent.mkdir()
    shutil.copy2(slide, own)
    listed = cohort / "project.qpproj"
    listed.write_text(listed.read_text().replace(slide.as_uri(), own.as_uri()))
    assert own.as_uri() in listed.read_text()
    return own


@pytest.fixture
def make_project(template: Path, tmp_path: Path) -> MakeProject:
    """Makes a project in a folder of that name; `images` are outlines by name."""
    (slide,) = (template / "slides").iterdir()

    def make(
        name: str,
        images: dict[str, list[Polygon]],
        in_front: dict[str, Polygon] | None = None,
    ) -> Path:
        _create(tmp_path / name, slide, images, in_front or {})
        return tmp_path / name

    return make


def _create(
    folder: Path,
    slide: Path,
    images: dict[str, list[Polygon]],
    in_front: dict[str, Polygon] | None = None,
) -> None:
    stroma = {
        image: [NewAnnotation(shape, "Stroma", "In front")]
        for image, shape in (in_front or {}).items()
    }
    entries = [
        NewImage(
            slide,
            image,
            3000,
            2400,
            0.25,
            annotations=[
                *stroma.get(image, []),
                *(NewAnnotation(each, "Tumor", f"Nodule {n}") for n, each in enumerate(shapes)),
            ],
        )
        for image, shapes in images.items()
    ]
    create_project(folder, entries)


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
