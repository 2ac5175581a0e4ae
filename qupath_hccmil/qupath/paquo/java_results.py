"""Reads, removes, adds and checks our results among the Java objects of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath.data_types import ImageResults, WorkflowStep
from qupath_hccmil.qupath.names import STEP_NAME, is_our_measurement, is_our_step
from qupath_hccmil.qupath.native.native_results import EMPTY_LISTS
from qupath_hccmil.qupath.own_tiles import leave_to_user, outline_of_tiles, with_strays
from qupath_hccmil.qupath.paquo.javabulk import (
    OBJECT,
    PATH_OBJECT,
    counts,
    distinct,
    getter,
    predicate,
    where,
)
from qupath_hccmil.qupath.paquo.javadata import JavaData
from qupath_hccmil.qupath.paquo.javaobjects import (
    add_measurements,
    annotations_of,
    class_counts,
    descendants,
    ids_of,
    our_tiles,
    outside_of,
    read_measurements,
    read_tiles,
    remove_ours,
    tiles_of_user,
    with_our_measurements,
)
from qupath_hccmil.qupath.paquo.javatiles import add_tiles, renew_colours
from qupath_hccmil.qupath.paquo.jvm import java, text_of
from qupath_hccmil.qupath.results_comparison import require_annotations
from qupath_hccmil.qupath.tile_ids import copies

_SCRIPTABLE = "qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep"


def read_results(data: JavaData) -> ImageResults:
    """Return our results in an image, without the metadata, which are in the project's list."""
    everything = descendants(data.root)
    measured, tiles, scored = {}, {}, []
    annotations = annotations_of(everything)
    for index, annotation in enumerate(annotations):
        if ours := _ours(read_measurements(annotation)):
            measured[index] = ours
            scored.append(annotation)
            found = our_tiles(annotation.getChildObjects())
            if not found.isEmpty():
                tiles[index] = read_tiles(found)
    strays = outside_of(our_tiles(everything), scored)
    if not strays.isEmpty():
        moved = read_tiles(strays)
        outline = outline_of_tiles(ids_of(strays), moved.bounds, ids_of(annotations))
        tiles = with_strays(tiles, moved, outline)
    steps = _our_steps(data)
    return ImageResults(
        annotations=measured,
        tiles=tiles,
        root=_ours(read_measurements(data.root)),
        step=_read_step(steps[-1]) if steps else None,
    )


def has_results(data: JavaData) -> bool:
    """Whether the image has any of our results."""
    everything = descendants(data.root)
    everything.add(data.root)
    return bool(
        _our_steps(data)
        or not our_tiles(everything).isEmpty()
        or not with_our_measurements(everything).isEmpty()
    )


def remove_results(data: JavaData) -> None:
    """Remove our results; the user's objects in our tiles move up to the tile's parent."""
    remove_ours(data.root)
    for step in _our_steps(data):
        data.workflow.removeStep(step)


def add_results(data: JavaData, results: ImageResults, path: Path) -> None:
    """Add results to an image that has none.

    Raises
    ------
    WriteError
        Results belong to an annotation that the image does not have; the message names `path`.
    """
    everything = descendants(data.root)
    annotations = annotations_of(everything)
    try:
        require_annotations(results, len(annotations))
    except WriteError as error:
        raise WriteError(f"{path}: {error}") from error
    numbers = copies(ids_of(annotations))
    for index, measurements in results.annotations.items():
        add_measurements(annotations[index], measurements)
    renew_colours(class_counts(everything))
    for index, tiles in results.tiles.items():
        add_tiles(annotations[index], tiles, numbers[index])
    add_measurements(data.root, results.root)
    if results.step is not None:
        data.workflow.addStep(_java_step(results.step))


def left_to_user(data: JavaData, results: ImageResults) -> ImageResults:
    """Return results without tiles that belong to the user, for an image without our results."""
    everything = descendants(data.root)
    taken = set(ids_of(tiles_of_user(everything)))
    return leave_to_user(results, ids_of(annotations_of(everything)), taken)


def census(data: JavaData) -> dict[str, Any]:
    """Count objects as QuPath's ``summary.json`` has them."""
    everything = descendants(data.root)
    everything.add(0, data.root)
    kind = getter(OBJECT, "getClass", "java.lang.Class")
    plural = java("qupath.lib.objects.PathObjectTools").getSuitableName
    names = {str(each.toString()): str(plural(each, True)) for each in distinct(everything, kind)}
    kinds = {names[each]: number for each, number in counts(everything, kind).items()}
    return {
        "nObjects": everything.size(),
        "objectTypeCounts": kinds,
        "annotationClassificationCounts": _class_counts(everything, "isAnnotation"),
        "detectionClassificationCounts": _class_counts(everything, "isDetection"),
    }


def _class_counts(everything: Any, kind: str) -> Mapping[str, int]:
    chosen = where(everything, predicate(getter(PATH_OBJECT, kind, "boolean")))
    return {
        "Unclassified" if name == "null" else name: number
        for name, number in class_counts(chosen).items()
    }


def _our_steps(data: JavaData) -> list[Any]:
    return [step for step in data.workflow.getSteps() if _is_ours(step)]


def _is_ours(step: Any) -> bool:
    name = text_of(step.getName())
    return name == STEP_NAME and is_our_step(name, _parameters(step))


def _parameters(step: Any) -> dict[str, str]:
    if not isinstance(step, java(_SCRIPTABLE)):
        return {}
    entries = step.getParameterMap().entrySet()
    return {text_of(each.getKey()): text_of(each.getValue()) for each in entries}


def _read_step(step: Any) -> WorkflowStep:
    parameters = _parameters(step)
    parameters.pop(EMPTY_LISTS, None)
    return WorkflowStep(text_of(step.getName()), text_of(step.getScript()), parameters)


def _java_step(step: WorkflowStep) -> Any:
    parameters = java("java.util.LinkedHashMap")()
    for key, value in step.parameters.items():
        parameters.put(key, value)
    return java(_SCRIPTABLE)(step.name, parameters, step.script)


def _ours(measurements: Mapping[str, float]) -> dict[str, float]:
    """Return our measurements that have a value."""
    return {
        name: value
        for name, value in measurements.items()
        if is_our_measurement(name) and not math.isnan(value)
    }
