"""Our results among the Java objects of an image: read, removed, added, and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath.data_types import ImageResults, WorkflowStep
from qupath_hccmil.qupath.names import is_ours
from qupath_hccmil.qupath.native.native_results import EMPTY_LISTS
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
    our_tiles,
    read_measurements,
    read_tiles,
    remove_ours,
    with_our_measurements,
)
from qupath_hccmil.qupath.paquo.javatiles import add_tiles
from qupath_hccmil.qupath.paquo.jvm import java


def read_results(data: JavaData) -> ImageResults:
    """Ours in an image, but the metadata, which are the project's."""
    measured, tiles = {}, {}
    for identity, annotation in _annotations(data).items():
        if ours := _ours(read_measurements(annotation)):
            measured[identity] = ours
        found = our_tiles(annotation.getChildObjects())
        if not found.isEmpty():
            tiles[identity] = read_tiles(found)
    steps = _our_steps(data)
    return ImageResults(
        annotations=measured,
        tiles=tiles,
        root=_ours(read_measurements(data.root)),
        step=_read_step(steps[-1]) if steps else None,
    )


def has_results(data: JavaData) -> bool:
    """Whether anything of ours is in the image."""
    everything = descendants(data.root)
    everything.add(data.root)
    return bool(
        _our_steps(data)
        or not our_tiles(everything).isEmpty()
        or not with_our_measurements(everything).isEmpty()
    )


def remove_results(data: JavaData) -> None:
    """Remove ours; the user's objects in our tiles move up to the tile's parent."""
    remove_ours(data.root)
    for step in _our_steps(data):
        data.workflow.removeStep(step)


def add_results(data: JavaData, results: ImageResults, path: Path) -> None:
    """Add results to an image that has none.

    Raises
    ------
    WriteError
        They are of an annotation that the image does not have; the message names `path`.
    """
    annotations = _annotations(data)
    unknown = (results.annotations.keys() | results.tiles.keys()) - annotations.keys()
    if unknown:
        raise WriteError(f"{path}: has no annotation {min(unknown)}; read the image again")
    for identity, measurements in results.annotations.items():
        add_measurements(annotations[identity], measurements)
    for identity, tiles in results.tiles.items():
        add_tiles(annotations[identity], tiles)
    add_measurements(data.root, results.root)
    if results.step is not None:
        data.workflow.addStep(_java_step(results.step))


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


def _annotations(data: JavaData) -> dict[str, Any]:
    """Annotations by their UUID."""
    return {str(each.getID().toString()): each for each in annotations_of(descendants(data.root))}


def _our_steps(data: JavaData) -> list[Any]:
    return [step for step in data.workflow.getSteps() if is_ours(str(step.getName()))]


def _read_step(step: Any) -> WorkflowStep:
    parameters = {str(e.getKey()): str(e.getValue()) for e in step.getParameterMap().entrySet()}
    parameters.pop(EMPTY_LISTS, None)
    return WorkflowStep(str(step.getName()), str(step.getScript()), parameters)


def _java_step(step: WorkflowStep) -> Any:
    parameters = java("java.util.LinkedHashMap")()
    for key, value in step.parameters.items():
        parameters.put(key, value)
    kind = java("qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep")
    return kind(step.name, parameters, step.script)


def _ours(measurements: Mapping[str, float]) -> dict[str, float]:
    """Measurements of ours that have a value."""
    return {
        name: value
        for name, value in measurements.items()
        if is_ours(name) and not math.isnan(value)
    }
