"""The native engine: results come and go, and nothing else in a project changes."""

import json
import math
import shutil
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.errors import (
    ConflictError,
    ProjectError,
    UnsupportedDataError,
    WriteError,
)
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageResults, ImageState, TileObjects, WorkflowStep
from qupath_hccmil.qupath.image_data import DataChange
from qupath_hccmil.qupath.native import measurements
from qupath_hccmil.qupath.native.javaclasses import ClassBook, field
from qupath_hccmil.qupath.native.javanodes import JavaObject, JavaString, ObjectArray
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.native.native_results import counts, name_pool
from qupath_hccmil.qupath.native.pathobjects import ANNOTATION, TILE, PathObject, walk
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.native.rois import geometry_node
from qupath_hccmil.qupath.tile_ids import tile_ids
from qupath_hccmil.qupath.writing import transaction
from qupath_hccmil.qupath.writing.restore_backup import restore
from tests.qupath.shapes import HOLED, PLAIN, TWO

REAL = ("qupath-0_5_1", "qupath-0_6_0", "qupath-0_7_0")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project made here: two images, three annotations in the first."""
    annotations = [
        NewAnnotation(HOLED, "Tumor", "main tumour", locked=True),
        NewAnnotation(TWO, "Tumor: Positive"),
        NewAnnotation(PLAIN, None, "ünnamed 肝"),
    ]
    images = [
        NewImage(tmp_path / "a.svs", "a.svs", 2000, 1000, 0.5, annotations=annotations),
        NewImage(tmp_path / "b.svs", "b.svs", 10, 10, metadata={"Patient ID": "P1"}),
    ]
    return create_project(tmp_path / "project v1.0", images)


@pytest.fixture(params=REAL)
def real(request: pytest.FixtureRequest, data_dir: Path, tmp_path: Path) -> Path:
    """A copy of a project that QuPath wrote."""
    folder = tmp_path / "projects" / request.param
    shutil.copytree(data_dir / "projects" / request.param, folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder / "project.qpproj"


def some_tiles(n: int, seed: int = 0) -> TileObjects:
    rng = np.random.default_rng(seed)
    risk = rng.uniform(size=n)
    nuclei = rng.uniform(size=n)
    nuclei[1::3] = np.nan
    return TileObjects(
        bounds=np.column_stack([rng.uniform(0, 900, (n, 2)), np.full((n, 2), 256.5)]),
        class_names=[names.CLASS_HIGH if each > 0.5 else names.CLASS_LOW for each in risk],
        measurements={names.TILE_RISK: risk, names.TILE_NUCLEI_FRACTION: nuclei},
    )


def some_results(state: ImageState, n: int = 30) -> ImageResults:
    areas = [each.index for each in state.annotations if each.roi not in ("line", "points")]
    return ImageResults(
        annotations={
            each: {names.ANNOTATION_RISK: 0.1 + at, names.ANNOTATION_TILES: float(n)}
            for at, each in enumerate(areas)
        },
        tiles={each: some_tiles(n, at) for at, each in enumerate(areas)},
        root={names.SLIDE_RISK: 0.5},
        metadata={names.META_GROUP: 'high "risk" <ä>', names.META_TILES: str(n)},
        step=WorkflowStep(names.STEP_NAME, "// again\nrun()", {"model": "m", "record": "{}"}),
    )


def score(path: Path, make: Callable[[ImageState], ImageResults] = some_results) -> ImageResults:
    with NativeProject(path) as opened:
        state = opened.read(opened.images[0])
        results = make(state)
        opened.write(state.entry, results, state.stamp)
    return results


def clear(path: Path) -> None:
    score(path, lambda _: ImageResults())


def state_of(path: Path, at: int = 0) -> ImageState:
    with NativeProject(path) as opened:
        return opened.read(opened.images[at])


def files_of(path: Path) -> dict[str, bytes]:
    """Files that QuPath knows; the summary has a time in it."""
    return {
        each.relative_to(path.parent).as_posix(): each.read_bytes()
        for each in path.parent.rglob("*")
        if each.is_file() and "hccmil-backups" not in each.parts and each.name != "summary.json"
    }


def data_of(path: Path) -> Path:
    return path.parent / "data" / "1" / "data.qpdata"


def edit(path: Path, change: Callable[[QpData], None]) -> None:
    """Change an image's data as its user could in QuPath."""
    data = QpData(data_of(path).read_bytes())
    change(data)
    data_of(path).write_bytes(data.to_bytes())


