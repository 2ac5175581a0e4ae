"""GeoJSON of any QuPath, and of others, gives the annotations that QuPath makes of it."""

import gzip
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from shapely.geometry import Point, Polygon, box, mapping

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.qupath.geojson_files import geojson_next_to, read_annotations
from qupath_hccmil.qupath.geojson_objects import annotations_of, class_name
from qupath_hccmil.slides.inside_outline import outline_area
from tests.conftest import qupath_dirs

SQUARE = mapping(box(0, 0, 9, 9))
TRIANGLE = mapping(Polygon([(0, 0), (8, 0), (0, 8)]))
DOT = {"type": "Point", "coordinates": [1, 1]}
UUID = "11111111-1111-4111-8111-111111111111"


def feature(geometry=SQUARE, identity=None, **properties):
    given = {"type": "Feature", "geometry": geometry, "properties": properties}
    return given if identity is None else {**given, "id": identity}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Tumor", "Tumor"),
        ("Tumor:Positive", "Tumor: Positive"),
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor"),
        ({"name": "Tumor", "color": [200, 0, 0]}, "Tumor"),
        ({"name": "Tumor: Positive"}, "Tumor: Positive"),
        ({"names": ["Tumor", "Positive"], "color": [200, 0, 0]}, "Tumor: Positive"),
        (
            {
                "parentClass": {"parentClass": {"name": "Tumor"}, "name": "CD3"},
                "name": "Positive",
                "colorRGB": -1,
            },
            "Tumor: CD3: Positive",
        ),
        (None, None),
        ({}, None),
        ("", None),
        ({"name": None}, None),
        ({"names": []}, None),
    ],
)
def test_a_class_in_every_form_that_qupath_has_given_it(given, name):
    assert class_name(given) == name
    (annotation,) = annotations_of(feature(classification=given))
    assert annotation.class_name == name


@pytest.mark.parametrize("given", [1, ["Tumor"], {"colour": 3}, {"names": ["Tumor", 1]}])
def test_a_class_of_another_form_is_named_with_its_object(given):
    with pytest.raises(ValueError, match=r"object 2: classification .* is not a class"):
        annotations_of([feature(), feature(classification=given)])


@pytest.mark.parametrize(
    "content",
    [
        feature(),
        [feature()],
        {"type": "FeatureCollection", "features": [feature()]},
        {"features": [feature()]},
        [{"type": "FeatureCollection", "features": [feature()]}],
        SQUARE,
        [SQUARE],
        {"type": "GeometryCollection", "geometries": [SQUARE, DOT]},
        feature({"type": "GeometryCollection", "geometries": [SQUARE]}),
        [feature(None), feature({}), feature()],
    ],
)  # fmt: skip
def test_features_geometries_collections_and_lists(content):
    found = [a for a in annotations_of(content) if a.geometry is not None]
    assert [a.geometry.area for a in found] == [81]


def test_an_object_without_geometry_is_kept_without_one():
    empty = {"type": "Polygon", "coordinates": []}
    found = annotations_of([feature(None), feature({}), feature(empty), {"type": "Feature"}])
    assert [a.geometry for a in found] == [None] * 4


def test_parts_of_a_collection_that_overlap_count_once():
    both = {"type": "GeometryCollection", "geometries": [SQUARE, mapping(box(5, 0, 14, 9))]}
    (annotation,) = annotations_of(both)
    assert outline_area(annotation.geometry) == pytest.approx(14 * 9)


def test_an_ellipse_is_of_its_bounds():
    coarse = {**mapping(Polygon([(0, 5), (10, 0), (20, 5), (10, 10)])), "isEllipse": True}
    (annotation,) = annotations_of(feature(coarse))
    assert annotation.roi == "ellipse"
    assert annotation.geometry.area == pytest.approx(Point(0, 0).buffer(1, 64).area * 50, rel=0.01)
    assert annotation.geometry.bounds == (0, 0, 20, 10)


