"""Our results among the Java objects of an image: read, removed, added, and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qupath_hccmil.errors import WriteError
from qupath_hccmil.project.javabulk import (
    OBJECT,
    PATH_OBJECT,
    distinct,
    getter,
    predicate,
    strings,
    text,
    where,
)
from qupath_hccmil.project.javadata import JavaData
from qupath_hccmil.project.javaobjects import (
    add_measurements,
    annotations_of,
    class_names,
    descendants,
    our_tiles,
    read_measurements,
    read_tiles,
    remove_ours,
)
from qupath_hccmil.project.javatiles import add_tiles
from qupath_hccmil.project.jvm import java
from qupath_hccmil.project.model import ImageResults, TileObjects, WorkflowStep
from qupath_hccmil.project.names import is_ours

# QuPath keeps the measurements of tiles as 32-bit floats
_RELATIVE = 2.0**-23


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
    return bool(
        _our_steps(data)
        or not our_tiles(everything).isEmpty()
        or any(
            is_ours(name)
            for each in (data.root, *annotations_of(everything))
            for name in read_measurements(each)
        )
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


def holds(data: JavaData, wanted: ImageResults) -> bool:
    """Whether ours in an image are these results, their metadata aside."""
    found = read_results(data)
    measured = {key: some for key, each in wanted.annotations.items() if (some := _finite(each))}
    tiles = {key: each for key, each in wanted.tiles.items() if len(each)}
    return (
        found.step == wanted.step
        and found.annotations.keys() == measured.keys()
        and all(_close(found.annotations[key], each) for key, each in measured.items())
        and _close(found.root, _finite(wanted.root))
        and found.tiles.keys() == tiles.keys()
        and all(_same_tiles(found.tiles[key], each) for key, each in tiles.items())
    )


def census(data: JavaData) -> dict[str, Any]:
    """Count objects as QuPath's ``summary.json`` has them."""
    everything = descendants(data.root)
    everything.add(0, data.root)
    kind = getter(OBJECT, "getClass", "java.lang.Class")
    plural = java("qupath.lib.objects.PathObjectTools").getSuitableName
    names = {str(each.toString()): str(plural(each, True)) for each in distinct(everything, kind)}
    kinds = Counter(names[each] for each in strings(everything, text(kind)))
    return {
        "nObjects": everything.size(),
        "objectTypeCounts": kinds,
        "annotationClassificationCounts": _class_counts(everything, "isAnnotation"),
        "detectionClassificationCounts": _class_counts(everything, "isDetection"),
    }


def _class_counts(everything: Any, kind: str) -> Mapping[str, int]:
    chosen = where(everything, predicate(getter(PATH_OBJECT, kind, "boolean")))
    return Counter("Unclassified" if name == "null" else name for name in class_names(chosen))


def _annotations(data: JavaData) -> dict[str, Any]:
    """Annotations by their UUID."""
    return {str(each.getID().toString()): each for each in annotations_of(descendants(data.root))}


def _our_steps(data: JavaData) -> list[Any]:
    return [step for step in data.workflow.getSteps() if is_ours(str(step.getName()))]


def _read_step(step: Any) -> WorkflowStep:
    parameters = {str(e.getKey()): str(e.getValue()) for e in step.getParameterMap().entrySet()}
    return WorkflowStep(str(step.getName()), str(step.getScript()), parameters)


def _java_step(step: WorkflowStep) -> Any:
    parameters = java("java.util.LinkedHashMap")()
    for key, value in step.parameters.items():
        parameters.put(key, value)
    kind = java("qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep")
    return kind(step.name, parameters, step.script)


def _ours(measurements: Mapping[str, float]) -> dict[str, float]:
    """Measurements of ours that have a value."""
    return {name: value for name, value in _finite(measurements).items() if is_ours(name)}


def _finite(measurements: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in measurements.items() if np.isfinite(value)}


def _close(found: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return found.keys() == wanted.keys() and all(
        np.isclose(found[name], value, rtol=_RELATIVE, atol=0) for name, value in wanted.items()
    )


def _same_tiles(found: TileObjects, wanted: TileObjects) -> bool:
    finite = {
        name: np.where(np.isfinite(values), values, np.nan)
        for name, values in wanted.measurements.items()
        if np.isfinite(values).any()
    }
    return (
        len(found) == len(wanted)
        and np.allclose(found.bounds, wanted.bounds, rtol=0, atol=1e-6)
        and list(found.class_names) == list(wanted.class_names)
        and found.measurements.keys() == finite.keys()
        and all(
            np.allclose(found.measurements[name], values, _RELATIVE, 1e-37, equal_nan=True)
            for name, values in finite.items()
        )
    )
