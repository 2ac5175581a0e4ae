"""Our results in an image's data: found, taken out, put in; everything else stays as it is."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import UnsupportedDataError, WriteError
from qupath_hccmil.project import measurements as lists
from qupath_hccmil.project.collection import no_collection
from qupath_hccmil.project.javaclasses import (
    ClassBook,
    class_name,
    hash_order,
    integer_value,
)
from qupath_hccmil.project.javanodes import (
    END,
    JavaObject,
    JavaString,
    ObjectArray,
    Part,
    block,
)
from qupath_hccmil.project.model import Annotation, ImageResults, TileObjects, WorkflowStep
from qupath_hccmil.project.names import CLASS_COLOURS, is_ours
from qupath_hccmil.project.pathobjects import (
    ANNOTATION,
    DETECTIONS,
    METADATA,
    NULL_CLASS,
    OBJECT_ID,
    PLURALS,
    TILE,
    PathObject,
    full_class_name,
    walk,
)
from qupath_hccmil.project.qpdata import (
    QpData,
    step_name,
    step_parameters,
    step_script,
)
from qupath_hccmil.project.rois import read_roi, rectangle_bounds, rectangle_node
from qupath_hccmil.project.tileids import tile_ids

# parameter of our step that names objects whose measurement list was there and empty: without
# it, a list that is empty when ours are gone is one that we made
EMPTY_LISTS = "HCC-MIL empty measurement lists"

DEFAULT_COLOUR = 0x404040
_NO_PROBABILITY = block(struct.pack(">d", float("nan")))
_NO_CHILDREN = block(struct.pack(">i", 0))


def read_annotation(view: PathObject, parent: PathObject | None, number: int) -> Annotation:
    """Return an annotation as plain data; `number` is its place, where it has no UUID."""
    roi = read_roi(view.roi) if view.roi is not None else None
    top = parent is None or parent.kind == "PathRootObject"
    return Annotation(
        id=view.id or f"annotation-{number}",
        class_name=full_class_name(view.path_class),
        name=view.name,
        geometry=roi.geometry if roi else None,
        roi=roi.kind if roi else "",
        locked=view.locked,
        z=roi.z if roi else 0,
        t=roi.t if roi else 0,
        c=roi.c if roi else -1,
        parent=None if top or parent is None else parent.id,
        measurements=lists.read(view.measurements),
    )


@no_collection()
def read_data(data: QpData) -> tuple[list[Annotation], int, ImageResults]:
    """Return annotations, the number of other objects of the user, and our results."""
    annotations: list[Annotation] = []
    tiles: dict[str, TileObjects] = {}
    others = 0
    ours = _OurTiles()
    stack: list[tuple[PathObject, PathObject | None]] = [(PathObject(data.root), None)]
    while stack:
        view, parent = stack.pop()
        mine, inside = ours.split(view)
        if view.kind == ANNOTATION:
            annotations.append(read_annotation(view, parent, len(annotations)))
            if mine:
                tiles[annotations[-1].id] = _read_tiles(mine)
        elif parent is not None and not ours.has(view):
            others += 1
        stack.extend((child, view) for child in reversed(inside))
    found = {each.id: own for each in annotations if (own := _ours(each.measurements))}
    root = _ours(lists.read(PathObject(data.root).measurements))
    return annotations, others, ImageResults(found, tiles, root, {}, _our_step(data))


@no_collection()
def remove_results(data: QpData) -> bool:
    """Take our results out; objects of the user inside our tiles move up. Whether there were any.

    A file that was scored once and not changed since is then as it was before.
    """
    were_empty = {
        identity
        for step in _our_steps(data)
        for identity in step_parameters(step).get(EMPTY_LISTS, "").split()
    }
    ours = _OurTiles()
    changed = False
    views = []
    stack = [PathObject(data.root)]
    while stack:
        view = stack.pop()
        views.append(view)
        kept, removed = _without_tiles(view, ours)
        if removed:
            view.children = [each.node for each in kept]
            changed = True
        stack.extend(reversed(kept))
    pool = name_pool(data)
    pool.know_all(view.measurements for view in views)
    for view in views:
        node = view.measurements
        if isinstance(node, JavaObject) and ours.mentions(node) and pool.remove(node, is_ours):
            changed = True
            if not lists.read(node) and view.id not in were_empty:
                view.measurements = None
    steps = [each for each in data.steps if not is_ours(step_name(each))]
    changed |= len(steps) < len(data.steps)
    data.steps = steps
    return changed


@no_collection()
def add_results(data: QpData, results: ImageResults) -> None:
    """Put results into data that have none of ours.

    Raises
    ------
    WriteError
        An annotation is not there.
    """
    pool = name_pool(data)
    maker = _TileMaker(pool)
    views = {}
    for view, _ in walk(data.root):
        maker.learn(view)
        pool.know_all((view.measurements,))
        if view.kind == ANNOTATION:
            views[view.id] = view
    missing = (results.annotations.keys() | results.tiles.keys()) - views.keys()
    if missing:
        raise WriteError(f"has no annotation {min(missing)}; read the image again")
    root = PathObject(data.root)
    targets = [(views[key], values) for key, values in results.annotations.items()]
    were_empty = [
        view.id
        for view, values in [*targets, (root, results.root)]
        if _add_measurements(pool, view, values)
    ]
    for key, tiles in results.tiles.items():
        view = views[key]
        view.children = [*view.children, *maker.make(view, tiles)]
    if results.step is not None:
        extra = {EMPTY_LISTS: " ".join(were_empty)} if were_empty else {}
        data.steps = [*data.steps, _step_node(pool, results.step, extra)]


@no_collection()
def counts(data: QpData) -> dict[str, Any]:
    """Return object counts as QuPath's ``summary.json`` has them."""
    kinds: Counter[str] = Counter()
    annotations: Counter[str] = Counter()
    detections: Counter[str] = Counter()
    names: dict[int, str] = {}
    for view, _ in walk(data.root):
        kinds[PLURALS[view.kind]] += 1
        target = annotations if view.kind == ANNOTATION else detections
        if view.kind == ANNOTATION or view.kind in DETECTIONS:
            node = view.path_class
            if id(node) not in names:
                names[id(node)] = full_class_name(node) or NULL_CLASS
            target[names[id(node)]] += 1
    return {
        "nObjects": sum(kinds.values()),
        "objectTypeCounts": _java_order(kinds),
        "annotationClassificationCounts": _java_order(annotations),
        "detectionClassificationCounts": _java_order(detections),
    }