def test_a_polygon_that_crosses_itself_is_what_it_winds_around():
    # The inner square is gone around twice in one sense: inside for QuPath, a hole by even-odd.
    ring = [
        (0, 0),
        (10, 0),
        (10, 10),
        (0, 10),
        (0, 0),
        (3, 3),
        (7, 3),
        (7, 7),
        (3, 7),
        (3, 3),
        (0, 0),
    ]
    (annotation,) = annotations_of(feature({"type": "Polygon", "coordinates": [ring]}))
    assert outline_area(annotation.geometry) == pytest.approx(100)


def test_regions_are_named_as_qupath_makes_them():
    holed = mapping(Polygon(box(0, 0, 9, 9).exterior, [box(1, 1, 2, 2).exterior]))
    line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    points = {"type": "MultiPoint", "coordinates": [[0, 0], [1, 1]]}
    crossed = {"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]]]}
    found = annotations_of([feature(g) for g in (SQUARE, TRIANGLE, crossed, holed, line, points)])
    assert [a.roi for a in found] == [
        "rectangle", "polygon", "polygon", "geometry", "polyline", "points",
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["objectType", "object_type", "type"])
@pytest.mark.parametrize("kind", ["tile", "cell", "detection", "tmaCore", "tma_core", "root"])
def test_only_annotations_are_outlines_whatever_their_class(key, kind):
    other = feature(classification={"name": "Tumor"}, **{key: kind})
    assert (
        annotations_of([other, feature(**{key: "annotation"}), feature(**{key: "new kind"})])[
            0
        ].class_name
        is None
    )
    assert len(annotations_of([other, feature()])) == 1


def test_qupath_0_2_named_the_kind_as_the_id():
    cell = feature(identity="PathCellObject")
    outlines = [feature(identity="PathAnnotationObject") for _ in range(2)]
    found = annotations_of([cell, *outlines])
    assert [a.index for a in found] == [0, 1]


def test_children_follow_their_parent():
    child = feature(TRIANGLE, "child", classification="Tumor")
    tile = feature(objectType="tile")
    parent = feature(identity=UUID, childObjects=[tile, child])
    root = {
        "type": "Feature",
        "geometry": {},
        "properties": {"objectType": "root", "childObjects": [parent]},
    }
    assert [(a.id, a.parent) for a in annotations_of(root)] == [(UUID, None), ("child", UUID)]
    old = feature(identity=UUID, children=[child])
    assert [(a.id, a.parent) for a in annotations_of(old)] == [(UUID, None), ("child", UUID)]


def test_two_objects_of_one_id_are_two():
    found = annotations_of([feature(identity=UUID), feature(identity=UUID)])
    assert [(a.id, a.index) for a in found] == [(UUID, 0), (UUID, 1)]


def test_name_lock_and_plane():
    plane = {**SQUARE, "plane": {"c": -1, "z": 2, "t": 3}}
    (a,) = annotations_of(feature(plane, name="Knoten α", isLocked=True))
    assert (a.name, a.locked, a.z, a.t, a.c) == ("Knoten α", True, 2, 3, -1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1]", "1 is not a GeoJSON object"),
        ("3", "3 is not a GeoJSON object"),
        ("{}", "an object of type None is not GeoJSON"),
        ('{"type": "Topology"}', "an object of type 'Topology' is not GeoJSON"),
        ('{"type": "FeatureCollection"}', "has no list of features"),
        ('{"type": "Polygon"}', "object 1: a Polygon has no coordinates"),
        ('{"geometry": {"type": "Circle"}}', "object 1: a geometry has the unknown type 'Circle'"),
        ('{"type": "Polygon", "coordinates": [[["a", 1], [2, 3], [0, 0]]]}', "object 1: 'a'"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}', "object 1: "),
        ('{"type": "Polygon", "coordinates": 3}', "object 1: "),
        ('{"type": "Feature", "geometry": "x"}', "object 1: "),
        ('{"type": "Feature", "properties": "x"}', "object 1: "),
        ('{"type": "Point", "coordinates": [NaN, 1]}', "whose position is not a number"),
        ("{", "Expecting"),
        ("[" * 100_000, "nested too deep"),
    ],
)  # fmt: skip
def test_what_is_not_geojson_is_one_line_with_the_file(tmp_path, content, reason):
    path = tmp_path / "a.geojson"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(AnnotationError) as caught:
        read_annotations(path)
    assert str(caught.value).startswith(f"{path}: is not GeoJSON as QuPath exports it (")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


