"""QuPath's objects in the stream: the layout of a PathObject, and walking over all objects."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native.javaclasses import (
    block_int,
    class_name,
    field,
    integer_value,
    text,
)
from qupath_hccmil.qupath.native.javanodes import JavaObject, ObjectArray, Part, block
from qupath_hccmil.qupath.native.record_runs import Run

METADATA = "MetadataMap"
OBJECT_ID = "Object ID"
NULL_CLASS = "Unclassified"
TILE = "PathTileObject"
ANNOTATION = "PathAnnotationObject"

PLURALS = {
    "PathRootObject": "Root objects",
    "PathAnnotationObject": "Annotations",
    "TMACoreObject": "TMA cores",
    "PathDetectionObject": "Detections",
    "PathCellObject": "Cells",
    "PathTileObject": "Tiles",
}
DETECTIONS = frozenset({"PathDetectionObject", "PathCellObject", "PathTileObject"})


NAME_AT, METADATA_AT = 0, 2
_NO_CHILDREN = block(struct.pack(">i", 0))


class PathObject:
    """A view of one object that gives names to `node.parts`.

    The parts are name, colour, metadata (absent in old files), measurements, number of children and
    children; then, if it has a region, whether it is locked, class, region and class probability;
    then the parts of a subclass.
    """

    __slots__ = ("_at", "_child_parts", "child_count", "node")

    def __init__(self, node: Part) -> None:
        if not isinstance(node, JavaObject) or class_name(node) not in PLURALS:
            raise UnsupportedDataError(f"contains an unknown object ({class_name(node) or 'null'})")
        parts = node.parts
        if len(parts) < 5:
            raise UnsupportedDataError(f"contains a {class_name(node)} of an unknown form")
        # old files have no metadata
        at = 3 if parts[3].__class__ is bytes else 4
        # a UUID in this position means a data file of version 4
        if parts[at].__class__ is not bytes or class_name(parts[2]) == "UUID":
            raise UnsupportedDataError(f"contains a {class_name(node)} of an unknown form")
        self.node = node
        self._at = at
        self.child_count = _child_count(parts[at])
        # after them comes END, and before it class, region and class probability
        behind = 1 if class_name(node) == "PathRootObject" else 4
        self._child_parts = _parts_of_children(parts, at + 1, self.child_count)
        if not 0 <= self._child_parts <= len(parts) - at - 1 - behind:
            raise UnsupportedDataError(f"contains a {class_name(node)} with missing children")

    @property
    def kind(self) -> str:
        """QuPath's class, such as ``PathAnnotationObject``."""
        return class_name(self.node)

    @property
    def name(self) -> str | None:
        """Name given by the user."""
        return text(self.node.parts[0])

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata, including the object's UUID."""
        part = self.node.parts[2]
        if class_name(part) != METADATA or not isinstance(part, JavaObject):
            return {}
        # a number, keys, values, END
        arrays = [each.parts for each in part.parts[1:3] if isinstance(each, ObjectArray)]
        if len(arrays) != 2 or len(arrays[0]) != len(arrays[1]):
            raise UnsupportedDataError(f"contains a {self.kind} with metadata of an unknown form")
        return {str(key): str(value) for key, value in zip(*arrays, strict=True)}

    @property
    def id(self) -> str:
        """UUID; empty if the file has none (QuPath before 0.4)."""
        try:
            return str(uuid.UUID(self.metadata.get(OBJECT_ID, "")))
        except ValueError:
            return ""

    @property
    def measurements(self) -> Part:
        """Measurement list, or null."""
        part = self.node.parts[self._at - 1]
        return None if class_name(part) == METADATA else part

    @measurements.setter
    def measurements(self, value: Part) -> None:
        if class_name(self.node.parts[self._at - 1]) == METADATA:
            raise UnsupportedDataError(f"contains a {self.kind} of an old QuPath")
        self.node.parts[self._at - 1] = value

    @property
    def children(self) -> list[Part]:
        """Children in order; those in a :class:`Run` are not nodes yet."""
        first = self._at + 1
        found: list[Part] = []
        for part in self.node.parts[first : first + self._child_parts]:
            if isinstance(part, Run):
                found.extend(part.pieces())
            else:
                found.append(part)
        return found

    @children.setter
    def children(self, parts: Sequence[Part]) -> None:
        first = self._at + 1
        self.node.parts[first : first + self._child_parts] = parts
        self.child_count = sum(len(part) if isinstance(part, Run) else 1 for part in parts)
        self.node.parts[self._at] = block(struct.pack(">i", self.child_count))
        self._child_parts = len(parts)

    def parse_children(self) -> list[Part]:
        """Permanently make a node for each child, and return them."""
        for part in self.node.parts[self._at + 1 : self._at + 1 + self._child_parts]:
            if isinstance(part, Run):
                part.parse_some(np.arange(len(part)))
        return self.children

    @property
    def measurements_at(self) -> int:
        """Index of the part with the measurement list."""
        return self._at - 1

    @property
    def class_at(self) -> int:
        """Index of the part with the class, which is followed by the region."""
        return self._behind

    @property
    def _behind(self) -> int:
        """Index of the class, after the children and the lock of the region."""
        at = self._at + 1 + self._child_parts
        return at + 1 if class_name(self.node.parts[at]) == "Boolean" else at

    @property
    def locked(self) -> bool:
        """Whether the region is locked."""
        part = self.node.parts[self._at + 1 + self._child_parts]
        return isinstance(part, JavaObject) and part.parts[0] == b"\1"

    @property
    def path_class(self) -> JavaObject | None:
        """Node of the classification, or null."""
        part = self.node.parts[self._behind]
        return part if isinstance(part, JavaObject) else None

    @property
    def extras(self) -> list[Part]:
        """Parts after the region: class probability, and those of a subclass (a nucleus)."""
        return self.node.parts[self._behind + 2 :]

    @property
    def colour(self) -> int | None:
        """The object's own colour, as packed ARGB."""
        return integer_value(self.node.parts[1])

    @property
    def roi(self) -> JavaObject | None:
        """Node of the region, or null."""
        at = self._behind + 1
        part = self.node.parts[at] if at < len(self.node.parts) else None
        return part if isinstance(part, JavaObject) else None