def _java_order(counted: Mapping[str, int]) -> dict[str, int]:
    return {key: counted[key] for key in hash_order(list(counted))}


def name_pool(data: QpData) -> lists.NamePool:
    """Return what is shared in the data, so that new objects share it too."""
    # from 0.6 on, closed lists keep their names in an immutable list
    immutable = not data.qupath_version.removeprefix("v").startswith("0.5.")
    return lists.NamePool(ClassBook(data.stream.classes), immutable=immutable)


class _OurTiles:
    """Tells our tiles from other objects; remembers classes and lists of names it has seen."""

    def __init__(self) -> None:
        self._classes: dict[int, bool] = {}
        self._names: dict[int, bool] = {}
        # a node that is known by its id must not be freed, or another could get the id
        self._known: list[Part] = []

    def split(self, view: PathObject) -> tuple[list[PathObject], list[PathObject]]:
        """Return an object's children: our tiles, and those that are or hold the user's."""
        mine: list[PathObject] = []
        theirs: list[PathObject] = []
        for node in view.children:
            child = PathObject(node)
            is_mine = self.has(child)
            if is_mine:
                mine.append(child)
            # a tile of ours is a leaf, unless QuPath put something of the user into it
            if not is_mine or child.child_count:
                theirs.append(child)
        return mine, theirs

    def has(self, view: PathObject) -> bool:
        """Whether an object is a tile with a class and a measurement of ours."""
        if view.kind != TILE:
            return False
        path_class = view.path_class
        if id(path_class) not in self._classes:
            self._classes[id(path_class)] = is_ours(full_class_name(path_class))
            self._known.append(path_class)
        return self._classes[id(path_class)] and self.mentions(view.measurements)

    def mentions(self, node: Part) -> bool:
        """Whether a measurement list has a name of ours."""
        if not isinstance(node, JavaObject):
            return False
        if class_name(node) not in lists.NUMERIC:
            return any(map(is_ours, lists.read(node)))
        shared = lists.names_node(node)
        if id(shared) not in self._names:
            self._names[id(shared)] = any(map(is_ours, lists.names(node)))
            self._known.append(shared)
        return self._names[id(shared)]