TEXT = json.dumps({"type": "FeatureCollection", "features": [feature(classification="Größe")]})


def write_as(path: Path, text: str = TEXT) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.geojson", text)
            archive.writestr("readme.txt", "no")
    else:
        with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
            file.write(text.encode("utf-8"))
    return path


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz", "a.geojson.zip", "a.zip"])
def test_compressed_files_are_read(tmp_path, name):
    path = write_as(tmp_path / name)
    assert [a.class_name for a in read_annotations(path)] == ["Größe"]
    if path.suffix != ".geojson":
        path.write_bytes(path.read_bytes()[:-12])
        with pytest.raises(AnnotationError, match="not GeoJSON as QuPath exports it"):
            read_annotations(path)


def test_values_that_are_no_json_numbers_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "a.geojson"
    text = json.dumps(feature(measurements={"Area": float("nan"), "Max": float("inf")}))
    path.write_text(text, encoding="utf-8-sig")
    assert len(read_annotations(path)) == 1


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("qupath_hccmil.qupath.geojson_files._MOST_BYTES", 100)
    for name in ("a.geojson", "a.geojson.gz", "a.zip"):
        with pytest.raises(AnnotationError, match="more than 2 GB"):
            read_annotations(write_as(tmp_path / name, TEXT + " " * 100))


@pytest.mark.parametrize("ending", [".geojson", ".geojson.gz", ".geojson.zip", ".zip"])
def test_the_file_of_a_slide_is_found_by_its_name(tmp_path, ending):
    for slide, names in {
        "a.svs": ("a", "a.svs"),
        "b.ome.tif": ("b", "b.ome", "b.ome.tif"),
    }.items():
        assert geojson_next_to(tmp_path / slide) is None
        for name in names:
            path = write_as(tmp_path / (name + ending))
            assert geojson_next_to(tmp_path / slide) == path
            path.unlink()


def test_two_files_of_one_slide_are_not_chosen_from(tmp_path):
    write_as(tmp_path / "a.geojson")
    write_as(tmp_path / "a.svs.geojson.gz")
    with pytest.raises(AnnotationError, match=r"a\.svs: its outlines are in .*; keep one of them"):
        geojson_next_to(tmp_path / "a.svs")


def test_a_zipped_slide_is_not_its_outlines(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.mrxs", b"")
    (tmp_path / "b.zip").write_bytes(b"no archive")
    assert geojson_next_to(tmp_path / "a.mrxs") is None
    assert geojson_next_to(tmp_path / "b.mrxs") is None


@pytest.mark.qupath
@pytest.mark.parametrize(
    "qupath", qupath_dirs() or [None], ids=lambda path: getattr(path, "name", "none")
)
def test_real_qupath_writes_what_is_read_here(tmp_path, qupath: Path | None):
    if qupath is None:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install one at /opt/QuPath-*")
    script = Path(__file__).with_name("write_geojson_in_qupath.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PAQUO_QUPATH_DIR": str(qupath)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert {Path(name).name for name in made["files"]} == {
        "collection.geojson", "list.geojson", "pretty.geojson", "packed.geojson.gz", "packed.zip",
        "hierarchy.geojson",
    }  # fmt: skip
    for path in made["files"]:
        found = {a.id: a for a in read_annotations(Path(path))}
        assert found.keys() == made["annotations"].keys(), path
        for key, expected in made["annotations"].items():
            annotation = found[key]
            assert annotation.class_name == expected["class"]
            assert annotation.name == expected["name"]
            assert annotation.roi == expected["roi"]
            assert annotation.z == expected["z"]
            area = 0.0 if annotation.geometry is None else annotation.geometry.area
            assert area == pytest.approx(expected["area"], abs=0.05)
