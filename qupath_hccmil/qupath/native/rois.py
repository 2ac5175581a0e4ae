"""QuPath's regions of interest as shapely geometries, with the rounding that QuPath gives them."""

from __future__ import annotations

import struct
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

# org.locationtech.jts.util.GeometricShapeFactory: points of an ellipse
ELLIPSE_POINTS = 100

RECTANGLE = "RectangleROI$SerializationProxy"


@dataclass(frozen=True)
class Roi:
    """A region: its kind, as in :class:`~qupath_hccmil.qupath.data_types.Annotation`, and plane."""

    kind: str
    geometry: BaseGeometry
    c: int
    z: int
    t: int


def read_roi(node: JavaObject) -> Roi:
    """Return a region as QuPath's ``getGeometry()`` gives it.

    Raises
    ------
    UnsupportedDataError
        It is of an unknown kind, or damaged.
    """
    name = class_name(node).removesuffix("$SerializationProxy")
    try:
        kind, geometry = _geometry(name, node)
    except (ValueError, struct.error, shapely.errors.GEOSException) as error:
        raise UnsupportedDataError(f"holds a damaged region of interest ({name})") from error
    plane = {key: integer_value(field(node, key)) for key in "czt"}
    c, z, t = (value if value is not None else -1 for value in plane.values())
    return Roi(kind, geometry, c, z, t)


def _geometry(name: str, node: JavaObject) -> tuple[str, BaseGeometry]:
    if name in ("RectangleROI", "EllipseROI", "LineROI"):
        x, x2, y, y2 = (_double(field(node, key)) for key in ("x", "x2", "y", "y2"))
        if name == "RectangleROI":
            return "rectangle", shapely.box(*precise(np.array([x, y, x2, y2])).tolist())
        if name == "EllipseROI":
            return "ellipse", ellipse(x, y, x2, y2)
        return "line", shapely.LineString(precise(np.array([(x, y), (x2, y2)])))
    if name == "GeometryROI$WKBSerializationProxy":
        wkb = field(node, "wkb")
        geometry = shapely.from_wkb(wkb.data if isinstance(wkb, PrimitiveArray) else b"")
        return "geometry", shapely.transform(geometry, precise)
    if name == "AreaROI":
        xs, ys = field(node, "x"), field(node, "y")
        if isinstance(xs, ObjectArray) and isinstance(ys, ObjectArray):
            rings = [_points(x, y) for x, y in zip(xs.parts, ys.parts, strict=True)]
            return "geometry", nonzero_area(rings)
    if name in ("PolygonROI", "PolylineROI", "PointsROI"):
        points = _points(field(node, "x"), field(node, "y"))
        if name == "PolygonROI":
            return "polygon", nonzero_area([points])
        if name == "PolylineROI":
            return "polyline", shapely.LineString(points)
        return "points", shapely.MultiPoint(points)
    raise UnsupportedDataError(f"holds a region of interest of an unknown kind ({name})")


def precise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round as QuPath's geometry factory does: to 0.01 px, then to float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.floor(np.asarray(values, np.float64) * 100 + 0.5) / 100
        coordinates = rounded.astype(np.float32).astype(np.float64)
    if not np.isfinite(coordinates).all():
        raise ValueError("a coordinate is no number")
    return coordinates


def ellipse(x: float, y: float, x2: float, y2: float) -> BaseGeometry:
    """Return the polygon that QuPath takes for an ellipse, from its bounds in px."""
    angle = np.arange(ELLIPSE_POINTS) * (2 * np.pi / ELLIPSE_POINTS)
    radius = np.array([(x2 - x) / 2, (y2 - y) / 2])
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    return shapely.Polygon(precise(circle * radius + np.array([x, y]) + radius))


def nonzero_area(rings: list[NDArray[np.float64]]) -> BaseGeometry:
    """Return the area inside closed rings by the non-zero winding rule, as java.awt.geom.Area.

    Parameters
    ----------
    rings : list of (n, 2) float64
        Level-0 px; need not be closed.
    """
    rings = [ring for ring in rings if len(ring) >= 3]
    if len(rings) == 1 and (simple := shapely.Polygon(rings[0])).is_valid:
        return simple
    if not rings:
        return shapely.Polygon()
    lines = shapely.union_all([shapely.LinearRing(ring) for ring in rings])
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(lines)))
    inside = [face for face in faces if _winding(face.representative_point(), rings) != 0]
    return shapely.union_all(inside)


def _winding(point: shapely.Point, rings: list[NDArray[np.float64]]) -> int:
    total = 0
    for ring in rings:
        a, b = ring - (point.x, point.y), np.roll(ring, -1, axis=0) - (point.x, point.y)
        left = a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]
        up = (a[:, 1] <= 0) & (b[:, 1] > 0) & (left > 0)
        down = (a[:, 1] > 0) & (b[:, 1] <= 0) & (left < 0)
        total += int(up.sum()) - int(down.sum())
    return total


def _double(part: Part) -> float:
    (value,) = struct.unpack(">d", part if isinstance(part, bytes) else b"")
    return float(value)


def _points(x: Part, y: Part) -> NDArray[np.float64]:
    if not isinstance(x, PrimitiveArray) or not isinstance(y, PrimitiveArray):
        raise ValueError("no coordinates")
    columns = [np.frombuffer(each.data, f">f{each.size}") for each in (x, y)]
    return precise(np.column_stack(columns))


_RECTANGLE = struct.Struct(">iiddddi")


def rectangle_node(
    book: ClassBook, bounds: tuple[float, float, float, float], plane: tuple[int, int, int]
) -> JavaObject:
    """Make a rectangle from x, y, width, height and plane (c, z, t)."""
    x, y, width, height = bounds
    c, z, t = plane
    data = _RECTANGLE.pack(c, t, x, x + width, y, y + height, z)
    return book.object("qupath.lib.roi.RectangleROI$SerializationProxy", data, None)


def rectangle_bounds(node: JavaObject) -> tuple[float, float, float, float]:
    """Return x, y, width, height of a rectangle in px, not rounded."""
    data = node.parts[0]
    if class_name(node) != RECTANGLE or not isinstance(data, bytes) or len(data) != _RECTANGLE.size:
        raise UnsupportedDataError("holds a tile of ours that is no rectangle")
    _, _, x, x2, y, y2, _ = _RECTANGLE.unpack(data)
    return x, y, x2 - x, y2 - y


def rectangle_columns(data: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return x, y, width, height of many rectangles.

    Parameters
    ----------
    data : (n, 44) uint8
        The fields of each.

    Returns
    -------
    (n, 4) float64
        Level-0 px, not rounded.
    """
    # as _RECTANGLE: two planes, x and x2, y and y2, another plane
    x, x2, y, y2 = data[:, 8:40].copy().view(">f8").astype(np.float64).T
    return np.column_stack([x, y, x2 - x, y2 - y])


def geometry_node(book: ClassBook, geometry: BaseGeometry) -> JavaObject:
    """Make a region from a shapely area: a polygon without holes stays one."""
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
