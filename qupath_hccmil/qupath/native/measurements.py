"""Measurement lists of QuPath objects: reading, adding and removing measurements.

QuPath has a general list (annotations, root) and numeric lists (detections); closed numeric lists
share the list of their names and a map of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native.javaclasses import (
    ClassBook,
    class_name,
    field,
    has_field,
    list_items,
    text,
    written,
)
from qupath_hccmil.qupath.native.javanodes import (
    ClassDesc,
    JavaObject,
    JavaString,
    Part,
    PrimitiveArray,
    block,
)

GENERAL = "DefaultMeasurementList"
NUMERIC = ("NumericMeasurementList$FloatList", "NumericMeasurementList$DoubleList")


def read(node: Part) -> dict[str, float]:
    """Return a list's measurements by name; NaN is kept.

    Raises
    ------
    UnsupportedDataError
        The list is of an unknown kind.
    """
    if node is None:
        return {}
    if isinstance(node, JavaObject):
        kind = class_name(node)
        if kind == GENERAL:
            return dict(_measurement(each) for each in list_items(field(node, "list")))
        if kind in NUMERIC:
            return dict(zip(names(node), values(node).tolist(), strict=False))
    raise UnsupportedDataError(f"contains measurements of an unknown kind ({class_name(node)})")


def values(node: JavaObject) -> NDArray[np.float64]:
    """Return the values of a numeric list, in the order of its names."""
    array = _array(node)
    return np.frombuffer(array.data, f">f{array.size}").astype(np.float64)


def values_at(node: JavaObject) -> int:
    """Return the index of the part with the values of a numeric list."""
    _array(node)
    return node.desc.layout["values"][0] if isinstance(node.desc, ClassDesc) else -1


def value_size(node: JavaObject) -> int:
    """Return the number of bytes of one value of a numeric list."""
    return _array(node).size


def _array(node: JavaObject) -> PrimitiveArray:
    array = field(node, "values") if has_field(node, "values") else None
    if not isinstance(array, PrimitiveArray) or array.size not in (4, 8):
        raise UnsupportedDataError(f"contains measurements of an unknown kind ({class_name(node)})")
    return array


def names_node(node: JavaObject) -> Part:
    """Return the node with the names of a numeric list, which many lists share."""
    return field(node, "names")


def names(node: JavaObject) -> list[str]:
    """Return the names of a numeric list."""
    return [str(name) for name in list_items(names_node(node))]


def _measurement(node: Part) -> tuple[str, float]:
    if not isinstance(node, JavaObject):
        raise UnsupportedDataError("contains a null measurement")
    name, value = text(field(node, "name")), field(node, "value")
    if name is None or not isinstance(value, bytes) or len(value) not in (4, 8):
        kind = class_name(node)
        raise UnsupportedDataError(f"contains a measurement of an unknown kind ({kind})")
    (number,) = struct.unpack(">d" if len(value) == 8 else ">f", value)
    return name, number


class NamePool:
    """Strings, name lists and name maps that are shared in one stream, as QuPath shares them.

    Parameters
    ----------
    book : ClassBook
    immutable : bool
        Names are an immutable list (QuPath from 0.6), else an unmodifiable one.
    """

    def __init__(self, book: ClassBook, *, immutable: bool) -> None:
        self.book = book
        self._immutable = immutable
        self._strings: dict[str, JavaString] = {}
        self._integers: dict[int, JavaObject] = {}
        self._closed: dict[tuple[str, ...], tuple[Part, Part]] = {}
        self._seen: set[int] = set()

    def string(self, name: str) -> JavaString:
        """Return the one string for a name."""
        return self._strings.setdefault(name, JavaString.of(name))

    def integer(self, value: int) -> JavaObject:
        """Return the shared Integer of a small number, as Java caches them."""
        if value not in self._integers:
            self._integers[value] = self.book.integer(value)
        return self._integers[value]

    def know_all(self, nodes: Iterable[Part]) -> None:
        """Collect names and maps of the closed numeric lists in the stream."""
        for node in nodes:
            if not isinstance(node, JavaObject) or class_name(node) not in NUMERIC:
                continue
            shared = names_node(node)
            if id(shared) not in self._seen and field(node, "isClosed") == b"\1":
                self._seen.add(id(shared))
                self._closed.setdefault(tuple(names(node)), (field(node, "map"), shared))

    def know_integer(self, value: int, node: JavaObject) -> None:
        """Note the object for a number in the stream."""
        self._integers.setdefault(value, node)

    def closed(self, names: Sequence[str]) -> tuple[Part, Part]:
        """Return the map and the list that closed lists with these names share."""
        key = tuple(names)
        if key not in self._closed:
            strings = [self.string(name) for name in names]
            numbers = {
                name: (string, self.integer(at))
                for at, (name, string) in enumerate(zip(names, strings, strict=True))
            }
            make = self.book.immutable_list if self._immutable else self.book.unmodifiable_list
            self._closed[key] = (self.book.hash_map(numbers), make(strings))
        return self._closed[key]

    def float_list(self, names: Sequence[str], data: bytes) -> JavaObject:
        """Make a closed FloatList; `data` are big-endian floats."""
        name_map, name_list = self.closed(names)
        return self.book.object(
            "qupath.lib.measurements.NumericMeasurementList$FloatList",
            b"\1",
            name_map,
            name_list,
            self.book.floats(data),
        )

    def general_list(self, measurements: Mapping[str, float]) -> JavaObject:
        """Make a DefaultMeasurementList."""
        return self.book.object(
            "qupath.lib.measurements.DefaultMeasurementList",
            self.book.array_list(self._doubles(measurements)),
        )

    def _doubles(self, measurements: Mapping[str, float]) -> list[Part]:
        return [
            self.book.object(
                "qupath.lib.measurements.DoubleMeasurement",
                struct.pack(">d", value),
                self.string(name),
            )
            for name, value in measurements.items()
        ]

    def add(self, node: JavaObject, measurements: Mapping[str, float]) -> None:
        """Append measurements to a list."""
        if class_name(node) == GENERAL:
            inner = field(node, "list")
            _replace_items(inner, [*list_items(inner), *self._doubles(measurements)])
        else:
            array = _array(node)
            new = np.array(list(measurements.values()), f">f{array.size}").tobytes()
            known = names(node)
            old = array.data[: len(known) * array.size]
            self._set_numeric(node, [*known, *measurements], old + new)

    def remove(self, node: JavaObject, drop: Callable[[str], bool]) -> bool:
        """Remove measurements from a list; returns whether it had any of them."""
        if class_name(node) == GENERAL:
            inner = field(node, "list")
            items = list_items(inner)
            kept = [each for each in items if not drop(_measurement(each)[0])]
            if len(kept) < len(items):
                _replace_items(inner, kept)
            return len(kept) < len(items)
        known = names(node)
        left = [at for at, name in enumerate(known) if not drop(name)]
        if len(left) < len(known):
            array = _array(node)
            data = b"".join(array.data[at * array.size : (at + 1) * array.size] for at in left)
            self._set_numeric(node, [known[at] for at in left], data)
        return len(left) < len(known)

    def _set_numeric(self, node: JavaObject, names: Sequence[str], data: bytes) -> None:
        """Rewrite a numeric list; a closed list is closed again, as in QuPath."""
        array = _array(node)
        fresh = PrimitiveArray(array.desc, data, array.size)
        if node.parts[0] == b"\1":
            node.parts[1:] = [*self.closed(names), fresh]
        else:
            strings = [self.string(name) for name in names]
            node.parts[1:] = [None, self.book.array_list(strings), fresh]


def _replace_items(node: Part, items: Sequence[Part]) -> None:
    """Replace the items of an ArrayList."""
    if class_name(node) != "ArrayList" or not isinstance(node, JavaObject):
        raise UnsupportedDataError("contains measurements in an unknown list")
    size = struct.pack(">i", len(items))
    start, end = written(node, "java.util.ArrayList")
    if node.parts[start] != block(node.parts[0] if isinstance(node.parts[0], bytes) else b""):
        # It could not be restored when our measurements are removed.
        raise UnsupportedDataError("contains measurements in a list that no QuPath wrote")
    node.parts[start:end] = [block(size), *items]
    node.parts[0] = size
