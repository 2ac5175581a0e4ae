"""Runs of objects that are made here: all of them as bytes at once, without a node for each.

One object of a kind is made as nodes and written to bytes. Its shape says where in these bytes its
values are, so that numpy copies it and puts in the values of all the others. As in a run that was
read, the references to objects that others share get their handles when the stream is written, and
what was not written before is written with the first object that refers to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.qupath.native.javanodes import FIRST_HANDLE, JavaObject, Node, Part
from qupath_hccmil.qupath.native.javastream import read_record, record_bytes
from qupath_hccmil.qupath.native.record_runs import Run, RunContext
from qupath_hccmil.qupath.native.similar_records import Free, Ints, Path, Shape, Source, learn


class Alike(NamedTuple):
    """Objects that differ only in some values and references.

    Attributes
    ----------
    example : JavaObject
        One of them, whichever; its own values do not matter.
    free : Free
        What differs, apart from numbers.
    rows : (n,) int64
        Their places in the run.
    values : mapping of path to (n, size) array
        The bytes of a value, or of all values of an array, for each of them.
    references : mapping of path to sequence of Node, length n
        Nodes among the shared ones.
    """

    example: JavaObject
    free: Free
    rows: Ints
    values: Mapping[Path, NDArray[Any]]
    references: Mapping[Path, Sequence[Node]]


def made_run(kinds: Sequence[Alike], shared: Sequence[Node]) -> Run:
    """Make a run.

    Parameters
    ----------
    kinds : sequence of Alike
        Each place of the run is that of one kind.
    shared : sequence of Node
        All nodes that several objects refer to, but for the descriptions of classes.
    """
    classes = (desc for kind in kinds for desc in _classes(kind.example, frozenset(shared)))
    nodes = list(dict.fromkeys([*shared, *classes]))
    handles = {node: handle for handle, node in enumerate(nodes)}
    made = [_records(kind, nodes, handles) for kind in kinds]
    count = sum(len(kind.rows) for kind in kinds)
    which, sizes, taken = (np.zeros(count, np.int64) for _ in range(3))
    for number, (kind, (shape, records)) in enumerate(zip(kinds, made, strict=True)):
        which[kind.rows] = number
        sizes[kind.rows] = records.shape[1]
        taken[kind.rows] = shape.handles
    ends = np.cumsum(sizes)
    starts = ends - sizes
    context = RunContext(Source(_joined(kinds, [each for _, each in made], starts)), read_record)
    context.shapes = [shape for shape, _ in made]
    context.nodes = dict(enumerate(nodes))
    return Run(context, starts, ends, which, np.cumsum(taken) - taken + len(nodes))


def _joined(kinds: Sequence[Alike], records: Sequence[NDArray[np.uint8]], starts: Ints) -> bytes:
    """The bytes of all kinds of records, each record at its start."""
    sizes = {each.shape[1] for each in records}
    if len(sizes) == 1:
        table = np.empty((len(starts), *sizes), np.uint8)
        for kind, each in zip(kinds, records, strict=True):
            table[kind.rows] = each
        return table.tobytes()
    data = np.empty(sum(each.size for each in records), np.uint8)
    for kind, each in zip(kinds, records, strict=True):
        data[starts[kind.rows][:, None] + np.arange(each.shape[1])] = each
    return data.tobytes()


def _classes(part: Part, shared: frozenset[Node]) -> Iterator[Node]:
    """Descriptions of the classes of an object and of all in it that is its own."""
    if part is None or isinstance(part, bytes) or part in shared:
        return
    desc = getattr(part, "desc", None)
    if desc is not None:
        yield desc
    for each in getattr(part, "parts", ()):
        yield from _classes(each, shared)


def _records(
    kind: Alike, nodes: Sequence[Node], handles: Mapping[Node, int]
) -> tuple[Shape, NDArray[np.uint8]]:
    """The shape of objects, and their bytes, (n, size)."""
    content = record_bytes(kind.example, nodes)
    source = Source(content)
    shape = learn(source, 0, len(content), kind.example, kind.free)
    assert shape is not None, "all that it refers to is shared"
    records = np.tile(source.bytes, (len(kind.rows), 1))
    for path, columns in _bytes_of(kind, handles):
        field = shape.slots.get(path) or shape.fields[path]
        block = shape.positions(source, np.zeros(1, np.int64))[field.block]
        at = int(block[0]) + field.offset
        records[:, at : at + columns.shape[1]] = columns
    return shape, records


def _bytes_of(kind: Alike, handles: Mapping[Node, int]) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """For each place, the bytes of each object, (n, size)."""
    count = len(kind.rows)
    for path, values in kind.values.items():
        yield path, np.ascontiguousarray(values).view(np.uint8).reshape(count, -1)
    for path, mentioned in kind.references.items():
        numbers = np.array([handles[node] + FIRST_HANDLE for node in mentioned], ">u4")
        yield path, numbers.view(np.uint8).reshape(count, -1)
