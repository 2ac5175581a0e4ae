"""Whatever changes in a project beside our results is told in plain words; our results are not."""

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely

from qupath_hccmil.errors import ProjectError
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageResults, TileObjects, WorkflowStep
from qupath_hccmil.qupath.names import (
    ANNOTATION_RISK,
    CLASS_COLOURS,
    CLASS_LOW,
    META_RISK,
    STEP_NAME,
    TILE_RISK,
)
from qupath_hccmil.qupath.native import measurements
from qupath_hccmil.qupath.native.javaclasses import class_name, field, list_items, map_items
from qupath_hccmil.qupath.native.javanodes import JavaString, encode
from qupath_hccmil.qupath.native.native_project import NativeProject, parse
from qupath_hccmil.qupath.native.pathobjects import PathObject, walk
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.project_differences import difference
from tests.conftest import ROOT
from tests.qupath.conftest import copied


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """A project and its copy."""
    boxes = [shapely.box(10, 10, 900, 700), shapely.box(20, 20, 300, 300)]
    annotations = [
        NewAnnotation(boxes[0], "Tumor", "one", locked=True),
        NewAnnotation(boxes[1], "Stroma", "two"),
    ]
    images = [
        NewImage(tmp_path / "a.svs", "A", 1000, 800, 0.5, annotations=annotations),
        NewImage(tmp_path / "b.svs", "B", 1000, 800, 0.5, metadata={"Patient": "P1"}),
    ]
    before = create_project(tmp_path / "before", images).parent
    return before, copied(before, tmp_path / "after")


def edit(project: Path, change: Callable[[QpData], object]) -> None:
    path = project / "data" / "1" / "data.qpdata"
    data = parse(path)
    change(data)
    path.write_bytes(data.to_bytes())


def first(data: QpData) -> PathObject:
    return PathObject(PathObject(data.root).children[0])


def rename(data: QpData) -> None:
    first(data).node.parts[0] = JavaString.of("ein anderer")


def swap(data: QpData) -> None:
    root = PathObject(data.root)
    root.children = root.children[::-1]


def drop(data: QpData) -> None:
    root = PathObject(data.root)
    root.children = root.children[1:]


def nest(data: QpData) -> None:
    root = PathObject(data.root)
    one, two = root.children
    root.children = [one]
    PathObject(one).children = [two]


def test_a_copy_is_the_same(made):
    assert difference(*made) == []


def test_our_results_are_no_difference(made):
    before, after = made
    with NativeProject(after) as project:
        entry = project.images[0]
        state = project.read(entry)
        key = state.annotations[0].index
        bounds = np.array([[10, 10, 64, 64], [74, 10, 64, 64.0]])
        tiles = TileObjects(bounds, [CLASS_LOW] * 2, {TILE_RISK: np.array([0.25, 0.5])})
        results = ImageResults(
            annotations={key: {ANNOTATION_RISK: 0.5}},
            tiles={key: tiles},
            root={ANNOTATION_RISK: 0.5},
            metadata={META_RISK: "0.5"},
            step=WorkflowStep(STEP_NAME, "run()", {"record": "{}"}),
        )
        project.write(entry, results, state.stamp)
        project.add_classes(CLASS_COLOURS)
    assert difference(before, after) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename, "A: PathAnnotationObject one .*: name: one -> ein anderer"),
        (swap, "A: PathRootObject .*: children: "),
        (drop, "A: PathAnnotationObject one .*: lost"),
        (nest, "A: PathAnnotationObject two .*: parent: "),
    ],
)
def test_each_change_is_told(made, change, told):
    before, after = made
    edit(after, change)
    lines = difference(before, after)
    assert any(re.match(told, line) for line in lines), lines
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"BRIGHTFIELD_H_E", b"BRIGHTFIELD_OTH", "A: image type: BRIGHTFIELD_H_E -> "),
        (struct.pack(">f", 700.0), struct.pack(">f", 700.5), ": region: "),
        (b"H&E default", b"H&E defaulT", "A: stains: "),
    ],
)
def test_changed_bytes_are_told(made, old, new, told):
    before, after = made
    path = after / "data" / "1" / "data.qpdata"
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    assert any(told in line for line in difference(before, after))


def test_changes_of_the_project_are_told(made):
    before, after = made
    path = after / "project.qpproj"
    content = json.loads(path.read_text("utf-8"))
    content["images"][1]["metadata"]["Patient"] = "P2"
    content["images"][0]["imageName"] = "other"
    content["version"] = "0.7.0"
    path.write_text(json.dumps(content), "utf-8")
    lines = difference(before, after)
    assert "project: image 2 B: Patient (metadata): P1 -> P2" in lines
    assert any("A: imageName: lost" in line for line in lines)
    assert any(line.startswith("project: version") for line in lines)


