"""Finds, removes and adds our results in an image's data, and keeps everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.qupath.data_types import Annotation, ImageResults, TileObjects, WorkflowStep
from qupath_hccmil.qupath.names import STEP_NAME, is_our_class, is_our_measurement, is_our_step
from qupath_hccmil.qupath.native import measurements as lists
from qupath_hccmil.qupath.native.garbage_collection import no_collection
from qupath_hccmil.qupath.native.javaclasses import (
    ClassBook,
    class_name,
    hash_order,
)
from qupath_hccmil.qupath.native.javanodes import (
    JavaObject,
    JavaString,
    Part,
)
from qupath_hccmil.qupath.native.pathobjects import (
    ANNOTATION,
    DETECTIONS,
    NULL_CLASS,
    PLURALS,
    TILE,
    PathObject,
    full_class_name,
    walk_unparsed,
)
from qupath_hccmil.qupath.native.qpdata import (
    QpData,
    step_name,
    step_parameters,
    step_script,
)
from qupath_hccmil.qupath.native.record_runs import Run
from qupath_hccmil.qupath.native.rois import RECTANGLE, read_roi
from qupath_hccmil.qupath.native.tilenodes import TileMaker, Tiles, ids_of_tiles, read_tiles
from qupath_hccmil.qupath.own_tiles import leave_to_user, outline_of_tiles, with_strays
from qupath_hccmil.qupath.results_comparison import require_annotations
from qupath_hccmil.qupath.tile_ids import copies

# Parameter of our step that names objects with a measurement list that was already there and empty.
# Otherwise, a list that is empty after removing ours is one that we made.
EMPTY_LISTS = "HCC-MIL empty measurement lists"


def read_annotation(view: PathObject, parent: PathObject | None, number: int) -> Annotation:
    """Return an annotation as plain data; `number` is its number among all."""
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
        index=number,
        odd=roi.odd if roi else "",
    )


@no_collection()
def read_data(data: QpData) -> tuple[list[Annotation], int, ImageResults]:
    """Return annotations, the number of other objects of the user, and our results."""
    annotations: list[Annotation] = []
    tiles: dict[int, TileObjects] = {}
    strays: list[Tiles] = []
    others = 0
    ours = _OurTiles()
    stack: list[tuple[PathObject, PathObject | None]] = [(PathObject(data.root), None)]
    while stack:
        view, parent = stack.pop()
        mine, inside, unparsed = ours.split(view)
        others += unparsed
        if view.kind == ANNOTATION:
            annotations.append(read_annotation(view, parent, len(annotations)))
            if mine and _ours(annotations[-1].measurements):
                tiles[annotations[-1].index] = read_tiles(mine)
                mine = []
        elif parent is not None and not ours.has(view):
            others += 1
        strays += mine
        stack.extend((child, view) for child in reversed(inside))
    found = {each.index: own for each in annotations if (own := _ours(each.measurements))}
    if strays:
        moved = read_tiles(strays)
        ids = [each.id for each in annotations]
        outline = outline_of_tiles(ids_of_tiles(strays), moved.bounds, ids)
        tiles = with_strays(tiles, moved, outline)
    root = _ours(lists.read(PathObject(data.root).measurements))
    return annotations, others, ImageResults(found, tiles, root, {}, _our_step(data))


@no_collection()
def remove_results(data: QpData) -> bool:
    """Remove our results; the user's objects inside our tiles move up. Returns whether any existed.

    A file that was scored once and not changed since is then the same as before.
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
        kept, removed, parsed = _without_tiles(view, ours)
        if removed or parsed:
            view.children = kept
        changed |= removed
        stack.extend(PathObject(part) for part in reversed(kept) if not isinstance(part, Run))
    pool = name_pool(data)
    pool.know_all(group.view.measurements for group in walk_unparsed(data.root))
    for view in views:
        node = view.measurements
        if (
            isinstance(node, JavaObject)
            and ours.mentions(node)
            and pool.remove(node, is_our_measurement)
        ):
            changed = True
            if not lists.read(node) and view.id not in were_empty:
                view.measurements = None
    ours_of_steps = {id(each) for each in _our_steps(data)}
    steps = [each for each in data.steps if id(each) not in ours_of_steps]
    changed |= len(steps) < len(data.steps)
    data.steps = steps
    return changed


