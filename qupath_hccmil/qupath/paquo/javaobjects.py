"""QuPath's objects in Java: distinguishes the user's from ours, and adds and removes ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.qupath.data_types import Annotation, TileObjects
from qupath_hccmil.qupath.names import CLASS_COLOURS, is_our_measurement
from qupath_hccmil.qupath.paquo.java_rois import roi_geometry
from qupath_hccmil.qupath.paquo.javabulk import (
    MEASUREMENTS,
    OBJECT,
    PATH_CLASS,
    PATH_OBJECT,
    ROI,
    STRING,
    bound,
    counts,
    distinct,
    doubles,
    getter,
    hash_code,
    one_of,
    predicate,
    static,
    strings,
    text,
    then,
    where,
)
from qupath_hccmil.qupath.paquo.jvm import java, text_of
from qupath_hccmil.qupath.roi_geometry import OddRegionError

_TILE = "qupath.lib.objects.PathTileObject"
_BOUNDS = ("getBoundsX", "getBoundsY", "getBoundsWidth", "getBoundsHeight")


def descendants(root: Any) -> Any:
    """All objects below the root, depth first in QuPath's order, as a Java list."""
    return java("java.util.ArrayList")(root.getDescendantObjects(None))


def annotations_of(objects: Any) -> Any:
    """Annotations of a Java list of objects."""
    return where(objects, _is_annotation())


def class_counts(objects: Any) -> dict[str, int]:
    """Count the objects of each class; ``null`` for no class."""
    return counts(objects, _class())


def our_tiles(objects: Any) -> Any:
    """Tiles that this program wrote, with one of our classes and measurements."""
    of_our_class = one_of(_class_name(), list(CLASS_COLOURS))
    return with_our_measurements(where(where(objects, _is_tile()), of_our_class))


def outside_of(tiles: Any, annotations: Any) -> Any:
    """Tiles with a parent that is not one of some annotations."""
    return where(tiles, one_of(getter(PATH_OBJECT, "getParent", PATH_OBJECT), annotations).negate())


def ids_of(objects: Any) -> list[str]:
    """UUIDs of objects."""
    return strings(objects, text(getter(PATH_OBJECT, "getID", "java.util.UUID")))


def tiles_of_user(objects: Any) -> Any:
    """Tile objects that are not ours."""
    return without(where(objects, _is_tile()), our_tiles(objects))


def without(objects: Any, removed: Any) -> Any:
    """Objects that are not among `removed`."""
    return where(objects, one_of(_itself(), removed).negate())


def read_annotation(path_object: Any, root: Any, index: int) -> Annotation:
    """Return an annotation as plain data; `index` is its number among all."""
    roi = path_object.getROI()
    parent = path_object.getParent()
    path_class = path_object.getPathClass()
    name = path_object.getName()
    geometry, odd = _region(roi)
    return Annotation(
        id=str(path_object.getID().toString()),
        class_name=text_of(path_class.toString()) if path_class and path_class.isValid() else None,
        name=None if name is None else text_of(name),
        geometry=geometry,
        roi="" if roi is None else str(roi.getRoiName()).lower(),
        locked=bool(path_object.isLocked()),
        z=0 if roi is None else int(roi.getZ()),
        t=0 if roi is None else int(roi.getT()),
        c=-1 if roi is None else int(roi.getC()),
        parent=None if parent.equals(root) else str(parent.getID().toString()),
        measurements=read_measurements(path_object),
        index=index,
        odd=odd,
    )


def _region(roi: Any) -> tuple[BaseGeometry | None, str]:
    """Return the geometry of a region, or why it cannot be used."""
    if roi is None:
        return None, ""
    try:
        return roi_geometry(roi), ""
    except OddRegionError as error:
        return None, str(error)


def read_measurements(path_object: Any) -> dict[str, float]:
    """Return all measurements of an object; a stored NaN is kept."""
    if not path_object.hasMeasurements():
        return {}
    measurements = path_object.getMeasurementList()
    names = measurements.getMeasurementNames()
    return {text_of(name): float(measurements.get(name)) for name in names}


def read_tiles(tiles: Any) -> TileObjects:
    """Return our tiles as columns."""
    roi = getter(PATH_OBJECT, "getROI", ROI)
    names = dict.fromkeys(
        text_of(name)
        for stored in distinct(tiles, _measurement_names())
        for name in stored
        if is_our_measurement(text_of(name))
    )
    columns = [doubles(tiles, then(roi, getter(ROI, bounds, "double"))) for bounds in _BOUNDS]
    return TileObjects(
        bounds=np.column_stack(columns),
        class_names=strings(tiles, _class_name()),
        measurements={name: doubles(tiles, _measurement(name)) for name in names},
    )


def with_our_measurements(objects: Any) -> Any:
    """Objects of anybody that have one of our measurements."""
    measured = where(objects, _is_measured())
    ours = [
        names
        for names in distinct(measured, _measurement_names())
        if any(is_our_measurement(text_of(each)) for each in names)
    ]
    return where(measured, one_of(_measurement_names(), ours))


def remove_ours(root: Any) -> None:
    """Remove our tiles and measurements; the user's objects inside our tiles move up."""
    objects = descendants(root)
    tiles = our_tiles(objects)
    for parent in without(distinct(tiles, getter(PATH_OBJECT, "getParent", PATH_OBJECT)), tiles):
        kept = java("java.util.ArrayList")(_without_tiles(parent.getChildObjects(), tiles))
        parent.clearChildObjects()
        parent.addChildObjects(kept)
    objects = descendants(root)
    objects.add(root)
    for path_object in with_our_measurements(objects):
        measurements = path_object.getMeasurementList()
        for name in read_measurements(path_object):
            if is_our_measurement(name):
                measurements.remove(name)
        measurements.close()


