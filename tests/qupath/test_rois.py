"""Regions of interest are the shapes that QuPath's getGeometry() gives."""

import struct

import numpy as np
import pytest
import shapely

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native.javaclasses import ClassBook
from qupath_hccmil.qupath.native.javanodes import ClassDesc, JavaObject, JavaString, ObjectArray
from qupath_hccmil.qupath.native.rois import (
    geometry_node,
    read_roi,
    rectangle_bounds,
    rectangle_node,
)
from qupath_hccmil.qupath.roi_geometry import ellipse, nonzero_area, precise
from tests.qupath.shapes import HOLED, PLAIN, TWO


def proxy(name: str, kinds: str, data: bytes, *parts: object) -> JavaObject:
    """A serialization proxy with the fields that QuPath's has."""
    declared = [kind.split(" ") for kind in kinds.split(", ")]
    fields = [
        (kind[0], field.encode(), JavaString.of(kind) if len(kind) > 1 else None)
        for kind, field in declared
    ]
    desc = ClassDesc(f"qupath.lib.roi.{name}$SerializationProxy".encode(), bytes(8), 2, fields)
    return JavaObject(desc, [data, *parts])  # type: ignore[list-item]


def floats(book: ClassBook, *values: float) -> object:
    return book.floats(np.array(values, ">f4").tobytes())


def test_a_rectangle_keeps_its_bounds() -> None:
    node = rectangle_node(ClassBook(), (10.25, 20.5, 256.125, 128), (-1, 2, 3))
    assert rectangle_bounds([node, None]).tolist() == [[10.25, 20.5, 256.125, 128], [0, 0, 0, 0]]
    roi = read_roi(node)
    assert (roi.kind, roi.c, roi.z, roi.t) == ("rectangle", -1, 2, 3)
    # QuPath's geometries have coordinates on a grid of 0.01 px
    assert roi.geometry.bounds == pytest.approx((10.25, 20.5, 266.38, 148.5), abs=1e-4)


def test_an_ellipse_is_qupaths_polygon_of_a_hundred_points() -> None:
    shape = ellipse(100, 200, 300, 260)
    assert len(shape.exterior.coords) == 101
    assert shape.exterior.coords[0] == pytest.approx((300, 230))
    assert shape.area == pytest.approx(np.pi * 100 * 30, rel=1e-3)


@pytest.mark.parametrize("shape", [PLAIN, HOLED, TWO])
def test_areas_come_back(shape: shapely.Geometry) -> None:
    roi = read_roi(geometry_node(ClassBook(), shape))
    assert roi.kind == ("polygon" if shape is PLAIN else "geometry")
    assert roi.geometry.equals(shape)


def test_lines_and_points() -> None:
    book = ClassBook()
    line = proxy(
        "LineROI",
        "I c, I t, D x, D x2, D y, D y2, I z",
        struct.pack(">iiddddi", -1, 0, 1, 4, 2, 6, 0),
    )
    assert read_roi(line).geometry.equals(shapely.LineString([(1, 2), (4, 6)]))
    plane = struct.pack(">iii", -1, 0, 0)
    kinds = "I c, I t, I z, [F x, [F y"
    xy = floats(book, 1, 4, 4), floats(book, 2, 6, 9)
    polyline = read_roi(proxy("PolylineROI", kinds, plane, *xy))
    assert (polyline.kind, polyline.geometry.length) == ("polyline", 8)
    points = read_roi(proxy("PointsROI", kinds, plane, *xy))
    assert points.geometry.equals(shapely.MultiPoint([(1, 2), (4, 6), (4, 9)]))


def test_a_legacy_area_takes_its_holes_from_the_direction_of_rings() -> None:
    book = ClassBook()
    desc = ClassDesc(b"[[F", bytes(8), 2, ())
    x = ObjectArray(desc, [floats(book, 0, 10, 10, 0), floats(book, 2, 2, 4, 4)])  # type: ignore[list-item]
    y = ObjectArray(desc, [floats(book, 0, 0, 10, 10), floats(book, 2, 4, 4, 2)])  # type: ignore[list-item]
    node = proxy("AreaROI", "I c, I t, I z, [[F x, [[F y", struct.pack(">iii", -1, 0, 0), x, y)
    roi = read_roi(node)
    assert (roi.kind, roi.geometry.area) == ("geometry", 96)


def test_crossing_outlines_follow_the_non_zero_rule() -> None:
    bow = np.array([(0, 0), (10, 10), (10, 0), (0, 10)], float)
    assert nonzero_area([bow]).area == 50
    # wound twice around the middle: even-odd would make a hole of it
    twice = np.array(
        [(0, 0), (9, 0), (9, 9), (0, 9), (0, 0), (3, 3), (6, 3), (6, 6), (3, 6)], float
    )
    assert nonzero_area([np.vstack([twice, [(3, 3)]])]).area == 81
    assert nonzero_area([]).is_empty
    assert nonzero_area([bow[:2]]).is_empty


def test_coordinates_are_rounded_as_javas_geometry_factory_does() -> None:
    np.testing.assert_array_equal(
        precise(np.array([0.005, -0.005, 1.2349, 100000.126])),
        np.array([0.01, 0, 1.23, 100000.13], np.float32).astype(float),
    )
    with pytest.raises(ValueError, match="not a number"):
        precise(np.array([np.nan]))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308])
def test_a_place_that_is_no_number_makes_a_region_odd(value: float) -> None:
    roi = read_roi(rectangle_node(ClassBook(), (value, 0, 1, 1), (-1, 2, 0)))
    assert (roi.kind, roi.geometry, roi.z) == ("rectangle", None, 2)
    assert roi.odd == "has a corner whose position is not a number"


def test_a_damaged_region_is_refused() -> None:
    plane = struct.pack(">iii", -1, 0, 0)
    xy = floats(ClassBook(), 1, 4), floats(ClassBook(), 2, 6, 9)
    with pytest.raises(UnsupportedDataError, match="damaged"):
        read_roi(proxy("PolylineROI", "I c, I t, I z, [F x, [F y", plane, *xy))


def test_an_unknown_region_is_refused() -> None:
    with pytest.raises(UnsupportedDataError, match="FancyROI"):
        read_roi(proxy("FancyROI", "I c", bytes(4)))
