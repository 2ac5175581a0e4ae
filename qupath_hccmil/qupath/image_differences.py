"""Differences between two states of an image's data other than our results, in plain words."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from qupath_hccmil.qupath.bounded_json import parse_json
from qupath_hccmil.qupath.native import measurements
from qupath_hccmil.qupath.native.javaclasses import class_name, field, map_items, text
from qupath_hccmil.qupath.native.javanodes import JavaObject, JavaString, Part
from qupath_hccmil.qupath.native.javastream import serialise
from qupath_hccmil.qupath.native.native_results import remove_results
from qupath_hccmil.qupath.native.pathobjects import (
    OBJECT_ID,
    PathObject,
    class_colour,
    full_class_name,
    walk,
)
from qupath_hccmil.qupath.native.qpdata import (
    STEP,
    QpData,
    step_name,
    step_script,
)
from qupath_hccmil.qupath.native.rois import read_roi
from qupath_hccmil.qupath.part_values import plain

STAINS = "ColorDeconvolutionStains"
# QuPath normalises stain vectors again each time it saves.
_STAIN_TOLERANCE = 1e-6


def data_difference(before: QpData, after: QpData) -> Iterator[str]:
    """Yield differences in everything that is not ours, after removing our results from both."""
    for data in (before, after):
        remove_results(data)
    if before.digest() == after.digest():
        # The same digest: there is no need to compare a million cells one by one.
        return
    yield from changed(_image(before), _image(after))
    if not _same_stains(stains_of(before), stains_of(after)):
        yield f"stains: {stains_of(before)} -> {stains_of(after)}"
    yield from changed(_properties(before), _properties(after), "property ")
    steps = [[_step(each) for each in data.steps] for data in (before, after)]
    if steps[0] != steps[1]:
        yield f"history: {_names(steps[0])} -> {_names(steps[1])}"
    yield from _object_differences(_objects(before), _objects(after))


def _image(data: QpData) -> dict[str, Any]:
    """Values that concern the image as a whole."""
    try:
        server = parse_json(data.server_json)
    except ValueError:  # QuPath 0.2 has a path there
        server = data.server_json
    parts: dict[str, list[Part]] = {}
    for part in data.stream.contents[2:]:
        parts.setdefault(class_name(part), []).append(part)
    grids = [plain(field(part, "tmaGrid")) for part in parts.pop("PathObjectHierarchy")]
    compared = {"HashMap", "Workflow", STAINS}
    return {
        "image type": data.image_type,
        "server": server,
        "TMA grid": grids,
        **{name: list(map(plain, each)) for name, each in parts.items() if name not in compared},
    }


def changed(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield one line for each key with a value that was changed, lost or added."""
    for key in dict.fromkeys([*before, *after]):
        if key not in after:
            yield f"{prefix}{key}: lost (was {before[key]})"
        elif key not in before:
            yield f"{prefix}{key}: added ({after[key]})"
        elif before[key] != after[key]:
            yield f"{prefix}{key}: {before[key]} -> {after[key]}"


def _objects(data: QpData) -> dict[str, dict[str, Any]]:
    """Properties of each object by its UUID, or by its position if it has none."""
    found: dict[str, dict[str, Any]] = {}
    for number, (view, parent) in enumerate(walk(data.root)):
        found[view.id or f"number {number}"] = _traits(view, parent)
    return found


def _traits(view: PathObject, parent: PathObject | None) -> dict[str, Any]:
    traits: dict[str, Any] = {
        "kind": view.kind,
        "name": view.name,
        "colour": view.colour,
        "parent": parent.id if parent else None,
        "children": [PathObject(child).id for child in view.parse_children()],
        "metadata": {key: value for key, value in view.metadata.items() if key != OBJECT_ID},
        # as bits, so that a NaN equals itself and nothing else
        "measurements": [
            (name, _Bits(value)) for name, value in measurements.read(view.measurements).items()
        ],
    }
    if parent is not None:
        path_class = view.path_class
        traits |= {
            "locked": view.locked,
            "class": full_class_name(path_class),
            "class colours": list(_colours(path_class)),
            "region": _Region(view.roi),
            "nucleus and probability": [_Region(each) for each in view.extras],
        }
    return traits


