"""Annotations in GeoJSON as QuPath 0.2 to 0.8 and others write it.

This follows QuPath's ``GsonTools``, ``QuPathTypeAdapters`` and ``ROITypeAdapters`` (0.3:
``PathObjectTypeAdapters``), which read a FeatureCollection, a Feature, a geometry, or a list of
these. The kind of an object is in ``properties.objectType`` (0.3: ``object_type``, 0.2: ``id``),
its children are in ``properties.childObjects``. Coordinates are level-0 px with y down, rounded as
QuPath rounds them on reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import geojson
import shapely
from shapely.geometry import Polygon, shape
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.qupath.data_types import Annotation
from qupath_hccmil.qupath.roi_geometry import ellipse, precise

_GEOMETRIES = frozenset(
    {
        "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon",
        "GeometryCollection",
    }
)  # fmt: skip
_OTHER_KINDS = frozenset({"tile", "cell", "detection", "tmaCore", "tma_core", "root"})
# QuPath 0.2 wrote the Java class of the object as its id.
_OLD_KINDS = {
    "PathAnnotationObject": "annotation",
    "PathTileObject": "tile",
    "PathCellObject": "cell",
    "PathDetectionObject": "detection",
    "TMACoreObject": "tmaCore",
    "PathRootObject": "root",
}
_KIND_KEYS = ("objectType", "object_type", "type")
# Of a collection, QuPath keeps the parts of the highest dimension: areas, lines or points.
_BY_DIMENSION = {2: "geometry", 1: "polyline", 0: "points"}


def annotations_of(content: Any) -> list[Annotation]:
    """Annotations of parsed GeoJSON, parents before their children, in the order of the file.

    Tiles, cells, detections and TMA cores are not annotations, whatever their class.

    Parameters
    ----------
    content : JSON value

    Returns
    -------
    list of Annotation
        The geometry of an object without one is None. The id is that in the file, or else the
        number of the object in it.

    Raises
    ------
    ValueError
        The content is not GeoJSON; the message gives the number of the object, from 1.
    """
    found: list[Annotation] = []
    keys: dict[int, str | None] = {}  # for each feature, by its id() in Python; None for the root
    for number, (feature, parent) in enumerate(_objects(content), start=1):
        try:
            properties = feature.get("properties") or {}
            kind = _kind(feature, properties)
            key = _key(feature, number)
            keys[id(feature)] = None if kind == "root" else key
            if kind not in _OTHER_KINDS:
                above = None if parent is None else keys[id(parent)]
                annotation = _annotation(feature, properties, key, above)
                found.append(replace(annotation, index=len(found)))
        except (TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
            raise ValueError(f"object {number}: {error}") from error
    return found


def _objects(
    content: Any, parent: Mapping[str, Any] | None = None
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """Yield features as mappings, each with its parent feature."""
    if isinstance(content, list):
        for part in content:
            yield from _objects(part, parent)
        return
    if not isinstance(content, dict):
        raise ValueError(f"{content!r:.40} is not a GeoJSON object")
    kind = content.get("type")
    if kind == "FeatureCollection" or (kind is None and "features" in content):
        features = content.get("features")
        if not isinstance(features, list):
            raise ValueError("a FeatureCollection has no list of features")
        yield from _objects(features, parent)
    elif kind in _GEOMETRIES:
        yield {"geometry": content}, parent
    elif kind == "Feature" or "geometry" in content:
        yield content, parent
        properties = content.get("properties")
        if isinstance(properties, dict):
            children = properties.get("childObjects", properties.get("children"))
            yield from _objects(children if isinstance(children, list) else [], content)
    else:
        raise ValueError(f"an object of type {kind!r} is not GeoJSON")


def _kind(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """Kind of an object; without a kind it is an annotation, as in QuPath."""
    named = next((properties[key] for key in _KIND_KEYS if properties.get(key)), None)
    kind = str(feature.get("id") if named is None else named)
    return _OLD_KINDS.get(kind, kind)


def _key(feature: Mapping[str, Any], number: int) -> str:
    given = feature.get("id")
    return str(number) if given is None or str(given) in _OLD_KINDS else str(given)


def _annotation(
    feature: Mapping[str, Any], properties: Mapping[str, Any], key: str, parent: str | None
) -> Annotation:
    given = feature.get("geometry") or {}
    geometry = _geometry(given) if given else None
    plane = given.get("plane") or {}
    name = properties.get("name")
    return Annotation(
        key,
        class_name(properties.get("classification")),
        None if name is None else str(name),
        geometry,
        _roi_kind(geometry, given),
        locked=properties.get("isLocked") is True,
        z=int(plane.get("z", 0)),
        t=int(plane.get("t", 0)),
        c=int(plane.get("c", -1)),
        parent=parent,
    )


def class_name(given: Any) -> str | None:
    """Full name of a class, from any of the forms that QuPath has used.

    Parameters
    ----------
    given : JSON value
        A text, ``{"name": …}`` or ``{"names": […]}`` with or without a colour, QuPath 0.3's
        ``{"parentClass": {…}, "name": …}``, null or ``{}``.

    Returns
    -------
    str or None
        For a derived class, text such as ``Tumor: Positive``; None if there is no class.

    Raises
    ------
    ValueError
        The class has another form.

    Examples
    --------
    >>> class_name({"parentClass": {"name": "Tumor", "colorRGB": -3670016}, "name": "Positive"})
    'Tumor: Positive'
    """
    if given is None or given == {}:
        return None
    if isinstance(given, str):
        parts = given.split(":")
    elif isinstance(given, dict) and isinstance(given.get("name"), str):
        above = class_name(given.get("parentClass"))
        parts = [*([above] if above else []), *given["name"].split(":")]
    elif isinstance(given, dict) and isinstance(given.get("names"), list):
        parts = given["names"]
    elif isinstance(given, dict) and given.get("name", given.get("names", "")) is None:
        return None
    else:
        raise ValueError(f"classification {given!r:.60} is not a class")
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"classification {given!r:.60} is not a class")
    return ": ".join(part.strip() for part in parts if part.strip()) or None


def _geometry(given: Mapping[str, Any]) -> BaseGeometry | None:
    """Make a shapely geometry, or None if it is empty.

    QuPath writes an ellipse as a polygon and reads it from its bounds.
    """
    kind = given.get("type")
    if kind not in _GEOMETRIES:
        raise ValueError(f"a geometry has the unknown type {kind!r}")
    inner = "geometries" if kind == "GeometryCollection" else "coordinates"
    if inner not in given:
        raise ValueError(f"a {kind} has no {inner}")
    if not given[inner]:
        return None
    # The geojson package checks that coordinates are numbers; shapely would not.
    checked = shape(geojson.GeoJSON.to_instance(dict(given), strict=True))
    geometry = _alike(shapely.transform(checked, precise))
    if given.get("isEllipse") is True:
        return ellipse(*geometry.bounds)
    return geometry


def _alike(geometry: BaseGeometry) -> BaseGeometry:
    """Join the parts of the highest dimension in a collection to one geometry."""
    if geometry.geom_type != "GeometryCollection":
        return geometry
    parts = shapely.get_parts(geometry)
    while (shapely.get_type_id(parts) >= shapely.GeometryType.MULTIPOINT).any():
        parts = shapely.get_parts(parts)
    dimensions = shapely.get_dimensions(parts)
    kept = list(parts[dimensions == dimensions.max()])
    if len(kept) == 1:
        return kept[0]
    join = (shapely.MultiPoint, shapely.MultiLineString, shapely.MultiPolygon)
    return join[int(dimensions.max())](kept)


def _roi_kind(geometry: BaseGeometry | None, given: Mapping[str, Any]) -> str:
    """Kind of region that QuPath makes from a geometry."""
    if given.get("isEllipse") is True:
        return "ellipse"
    if geometry is None:
        return "geometry"
    if isinstance(geometry, Polygon) and not geometry.interiors:
        return "rectangle" if _is_rectangle(geometry) else "polygon"
    return _BY_DIMENSION[int(shapely.get_dimensions(geometry))]


def _is_rectangle(polygon: Polygon) -> bool:
    # Compared by corners, because outlines that cross themselves cannot be compared otherwise.
    around = shapely.box(*polygon.bounds)
    return bool(shapely.equals_exact(shapely.normalize(polygon), shapely.normalize(around)))