@no_collection()
def add_results(data: QpData, results: ImageResults) -> None:
    """Add results to data that have none of ours.

    Parameters
    ----------
    data : QpData
    results : ImageResults
        Results without tiles that belong to the user, see :func:`left_to_user`.

    Raises
    ------
    WriteError
        An annotation does not exist.
    """
    pool = name_pool(data)
    maker = TileMaker(pool)
    views: list[PathObject] = []
    for view, _, _, _ in walk_unparsed(data.root):
        maker.learn(view)
        pool.know_all((view.measurements,))
        if view.kind == ANNOTATION:
            views.append(view)
    require_annotations(results, len(views))
    numbers = copies(view.id for view in views)
    root = PathObject(data.root)
    targets = [(views[key], values) for key, values in results.annotations.items()]
    were_empty = [
        view.id
        for view, values in [*targets, (root, results.root)]
        if _add_measurements(pool, view, values)
    ]
    for key, tiles in results.tiles.items():
        view = views[key]
        view.children = [*view.children, *maker.make(view, tiles, numbers[key])]
    if results.step is not None:
        extra = {EMPTY_LISTS: " ".join(were_empty)} if were_empty else {}
        data.steps = [*data.steps, _step_node(pool, results.step, extra)]


@no_collection()
def left_to_user(data: QpData, results: ImageResults) -> ImageResults:
    """Return results without tiles that belong to the user, for data without our results."""
    annotations: list[str] = []
    taken: list[str] = []
    stack: list[Part] = [data.root]
    while stack:
        part = stack.pop()
        if isinstance(part, Run):
            for group in part.groups():
                if _is_rectangular_tile(PathObject(group.example)):
                    taken += ids_of_tiles([part.part(group.rows)])
            continue
        view = PathObject(part)
        if view.kind == ANNOTATION:
            annotations.append(view.id)
        elif _is_rectangular_tile(view):
            taken.append(view.id)
        stack.extend(reversed(view.children))
    return leave_to_user(results, annotations, set(taken))


def _is_rectangular_tile(view: PathObject) -> bool:
    return view.kind == TILE and view.roi is not None and class_name(view.roi) == RECTANGLE


@no_collection()
def counts(data: QpData, tiles: Iterable[TileObjects] = ()) -> dict[str, Any]:
    """Return object counts as QuPath's ``summary.json`` has them.

    Parameters
    ----------
    data : QpData
    tiles : iterable of TileObjects
        Tiles that are about to be added; as columns they are counted much faster.
    """
    kinds: Counter[str] = Counter()
    annotations: Counter[str] = Counter()
    detections: Counter[str] = Counter()
    names: dict[int, str] = {}
    for view, _, number, _ in walk_unparsed(data.root):
        kinds[PLURALS[view.kind]] += number
        target = annotations if view.kind == ANNOTATION else detections
        if view.kind == ANNOTATION or view.kind in DETECTIONS:
            node = view.path_class
            if id(node) not in names:
                names[id(node)] = full_class_name(node) or NULL_CLASS
            target[names[id(node)]] += number
    added = [name or NULL_CLASS for each in tiles for name in each.class_names]
    kinds.update([PLURALS[TILE]] * len(added))
    detections.update(added)
    return {
        "nObjects": sum(kinds.values()),
        "objectTypeCounts": _java_order(kinds),
        "annotationClassificationCounts": _java_order(annotations),
        "detectionClassificationCounts": _java_order(detections),
    }


def _java_order(counted: Mapping[str, int]) -> dict[str, int]:
    return {key: counted[key] for key in hash_order(list(counted))}


def name_pool(data: QpData) -> lists.NamePool:
    """Return the shared names in the data, so that new objects share them too."""
    # Since 0.6, closed lists keep their names in an immutable list.
    immutable = not data.qupath_version.removeprefix("v").startswith(("0.4.", "0.5."))
    return lists.NamePool(ClassBook(data.stream.classes), immutable=immutable)


