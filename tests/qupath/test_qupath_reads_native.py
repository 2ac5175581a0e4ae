"""Every QuPath that is here reads what the native engine wrote, and shows the same."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import VERSIONS, NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageResults, ImageState, TileObjects, WorkflowStep
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.tile_ids import tile_ids
from tests.conftest import qupath_dirs
from tests.qupath.shapes import HOLED, PLAIN, TWO

READER = Path(__file__).with_name("qupath_reader.py")

pytestmark = [
    pytest.mark.qupath,
    pytest.mark.skipif(not qupath_dirs(), reason="no QuPath: /opt/QuPath-* or PAQUO_QUPATH_DIR"),
]


def read_with(qupath: Path, project: Path, again: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(READER), str(qupath), str(project), "1", str(again)],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={key: value for key, value in os.environ.items() if key != "PAQUO_QUPATH_DIR"},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("JSON")]
    assert lines, done.stderr[-3000:]
    return dict(json.loads(lines[0].removeprefix("JSON")))


def results_for(state: ImageState) -> ImageResults:
    first, second, _ = (each.index for each in state.annotations)
    nuclei = np.array([0.5, np.nan, 0.25])
    tiles = TileObjects(
        bounds=np.array([[0, 0, 256.5, 256.5], [256.5, 0, 256.5, 256.5], [0.1, 300, 256.5, 200]]),
        class_names=[names.CLASS_HIGH, names.CLASS_LOW, names.CLASS_HIGH],
        measurements={
            names.TILE_RISK: np.array([0.75, 0.125, 0.9]),
            names.TILE_NUCLEI_FRACTION: nuclei,
        },
    )
    return ImageResults(
        annotations={first: {names.ANNOTATION_RISK: 0.6}, second: {names.ANNOTATION_RISK: 0.1}},
        tiles={first: tiles},
        root={names.SLIDE_RISK: 0.7},
        metadata={names.META_GROUP: "high"},
        step=WorkflowStep(names.STEP_NAME, "// ours", {"record": "ünit"}),
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qupath", qupath_dirs(), ids=lambda path: path.name)
def test_qupath_shows_the_same(qupath: Path, version: str, tmp_path: Path) -> None:
    annotations = [
        NewAnnotation(HOLED, "Tumor", "main ü", locked=True),
        NewAnnotation(TWO, "Tumor: Positive"),
        NewAnnotation(PLAIN),
    ]
    image = NewImage(
        tmp_path / "slide ü.svs",
        "slide ü.svs",
        2000,
        1000,
        0.5,
        metadata={"Patient ID": "肝"},
        annotations=annotations,
        thumbnail=Image.new("RGB", (40, 20), "pink"),
    )
    path = create_project(tmp_path / "projekt ü", [image], qupath_version=version)
    with NativeProject(path) as project:
        before = project.read(project.images[0])
        results = results_for(before)
        project.write(before.entry, results, before.stamp)
        state = project.read(project.images[0])

    again = tmp_path / "again.qpdata"
    found = read_with(qupath, path, again)

    assert (found["name"], found["thumbnail"]) == ("slide ü.svs", True)
    assert found["metadata"] == {"Patient ID": "肝", names.META_GROUP: "high"}
    assert {"Tumor", "Tumor: Positive", names.CLASS_HIGH} <= found["classes"].keys()
    assert found["steps"] == [[names.STEP_NAME, {"record": "ünit"}]]
    assert found["root"] == {names.SLIDE_RISK: 0.7}
    shown = [each for each in found["objects"] if each["kind"] == "PathAnnotationObject"]
    assert len(shown) == len(state.annotations) == 3
    for mine, theirs in zip(state.annotations, shown, strict=True):
        assert (mine.id, mine.class_name, mine.name, mine.locked) == (
            theirs["id"],
            theirs["class"],
            theirs["name"],
            theirs["locked"],
        )
        assert mine.measurements == theirs["measurements"]
        assert mine.geometry is not None
        outline = shapely.from_wkt(theirs["wkt"])
        assert shapely.hausdorff_distance(mine.geometry, outline) <= 0.01
        assert abs(mine.geometry.area - outline.area) <= 0.01
    _assert_tiles(found["objects"], state.annotations[0].id, results.tiles[0])

    # saved by QuPath, then cleared by us: the user's objects as they were
    data = path.parent / "data" / "1" / "data.qpdata"
    data.write_bytes(again.read_bytes())
    with NativeProject(path) as project:
        resaved = project.read(project.images[0])
        assert resaved.annotations == state.annotations
        project.write(resaved.entry, ImageResults(), resaved.stamp)
        cleared = project.read(project.images[0])
    assert cleared.annotations == before.annotations
    assert not cleared.results


def _assert_tiles(objects: list[dict[str, Any]], parent: str, tiles: TileObjects) -> None:
    shown = [each for each in objects if each["kind"] == "PathTileObject"]
    assert [each["id"] for each in shown] == [str(each) for each in tile_ids(parent, tiles.bounds)]
    assert {each["parent"] for each in shown} == {parent}
    assert [each["class"] for each in shown] == list(tiles.class_names)
    assert {each["colour"] for each in shown} == {
        (colour | 0xFF000000) - (1 << 32) for colour in names.CLASS_COLOURS.values()
    }
    np.testing.assert_allclose([each["bounds"] for each in shown], tiles.bounds, atol=1e-9)
    for row, each in enumerate(shown):
        wanted = {
            name: values[row]
            for name, values in tiles.measurements.items()
            if np.isfinite(values[row])
        }
        assert each["measurements"] == pytest.approx(wanted, rel=1e-6)