def views(data: QpData, kind: str) -> Iterator[PathObject]:
    return (view for view, _ in walk(data.root) if view.kind == kind)


def assert_same_results(found: ImageResults, wanted: ImageResults) -> None:
    assert found.annotations == wanted.annotations
    assert found.root == wanted.root
    assert found.metadata == wanted.metadata
    assert found.step == wanted.step
    assert found.tiles.keys() == wanted.tiles.keys()
    for key, tiles in wanted.tiles.items():
        np.testing.assert_allclose(found.tiles[key].bounds, tiles.bounds, atol=1e-9)
        assert list(found.tiles[key].class_names) == list(tiles.class_names)
        assert found.tiles[key].measurements.keys() == tiles.measurements.keys()
        for name, values in tiles.measurements.items():
            np.testing.assert_allclose(found.tiles[key].measurements[name], values, rtol=1e-6)


def without_ours(state: ImageState) -> list[object]:
    return [
        replace(
            each,
            measurements={
                k: v for k, v in each.measurements.items() if not names.is_our_measurement(k)
            },
        )
        for each in state.annotations
    ]


def test_results_are_read_back(project: Path) -> None:
    before = state_of(project)
    wanted = score(project)
    after = state_of(project)
    assert_same_results(after.results, wanted)
    assert without_ours(after) == without_ours(before)
    assert after.object_count == before.object_count == 0


def test_a_second_run_leaves_one_set(project: Path) -> None:
    score(project, lambda state: some_results(state, 50))
    score(project)
    once = files_of(project)
    score(project)
    assert files_of(project) == once


def test_clear_leaves_no_trace(project: Path) -> None:
    before = files_of(project)
    score(project)
    assert files_of(project) != before
    clear(project)
    assert files_of(project) == before
    assert not state_of(project).results


def test_real_projects_come_back_byte_for_byte(real: Path) -> None:
    before, files = state_of(real), files_of(real)
    wanted = score(real)
    after = state_of(real)
    assert_same_results(after.results, wanted)
    assert without_ours(after) == without_ours(before)
    assert (len(before.annotations), before.object_count) == (8, 40)
    assert after.object_count == 40
    score(real)
    clear(real)
    assert files_of(real) == files


def test_real_annotations_are_understood(real: Path) -> None:
    state = state_of(real)
    found = {each.name or each.class_name or each.roi: each for each in state.annotations}
    assert state.image_type == "BRIGHTFIELD_H_E"
    assert found["main tumour"].locked
    assert len(found["main tumour"].geometry.interiors) == 1
    assert found["nested ellipse"].parent == found["Region*"].id
    assert found["nested ellipse"].roi == "ellipse"
    assert found["Tumor: Positive"].class_name == "Tumor: Positive"
    assert found["Immune cells"].geometry.geom_type == "MultiPoint"
    assert found["line"].geometry.geom_type == "LineString"
    assert [dict(each.measurements) for each in state.annotations if each.measurements] == [
        {"Length µm": 12.5}
    ]
    entry = state.entry
    assert entry.metadata["Notes"] == 'ünï çödé; "quoted", 肝癌'
    assert (entry.server.width, entry.server.pixel_width) == (2220, 0.499)


def test_a_labs_project_is_read_without_its_slide(data_dir: Path) -> None:
    state = state_of(data_dir / "projects" / "coscialab-0_6_0")
    assert (len(state.annotations), state.object_count) == (10, 121)


def test_tiles_are_what_qupath_makes(project: Path) -> None:
    wanted = score(project)
    data = QpData(data_of(project).read_bytes())
    tiles = list(views(data, TILE))
    (index, first), tile = next(iter(wanted.tiles.items())), tiles[0]
    outline = state_of(project).annotations[index].id
    assert tile.id == tile_ids(outline, first.bounds)[0]
    corners = (round(value, 3) for value in first.bounds[0].tolist())
    assert tile.id == str(
        uuid.uuid5(uuid.UUID(outline), "HCC-MIL tile {!r} {!r} {!r} {!r}".format(*corners))
    )
    assert not tile.locked
    assert tile.name is None
    # closed lists of the same names share them and their map
    lists = [each.measurements for each in tiles]
    shared = {id(measurements.names_node(each)) for each in lists}
    assert len(shared) == 2, "with and without a nuclei fraction"
    assert {field(each, "isClosed") for each in lists} == {b"\1"}
    assert len({id(each.path_class) for each in tiles}) == 2


