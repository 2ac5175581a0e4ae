"""Every kind of object, region, server and path that real QuPaths write is read and left alone.

The projects in ``tests/data`` were made by the QuPath that their names say.
"""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.qupath.data_types import ImageResults, ImageState
from qupath_hccmil.qupath.image_differences import stains_of
from qupath_hccmil.qupath.native.native_project import parse
from qupath_hccmil.qupath.project_differences import difference
from qupath_hccmil.qupath.results_comparison import same_results
from qupath_hccmil.scoring.open_image import open_image
from tests.conftest import ROOT, qupath_dirs
from tests.qupath.engines import NATIVE, assert_same_state, files, results_for
from tests.qupath.qupath_contents import contents, our_tiles, without_ours

PROJECTS = ROOT / "tests" / "data" / "projects"
SLIDE = ROOT / "tests" / "data" / "slides" / "tissue.tif"
NAMES = sorted(path.name for path in PROJECTS.iterdir())
# QuPath stores an identity of objects since 0.4: without one, results have nothing to hold on to
WITHOUT_IDS = ("qupath-0.2.3", "qupath-0.3.2")
WRITABLE = [name for name in NAMES if name not in WITHOUT_IDS]

# one of each kind; scripts/proofs/conformance.py does all
SAMPLE = (
    *("objects 肝 🧬.tif", "TMA.tif", "connections.tif", "planes.tif", "fluorescence.tif"),
    *("cropped, rotated, cropped.tif", "sparse.tif", "flipped both.tif", "windows.svs"),
)

Engine = Callable[..., object]


@pytest.fixture(scope="session")
def scored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], tuple[Path, dict[str, ImageResults]]]:
    """Score copies of the projects, once a session: engine and name to copy and results."""

    @cache
    def make(kind: str, name: str) -> tuple[Path, dict[str, ImageResults]]:
        engine = engine_of(request, kind)
        project = Path(shutil.copytree(PROJECTS / name, tmp_path_factory.mktemp(kind) / name))
        return project, score_sample(engine, project)

    return make


def engine_of(request: pytest.FixtureRequest, kind: str) -> Engine:
    if kind == "native":
        return NATIVE
    if not qupath_dirs():
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    return request.getfixturevalue("qupaths")(qupath_dirs()[-1])


def score_sample(engine: Engine, project: Path) -> dict[str, ImageResults]:
    """Write results into the images of the sample; what was written."""
    states = [each for each in engine("read", project) if each.entry.name in SAMPLE]
    results = {each.entry.id: results_for(each) for each in states}
    engine("write", project, results, {each.entry.id: each.stamp for each in states})
    return results


def clear_all(engine: Engine, project: Path) -> None:
    states = engine("read", project)
    stamps = {each.entry.id: each.stamp for each in states}
    engine("write", project, {identity: ImageResults() for identity in stamps}, stamps)


def data_files(project: Path) -> dict[str, Path]:
    """Return the data files by the id of their image."""
    return {path.parent.name: path for path in sorted(project.glob("data/*/data.qpdata"))}


def by_name(name: str) -> dict[str, ImageState]:
    return {each.entry.name: each for each in NATIVE("read", PROJECTS / name)}


@pytest.mark.parametrize("name", NAMES)
def test_native_reads_every_kind(name: str):
    states = by_name(name)
    objects = states["objects 肝 🧬.tif"]
    assert {each.roi for each in objects.annotations} == {
        *("polygon", "geometry", "rectangle", "ellipse", "line", "polyline", "points")
    }
    tumour = objects.annotations[0]
    assert tumour.name == "Tumor ①: 肝細胞癌 🧬\nсекция\tסרטן e\u0301"
    assert (tumour.class_name, tumour.locked, tumour.parent) == ("Tumor", True, None)
    assert str(tumour.measurements) == "{'Area µm²': 12345.678901234, 'nan': nan}"
    named = {each.name: each for each in objects.annotations}
    assert named["multipolygon"].class_name == "Tumor: Positive: 2+"
    assert named["multipolygon"].geometry.area == 190 * 180 - 50 * 60 / 2 + 80 * 70 / 2
    assert named["empty"].geometry.area == 0
    assert objects.object_count == 14
    assert (states["TMA.tif"].image_type, states["TMA.tif"].object_count) == (
        "BRIGHTFIELD_H_DAB",
        7,
    )
    planes = {(each.z, each.t, each.c) for each in states["planes.tif"].annotations}
    assert planes == {(z, t, -1) for z in range(3) for t in range(2)} | {(0, 0, 1)}
    types = {key: state.image_type for key, state in states.items()}
    assert (types["fluorescence.tif"], types["unset.tif"]) == ("FLUORESCENCE", "UNSET")
    assert states["never opened.tif"].stamp == ""
    assert len([each for each in NATIVE("read", PROJECTS / name) if "caf" in each.entry.name]) == 2


