"""GeoJSON: valid, complete, and read by real QuPath as the same tiles and outlines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import geojson
import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Point, Polygon, box

from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import (
    Annotation,
    ImageEntry,
    ImageResults,
    ImageState,
    Server,
    TileObjects,
)
from qupath_hccmil.qupath.export.geojson_export import write_geojson
from tests.conftest import qupath_dirs

DISC = "11111111-1111-4111-8111-111111111111"
PAIR = "22222222-2222-4222-8222-222222222222"
OTHER = "33333333-3333-4333-8333-333333333333"


def tiles(x: float, count: int) -> TileObjects:
    bounds = np.array([[x + 512 * k, 100.25, 512, 512] for k in range(count)], float)
    logit = np.linspace(-1, 1, count)
    nuclei = np.full(count, 0.125)
    nuclei[0] = np.nan
    return TileObjects(
        bounds,
        [names.CLASS_HIGH if value > 0 else names.CLASS_LOW for value in logit],
        {names.TILE_LOGIT: logit, names.TILE_NUCLEI_FRACTION: nuclei},
    )


@pytest.fixture
def state() -> ImageState:
    holed = Polygon(box(0, 0, 4000, 3000).exterior, [box(100, 100, 200, 300).exterior])
    entry = ImageEntry("1", 'Größe "A".svs', Server("uri", "x", "file:/a.svs"))
    annotations = [
        Annotation(DISC, "Tumor", "Knoten «α»", holed, "geometry", locked=True, index=0),
        Annotation(
            PAIR,
            "Tumor: Positive",
            None,
            MultiPolygon([box(5000, 0, 6000, 1000), box(7000, 0, 7100, 1000)]),
            "geometry",
            index=1,
        ),
        Annotation(OTHER, "Stroma", "not scored", Point(1, 1).buffer(50), "ellipse", index=2),
    ]
    results = ImageResults(
        annotations={
            0: {names.ANNOTATION_RISK: 0.75, names.ANNOTATION_TILES: 3.0},
            1: {names.ANNOTATION_RISK: 0.25},
        },
        tiles={0: tiles(0, 3), 1: tiles(5000.5, 2)},
    )
    return ImageState(entry, "BRIGHTFIELD_H_E", annotations, 0, results, "")


def test_it_is_valid_geojson_with_everything_that_was_scored(tmp_path, state) -> None:
    path = tmp_path / "out.geojson"
    assert write_geojson(path, state.entry, state) == 7
    read = geojson.loads(path.read_text("utf-8"))
    assert read.is_valid, read.errors()
    assert read["name"] == state.entry.name
    kinds = [feature.properties["objectType"] for feature in read.features]
    assert kinds == ["annotation", "tile", "tile", "tile", "annotation", "tile", "tile"]
    assert len({feature.id for feature in read.features}) == 7
    outline, first = read.features[:2]
    assert outline.id == DISC
    assert outline.properties["measurements"] == {
        names.ANNOTATION_RISK: 0.75,
        names.ANNOTATION_TILES: 3.0,
    }
    # no value is no measurement, not 0
    assert first.properties["measurements"] == {names.TILE_LOGIT: -1.0}
    assert first.properties["classification"] == {"name": names.CLASS_LOW, "color": [0, 158, 115]}
    assert read.features[4].properties["classification"]["names"] == ["Tumor", "Positive"]


def test_outer_rings_run_as_the_standard_asks(tmp_path, state) -> None:
    path = tmp_path / "out.geojson"
    write_geojson(path, state.entry, state)
    for feature in json.loads(path.read_text("utf-8"))["features"]:
        shape = feature["geometry"]
        parts = shape["coordinates"]
        for rings in parts if shape["type"] == "MultiPolygon" else [parts]:
            ccw = [Polygon(ring).exterior.is_ccw for ring in rings]
            assert ccw == [True] + [False] * (len(rings) - 1)


def test_an_image_without_results_gives_an_empty_collection(tmp_path, state) -> None:
    path = tmp_path / "out.geojson"
    empty = ImageState(state.entry, "UNSET", state.annotations, 0, ImageResults(), "")
    assert write_geojson(path, state.entry, empty) == 0
    assert geojson.loads(path.read_text("utf-8")).is_valid


def test_a_failure_leaves_the_old_file(tmp_path, state) -> None:
    path = tmp_path / "out.geojson"
    path.write_text("old")
    broken = TileObjects(np.ones((1, 4)), ["a", "b"], {names.TILE_RISK: np.zeros(0)})
    bad = ImageState(
        state.entry, "UNSET", state.annotations, 0, ImageResults(tiles={1: broken}), ""
    )
    with pytest.raises(IndexError):
        write_geojson(path, state.entry, bad)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.geojson"]


def test_a_folder_in_the_way_is_one_line(tmp_path, state) -> None:
    (tmp_path / "out.geojson" / "x").mkdir(parents=True)
    with pytest.raises(WriteError, match=r"out\.geojson: cannot be written") as error:
        write_geojson(tmp_path / "out.geojson", state.entry, state)
    assert "\n" not in str(error.value)


@pytest.mark.qupath
@pytest.mark.parametrize(
    "qupath", qupath_dirs() or [None], ids=lambda path: getattr(path, "name", "none")
)
def test_real_qupath_reads_the_same_objects(tmp_path, state, qupath: Path | None) -> None:
    if qupath is None:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install one at /opt/QuPath-*")
    path = tmp_path / "out.geojson"
    write_geojson(path, state.entry, state)
    script = Path(__file__).with_name("read_geojson_in_qupath.py")
    done = subprocess.run(
        [sys.executable, str(script), str(path)],
        env={**os.environ, "PAQUO_QUPATH_DIR": str(qupath)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {item["id"]: item for item in json.loads(done.stdout.splitlines()[-1])}
    assert len(found) == 7
    outline = found.pop(DISC)
    assert outline["kind"] == "PathAnnotationObject"
    assert outline["name"] == "Knoten «α»"
    assert outline["class"] == "Tumor"
    assert outline["locked"]
    assert outline["area"] == pytest.approx(4000 * 3000 - 100 * 200)
    assert outline["measurements"][names.ANNOTATION_RISK] == pytest.approx(0.75)
    pair = found.pop(PAIR)
    assert pair["class"] == "Tumor: Positive"
    assert pair["area"] == pytest.approx(1100 * 1000)
    assert {item["kind"] for item in found.values()} == {"PathTileObject"}
    assert sorted(item["bounds"] for item in found.values()) == sorted(
        bounds for part in state.results.tiles.values() for bounds in part.bounds.tolist()
    )
    for item in found.values():
        logit = item["measurements"][names.TILE_LOGIT]
        expected = names.CLASS_HIGH if logit > 0 else names.CLASS_LOW
        assert item["class"] == expected
        assert item["colour"] == names.CLASS_COLOURS[expected]
        assert len(item["measurements"]) in (1, 2)
