"""The geometry of QuPath's regions of interest, the same for both engines.

Both engines read the corners that QuPath stores and make the geometry here. QuPath's own
``getGeometry()`` gives the same to a hundredth of a px, but not to the last digit in every version,
and under some versions of Java it halves the area of polygons with 5,000 corners or more.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry


class OddRegionError(ValueError):
    """A region in QuPath without a usable geometry; the message completes "the region …"."""


# org.locationtech.jts.util.GeometricShapeFactory: points of an ellipse
ELLIPSE_POINTS = 100


# qupath.lib.roi.GeometryTools: the grid of its precision model, px
_GRID = 0.01


def precise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round as QuPath's geometry factory does: to 0.01 px, then to float32.

    Dividing by the grid, as JTS does, and multiplying by 100 differ at halves of a hundredth.
    QuPath 0.6 and later round a geometry in this way when they read it; 0.5 does not.

    Raises
    ------
    OddRegionError
        A coordinate is not a number, or is too large for a position on a slide.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.floor(np.asarray(values, np.float64) / _GRID + 0.5) * _GRID
        coordinates = rounded.astype(np.float32).astype(np.float64)
    if not np.isfinite(coordinates).all():
        raise OddRegionError("has a corner whose position is not a number")
    return coordinates


def ellipse(x: float, y: float, x2: float, y2: float) -> BaseGeometry:
    """Return the polygon that QuPath uses for an ellipse, from its bounds in px."""
    angle = np.arange(ELLIPSE_POINTS) * (2 * np.pi / ELLIPSE_POINTS)
    radius = np.array([(x2 - x) / 2, (y2 - y) / 2])
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    return shapely.Polygon(precise(circle * radius + np.array([x, y]) + radius))


def polygon(points: NDArray[np.float64]) -> BaseGeometry:
    """Return a polygon as it was drawn, which may cross itself.

    QuPath's ``getGeometry()`` computes every crossing, which takes minutes and gigabytes if an
    outline has many; :mod:`qupath_hccmil.slides.inside_outline` finds what is inside without this.

    Parameters
    ----------
    points : (n, 2) float64
        In level-0 px, rounded as by :func:`precise`. Fewer than three give an empty polygon.
    """
    return shapely.Polygon(points if len(points) >= 3 else None)


def nonzero_area(rings: list[NDArray[np.float64]]) -> BaseGeometry:
    """Return the area inside closed rings by the non-zero winding rule, like java.awt.geom.Area.

    Parameters
    ----------
    rings : list of (n, 2) float64
        In level-0 px; they need not be closed.
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


def line(corners: NDArray[np.float64]) -> BaseGeometry:
    """Return a line through corners (n, 2), level-0 px.

    Raises
    ------
    OddRegionError
        There are fewer than two corners.
    """
    if len(corners) < 2:
        raise OddRegionError(f"is a line of {len(corners)} corners")
    return shapely.LineString(precise(corners))


def require_area_or_line(kind: str, geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry that is not empty; a set of points may be empty, as in QuPath.

    Raises
    ------
    OddRegionError
        The geometry is empty.
    """
    if geometry.is_empty and kind == "polygon":
        raise OddRegionError("is a polygon of fewer than three corners")
    if geometry.is_empty and kind != "points":
        raise OddRegionError("has an empty region")
    return geometry


def from_wkb(wkb: bytes) -> BaseGeometry:
    """Return the geometry of well-known binary, rounded as by :func:`precise`.

    Raises
    ------
    OddRegionError
        The position of a corner is not a number.
    shapely.errors.GEOSException
        The bytes are not a geometry.
    """
    # GEOS warns about positions that are not numbers, which are reported here
    with np.errstate(invalid="ignore"):
        return shapely.transform(shapely.from_wkb(wkb), precise)


def rectangle(x: float, y: float, x2: float, y2: float) -> BaseGeometry:
    """Return a rectangle from its corners, px."""
    return shapely.box(*precise(np.array([x, y, x2, y2])).tolist())