def test_values_that_are_not_finite_stay_absent(project: Path) -> None:
    def results(state: ImageState) -> ImageResults:
        identity = state.annotations[0].index
        tiles = replace(
            some_tiles(2),
            measurements={
                "HCC-MIL: Tile risk": np.array([1, 2.0]),
                "HCC-MIL: Tile logit": np.array([math.inf, math.nan]),
            },
        )
        return ImageResults({identity: {"HCC-MIL: Risk logit": math.nan}}, {identity: tiles})

    score(project, results)
    found = state_of(project).results
    assert not found.annotations
    (tiles,) = found.tiles.values()
    assert list(tiles.measurements) == ["HCC-MIL: Tile risk"]


def test_a_tile_without_values_is_refused(project: Path) -> None:
    before = files_of(project)
    tiles = replace(some_tiles(2), measurements={"HCC-MIL: Tile risk": np.array([1, math.nan])})
    with pytest.raises(WriteError, match="without any value"):
        score(project, lambda state: ImageResults(tiles={state.annotations[0].index: tiles}))
    assert files_of(project) == before


def test_objects_of_the_user_inside_our_tiles_move_up(project: Path) -> None:
    plain = data_of(project).read_bytes()
    score(project)

    def nest(data: QpData) -> None:
        root = PathObject(data.root)
        *others, last = root.children
        tile = next(views(data, TILE))
        tile.children = [last]
        root.children = others

    edit(project, nest)
    nested = state_of(project)
    clear(project)
    after = state_of(project)
    assert {each.id for each in after.annotations} == {each.id for each in nested.annotations}
    moved = next(each for each in after.annotations if each.name == "ünnamed 肝")
    assert moved.parent == after.annotations[0].id
    assert len(data_of(project).read_bytes()) == len(plain)


def test_annotations_are_read_in_qupaths_order(project: Path) -> None:
    score(project)

    def nest(data: QpData) -> None:
        root = PathObject(data.root)
        first, second, third = root.children
        tile = next(views(data, TILE))
        tile.children = [third]
        view = PathObject(first)
        view.children = [*view.children, second]
        root.children = [first]

    edit(project, nest)
    data = QpData(data_of(project).read_bytes())
    order = [view.id for view in views(data, ANNOTATION)]
    assert [each.id for each in state_of(project).annotations] == order


def test_users_tiles_and_look_alikes_stay(project: Path) -> None:
    """Only a tile with a class and a measurement of ours is ours."""
    score(project)

    def take_over(data: QpData) -> None:
        pool = name_pool(data)
        tiles = list(views(data, TILE))
        tiles[0].measurements = None
        tiles[1].measurements = pool.float_list(["Area µm^2"], struct.pack(">f", 7))
        tiles[2].node.parts[-4] = None

    edit(project, take_over)
    clear(project)
    state = state_of(project)
    assert state.object_count == 3
    assert not state.results


@pytest.mark.parametrize("closed", [True, False])
def test_numeric_lists_of_annotations_come_back(project: Path, closed: bool) -> None:
    def give(data: QpData) -> None:
        pool = name_pool(data)
        # a NaN with a payload: to the bit
        values = struct.pack(">f", 1.5) + b"\x7f\xc0\x12\x34"
        for view in views(data, ANNOTATION):
            made = pool.float_list(["mine", "nothing"], values)
            if not closed:
                strings = [pool.string("mine"), pool.string("nothing")]
                made.parts[:3] = [b"\0", None, pool.book.array_list(strings)]
            view.measurements = made

    edit(project, give)
    before = files_of(project)
    score(project)
    found = state_of(project).annotations[0].measurements
    assert list(found)[:2] == ["mine", "nothing"]
    assert found[names.ANNOTATION_RISK] == pytest.approx(0.1, rel=1e-6)
    clear(project)
    assert files_of(project) == before


def test_a_list_that_was_empty_stays_one(project: Path) -> None:
    def give(data: QpData) -> None:
        pool = name_pool(data)
        next(views(data, ANNOTATION)).measurements = pool.general_list({})
        PathObject(data.root).measurements = pool.general_list({})

    edit(project, give)
    before = files_of(project)
    wanted = score(project)
    assert state_of(project).results.step == wanted.step
    clear(project)
    assert files_of(project) == before


