"""QuPath's regions of interest in the stream, as shapely geometries."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native.javaclasses import ClassBook, class_name, field, integer_value
from qupath_hccmil.qupath.native.javanodes import (
    JavaObject,
    ObjectArray,
    Part,
    PrimitiveArray,
)
from qupath_hccmil.qupath.roi_geometry import (
    OddRegionError,
    ellipse,
    from_wkb,
    line,
    nonzero_area,
    polygon,
    precise,
    rectangle,
    require_area_or_line,
)

RECTANGLE = "RectangleROI$SerializationProxy"


@dataclass(frozen=True)
class Roi:
    """A region: its kind (see :class:`~qupath_hccmil.qupath.data_types.Annotation`) and plane.

    If the region is odd, `odd` says why, and it has no geometry.
    """

    kind: str
    geometry: BaseGeometry | None
    c: int
    z: int
    t: int
    odd: str = ""


def read_roi(node: JavaObject) -> Roi:
    """Return a region as QuPath's ``getGeometry()`` gives it, except that polygons are as drawn.

    Raises
    ------
    UnsupportedDataError
        The region is of an unknown kind, or damaged.
    """
    name = class_name(node).removesuffix("$SerializationProxy")
    geometry: BaseGeometry | None = None
    odd = ""
    try:
        kind, geometry = _geometry(name, node)
        require_area_or_line(kind, geometry)
    except OddRegionError as error:
        kind, geometry, odd = _kind(name), None, str(error)
    except (ValueError, struct.error, shapely.errors.GEOSException) as error:
        raise UnsupportedDataError(f"contains a damaged region of interest ({name})") from error
    plane = {key: integer_value(field(node, key)) for key in "czt"}
    c, z, t = (value if value is not None else -1 for value in plane.values())
    return Roi(kind, geometry, c, z, t, odd)


def _kind(name: str) -> str:
    kind = name.partition("ROI")[0].lower()
    return "geometry" if kind == "area" else kind


def _geometry(name: str, node: JavaObject) -> tuple[str, BaseGeometry]:
    if name in ("RectangleROI", "EllipseROI", "LineROI"):
        x, x2, y, y2 = (_double(field(node, key)) for key in ("x", "x2", "y", "y2"))
        if name == "RectangleROI":
            return "rectangle", rectangle(x, y, x2, y2)
        if name == "EllipseROI":
            return "ellipse", ellipse(x, y, x2, y2)
        return "line", line(np.array([(x, y), (x2, y2)]))
    if name == "GeometryROI$WKBSerializationProxy":
        wkb = field(node, "wkb")
        return "geometry", from_wkb(wkb.data if isinstance(wkb, PrimitiveArray) else b"")
    if name == "AreaROI":
        xs, ys = field(node, "x"), field(node, "y")
        if isinstance(xs, ObjectArray) and isinstance(ys, ObjectArray):
            rings = [_points(x, y) for x, y in zip(xs.parts, ys.parts, strict=True)]
            return "geometry", nonzero_area(rings)
    if name in ("PolygonROI", "PolylineROI", "PointsROI"):
        points = _points(field(node, "x"), field(node, "y"))
        if name == "PolygonROI":
            return "polygon", polygon(points)
        if name == "PolylineROI":
            return "polyline", line(points)
        return "points", shapely.MultiPoint(points)
    raise UnsupportedDataError(f"contains a region of interest of an unknown kind ({name})")


def _double(part: Part) -> float:
    (value,) = struct.unpack(">d", part if isinstance(part, bytes) else b"")
    return float(value)


def _points(x: Part, y: Part) -> NDArray[np.float64]:
    if not isinstance(x, PrimitiveArray) or not isinstance(y, PrimitiveArray):
        raise ValueError("no coordinates")
    columns = [np.frombuffer(each.data, f">f{each.size}") for each in (x, y)]
    return precise(np.column_stack(columns))


_RECTANGLE = np.dtype(
    [("c", ">i4"), ("t", ">i4"), *((side, ">f8") for side in ("x", "x2", "y", "y2")), ("z", ">i4")]
)


def rectangle_node(
    book: ClassBook, bounds: tuple[float, float, float, float], plane: tuple[int, int, int]
) -> JavaObject:
    """Make a rectangle from x, y, width, height and plane (c, z, t)."""
    data = rectangle_fields(np.array([bounds], np.float64), plane).tobytes()
    return book.object("qupath.lib.roi.RectangleROI$SerializationProxy", data, None)


def rectangle_fields(bounds: NDArray[np.float64], plane: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the fields of many rectangles on one plane (c, z, t); see :func:`rectangle_columns`.

    Parameters
    ----------
    bounds : (n, 4) float64
        x, y, width, height, level-0 px.
    plane : (int, int, int)

    Returns
    -------
    (n, 44) uint8
    """
    table = np.empty(len(bounds), _RECTANGLE)
    table["c"], table["z"], table["t"] = plane
    x, y, width, height = bounds.T
    table["x"], table["x2"], table["y"], table["y2"] = x, x + width, y, y + height
    return table.view(np.uint8).reshape(len(bounds), _RECTANGLE.itemsize)


def rectangle_bounds(nodes: Sequence[JavaObject | None]) -> NDArray[np.float64]:
    """Return x, y, width, height of rectangles, (n, 4) in px, not rounded; zeros for no region.

    Raises
    ------
    UnsupportedDataError
        One is not a rectangle.
    """
    fields = bytearray()
    for node in nodes:
        data = bytes(_RECTANGLE.itemsize) if node is None else node.parts[0]
        is_one = node is None or class_name(node) == RECTANGLE
        if not is_one or not isinstance(data, bytes) or len(data) != _RECTANGLE.itemsize:
            raise UnsupportedDataError("contains a tile of ours that is not a rectangle")
        fields += data
    return rectangle_columns(np.frombuffer(fields, np.uint8).reshape(-1, _RECTANGLE.itemsize))


def rectangle_columns(data: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return x, y, width, height of many rectangles.

    Parameters
    ----------
    data : (n, 44) uint8
        The fields of each rectangle.

    Returns
    -------
    (n, 4) float64
        Level-0 px, not rounded.
    """
    table = np.ascontiguousarray(data).view(_RECTANGLE).ravel()
    x, x2, y, y2 = (table[side].astype(np.float64) for side in ("x", "x2", "y", "y2"))
    return np.column_stack([x, y, x2 - x, y2 - y])


def geometry_node(book: ClassBook, geometry: BaseGeometry) -> JavaObject:
    """Make a region from a shapely area; a polygon without holes stays a polygon."""
    plane = struct.pack(">iii", -1, 0, 0)
    if isinstance(geometry, shapely.Polygon) and not geometry.interiors:
        points = np.asarray(geometry.exterior.coords, ">f4")[:-1]
        x, y = (book.floats(points[:, axis].tobytes()) for axis in (0, 1))
        return book.object("qupath.lib.roi.PolygonROI$SerializationProxy", plane, None, None, x, y)
    if not isinstance(geometry, shapely.Polygon | shapely.MultiPolygon):
        raise ValueError(f"an annotation must be an area, not a {geometry.geom_type}")
    wkb = shapely.to_wkb(geometry, byte_order=0, output_dimension=2)
    array = PrimitiveArray(book.get("[B"), wkb, 1)
    return book.object("qupath.lib.roi.GeometryROI$WKBSerializationProxy", plane, None, array)