def readers() -> list[tuple[Path, str]]:
    """Each QuPath with its own files and the oldest, the newest with all."""
    folders = qupath_dirs()
    few = {folder: (NAMES[0], f"qupath-{folder.name[7:]}") for folder in folders}
    return [
        (one, name) for one in folders for name in NAMES if one == folders[-1] or name in few[one]
    ]


@pytest.mark.qupath
@pytest.mark.parametrize(
    ("folder", "name"), readers(), ids=lambda value: getattr(value, "name", value)
)
def test_both_engines_read_the_same(qupaths, folder: Path, name: str):
    qupath = qupaths(folder)
    theirs, ours = qupath("read", PROJECTS / name), NATIVE("read", PROJECTS / name)
    for one, two in zip(theirs, ours, strict=True):
        assert_same_state(one, two, ids=name not in WITHOUT_IDS)
        assert one.stamp == two.stamp


@pytest.mark.parametrize("kind", ["native", "paquo"])
@pytest.mark.parametrize("name", WRITABLE)
def test_only_ours_changes_and_clear_leaves_nothing(
    request: pytest.FixtureRequest, scored, tmp_path: Path, kind: str, name: str
):
    original = PROJECTS / name
    engine = engine_of(request, kind)
    made, results = scored(kind, name)
    assert len(results) >= 6
    assert difference(original, made) == []
    for identity in results:
        files_of = [data_files(each)[identity] for each in (original, made)]
        # to the last digit, where a difference allows for QuPath's own rounding
        assert len({stains_of(parse(path)) for path in files_of}) == 1
    project = Path(shutil.copytree(made, tmp_path / name))
    for state in engine("read", project):
        if state.entry.id in results:
            assert same_results(state.results, results[state.entry.id])
    clear_all(engine, project)
    assert difference(original, project) == []
    before, after = files(original), files(project)
    assert after["project.qpproj"] == before["project.qpproj"]
    if kind == "native":
        for path in data_files(project).values():
            key = path.relative_to(project).as_posix()
            assert after[key] == before[key]


@pytest.mark.qupath
@pytest.mark.parametrize("name", WRITABLE)
def test_both_engines_write_the_same(scored, name: str):
    made = [NATIVE("read", scored(kind, name)[0]) for kind in ("paquo", "native")]
    for one, two in zip(*made, strict=True):
        assert_same_state(one, two)


@pytest.mark.qupath
@pytest.mark.parametrize("folder", qupath_dirs(), ids=lambda folder: folder.name)
def test_pixels_are_those_of_qupaths_own_server(qupaths, tmp_path: Path, folder: Path):
    name = f"qupath-{folder.name.removeprefix('QuPath-')}"
    project = Path(shutil.copytree(PROJECTS / name, tmp_path / name))
    views = [
        *("unset.tif", "cropped.tif", "rotated 90.tif", "rotated 180.tif", "rotated 270.tif"),
        *("cropped, rotated, cropped.tif", "pyramid.tif", "flipped horizontal.tif"),
        *("flipped vertical.tif", "flipped both.tif"),
    ]
    theirs = qupaths(folder)("pixels", project, SLIDE, views)
    assert len(theirs) >= 7
    entries = {each.entry.name: each.entry for each in NATIVE("read", project)}
    for view, pixels in theirs.items():
        with open_image(entries[view], SLIDE) as slide:
            np.testing.assert_array_equal(slide.thumbnail(10_000), pixels, err_msg=view)


@pytest.mark.qupath
@pytest.mark.parametrize("folder", qupath_dirs(), ids=lambda folder: folder.name)
def test_qupath_shows_the_same_objects_and_ours(scored, tmp_path: Path, folder: Path):
    pairs = {}
    written = {}
    for kind in ("native", "paquo"):
        for name in WRITABLE:
            project, results = scored(kind, name)
            for identity in results:
                path = data_files(project)[identity]
                pairs[path] = data_files(PROJECTS / name)[identity]
                written[path] = sum(map(len, results[identity].tiles.values()))
    found = contents(folder, [*pairs, *pairs.values()], tmp_path / "found.json")
    for path, original in pairs.items():
        assert without_ours(found[path]) == without_ours(found[original])
        assert "error" in found[path] or len(our_tiles(found[path])) == written[path] > 0