def _child_count(part: Part) -> int:
    # A subclass with further numbers continues the block, but only without children.
    if isinstance(part, bytes) and (part == _NO_CHILDREN or part[2:6] == b"\0\0\0\0"):
        return 0
    return block_int(part)


def _parts_of_children(parts: Sequence[Part], first: int, count: int) -> int:
    """Number of parts of the children; a run is one part."""
    if count <= 0 or not any(part.__class__ is Run for part in parts):
        return count
    at, left = first, count
    while left > 0 and at < len(parts):
        part = parts[at]
        left -= len(part) if isinstance(part, Run) else 1
        at += 1
    return at - first if left == 0 else -1


def walk(root: Part) -> Iterator[tuple[PathObject, PathObject | None]]:
    """Yield all objects with their parents, depth first in QuPath's order, root first.

    Each becomes a node of the tree, so that it may be changed; see :func:`walk_unparsed`.
    """
    stack: list[tuple[Part, PathObject | None]] = [(root, None)]
    while stack:
        node, parent = stack.pop()
        view = PathObject(node)
        yield view, parent
        stack.extend((child, view) for child in reversed(view.parse_children()))


class ObjectGroup(NamedTuple):
    """An object, or unparsed objects that have kind, class and names of measurements in common.

    Attributes
    ----------
    view : PathObject
        The object; of unparsed ones the first, which must not be changed.
    parent : PathObject or None
        None for the root.
    number : int
        Number of objects that it represents.
    unparsed : bool
    """

    view: PathObject
    parent: PathObject | None
    number: int = 1
    unparsed: bool = False


def walk_unparsed(root: Part) -> Iterator[ObjectGroup]:
    """Give all objects, unparsed ones by their groups: depth first, in QuPath's order."""
    stack: list[tuple[Part, PathObject | None]] = [(root, None)]
    while stack:
        part, parent = stack.pop()
        if isinstance(part, Run):
            for group in part.groups():
                yield ObjectGroup(PathObject(group.example), parent, len(group.rows), unparsed=True)
            continue
        view = PathObject(part)
        yield ObjectGroup(view, parent)
        stack.extend((child, view) for child in reversed(view.children))


def full_class_name(node: Part) -> str | None:
    """Return ``Tumor: Positive`` for a derived class; None for no class."""
    names: list[str] = []
    while isinstance(node, JavaObject) and class_name(node) == "PathClass":
        name = text(field(node, "name"))
        if name is None or len(names) > 20:
            break
        names.append(name)
        node = field(node, "parentClass")
    return ": ".join(reversed(names)) or None


def class_colour(node: JavaObject) -> int | None:
    """Return a class's colour as packed ARGB."""
    return integer_value(field(node, "colorRGB"))
