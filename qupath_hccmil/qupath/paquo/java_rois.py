"""QuPath's regions of interest in Java, as shapely geometries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.paquo.javabulk import doubles, getter
from qupath_hccmil.qupath.paquo.jvm import java
from qupath_hccmil.qupath.roi_geometry import (
    OddRegionError,
    ellipse,
    from_wkb,
    line,
    polygon,
    precise,
    rectangle,
    require_area_or_line,
)

_POINT = "qupath.lib.geom.Point2"
# Rounding to a hundredth of a px changes an area by much less.
AREA_TOLERANCE = 1e-3


def roi_geometry(roi: Any) -> BaseGeometry:
    """Make the geometry of a region from its corners, like the native engine.

    Raises
    ------
    OddRegionError
        The region has no geometry.
    UnsupportedDataError
        QuPath and its geometry library disagree about the area, or the region is damaged.
    """
    kind = str(roi.getClass().getSimpleName())
    try:
        return require_area_or_line(str(roi.getRoiName()).lower(), _geometry(kind, roi))
    except OddRegionError:
        raise
    except (ValueError, shapely.errors.GEOSException) as error:
        raise UnsupportedDataError(f"contains a damaged region of interest ({kind})") from error


def _geometry(kind: str, roi: Any) -> BaseGeometry:
    if kind in ("RectangleROI", "EllipseROI", "LineROI"):
        corners = _corners(roi)
        (x, y), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        if kind == "RectangleROI":
            return rectangle(x, y, x2, y2)
        return ellipse(x, y, x2, y2) if kind == "EllipseROI" else line(corners)
    if kind == "PolygonROI":
        return polygon(precise(_corners(roi)))
    if kind == "PolylineROI":
        return line(_corners(roi))
    if kind == "PointsROI":
        return shapely.MultiPoint(precise(_corners(roi)))
    return _from_java(roi)


def _corners(roi: Any) -> NDArray[np.float64]:
    """Corners ``(n, 2)`` in level-0 px, not rounded."""
    points = java("java.util.ArrayList")(roi.getAllPoints())
    axes = [doubles(points, getter(_POINT, name, "double")) for name in ("getX", "getY")]
    return np.column_stack(axes)


def _from_java(roi: Any) -> BaseGeometry:
    """Geometry of a region with holes or several parts, which has no list of corners."""
    geometry = roi.getGeometry()
    wkb = java("org.locationtech.jts.io.WKBWriter")().write(geometry)
    found = from_wkb(bytes(memoryview(wkb)))
    check_area(float(roi.getArea()), float(geometry.getArea()))
    return found


def check_area(of_region: float, of_geometry: float) -> None:
    """Refuse a region if the area of its geometry differs from the area that QuPath gives.

    Parameters
    ----------
    of_region, of_geometry : float
        px².

    Raises
    ------
    UnsupportedDataError
        The areas differ by more than :data:`AREA_TOLERANCE`.
    """
    if not math.isclose(of_region, of_geometry, rel_tol=AREA_TOLERANCE, abs_tol=1.0):
        version = java("java.lang.System").getProperty("java.runtime.version")
        raise UnsupportedDataError(
            f"the area of an outline is {of_region:.0f} px² according to QuPath, but "
            f"{of_geometry:.0f} px² according to its geometry library under Java {version}, which "
            "has a fault with large polygons; use --engine native"
        )