def test_changes_of_files_are_told(made):
    before, after = made
    (after / "data" / "1" / "server.json").write_text("{}")
    (after / "scripts").mkdir()
    (after / "scripts" / "a.groovy").touch()
    shutil.rmtree(after / "data" / "2")
    lines = "\n".join(difference(before, after))
    assert "file data/1/server.json: " in lines
    assert "file scripts/a.groovy: added" in lines
    assert "B: its data file was lost" in lines


@pytest.mark.data
def test_a_lost_step_of_the_history_is_told(data_dir, tmp_path):
    before = data_dir / "projects" / "qupath-0_6_0"
    after = copied(before, tmp_path / "after")
    edit(after, lambda data: setattr(data, "steps", data.steps[:-1]))
    [line] = difference(before, after)
    assert ": history: [" in line


@pytest.mark.data
def test_a_measurement_that_turns_to_nan_or_back_is_told(data_dir, tmp_path):
    before = data_dir / "projects" / "qupath-0_6_0"
    after = copied(before, tmp_path / "after")

    def change(data: QpData) -> None:
        for view, _ in walk(data.root):
            values = measurements.read(view.measurements)
            for at, value in enumerate(values.values()):
                if np.isnan(value):
                    stored = field(view.measurements, "values")
                    place = slice(at * stored.size, (at + 1) * stored.size)
                    content = bytearray(stored.data)
                    content[place] = bytes(stored.size)
                    stored.data = bytes(content)
                    return

    edit(after, change)
    [line] = difference(before, after)
    assert "nan" in line
    [line] = difference(after, before)
    assert "nan" in line


def test_what_is_no_project_is_refused(made, tmp_path):
    with pytest.raises(ProjectError):
        difference(made[0], tmp_path / "none")


FIXTURE = ROOT / "tests" / "data" / "projects" / "qupath-0.6.0"


@pytest.mark.parametrize(
    ("image", "old", "new", "told"),
    [
        (1, "Müller 🩺", "Muller: 🩺", "Tumor ①.* metadata: "),
        (1, b"\xff\x12\xab\x34", b"\xff\x12\xab\x35", "Tumor ①.* colour: "),
        (1, b"\xff\x12\x34\x56", b"\xff\x12\x34\x57", " class colours: "),
        (1, "Dr. Œuvre", "Dr. Œuvra", "property Reviewed by: Dr. Œuvre 肝 -> Dr. Œuvra 肝"),
        (1, "minArea", "maxArea", "history: "),
        (1, "0.62034128", "0.63034128", "stains: "),
        (1, struct.pack(">d", 12345.678901234), struct.pack(">d", 12345.5), " measurements: "),
        (2, struct.pack(">ii", 2, 3), struct.pack(">ii", 3, 2), "TMA grid: "),
        (2, b"\x77\x09\x7f\xf8" + bytes(6) + b"\1", b"\x77\x09\x7f\xf8" + bytes(7), "nucleus and"),
        (4, struct.pack(">iii", -1, 1, 2), struct.pack(">iii", -1, 1, 1), "z 2 t 1.* region: "),
        (4, struct.pack(">iid", 1, 0, 300), struct.pack(">iid", 2, 0, 300), "channel 1.* region: "),
    ],
)
def test_each_change_of_what_qupath_stores_is_told(tmp_path, image, old, new, told):
    after = copied(FIXTURE, tmp_path / "after")
    path = after / "data" / str(image) / "data.qpdata"
    before, put = (each.encode() if isinstance(each, str) else each for each in (old, new))
    # Java writes characters beyond the first plane as two surrogates
    before, put = (each.replace("🩺".encode(), encode("🩺")) for each in (before, put))
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, put[: len(before)].ljust(len(before))))
    lines = difference(FIXTURE, after)
    assert any(re.search(told, line, re.DOTALL) for line in lines), lines


def test_a_lost_connection_of_two_cells_is_told(tmp_path):
    after = copied(FIXTURE, tmp_path / "after")
    path = after / "data" / "3" / "data.qpdata"
    data = parse(path)
    [links] = [
        value
        for part in data.stream.contents
        if class_name(part) == "HashMap"
        for key, value in map_items(part)
        if str(key) == "OBJECT_CONNECTIONS"
    ]
    [group] = list_items(links.parts[1])
    connector = map_items(group.parts[1])[1][1]
    neighbours = next(part for part in connector.parts if class_name(part) == "ArrayList")
    size = len(list_items(neighbours))
    assert size > 0
    measurements._replace_items(neighbours, list_items(neighbours)[:-1])
    path.write_bytes(data.to_bytes())
    [line] = difference(FIXTURE, after)
    assert "connections.tif: property OBJECT_CONNECTIONS: " in line


def test_another_order_of_the_images_is_told(tmp_path):
    after = copied(FIXTURE, tmp_path / "after")
    path = after / "project.qpproj"
    content = json.loads(path.read_bytes())
    content["images"][:2] = content["images"][1::-1]
    path.write_text(json.dumps(content), "utf-8")
    [line] = difference(FIXTURE, after)
    assert line.startswith("order of the images: 1, 2, 3, ")
