"""Gets one value from each of many Java objects, with the loop in Java and one array as result.

A call from Python into Java takes about 2 µs. A method handle turned into a Java function has no
such cost, so reading 100,000 tiles takes 0.1 s instead of 2 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.qupath.paquo.jvm import java, text_of

PATH_OBJECT = "qupath.lib.objects.PathObject"
ROI = "qupath.lib.roi.interfaces.ROI"
MEASUREMENTS = "qupath.lib.measurements.MeasurementList"
PATH_CLASS = "qupath.lib.objects.classes.PathClass"
STRING = "java.lang.String"
OBJECT = "java.lang.Object"

Handle = Any

_PRIMITIVES = {
    "boolean": "Boolean",
    "double": "Double",
    "int": "Integer",
    "long": "Long",
    "void": "Void",
}


@cache
def getter(owner: str, method: str, returns: str, *takes: str) -> Handle:
    """Handle of a public method; types are Java class names, or ``double``, ``int[]`` and so on."""
    return _lookup().findVirtual(_type(owner), method, _kind(returns, takes))


@cache
def static(owner: str, method: str, returns: str, *takes: str) -> Handle:
    """Handle of a public static method."""
    return _lookup().findStatic(_type(owner), method, _kind(returns, takes))


@cache
def constructor(owner: str, *takes: str) -> Handle:
    """Handle of a public constructor."""
    return _lookup().findConstructor(_type(owner), _kind("void", takes))


def then(first: Handle, *rest: Handle) -> Handle:
    """Handle that passes the value of one handle to the next."""
    for after in rest:
        takes = after.type().changeParameterType(0, first.type().returnType())
        first = _handles().filterReturnValue(first, after.asType(takes))
    return first


def bound(handle: Handle, position: int, value: Any) -> Handle:
    """Handle with one argument fixed."""
    return _handles().insertArguments(handle, position, [value])


def function(handle: Handle) -> Any:
    """Java ``Function`` from a handle with one object as argument."""
    return _as("java.util.function.Function", handle)


def predicate(handle: Handle) -> Any:
    """Java ``Predicate`` from a handle with one object as argument and a boolean as result."""
    return _as("java.util.function.Predicate", handle)


def one_of(handle: Handle, values: Any) -> Any:
    """Java ``Predicate`` for whether the handle's value is in a list or Java collection."""
    chosen = java("java.util.HashSet")(values)
    contains = bound(getter("java.util.Set", "contains", "boolean", OBJECT), 0, chosen)
    return predicate(then(handle, contains))


def element(array: NDArray[Any] | Sequence[Any]) -> Handle:
    """Handle that returns the element of an array for an index.

    A numpy array becomes a Java array of its type; a sequence becomes one of the class of its
    first Java object.
    """
    import jpype

    values = (
        jpype.JArray.of(np.ascontiguousarray(array))
        if isinstance(array, np.ndarray)
        else jpype.JArray(type(array[0]))(list(array))
    )
    return _handles().arrayElementGetter(values.getClass()).bindTo(values)


def of_index(handle: Handle, *parts: Handle) -> Handle:
    """Handle of an index that gets each argument from another handle of the same index."""
    takes = java("java.lang.invoke.MethodType").methodType(
        handle.type().returnType(), [_type("int")]
    )
    parts = tuple(
        part.asType(part.type().changeReturnType(handle.type().parameterType(position)))
        for position, part in enumerate(parts)
    )
    return _handles().permuteArguments(
        _handles().filterArguments(handle, 0, parts), takes, [0] * len(parts)
    )


def made(n: int, handle: Handle) -> Any:
    """Java list of the values of a handle for the indices below `n`."""
    mapper = _as("java.util.function.IntFunction", handle)
    return java("java.util.stream.IntStream").range(0, n).mapToObj(mapper).toList()


def at_each(indices: NDArray[np.int32], handle: Handle) -> None:
    """Call a handle of an index for each of some indices."""
    import jpype

    chosen = java("java.util.stream.IntStream").of(jpype.JArray.of(indices))
    chosen.forEach(_as("java.util.function.IntConsumer", handle))


def doubles(objects: Any, handle: Handle) -> NDArray[np.float64]:
    """Double value of each object of a Java collection."""
    mapper = _as("java.util.function.ToDoubleFunction", handle)
    return np.array(objects.stream().mapToDouble(mapper).toArray(), dtype=np.float64)


def strings(objects: Any, handle: Handle) -> list[str]:
    """Text of the value of each object; the text must have no line break."""
    if objects.isEmpty():
        return []
    joined = java("java.util.stream.Collectors").joining("\n")
    return str(objects.stream().map(function(then(handle, _text(handle)))).collect(joined)).split(
        "\n"
    )


def counts(objects: Any, handle: Handle) -> dict[str, int]:
    """Count the objects that have each text as their value."""
    collectors = java("java.util.stream.Collectors")
    grouped = objects.stream().collect(
        collectors.groupingBy(function(text(handle)), collectors.counting())
    )
    return {text_of(each.getKey()): int(each.getValue()) for each in grouped.entrySet()}


def distinct(objects: Any, handle: Handle) -> Any:
    """Java list of the different values, in the order of their first appearance."""
    return objects.stream().map(function(handle)).distinct().toList()


def hash_code(objects: Any, handle: Handle) -> int:
    """Java's hash code of the list of all values."""
    # From hash codes, with the same result, so that a million outlines are not in memory at once.
    hashed = then(handle.asType(handle.type().generic()), _hash_of())
    return int(objects.stream().map(function(hashed)).toList().hashCode())


def where(objects: Any, condition: Any) -> Any:
    """Java list of the objects that fulfil a Java ``Predicate``."""
    return objects.stream().filter(condition).toList()


@cache
def _hash_of() -> Handle:
    return static("java.util.Objects", "hashCode", "int", OBJECT)


def text(handle: Handle) -> Handle:
    """Handle that returns the value as text, ``null`` for null."""
    return then(handle, _text(handle))


def _text(handle: Handle) -> Handle:
    kind = java("java.lang.invoke.MethodType").methodType(_type(STRING), [_type(OBJECT)])
    value_of = _lookup().findStatic(_type(STRING), "valueOf", kind)
    takes = java("java.lang.invoke.MethodType").methodType(
        _type(STRING), [handle.type().returnType()]
    )
    return value_of.asType(takes)


def _kind(returns: str, takes: tuple[str, ...]) -> Any:
    return java("java.lang.invoke.MethodType").methodType(_type(returns), [_type(t) for t in takes])


def _type(name: str) -> Any:
    if name in _PRIMITIVES:
        return java(f"java.lang.{_PRIMITIVES[name]}").TYPE
    return java(name).class_


def _as(interface: str, handle: Handle) -> Any:
    proxies = java("java.lang.invoke.MethodHandleProxies")
    return proxies.asInterfaceInstance(java(interface).class_, handle)


def _handles() -> Any:
    return java("java.lang.invoke.MethodHandles")


@cache
def _lookup() -> Any:
    return _handles().publicLookup()