def test_classes_of_ours_that_the_user_took_are_shared(project: Path) -> None:
    def give(data: QpData) -> None:
        book = ClassBook(data.stream.classes)
        ours = book.object(
            "qupath.lib.objects.classes.PathClass",
            book.integer(1),
            JavaString.of(names.CLASS_HIGH),
            None,
        )
        view = next(views(data, ANNOTATION))
        view.node.parts[-4] = ours

    edit(project, give)
    score(project)
    data = QpData(data_of(project).read_bytes())
    high = {
        id(view.path_class)
        for view, _ in walk(data.root)
        if view.path_class and str(field(view.path_class, "name")) == names.CLASS_HIGH
    }
    assert len(high) == 1


def test_the_summary_counts_as_qupath_does(project: Path) -> None:
    score(project)
    summary = json.loads((data_of(project).parent / "summary.json").read_text("utf-8"))
    kinds = summary["hierarchy"]["objectTypeCounts"]
    assert kinds == {"Root objects": 1, "Annotations": 3, "Tiles": 90}
    assert summary["hierarchy"]["nObjects"] == 94
    assert summary["hierarchy"]["annotationClassificationCounts"]["Unclassified"] == 1
    detections = summary["hierarchy"]["detectionClassificationCounts"]
    assert sum(detections.values()) == 90
    assert summary["imageType"] == "BRIGHTFIELD_H_E"


def test_tiles_are_counted_before_they_are_added_as_after(project: Path) -> None:
    before = QpData(data_of(project).read_bytes())
    results = score(project)
    expected = counts(QpData(data_of(project).read_bytes()))
    counted = counts(before, results.tiles.values())
    assert counted == expected
    assert [list(each) for each in counted.values() if isinstance(each, dict)] == [
        list(each) for each in expected.values() if isinstance(each, dict)
    ]


def test_only_the_entrys_metadata_change_in_the_project(project: Path) -> None:
    before = project.read_text("utf-8")
    score(project)
    after = json.loads(project.read_text("utf-8"))
    assert after["images"][0]["metadata"][names.META_GROUP] == 'high "risk" <ä>'
    after["images"][0]["metadata"] = {}
    assert after == json.loads(before)


def test_a_stale_state_is_not_written(project: Path) -> None:
    with NativeProject(project) as opened:
        state = opened.read(opened.images[0])
        edit(project, lambda data: setattr(PathObject(data.root), "children", []))
        changed = files_of(project)
        with pytest.raises(ConflictError, match=r"data\.qpdata"):
            opened.write(state.entry, some_results(state), state.stamp)
    assert files_of(project) == changed


def test_an_unknown_annotation_is_named(project: Path) -> None:
    before = files_of(project)
    missing = len(state_of(project).annotations)
    with pytest.raises(WriteError, match=f"contains no annotation number {missing}"):
        score(project, lambda _: ImageResults({missing: {"HCC-MIL: Tile risk": 1.0}}))
    assert files_of(project) == before


def test_an_image_that_was_never_opened_has_nothing(project: Path) -> None:
    shutil.rmtree(data_of(project).parent)
    state = state_of(project)
    assert (state.annotations, state.image_type, state.stamp) == ([], "UNSET", "")
    with pytest.raises(WriteError, match="never saved"):
        score(project, lambda _: ImageResults(root={names.SLIDE_RISK: 1.0}))


@pytest.mark.parametrize("version", ["0.3.2", "0.0.8", "", "x"])
def test_other_versions_are_read_and_not_written(project: Path, version: str) -> None:
    def pretend(data: QpData) -> None:
        text = data.server_json.replace('"0.6.0"', f'"{version}"')
        data.stream.contents[1] = JavaString.of(text)

    edit(project, pretend)
    before = files_of(project)
    assert len(state_of(project).annotations) == 3
    with pytest.raises(UnsupportedDataError, match=r"0\.4 to 0\.7"):
        score(project)
    assert files_of(project) == before


@pytest.mark.parametrize("content", [b"garbage", b"\xac\xed\x00\x05", b"\xac\xed\x00\x05\x77\x00"])
def test_damaged_data_are_named(project: Path, content: bytes) -> None:
    data_of(project).write_bytes(content)
    with pytest.raises(UnsupportedDataError, match=r"data\.qpdata"):
        state_of(project)


def test_a_hierarchy_that_is_no_tree_is_refused(project: Path) -> None:
    def loop(data: QpData) -> None:
        root = PathObject(data.root)
        child = PathObject(root.children[0])
        child.children = [root.children[1]]

    edit(project, loop)
    with pytest.raises(UnsupportedDataError, match="two places"):
        state_of(project)


