"""GeoJSON with scored outlines and tiles, which QuPath 0.5 to 0.7 opens by drag and drop.

In QuPath's dialect (its ``QuPathTypeAdapters`` and ``ROITypeAdapters``), the kind of an object is
in ``properties.objectType``, a class is an object with a colour, ``id`` is a UUID, and coordinates
are level-0 px with y down.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import geojson
import numpy as np
from shapely.geometry import MultiPolygon, Polygon, mapping
from shapely.geometry.polygon import orient

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageState, TileObjects
from qupath_hccmil.qupath.tile_ids import copies, tile_ids

# QuPath's own colour for its class Tumor. A project that has a class keeps its colour.
_OUTLINE_COLOUR = 0xC80000
# Decimals of level-0 px: as exact as a float; the geojson package would round to 6.
_DECIMALS = 15


def write_geojson(path: Path, entry: ImageEntry, state: ImageState) -> int:
    """Write the scored annotations of an image and their tiles as one FeatureCollection.

    Features are written one by one, one per line, so that memory does not grow with the number of
    tiles. An image without results gives a collection without features.

    Parameters
    ----------
    path : Path
        File to write; an existing one is replaced completely or not at all.
    entry : ImageEntry
        Its name becomes the collection's ``name``.
    state : ImageState

    Returns
    -------
    int
        Number of features.

    Raises
    ------
    WriteError
        The file cannot be written.
    """
    count = 0
    with (
        atomic_file(path) as beside,
        # Half a surrogate pair in a name becomes a JSON escape.
        beside.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as out,
    ):
        head = json.dumps(entry.name, ensure_ascii=False)
        out.write(f'{{"type": "FeatureCollection", "name": {head}, "features": [')
        for feature in _features(state):
            out.write("\n" if count == 0 else ",\n")
            out.write(geojson.dumps(feature))
            count += 1
        out.write("\n]}\n")
    return count


def _features(state: ImageState) -> Iterator[geojson.Feature]:
    numbers = copies(each.id for each in state.annotations)
    for annotation in state.annotations:
        values = state.results.annotations.get(annotation.index)
        tiles = state.results.tiles.get(annotation.index)
        if values is not None or tiles is not None:
            yield from _outline(annotation, values or {})
        if tiles is not None:
            yield from _tiles(annotation.id, tiles, numbers[annotation.index])


def _outline(annotation: Annotation, values: Mapping[str, float]) -> Iterator[geojson.Feature]:
    geometry = annotation.geometry
    if not isinstance(geometry, Polygon | MultiPolygon):
        return
    properties: dict[str, Any] = {"objectType": "annotation"}
    if annotation.name:
        properties["name"] = annotation.name
    if annotation.class_name:
        properties["classification"] = _classification(annotation.class_name)
    if annotation.locked:
        properties["isLocked"] = True
    properties["measurements"] = {k: v for k, v in values.items() if isfinite(v)}
    shape = _geometry(annotation, geometry)
    yield geojson.Feature(id=annotation.id, geometry=shape, properties=properties)


def _geometry(
    annotation: Annotation, geometry: Polygon | MultiPolygon
) -> geojson.geometry.Geometry:
    """Geometry with counterclockwise outer rings (RFC 7946), and QuPath's plane and ellipse."""
    extra: dict[str, Any] = {}
    if (annotation.c, annotation.z, annotation.t) != (-1, 0, 0):
        extra["plane"] = {"c": annotation.c, "z": annotation.z, "t": annotation.t}
    if annotation.roi == "ellipse":
        extra["isEllipse"] = True
    if isinstance(geometry, Polygon):
        rings = mapping(orient(geometry))["coordinates"]
        return geojson.Polygon(rings, precision=_DECIMALS, **extra)
    parts = mapping(MultiPolygon([orient(part) for part in geometry.geoms]))["coordinates"]
    return geojson.MultiPolygon(parts, precision=_DECIMALS, **extra)


def _tiles(annotation: str, tiles: TileObjects, copy: int) -> Iterator[geojson.Feature]:
    classes = {name: _classification(name) for name in set(tiles.class_names)}
    ids = tile_ids(annotation, tiles.bounds, copy)
    columns = {name: np.asarray(values).tolist() for name, values in tiles.measurements.items()}
    for k, (x, y, width, height) in enumerate(tiles.bounds.tolist()):
        right, bottom = x + width, y + height
        ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        values = {name: column[k] for name, column in columns.items() if isfinite(column[k])}
        properties = {
            "objectType": "tile",
            "classification": classes[tiles.class_names[k]],
            "measurements": values,
        }
        shape = geojson.Polygon([ring], precision=_DECIMALS)
        yield geojson.Feature(id=str(ids[k]), geometry=shape, properties=properties)


def _classification(name: str) -> dict[str, Any]:
    """Class with its colour, which QuPath needs for parsing; derived classes as a list."""
    parts = [part.strip() for part in name.split(":")]
    packed = names.CLASS_COLOURS.get(name, _OUTLINE_COLOUR)
    colour = [packed >> 16 & 255, packed >> 8 & 255, packed & 255]
    named: dict[str, Any] = {"name": name} if len(parts) == 1 else {"names": parts}
    return {**named, "color": colour}
