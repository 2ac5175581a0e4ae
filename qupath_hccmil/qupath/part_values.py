"""Any part of an image's data as plain values that can be compared by meaning.

QuPath may store the same map differently each time it saves: its capacity, and with it the order,
may differ. This is not a difference for a user.
"""

from __future__ import annotations

from typing import Any

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native.javaclasses import (
    class_name,
    enum_name,
    list_items,
    map_items,
)
from qupath_hccmil.qupath.native.javanodes import (
    JavaEnum,
    JavaObject,
    JavaString,
    ObjectArray,
    Part,
    PrimitiveArray,
)
from qupath_hccmil.qupath.native.pathobjects import PLURALS, PathObject

_LISTS = frozenset({"ArrayList", "Arrays$ArrayList", "Collections$EmptyList"})
_UNORDERED = frozenset({"HashMap", "Collections$SingletonMap", "Collections$EmptyMap"})
# QuPath nests only a few levels deep; a file with more was not written by QuPath.
_DEEPEST = 40


def plain(part: Part, depth: int = 0) -> Any:
    """Return a part as texts, bytes, tuples and frozen sets.

    An object of the hierarchy becomes its UUID, because objects are compared elsewhere.

    Raises
    ------
    UnsupportedDataError
        The part is nested deeper than in QuPath.
    """
    if depth > _DEEPEST:
        raise UnsupportedDataError("contains parts that are nested too deep")
    if isinstance(part, JavaString):
        return str(part)
    if isinstance(part, JavaEnum):
        return enum_name(part)
    if isinstance(part, PrimitiveArray):
        return part.data
    if isinstance(part, ObjectArray):
        return tuple(plain(each, depth + 1) for each in part.parts)
    if isinstance(part, JavaObject):
        return _plain_object(part, class_name(part), depth + 1)
    return part if isinstance(part, bytes) else class_name(part)


def _plain_object(node: JavaObject, kind: str, depth: int) -> Any:
    if kind in PLURALS:
        view = PathObject(node)
        return f"{kind} {view.id or view.name or ''}"
    if kind in _LISTS:
        return tuple(plain(each, depth) for each in list_items(node))
    if kind in _UNORDERED or kind == "LinkedHashMap":
        items = [(plain(key, depth), plain(value, depth)) for key, value in map_items(node)]
        return frozenset(items) if kind in _UNORDERED else tuple(items)
    return kind, *(plain(each, depth) for each in node.parts)