def add_measurements(path_object: Any, values: Mapping[str, float]) -> None:
    """Add measurements to an object; values that are not finite are left out."""
    if any(map(math.isfinite, values.values())):
        measurements = path_object.getMeasurementList()
        for name, value in values.items():
            if math.isfinite(value):
                measurements.put(name, float(value))
        measurements.close()


def user_content(root: Any) -> tuple[object, ...]:
    """Fingerprint of everything that is not ours, to compare before and after writing."""
    everything = descendants(root)
    objects = without(everything, our_tiles(everything))
    others = where(where(objects, _is_annotation().negate()), _is_measured())
    measurements = getter(PATH_OBJECT, "getMeasurementList", MEASUREMENTS)
    return (
        objects.size(),
        *(hash_code(objects, handle) for handle in _traits()),
        *(hash_code(where(objects, _has_roi()), handle) for handle in _outline()),
        hash_code(others, _measurement_names()),
        hash_code(others, then(measurements, _values_hash())),
        tuple(
            (text_of(each.toString()), str(each.getColor()))
            for each in distinct(where(objects, _has_class()), _class())
        ),
        *(_user_measurements(each) for each in (root, *annotations_of(objects))),
    )


def regions_have_places(root: Any) -> bool:
    """Whether the bounds of all regions are numbers."""
    regions = where(descendants(root), _has_roi())
    roi = getter(PATH_OBJECT, "getROI", ROI)
    return all(
        bool(np.isfinite(doubles(regions, then(roi, getter(ROI, bounds, "double")))).all())
        for bounds in _BOUNDS
    )


def _without_tiles(children: Any, tiles: Any) -> Any:
    """Children in order, with each of our tiles replaced by its children."""
    kept = java("java.util.ArrayList")(children)
    while True:
        ours = where(kept, one_of(_itself(), tiles))
        full = where(ours, _has_children())
        # only our own objects are handled one by one
        for tile in full:
            at = kept.indexOf(tile)
            kept.subList(at, at + 1).clear()
            kept.addAll(at, tile.getChildObjects())
        if full.isEmpty():
            return without(kept, ours)


def _user_measurements(path_object: Any) -> tuple[tuple[str, bytes], ...]:
    return tuple(
        (name, np.float64(value).tobytes())
        for name, value in read_measurements(path_object).items()
        if not is_our_measurement(name)
    )


@cache
def _is_tile() -> Any:
    instance = getter("java.lang.Class", "isInstance", "boolean", OBJECT)
    return predicate(bound(instance, 0, java(_TILE).class_))


@cache
def _is_annotation() -> Any:
    return predicate(getter(PATH_OBJECT, "isAnnotation", "boolean"))


@cache
def _is_measured() -> Any:
    return predicate(getter(PATH_OBJECT, "hasMeasurements", "boolean"))


@cache
def _has_children() -> Any:
    return predicate(getter(PATH_OBJECT, "hasChildObjects", "boolean"))


@cache
def _has_roi() -> Any:
    return predicate(getter(PATH_OBJECT, "hasROI", "boolean"))


@cache
def _itself() -> Any:
    return java("java.lang.invoke.MethodHandles").identity(java(PATH_OBJECT).class_)


@cache
def _class() -> Any:
    return getter(PATH_OBJECT, "getPathClass", PATH_CLASS)


@cache
def _has_class() -> Any:
    return one_of(_class(), [None]).negate()


@cache
def _class_name() -> Any:
    return text(_class())


@cache
def _measurement_names() -> Any:
    return then(
        getter(PATH_OBJECT, "getMeasurementList", MEASUREMENTS),
        getter(MEASUREMENTS, "getMeasurementNames", "java.util.List"),
    )


def _measurement(name: str) -> Any:
    get = bound(getter(MEASUREMENTS, "get", "double", STRING), 1, java(STRING)(name))
    return then(getter(PATH_OBJECT, "getMeasurementList", MEASUREMENTS), get)


@cache
def _traits() -> tuple[Any, ...]:
    """Return handles for the properties that every object has."""
    identity = text(getter(PATH_OBJECT, "getID", "java.util.UUID"))
    return (
        identity,
        then(getter(PATH_OBJECT, "getParent", PATH_OBJECT), identity),
        _class_name(),
        text(getter(PATH_OBJECT, "getName", STRING)),
        text(getter(PATH_OBJECT, "isLocked", "boolean")),
        text(getter(PATH_OBJECT, "getColor", "java.lang.Integer")),
        text(getter(PATH_OBJECT, "getMetadata", "java.util.Map")),
    )


@cache
def _outline() -> tuple[Any, ...]:
    """Return handles for the kind, plane and points of a ROI."""
    roi = getter(PATH_OBJECT, "getROI", ROI)
    return (
        then(roi, getter(ROI, "getRoiName", STRING)),
        then(roi, getter(ROI, "getImagePlane", "qupath.lib.regions.ImagePlane")),
        then(roi, getter(ROI, "getAllPoints", "java.util.List")),
    )


@cache
def _values_hash() -> Any:
    """Hash code of the values of a measurement list, including NaN."""
    return then(
        getter(MEASUREMENTS, "values", "double[]"),
        static("java.util.Arrays", "hashCode", "int", "double[]"),
    )
