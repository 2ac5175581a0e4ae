"""Outlines that share a UUID, tiles that QuPath or a user changed, and what is the user's own.

Each test runs with both engines: paquo's in a process of its own, where a QuPath is installed.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely.geometry import Polygon, box

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.native import measurements
from qupath_hccmil.qupath.native.javanodes import JavaString, Part
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.native.native_results import name_pool
from qupath_hccmil.qupath.native.pathobjects import TILE, PathObject, walk
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.run_record import RunRecord
from tests.conftest import qupath_dirs
from tests.qupath.conftest import QuPathProcess

SIDE = 512
FIRST, SECOND, THIRD = (
    box(SIDE, SIDE, 3 * SIDE, 2 * SIDE),
    box(SIDE, 2 * SIDE, 3 * SIDE, 4 * SIDE),
    box(3 * SIDE, SIDE, 4 * SIDE, 3 * SIDE),
)
# A tile's centre lies outside it, so that Resolve hierarchy moves that tile
NARROW = box(SIDE, SIDE, 2.55 * SIDE, 2 * SIDE)

Program = Callable[..., str]


@pytest.fixture(scope="module")
def process() -> Iterator[QuPathProcess | None]:
    installed = qupath_dirs()
    running = QuPathProcess(installed[-1]) if installed else None
    yield running
    if running is not None:
        running.close()


@pytest.fixture(params=["native", pytest.param("paquo", marks=pytest.mark.qupath)])
def program(request: pytest.FixtureRequest, cli: Any, process: QuPathProcess | None) -> Program:
    """Run a command with an engine and return what it prints."""

    def native(*words: object) -> str:
        return str(cli(*words, "--engine", "native").out)

    def paquo(*words: object) -> str:
        assert process is not None
        return str(process("command", [*map(str, words), "--engine", "paquo"]))

    if request.param == "paquo" and process is None:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    return native if request.param == "native" else paquo


@pytest.fixture
def outlines(drawn_demo: Path, tmp_path: Path) -> Callable[..., Path]:
    """A project with these outlines, all of one UUID if wanted."""
    (slide,) = (drawn_demo / "slides").glob("*.tif")

    def make(
        name: str, shapes: list[Polygon], *, one_id: bool = False, kind: str = "Tumor"
    ) -> Path:
        annotations = [NewAnnotation(shape, kind, f"N{k}") for k, shape in enumerate(shapes)]
        folder = tmp_path / name
        image = NewImage(slide, "Slide", 3000, 2400, 0.25, annotations=annotations)
        create_project(folder, [image])
        if one_id:
            content = data_file(folder).read_bytes()
            first, *others = (each.id.encode() for each in state_of(folder).annotations)
            for other in others:
                content = content.replace(other, first)
            data_file(folder).write_bytes(content)
        return folder

    return make


def data_file(folder: Path) -> Path:
    return folder / "data" / "1" / "data.qpdata"


def state_of(folder: Path) -> ImageState:
    with NativeProject(folder) as project:
        return project.read(project.images[0])


def edit(folder: Path, change: Callable[[QpData], None]) -> None:
    """Change an image's data as QuPath would, and save them."""
    data = QpData(data_file(folder).read_bytes())
    change(data)
    data_file(folder).write_bytes(data.to_bytes())


def table(program: Program, folder: Path, level: str) -> list[dict[str, str]]:
    out = folder.parent / f"{folder.name}-{level}.csv"
    program("export", folder, out, "--level", level)
    with out.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def score(program: Program, folder: Path, *more: str) -> dict[str, Any]:
    (image,) = json.loads(program("score", folder, "--json", *more))["images"]
    return dict(image)


def values(state: ImageState) -> list[tuple[dict[str, float], list[float]]]:
    results = state.results
    return [
        (
            dict(results.annotations[index]),
            results.tiles[index].measurements[names.TILE_LOGIT].tolist(),
        )
        for index in sorted(results.annotations)
    ]


def test_outlines_that_share_a_uuid_are_each_scored(program, outlines):
    shapes = [FIRST, SECOND, THIRD]
    apart, same = outlines("apart", shapes), outlines("same", shapes, one_id=True)
    assert len({each.id for each in state_of(same).annotations}) == 1
    one, two = score(program, apart), score(program, same)
    assert (one["risk"], one["tiles"]) == (two["risk"], two["tiles"])
    assert one["tiles"] == 8
    assert values(state_of(same)) == values(state_of(apart))
    assert len(table(program, same, "annotation")) == 3
    tiles = table(program, same, "tile")
    assert len(tiles) == len({row["tile_id"] for row in tiles}) == 8
    data = QpData(data_file(same).read_bytes())
    assert sorted(view.id for view, _ in walk(data.root) if view.kind == TILE) == sorted(
        row["tile_id"] for row in tiles
    )
    assert score(program, same, "--resume")["status"] == "up to date"
    assert program("project", "check", same) == "sound\n"