def test_unknown_objects_are_refused(project: Path) -> None:
    def replace_root(data: QpData) -> None:
        book = ClassBook(data.stream.classes)
        PathObject(data.root).children = [book.boolean(True)]

    edit(project, replace_root)
    with pytest.raises(UnsupportedDataError, match="unknown object"):
        state_of(project)


def test_a_missing_project_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="does not exist"):
        NativeProject(tmp_path / "nowhere")
    with pytest.raises(ProjectError, match=r"no \.qpproj"):
        NativeProject(tmp_path)


def test_classes_are_added_by_union(project: Path) -> None:
    path = project.parent / "classifiers" / "classes.json"
    before = json.loads(path.read_text("utf-8"))["pathClasses"]
    with NativeProject(project) as opened:
        opened.add_classes({"Tumor": 1, "HCC-MIL new": 0x010203})
    after = json.loads(path.read_text("utf-8"))["pathClasses"]
    assert after[:-1] == before
    assert after[-1] == {"name": "HCC-MIL new", "color": 0x010203 - (1 << 24)}


def test_a_project_is_restored_byte_for_byte(project: Path) -> None:
    summary = data_of(project).parent / "summary.json"
    before, old_summary = files_of(project), summary.read_bytes()
    score(project)
    restore(project.parent)
    assert files_of(project) == before
    assert summary.read_bytes() == old_summary


def test_other_images_stay_as_they_are(project: Path) -> None:
    other = {k: v for k, v in files_of(project).items() if k.startswith("data/2")}
    score(project)
    assert {k: v for k, v in files_of(project).items() if k.startswith("data/2")} == other
    assert state_of(project, 1).entry.metadata == {"Patient ID": "P1"}


def test_annotations_inside_annotations_take_tiles(project: Path) -> None:
    def nest(data: QpData) -> None:
        root = PathObject(data.root)
        first, second, third = root.children
        PathObject(first).children = [second]
        root.children = [first, third]

    edit(project, nest)
    before = state_of(project)
    wanted = score(project)
    after = state_of(project)
    assert_same_results(after.results, wanted)
    assert [each.parent for each in after.annotations] == [None, before.annotations[0].id, None]
    assert without_ours(after) == without_ours(before)


def test_a_region_that_is_not_known_is_refused(project: Path) -> None:
    def damage(data: QpData) -> None:
        view = next(views(data, ANNOTATION))
        roi = geometry_node(ClassBook(data.stream.classes), HOLED)
        assert isinstance(roi, JavaObject)
        roi.parts[-1] = ObjectArray(ClassBook().get("[Ljava.lang.Object;"), [])
        view.node.parts[-3] = roi

    edit(project, damage)
    with pytest.raises(UnsupportedDataError, match="region of interest"):
        state_of(project)


def assert_not_put_in_place(project: Path) -> None:
    before = data_of(project).read_bytes()
    with NativeProject(project) as opened:
        state = opened.read(opened.images[0])
        results = ImageResults(root={names.SLIDE_RISK: 0.5})
        with pytest.raises(WriteError, match=r"data\.qpdata: could not be read back"):
            opened.write(state.entry, results, state.stamp)
    assert data_of(project).read_bytes() == before


@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda content: content[::-1]])
def test_a_file_that_the_disk_damages_is_not_put_in_place(
    project: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    """A disk that writes something else than was meant costs the run, not the data."""
    real = transaction.sync_file

    def damaged(path: Path) -> None:
        path.write_bytes(damage(path.read_bytes()))
        real(path)

    monkeypatch.setattr(transaction, "sync_file", damaged)
    assert_not_put_in_place(project)


def test_a_file_that_the_codec_damages_is_not_put_in_place(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = QpData.write

    def damaged(self: QpData, into: Callable[[bytes], object]) -> None:
        parts: list[bytes] = []
        write(self, lambda part: parts.append(bytes(part)))
        content = b"".join(parts)
        if names.SLIDE_RISK.encode() in content:
            content = content.replace(b"main tumour", b"MAIN TUMOUR")
        into(content)

    monkeypatch.setattr(QpData, "write", damaged)
    assert_not_put_in_place(project)


def test_a_file_that_cannot_be_read_again_is_not_put_in_place(tmp_path: Path) -> None:
    def fails(beside: Path) -> bool:
        raise UnsupportedDataError("ends early")

    change = DataChange(lambda beside: None, fails, "UNSET", {})
    with pytest.raises(WriteError, match=r"was not written and is unchanged \(ends early\)"):
        change.verify(tmp_path / "data.qpdata", tmp_path / "beside")