class _OurTiles:
    """Distinguishes our tiles from other objects; remembers known classes and lists of names."""

    def __init__(self) -> None:
        self._classes: dict[int, bool] = {}
        self._names: dict[int, bool] = {}
        # Nodes that are known by their id() must not be freed, or others could get the same id().
        self._known: list[Part] = []

    def split(self, view: PathObject) -> tuple[list[Tiles], list[PathObject], int]:
        """Return an object's children: our tiles, those that are or hold the user's, unparsed ones.

        Of the user's unparsed objects, only the number.
        """
        mine: list[Tiles] = []
        theirs: list[PathObject] = []
        unparsed = 0
        for part in view.children:
            if isinstance(part, Run):
                rows = self.rows(part)
                unparsed += len(part) - len(rows)
                if len(rows):
                    mine.append(part.part(rows))
                continue
            child = PathObject(part)
            is_mine = self.has(child)
            if is_mine:
                mine.append(child)
            # A tile of ours has no children, unless QuPath moved objects of the user into it.
            if not is_mine or child.child_count:
                theirs.append(child)
        return mine, theirs, unparsed

    def rows(self, run: Run) -> NDArray[np.int64]:
        """Return which of some unparsed objects are tiles of ours, in order."""
        groups = [group.rows for group in run.groups() if self.has(PathObject(group.example))]
        return np.sort(np.concatenate(groups)) if groups else np.empty(0, np.int64)

    def parse_mentions(self, run: Run) -> bool:
        """Parse unparsed objects of the user that have a measurement of ours; say whether."""
        mentions = [
            group
            for group in run.groups()
            for view in [PathObject(group.example)]
            if not self.has(view) and self.mentions(view.measurements)
        ]
        for group in mentions:
            run.parse_some(group.rows)
        return bool(mentions)

    def has(self, view: PathObject) -> bool:
        """Whether an object is a tile with one of our classes and measurements."""
        if view.kind != TILE:
            return False
        path_class = view.path_class
        if id(path_class) not in self._classes:
            self._classes[id(path_class)] = is_our_class(full_class_name(path_class))
            self._known.append(path_class)
        return self._classes[id(path_class)] and self.mentions(view.measurements)

    def mentions(self, node: Part) -> bool:
        """Whether a measurement list has one of our names."""
        if not isinstance(node, JavaObject):
            return False
        if class_name(node) not in lists.NUMERIC:
            return any(map(is_our_measurement, lists.read(node)))
        shared = lists.names_node(node)
        if id(shared) not in self._names:
            self._names[id(shared)] = any(map(is_our_measurement, lists.names(node)))
            self._known.append(shared)
        return self._names[id(shared)]


def _without_tiles(view: PathObject, ours: _OurTiles) -> tuple[list[Part], bool, bool]:
    """Return an object's children without our tiles, whether there were any, and a change.

    The latter is whether unparsed objects became nodes, because a measurement of ours is in them.
    """
    kept: list[Part] = []
    removed = parsed = False
    rest = view.children[::-1]
    while rest:
        part = rest.pop()
        if isinstance(part, Run):
            parsed |= ours.parse_mentions(part)
            for piece in part.pieces():
                left = _without_rows(piece, ours) if isinstance(piece, Run) else piece
                removed |= left is not piece
                kept += [] if left is None else [left]
        elif ours.has(child := PathObject(part)):
            removed = True
            rest.extend(reversed(child.children))
        else:
            kept.append(part)
    return kept, removed, parsed


def _without_rows(run: Run, ours: _OurTiles) -> Run | None:
    """Return a run without our tiles; the same run if it has none."""
    rows = ours.rows(run)
    if not len(rows):
        return run
    left = np.delete(np.arange(len(run)), rows)
    return run.part(left) if len(left) else None


def _ours(measurements: Mapping[str, float]) -> dict[str, float]:
    return {k: v for k, v in measurements.items() if is_our_measurement(k) and not np.isnan(v)}


def _our_steps(data: QpData) -> list[JavaObject]:
    return [
        each
        for each in data.steps
        if isinstance(each, JavaObject)
        and step_name(each) == STEP_NAME
        and is_our_step(STEP_NAME, step_parameters(each))
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
    """Add to an object's list, made if absent; returns whether it existed and was empty."""
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
