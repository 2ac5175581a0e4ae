"""Annotations in GeoJSON as QuPath 0.2 to 0.8 and others write it.

What QuPath's ``GsonTools``, ``QuPathTypeAdapters`` and ``ROITypeAdapters`` (0.3:
``PathObjectTypeAdapters``) read: a FeatureCollection, a Feature, a geometry, or a list of these.
The kind of an object stands in ``properties.objectType`` (0.3: ``object_type``, 0.2: ``id``), its
children in ``properties.childObjects``. Coordinates are level-0 px with y down,
rounded as QuPath does when it reads them.
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
# QuPath 0.2 named the kind by its Java class, as the object's id.
_OLD_KINDS = {
    "PathAnnotationObject": "annotation",
    "PathTileObject": "tile",
    "PathCellObject": "cell",
    "PathDetectionObject": "detection",
    "TMACoreObject": "tmaCore",
    "PathRootObject": "root",
}
_KIND_KEYS = ("objectType", "object_type", "type")
# Of a collection QuPath keeps the parts that enclose most: areas, else lines, else points.
_BY_DIMENSION = {2: "geometry", 1: "polyline", 0: "points"}


def annotations_of(content: Any) -> list[Annotation]:
    """Annotations of parsed GeoJSON, parents before their children, in the order of the file.

    Tiles, cells, detections and TMA cores are no annotations, whatever their class.

    Parameters
    ----------
    content : JSON value

    Returns
    -------
    list of Annotation
        An object without geometry has None. An id is that of the file, and where there is none
        the object's number in it.

    Raises
    ------
    ValueError
        It is not GeoJSON; the message names the object by its number, from 1.
    """
    found: list[Annotation] = []
    keys: dict[int, str | None] = {}  # of each feature by its place in memory; None of the root
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
    """Yield features as mappings, each with the feature that it is a child of."""
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
    """Name what an object is; what is not said is an annotation, as for QuPath."""
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
    """Full name of a class in any of the forms that QuPath has given it.

    Parameters
    ----------
    given : JSON value
        A text, ``{"name": …}`` or ``{"names": […]}`` with or without a colour, QuPath 0.3's
        ``{"parentClass": {…}, "name": …}``, null or ``{}``.

    Returns
    -------
    str or None
        A derived class reads ``Tumor: Positive``; None where there is no class.

    Raises
    ------
    ValueError
        It is of another form.

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
        raise ValueError(f"classification {given!r:.60} is no class")
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"classification {given!r:.60} is no class")
    return ": ".join(part.strip() for part in parts if part.strip()) or None


def _geometry(given: Mapping[str, Any]) -> BaseGeometry | None:
    """Make a shapely geometry, None of an empty one.

    QuPath writes an ellipse as a polygon and reads it by its bounds.
    """
    kind = given.get("type")
    if kind not in _GEOMETRIES:
        raise ValueError(f"a geometry has the unknown type {kind!r}")
    inner = "geometries" if kind == "GeometryCollection" else "coordinates"
    if inner not in given:
        raise ValueError(f"a {kind} has no {inner}")
    if not given[inner]:
        return None
    # The package checks that coordinates are numbers; shapely would take what it can.
    checked = shape(geojson.GeoJSON.to_instance(dict(given), strict=True))
    geometry = _alike(shapely.transform(checked, precise))
    if given.get("isEllipse") is True:
        return ellipse(*geometry.bounds)
    return geometry


def _alike(geometry: BaseGeometry) -> BaseGeometry:
    """Of a collection, the parts of the highest dimension as one geometry."""
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
    """Name the region that QuPath makes of a geometry."""
    if given.get("isEllipse") is True:
        return "ellipse"
    if geometry is None:
        return "geometry"
    if isinstance(geometry, Polygon) and not geometry.interiors:
        return "rectangle" if _is_rectangle(geometry) else "polygon"
    return _BY_DIMENSION[int(shapely.get_dimensions(geometry))]


def _is_rectangle(polygon: Polygon) -> bool:
    # Compared by its corners: an outline that crosses itself has no other way to compare.
    around = shapely.box(*polygon.bounds)
    return bool(shapely.equals_exact(shapely.normalize(polygon), shapely.normalize(around)))
