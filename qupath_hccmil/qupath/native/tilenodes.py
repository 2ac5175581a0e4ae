"""Makes and reads our tiles as QuPath objects that share the same parts as QuPath's own."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import UnsupportedDataError, WriteError
from qupath_hccmil.qupath.data_types import TileObjects
from qupath_hccmil.qupath.names import CLASS_COLOURS, is_our_class, is_our_measurement
from qupath_hccmil.qupath.native import measurements as lists
from qupath_hccmil.qupath.native.javaclasses import class_name, integer_value
from qupath_hccmil.qupath.native.javanodes import (
    END,
    JavaObject,
    JavaString,
    Node,
    ObjectArray,
    Part,
    block,
)
from qupath_hccmil.qupath.native.made_records import Alike, made_run
from qupath_hccmil.qupath.native.pathobjects import (
    METADATA,
    METADATA_AT,
    OBJECT_ID,
    PathObject,
    full_class_name,
)
from qupath_hccmil.qupath.native.record_runs import Group, Run
from qupath_hccmil.qupath.native.rois import (
    RECTANGLE,
    read_roi,
    rectangle_bounds,
    rectangle_columns,
    rectangle_fields,
    rectangle_node,
)
from qupath_hccmil.qupath.native.run_rules import what_differs
from qupath_hccmil.qupath.native.similar_records import Ints, Path
from qupath_hccmil.qupath.own_tiles import together
from qupath_hccmil.qupath.tile_ids import tile_id_texts

# tiles of ours as they are found: objects, and unparsed ones
Tiles = PathObject | Run

DEFAULT_COLOUR = 0x404040
_NO_PROBABILITY = block(struct.pack(">d", float("nan")))
_NO_CHILDREN = block(struct.pack(">i", 0))
# of the metadata, which are a number, keys and values, the first value
_ID = (METADATA_AT, 2, 0)
_SOME_ID = uuid.UUID(int=0)


def read_tiles(found: Sequence[Tiles]) -> TileObjects:
    """Return tiles, unparsed or not, as columns in their order."""
    parts: list[TileObjects] = []
    rest = list(found)[::-1]
    while rest:
        views = []
        while rest and isinstance(rest[-1], PathObject):
            views.append(rest.pop())
        if views:
            parts.append(_read_views([view for view in views if isinstance(view, PathObject)]))
        if rest and isinstance(run := rest.pop(), Run):
            parts.append(_read_run(run))
    return together(parts)


def ids_of_tiles(found: Sequence[Tiles]) -> list[str]:
    """Return the UUIDs of tiles, unparsed or not, in their order."""
    ids: list[str] = []
    for each in found:
        if isinstance(each, Run):
            ids += [PathObject(each.copy(number)).id for number in range(len(each))]
        else:
            ids.append(each.id)
    return ids


def _read_run(run: Run) -> TileObjects:
    """Return unparsed tiles as columns."""
    groups = run.groups()
    columns = [_read_group(run, group) for group in groups]
    if any(each is None for each in columns):
        return _read_views([PathObject(run.copy(number)) for number in range(len(run))])
    joined = together([each for each in columns if each is not None])
    order = np.argsort(np.concatenate([group.rows for group in groups]), kind="stable")
    names = np.array(joined.class_names, dtype=object)[order].tolist()
    measured = {name: values[order] for name, values in joined.measurements.items()}
    return TileObjects(joined.bounds[order], names, measured)


def _read_group(run: Run, group: Group) -> TileObjects | None:
    """Return tiles of one shape as columns; None if each must be read separately."""
    view = PathObject(group.example)
    node = view.measurements
    if not isinstance(node, JavaObject) or class_name(node) not in lists.NUMERIC:
        return None
    known = lists.names(node)
    size = lists.value_size(node)
    bounds = run.values(group, (view.class_at + 1, 0))
    place = (view.measurements_at, lists.values_at(node))
    values = run.values(group, place, len(known) * size)
    if view.roi is None or class_name(view.roi) != RECTANGLE or bounds is None or values is None:
        return None
    table = values.view(f">f{size}").astype(np.float64)
    return TileObjects(
        bounds=rectangle_columns(bounds),
        class_names=[full_class_name(view.path_class) or ""] * len(group.rows),
        measurements={
            name: table[:, at] for at, name in enumerate(known) if is_our_measurement(name)
        },
    )


def _read_views(views: Sequence[PathObject]) -> TileObjects:
    """Return tiles as columns."""
    classes: dict[int, str] = {}
    names: list[str] = []
    for view in views:
        key = id(view.path_class)
        if key not in classes:
            classes[key] = full_class_name(view.path_class) or ""
        names.append(classes[key])
    return TileObjects(
        bounds=rectangle_bounds([view.roi for view in views]),
        class_names=names,
        measurements=_columns([view.measurements for view in views]),
    )


def _columns(nodes: Sequence[Part]) -> dict[str, NDArray[np.float64]]:
    """Return our measurements from many lists, with NaN for absent ones."""
    groups: dict[int, list[int]] = {}
    for at, node in enumerate(nodes):
        if not isinstance(node, JavaObject) or class_name(node) not in lists.NUMERIC:
            raise UnsupportedDataError("contains a tile of ours with unknown measurements")
        groups.setdefault(id(lists.names_node(node)), []).append(at)
    columns: dict[str, NDArray[np.float64]] = {}
    for rows in groups.values():
        chosen = [node for at in rows if isinstance(node := nodes[at], JavaObject)]
        known = lists.names(chosen[0])
        rows_of_values = [lists.values(node)[: len(known)] for node in chosen]
        if any(len(each) != len(known) for each in rows_of_values):
            raise UnsupportedDataError("contains a tile of ours with missing values")
        table = np.stack(rows_of_values)
        for at, name in enumerate(known):
            if is_our_measurement(name):
                column = columns.setdefault(name, np.full(len(nodes), np.nan))
                column[rows] = table[:, at]
    return columns


class TileMaker:
    """Makes tiles that share the same parts as QuPath's tiles."""

    def __init__(self, pool: lists.NamePool) -> None:
        self._pool = pool
        self._book = pool.book
        self._classes: dict[str, JavaObject] = {}
        self._key: Part = None
        self._one: Part = None
        self._false: Part = None

    def learn(self, view: PathObject) -> None:
        """Note the parts of an object in the stream, so that tiles share them."""
        if self._key is None:
            for part in view.node.parts[2:4]:
                if class_name(part) == METADATA and isinstance(part, JavaObject):
                    self._learn_metadata(part)
        if view.kind == "PathRootObject":
            return
        if self._false is None and not view.locked:
            self._false = next(
                (part for part in view.node.parts if class_name(part) == "Boolean"), None
            )
        if view.path_class is not None:
            name = full_class_name(view.path_class)
            if name is not None and is_our_class(name):
                self._classes.setdefault(name, view.path_class)

    def _learn_metadata(self, node: JavaObject) -> None:
        for keys in node.parts[1:2]:
            if isinstance(keys, ObjectArray):
                self._key = next((key for key in keys.parts if str(key) == OBJECT_ID), None)
        if integer_value(node.parts[0]) == 1 and isinstance(node.parts[0], JavaObject):
            self._one = node.parts[0]
            self._pool.know_integer(1, node.parts[0])

    def path_class(self, name: str) -> JavaObject:
        """Return the shared node of a class."""
        if name not in self._classes:
            colour = CLASS_COLOURS.get(name, DEFAULT_COLOUR) | 0xFF000000
            self._classes[name] = self._book.object(
                "qupath.lib.objects.classes.PathClass",
                self._book.integer(colour - (1 << 32)),
                JavaString.of(name),
                None,
            )
        return self._classes[name]

    def make(self, annotation: PathObject, tiles: TileObjects, copy: int = 0) -> list[Part]:
        """Return the tiles of an annotation, on its plane, as unparsed objects.

        Parameters
        ----------
        annotation : PathObject
        tiles : TileObjects
        copy : int
            See :func:`~qupath_hccmil.qupath.tile_ids.copies`.

        Raises
        ------
        WriteError
            A tile has no value.
        """
        if not len(tiles):
            return []
        roi = read_roi(annotation.roi) if annotation.roi is not None else None
        plane = (roi.c, roi.z, roi.t) if roi else (-1, 0, 0)
        ids = tile_id_texts(annotation.id, tiles.bounds, copy)
        rectangles = rectangle_fields(tiles.bounds, plane)
        classes = [self.path_class(name) for name in tiles.class_names]
        kinds: list[Alike] = []
        shared: list[Part] = [*classes]
        for names, rows, table in _by_names(tiles):
            values = self._pool.float_list(names, table[0].tobytes())
            example = self._tile(values, classes[rows[0]])
            shared += [self._key, self._one, self._false, *self._pool.closed(names)]
            view, free = PathObject(example), what_differs(example)
            assert free is not None, "a tile may stay unparsed"
            columns: dict[Path, NDArray[Any]] = {
                _ID: ids[rows],
                (view.measurements_at, lists.values_at(values)): table,
                (view.class_at + 1, 0): rectangles[rows],
            }
            mentioned: dict[Path, list[Node]] = {
                (view.class_at,): [classes[row] for row in rows.tolist()]
            }
            kinds.append(Alike(example, free, rows, columns, mentioned))
        return [made_run(kinds, [each for each in shared if isinstance(each, Node)])]

    def _tile(self, values: JavaObject, path_class: JavaObject) -> JavaObject:
        """Make a tile somewhere."""
        book = self._book
        self._key = self._key or JavaString.of(OBJECT_ID)
        self._one = self._one or self._pool.integer(1)
        self._false = self._false or book.boolean(False)
        metadata = book.object(
            "qupath.lib.objects.MetadataMap",
            self._one,
            book.array([self._key]),
            book.array([JavaString.of(str(_SOME_ID))]),
            END,
        )
        return book.object(
            "qupath.lib.objects.PathTileObject",
            None,
            None,
            metadata,
            values,
            _NO_CHILDREN,
            self._false,
            path_class,
            rectangle_node(book, (0, 0, 1, 1), (-1, 0, 0)),
            _NO_PROBABILITY,
            END,
        )


def _by_names(tiles: TileObjects) -> Iterator[tuple[list[str], Ints, NDArray[np.float32]]]:
    """For tiles that have the same measurements, these, their rows, and the values as floats.

    Raises
    ------
    WriteError
        A tile has no value.
    """
    names = list(tiles.measurements)
    columns = [tiles.measurements[name] for name in names]
    with np.errstate(over="ignore"):
        table = np.reshape(columns, (len(names), len(tiles))).T.astype(">f4")
    present = np.isfinite(table)
    if not present.any(axis=1).all():
        raise WriteError(
            "a tile without any value could not be distinguished from the user's own tiles"
        )
    if present.all():
        # as nearly always; to compare all rows takes longer than all the rest
        yield names, np.arange(len(tiles)), table
        return
    patterns, which = np.unique(present, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.ravel() == number)
        known = [name for name, there in zip(names, pattern, strict=True) if there]
        yield known, rows, table[np.ix_(rows, pattern)]