def test_an_outline_that_was_imported_twice_counts_twice_and_its_tiles_once(program, outlines):
    once, twice = outlines("once", [FIRST]), outlines("twice", [FIRST, FIRST, FIRST], one_id=True)
    assert score(program, once)["risk"] == score(program, twice)["risk"]
    (alone,) = values(state_of(once))
    found = values(state_of(twice))
    assert len(found) == 3
    for measured, logits in found:
        assert measured == alone[0]
        assert logits == alone[1]
    assert [row["risk"] for row in table(program, twice, "annotation")] == [
        repr(alone[0][names.ANNOTATION_RISK])
    ] * 3


def test_an_outline_copied_with_its_tiles_is_scored_on_its_own(program, outlines):
    folder = outlines("copied", [FIRST, SECOND])
    before = score(program, folder)
    other = QpData(data_file(folder).read_bytes())

    def copy_first(data: QpData) -> None:
        root = PathObject(data.root)
        root.children = [*root.children, PathObject(other.root).children[0]]

    edit(folder, copy_first)
    assert "1 added (N0)" in program("project", "info", folder)
    after = score(program, folder, "--resume")
    assert (after["status"], after["risk"]) == ("scored", before["risk"])
    assert after["tiles"] == before["tiles"]
    state = state_of(folder)
    assert [len(state.results.tiles[index]) for index in range(3)] == [2, 4, 2]
    ids = [row["tile_id"] for row in table(program, folder, "tile")]
    assert len(set(ids)) == 8
    program("project", "clear", folder)
    assert not state_of(folder).results
    assert all(view.kind != TILE for view, _ in walk(QpData(data_file(folder).read_bytes()).root))


def test_an_outline_inside_its_copy_is_scored_too(program, outlines):
    flat = outlines("flat", [SECOND, SECOND], one_id=True)
    nested = outlines("nested", [SECOND, SECOND], one_id=True)

    def nest(data: QpData) -> None:
        root = PathObject(data.root)
        outer, inner = root.children
        PathObject(outer).children = [inner]
        root.children = [outer]

    edit(nested, nest)
    assert score(program, flat)["risk"] == score(program, nested)["risk"]
    assert values(state_of(flat)) == values(state_of(nested))


def _tiles_away(data: QpData) -> None:
    """Cell detection clears what is in an outline."""
    for part in PathObject(data.root).children:
        PathObject(part).children = []


def test_tiles_that_cell_detection_removed_are_missed_and_scored_again(program, outlines):
    folder = outlines("cleared", [FIRST, THIRD])
    first = score(program, folder)
    edit(folder, _tiles_away)
    info = program("project", "info", folder)
    assert "STALE: some results are missing" in info
    assert "N0: only 0 of 2 tiles of the last run are left" in info
    assert "N1: only 0 of 2 tiles" in program("project", "check", folder)
    (row,) = table(program, folder, "image")
    assert (row["stale"], row["high_risk_tile_fraction"]) == ("true", "")
    again = score(program, folder, "--resume")
    assert (again["status"], again["risk"]) == ("scored", first["risk"])
    assert program("project", "check", folder) == "sound\n"


def _tiles_to_the_root(data: QpData) -> None:
    """Resolve hierarchy moves tiles whose centre is outside their outline."""
    root = PathObject(data.root)
    moved: list[Part] = []
    for part in root.children:
        outline = PathObject(part)
        tiles = outline.parse_children()
        moved.append(tiles[-1])
        outline.children = tiles[:-1]
    root.children = [*root.children, *moved]


def test_tiles_that_were_moved_to_the_root_are_still_their_outlines(program, outlines):
    folder = outlines("moved", [NARROW, THIRD])
    score(program, folder)
    before = {row["tile_id"]: row["annotation_name"] for row in table(program, folder, "tile")}
    edit(folder, _tiles_to_the_root)
    after = {row["tile_id"]: row["annotation_name"] for row in table(program, folder, "tile")}
    assert after == before
    assert program("project", "check", folder) == "sound\n"
    assert score(program, folder, "--resume")["status"] == "up to date"
    score(program, folder)
    tiles = [view for view, _ in walk(QpData(data_file(folder).read_bytes()).root)
             if view.kind == TILE]  # fmt: skip
    assert len(tiles) == len({view.id for view in tiles}) == len(before)