def _without_tiles(view: PathObject, ours: _OurTiles) -> tuple[list[PathObject], bool]:
    """Return an object's children without our tiles, and whether there were any."""
    kept: list[PathObject] = []
    removed = False
    rest = [PathObject(child) for child in reversed(view.children)]
    while rest:
        child = rest.pop()
        if ours.has(child):
            removed = True
            rest.extend(PathObject(inner) for inner in reversed(child.children))
        else:
            kept.append(child)
    return kept, removed


def _ours(measurements: Mapping[str, float]) -> dict[str, float]:
    return {k: v for k, v in measurements.items() if is_ours(k) and not np.isnan(v)}


def _our_steps(data: QpData) -> list[JavaObject]:
    return [
        each for each in data.steps if isinstance(each, JavaObject) and is_ours(step_name(each))
    ]


def _our_step(data: QpData) -> WorkflowStep | None:
    steps = _our_steps(data)
    if not steps:
        return None
    node = steps[-1]
    parameters = step_parameters(node)
    parameters.pop(EMPTY_LISTS, None)
    return WorkflowStep(step_name(node), step_script(node), parameters)


def _step_node(pool: lists.NamePool, step: WorkflowStep, extra: Mapping[str, str]) -> JavaObject:
    parameters = [
        (JavaString.of(key), JavaString.of(str(value)))
        for key, value in {**step.parameters, **extra}.items()
    ]
    return pool.book.object(
        "qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep",
        pool.book.linked_map(parameters),
        JavaString.of(step.name),
        JavaString.of(step.script),
    )


def _add_measurements(
    pool: lists.NamePool, view: PathObject, measurements: Mapping[str, float]
) -> bool:
    """Add to an object's list, which is made where absent; whether it was there and empty."""
    finite = {name: float(value) for name, value in measurements.items() if np.isfinite(value)}
    node = view.measurements
    if not finite:
        return False
    if not isinstance(node, JavaObject):
        view.measurements = pool.general_list(finite)
        return False
    empty = not lists.read(node)
    pool.add(node, finite)
    return empty


def _read_tiles(views: Sequence[PathObject]) -> TileObjects:
    """Return tiles as columns."""
    bounds = [rectangle_bounds(view.roi) if view.roi is not None else (0.0,) * 4 for view in views]
    classes: dict[int, str] = {}
    names: list[str] = []
    for view in views:
        key = id(view.path_class)
        if key not in classes:
            classes[key] = full_class_name(view.path_class) or ""
        names.append(classes[key])
    return TileObjects(
        bounds=np.array(bounds, dtype=np.float64).reshape(-1, 4),
        class_names=names,
        measurements=_columns([view.measurements for view in views]),
    )


def _columns(nodes: Sequence[Part]) -> dict[str, NDArray[np.float64]]:
    """Return measurements of ours of many lists, NaN where one has no such."""
    groups: dict[int, list[int]] = {}
    for at, node in enumerate(nodes):
        if not isinstance(node, JavaObject) or class_name(node) not in lists.NUMERIC:
            raise UnsupportedDataError("holds a tile of ours with unknown measurements")
        groups.setdefault(id(lists.names_node(node)), []).append(at)
    columns: dict[str, NDArray[np.float64]] = {}
    for rows in groups.values():
        chosen = [node for at in rows if isinstance(node := nodes[at], JavaObject)]
        known = lists.names(chosen[0])
        rows_of_values = [lists.values(node)[: len(known)] for node in chosen]
        if any(len(each) != len(known) for each in rows_of_values):
            raise UnsupportedDataError("holds a tile of ours with missing values")
        table = np.stack(rows_of_values)
        for at, name in enumerate(known):
            if is_ours(name):
                column = columns.setdefault(name, np.full(len(nodes), np.nan))
                column[rows] = table[:, at]
    return columns