def _colours(path_class: Part) -> Iterator[int | None]:
    """Yield the colours of a class and of its parent classes."""
    while isinstance(path_class, JavaObject) and class_name(path_class) == "PathClass":
        yield class_colour(path_class)
        path_class = field(path_class, "parentClass")


def _object_differences(
    before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]
) -> Iterator[str]:
    for identity in dict.fromkeys([*before, *after]):
        told = before.get(identity) or after[identity]
        called = f"{told['kind']} {told['name'] or ''} {identity}".replace("  ", " ")
        if identity not in after:
            yield f"{called}: lost"
        elif identity not in before:
            yield f"{called}: added"
        else:
            yield from changed(before[identity], after[identity], f"{called}: ")


class _Bits(float):
    """A number that equals another one only if all bits are the same."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and struct.pack(">d", self) == struct.pack(">d", other)

    __hash__ = float.__hash__


class _Region:
    """A region, or another part of an object, compared by how it is stored.

    QuPath stores regions of old files in a new way; these are compared as QuPath shows them.
    """

    def __init__(self, part: Part) -> None:
        self.part = part
        self.stored = serialise([part])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Region):
            return False
        if self.stored == other.stored:
            return True
        ours, theirs = self.part, other.part
        if not (isinstance(ours, JavaObject) and isinstance(theirs, JavaObject)):
            return False
        one, two = read_roi(ours), read_roi(theirs)
        if one.geometry is None or two.geometry is None:
            return False
        return (one.kind, one.c, one.z, one.t) == (two.kind, two.c, two.z, two.t) and bool(
            one.geometry.normalize().equals_exact(two.geometry.normalize(), 0)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if not isinstance(self.part, JavaObject):
            return str(self.part)
        roi = read_roi(self.part)
        return f"{roi.kind} {roi.odd if roi.geometry is None else roi.geometry.wkt[:60]}"


def stains_of(data: QpData) -> str:
    """Return the stain vectors as QuPath's text; empty if there are none."""
    for part in data.stream.contents:
        if class_name(part) == STAINS and isinstance(part, JavaObject):
            return next((str(each) for each in part.parts if isinstance(each, JavaString)), "")
    return ""


def _same_stains(before: str, after: str) -> bool:
    if before == after:
        return True
    if not (before and after):
        return False
    try:
        one, two = parse_json(before), parse_json(after)
    except ValueError:
        return False
    if not (isinstance(one, dict) and isinstance(two, dict)):
        return False
    return bool(one.keys() == two.keys()) and all(
        one[key] == two[key] or _close_numbers(one[key], two[key]) for key in one
    )


def _close_numbers(before: str, after: str) -> bool:
    try:
        one, two = (np.array(each.split(), dtype=np.float64) for each in (before, after))
    except (ValueError, AttributeError):
        return False
    return one.shape == two.shape and np.allclose(one, two, rtol=0, atol=_STAIN_TOLERANCE)


def _properties(data: QpData) -> dict[str, Any]:
    """Properties of the image and connections of objects, from the map after the hierarchy."""
    maps = [part for part in data.stream.contents if class_name(part) == "HashMap"]
    return {str(text(key)): plain(value) for part in maps for key, value in map_items(part)}


def _step(node: Part) -> tuple[str, Any]:
    if class_name(node) == STEP and isinstance(node, JavaObject):
        parameters = [(plain(key), plain(value)) for key, value in map_items(field(node, "map"))]
        return step_name(node), (step_script(node), parameters)
    return class_name(node), plain(node)


def _names(steps: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in steps]