def test_a_tile_whose_class_was_changed_is_the_users_and_never_doubled(program, outlines):
    folder = outlines("changed", [FIRST, THIRD])
    first = score(program, folder)

    def reclassify(data: QpData) -> None:
        outline = PathObject(PathObject(data.root).children[0])
        tile = PathObject(outline.parse_children()[0])
        node = name_pool(data).book.object(
            "qupath.lib.objects.classes.PathClass",
            name_pool(data).book.integer(-1),
            JavaString.of("Artefact"),
            None,
        )
        tile.node.parts[tile.class_at] = node

    edit(folder, reclassify)
    assert "N0: only 1 of 2 tiles" in program("project", "check", folder)
    for more in ((), ("--resume",)):
        again = score(program, folder, *more)
        assert again["risk"] in (None, first["risk"])
        data = QpData(data_file(folder).read_bytes())
        tiles = [view for view, _ in walk(data.root) if view.kind == TILE]
        assert len(tiles) == len({view.id for view in tiles}) == 4
        assert program("project", "check", folder) == "sound\n"
    assert again["status"] == "up to date"
    record = RunRecord.of_step(state_of(folder).results.step)
    assert [(each.tiles, each.left) for each in record.outlines] == [(1, 1), (2, 0)]


def test_what_a_user_named_after_us_stays_the_users(program, outlines):
    folder = outlines("named", [FIRST])

    def note(data: QpData) -> None:
        outline = PathObject(PathObject(data.root).children[0])
        outline.measurements = name_pool(data).general_list({"HCC-MIL: my note": 7.0})

    edit(folder, note)
    list_of_project = json.loads((folder / "project.qpproj").read_text("utf-8"))
    list_of_project["images"][0]["metadata"] = {"HCC-MIL reviewed": "by me"}
    (folder / "project.qpproj").write_text(json.dumps(list_of_project), "utf-8")
    before = data_file(folder).read_bytes()
    score(program, folder)
    score(program, folder)
    state = state_of(folder)
    assert state.annotations[0].measurements["HCC-MIL: my note"] == 7.0
    assert state.entry.metadata["HCC-MIL reviewed"] == "by me"
    program("project", "clear", folder)
    state = state_of(folder)
    assert not state.results
    assert state.entry.metadata == {"HCC-MIL reviewed": "by me"}
    outline = PathObject(PathObject(QpData(data_file(folder).read_bytes()).root).children[0])
    assert measurements.read(outline.measurements) == {"HCC-MIL: my note": 7.0}
    if "native" in program.__name__:
        assert data_file(folder).read_bytes() == before


def test_a_run_remembers_its_selection(program, outlines):
    folder = outlines("selected", [FIRST], kind="Nodule")
    first = score(program, folder, "--annotation-class", "Nodule")
    assert "STALE" not in program("project", "info", folder)
    (row,) = table(program, folder, "image")
    assert row["stale"] == "false"
    again = score(program, folder, "--resume")
    assert again["status"] == "up to date"
    before = data_file(folder).read_bytes()
    other = score(program, folder, "--resume", "--annotation-class", "Tumor")
    assert other["status"] == "failed"
    assert "was scored with annotation_classes" in other["reason"]
    assert data_file(folder).read_bytes() == before
    assert first["risk"] == pytest.approx(float(row["risk"]), rel=1e-12)


def test_the_image_is_the_truth_and_the_list_a_copy(program, outlines):
    """QuPath that is open writes its old list back when it quits."""
    folder = outlines("listed", [FIRST, SECOND])
    score(program, folder, "--max-tiles", "3")
    old = (folder / "project.qpproj").read_bytes()
    second = score(program, folder)
    (folder / "project.qpproj").write_bytes(old)
    classes = folder / "classifiers" / "classes.json"
    listed = json.loads(classes.read_text("utf-8"))
    ours = [each for each in listed["pathClasses"] if names.is_our_class(each["name"])]
    theirs = [each for each in listed["pathClasses"] if each not in ours]
    classes.write_text(json.dumps({"pathClasses": theirs}), "utf-8")
    (row,) = table(program, folder, "image")
    assert (row["tiles"], row["stale"]) == ("6", "false")
    assert float(row["risk"]) == pytest.approx(second["risk"], rel=1e-12)
    assert "the project's list differs" in program("project", "check", folder)
    assert score(program, folder, "--resume")["status"] == "up to date"
    assert program("project", "check", folder) == "sound\n"
    assert json.loads(classes.read_text("utf-8"))["pathClasses"] == [*theirs, *ours]
    listed = state_of(folder).entry.metadata
    assert listed[names.META_RISK] == f"{second['risk']:.4f}"
    assert listed[names.META_TILES] == "6"
    assert set(listed) == names.LISTED
    assert np.isfinite(float(listed[names.META_RISK]))