class _TileMaker:
    """Makes tiles that share what QuPath's tiles would share."""

    def __init__(self, pool: lists.NamePool) -> None:
        self._pool = pool
        self._book = pool.book
        self._classes: dict[str, JavaObject] = {}
        self._key: Part = None
        self._one: Part = None
        self._false: Part = None

    def learn(self, view: PathObject) -> None:
        """Take note of what an object of the stream has, so that tiles share it."""
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
            if is_ours(name) and name is not None:
                self._classes.setdefault(name, view.path_class)

    def _learn_metadata(self, node: JavaObject) -> None:
        for keys in node.parts[1:2]:
            if isinstance(keys, ObjectArray):
                self._key = next((key for key in keys.parts if str(key) == OBJECT_ID), None)
        if integer_value(node.parts[0]) == 1 and isinstance(node.parts[0], JavaObject):
            self._one = node.parts[0]
            self._pool.know_integer(1, node.parts[0])

    def path_class(self, name: str) -> JavaObject:
        """Return the one node of a class."""
        if name not in self._classes:
            colour = CLASS_COLOURS.get(name, DEFAULT_COLOUR) | 0xFF000000
            self._classes[name] = self._book.object(
                "qupath.lib.objects.classes.PathClass",
                self._book.integer(colour - (1 << 32)),
                JavaString.of(name),
                None,
            )
        return self._classes[name]

    def make(self, annotation: PathObject, tiles: TileObjects) -> list[Part]:
        """Return tiles of an annotation, on its plane."""
        book = self._book
        self._key = self._key or JavaString.of(OBJECT_ID)
        self._one = self._one or self._pool.integer(1)
        self._false = self._false or book.boolean(False)
        roi = read_roi(annotation.roi) if annotation.roi is not None else None
        plane = (roi.c, roi.z, roi.t) if roi else (-1, 0, 0)
        tile, metadata = (
            book.get("qupath.lib.objects.PathTileObject"),
            book.get("qupath.lib.objects.MetadataMap"),
        )
        keys = ObjectArray(book.get("[Ljava.lang.Object;"), [self._key]).desc
        rows = zip(
            tile_ids(annotation.id, tiles.bounds),
            tiles.bounds.tolist(),
            tiles.class_names,
            self._measurements(tiles),
            strict=True,
        )
        return [
            JavaObject(
                tile,
                [
                    None,
                    None,
                    JavaObject(
                        metadata,
                        [
                            self._one,
                            ObjectArray(keys, [self._key]),
                            ObjectArray(keys, [JavaString(str(identity).encode("ascii"))]),
                            END,
                        ],
                    ),
                    values,
                    _NO_CHILDREN,
                    self._false,
                    self.path_class(name),
                    rectangle_node(book, bounds, plane),
                    _NO_PROBABILITY,
                    END,
                ],
            )
            for identity, bounds, name, values in rows
        ]

    def _measurements(self, tiles: TileObjects) -> list[Part]:
        """Return each tile's list, without what has no value."""
        names = list(tiles.measurements)
        if not len(tiles):
            return []
        table = np.array([tiles.measurements[name] for name in names]).reshape(len(names), -1).T
        with np.errstate(over="ignore"):
            table = table.astype(">f4")
        present = np.isfinite(table)
        made: list[Part] = []
        for row, has in zip(table, present, strict=True):
            if has.all():
                made.append(self._pool.float_list(names, row.tobytes()))
            elif not has.any():
                raise WriteError("a tile without any value could not be told from the user's own")
            else:
                chosen = [name for name, there in zip(names, has, strict=True) if there]
                made.append(self._pool.float_list(chosen, row[has].tobytes()))
        return made
