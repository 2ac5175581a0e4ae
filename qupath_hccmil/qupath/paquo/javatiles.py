"""Turns our tiles into QuPath's tile objects, 100,000 in a fraction of a second."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from qupath_hccmil.qupath.data_types import TileObjects
from qupath_hccmil.qupath.names import CLASS_COLOURS, has_former_colour
from qupath_hccmil.qupath.paquo.javabulk import (
    MEASUREMENTS,
    PATH_CLASS,
    PATH_OBJECT,
    ROI,
    STRING,
    at_each,
    bound,
    constructor,
    element,
    getter,
    made,
    of_index,
    static,
    then,
)
from qupath_hccmil.qupath.paquo.jvm import java
from qupath_hccmil.qupath.qpproj import opaque
from qupath_hccmil.qupath.tile_ids import tile_id_bytes

_PLANE = "qupath.lib.regions.ImagePlane"
_UUID = "java.util.UUID"


def add_tiles(annotation: Any, tiles: TileObjects, copy: int = 0) -> None:
    """Add tiles to an annotation as its last children, all at once; `copy` as in `tile_ids`."""
    if len(tiles):
        annotation.addChildObjects(_created(annotation, tiles, copy))


def _created(annotation: Any, tiles: TileObjects, copy: int) -> Any:
    """Java list of new tile objects, with identity, class and measurements."""
    everyone = np.arange(len(tiles), dtype=np.int32)
    objects = made(len(tiles), _new_tile(annotation, tiles))
    tile = bound(getter("java.util.List", "get", "java.lang.Object", "int"), 0, objects)

    at_each(everyone, of_index(_set_id(), tile, _new_id(annotation, tiles, copy)))

    measurements = then(tile, getter(PATH_OBJECT, "getMeasurementList", MEASUREMENTS))
    put = getter(MEASUREMENTS, "put", "void", STRING, "double")
    for name, column in tiles.measurements.items():
        values = np.asarray(column, dtype=np.float64)
        put_named = bound(put, 1, java(STRING)(name))
        at_each(everyone[np.isfinite(values)], of_index(put_named, measurements, element(values)))
    # closed lists share their names
    at_each(everyone, then(measurements, getter(MEASUREMENTS, "close", "void")))
    return objects


def _new_tile(annotation: Any, tiles: TileObjects) -> Any:
    """Handle that makes the tile for an index."""
    rectangle = static("qupath.lib.roi.ROIs", "createRectangleROI", ROI, *("double",) * 4, _PLANE)
    in_plane = bound(rectangle, 4, annotation.getROI().getImagePlane())
    roi = of_index(in_plane, *(element(column) for column in tiles.bounds.T.astype(np.float64)))
    create = static(
        "qupath.lib.objects.PathObjects", "createTileObject", PATH_OBJECT, ROI, PATH_CLASS
    )
    names = list(dict.fromkeys(tiles.class_names))
    numbers = np.array([names.index(name) for name in tiles.class_names], dtype=np.int32)
    path_class = then(element(numbers), element([_our_class(name) for name in names]))
    return of_index(create, roi, path_class)


def _new_id(annotation: Any, tiles: TileObjects, copy: int) -> Any:
    """Handle that makes the UUID for an index."""
    ids = tile_id_bytes(str(annotation.getID().toString()), tiles.bounds, copy)
    halves = ids.view(">i8").astype(np.int64)
    uuid = constructor(_UUID, "long", "long")
    return of_index(uuid, element(halves[:, 0]), element(halves[:, 1]))


def _set_id() -> Any:
    return getter(PATH_OBJECT, "setID", "void", _UUID)


def _our_class(name: str) -> Any:
    """QuPath's class with a name; an existing class keeps the colour that the user chose."""
    return java(PATH_CLASS).fromString(name, _packed(name))


def _packed(name: str) -> Any:
    colour = CLASS_COLOURS.get(name)
    return None if colour is None else java("java.lang.Integer")(opaque(colour))


def renew_colours(worn: Collection[str]) -> None:
    """Give our classes that still have an earlier version's colour the one of today.

    QuPath has one object for all who wear a class, so one that an object of the user's wears, or
    that a class of the user's derives from, is left as it is.

    Parameters
    ----------
    worn : collection of str
        Classes of the user's objects.
    """
    for name in CLASS_COLOURS:
        if not any(each.split(": ")[0] == name for each in worn):
            path_class = _our_class(name)
            if has_former_colour(name, int(path_class.getColor())):
                path_class.setColor(_packed(name))
