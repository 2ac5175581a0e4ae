"""Runs of records in a tree: children that stay bytes until one of them is needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.qupath.native.javanodes import FIRST_HANDLE, Desc, JavaObject, Node
from qupath_hccmil.qupath.native.similar_records import (
    Field,
    Free,
    Ints,
    Path,
    Shape,
    Source,
    distinct,
    learn,
    spans,
)

# shorter runs cost more than they save
SHORTEST_RUN = 8
_FIRST_WINDOW = 1 << 12
_LAST_WINDOW = 1 << 22
_GROWTH = 8
_MOST_SHAPES = 64
_LONGEST_WAIT = 256
# number of records with references that are rewritten at a time
_CHUNK = 1 << 14

Read = Callable[[bytes, dict[int, Node], int, int], tuple[JavaObject, list[Node]]]


class RunRules(NamedTuple):
    """Which objects of a stream may stay unparsed.

    Attributes
    ----------
    parents : callable
        Whether children of objects of a class may be packed.
    free : callable
        What may differ between an object and the next of its kind; None where it must be parsed.
    """

    parents: Callable[[Desc], bool]
    free: Callable[[JavaObject], Free | None]


class RunContext:
    """Data that the runs of one stream share, up to a reset of the stream.

    Parameters
    ----------
    source : Source
    parse : callable
        Makes the node of a record from all bytes, the nodes that records refer to, the position of
        the record and its first handle; also returns everything in it that has a handle.

    Attributes
    ----------
    shapes : list of Shape
    nodes : dict of int to Node
        Nodes that records refer to, by their handles in the stream (from 0).
    """

    def __init__(self, source: Source, parse: Read) -> None:
        self.source = source
        self.parse = parse
        self.shapes: list[Shape] = []
        self.nodes: dict[int, Node] = {}

    def read(self, start: int, first: int) -> tuple[JavaObject, list[Node]]:
        """Return the node of a record, and everything in it that has a handle."""
        return self.parse(self.source.data, self.nodes, start, first)


class Group(NamedTuple):
    """Records of a run that have the same shape and refer to the same objects.

    Attributes
    ----------
    rows : (n,) int64
        Numbers of the records in the run.
    shape : Shape
    example : JavaObject
        A copy of the first record; changes to it are lost.
    """

    rows: Ints
    shape: Shape
    example: JavaObject


class Run(Node):
    """Consecutive records among the parts of an object.

    Parameters
    ----------
    context : RunContext
    starts, ends : (n,) int64
        Start and end of each record in the bytes.
    kinds : (n,) int64
        Shape of each, as its number in the context.
    firsts : (n,) int64
        First handle of each record in the stream.
    """

    __slots__ = ("_groups", "context", "ends", "firsts", "kinds", "parsed", "starts")

    def __init__(
        self, context: RunContext, starts: Ints, ends: Ints, kinds: Ints, firsts: Ints
    ) -> None:
        self.handle = -1
        self.context = context
        self.starts = starts
        self.ends = ends
        self.kinds = kinds
        self.firsts = firsts
        self.parsed: dict[int, JavaObject] = {}
        self._groups: list[Group] | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def handles(self) -> int:
        """Number of handles of the records."""
        sizes = np.array([shape.handles for shape in self.context.shapes])
        return int(sizes[self.kinds].sum())

    def at_handle(self, handle: int) -> int:
        """Return the number of the record in which a handle of the stream was assigned."""
        return int(np.searchsorted(self.firsts, handle, "right")) - 1

    def copy(self, number: int) -> JavaObject:
        """Return the node of one record, which stays unparsed."""
        return self._read(number)[0]

    def parse(self, number: int) -> list[Node]:
        """Turn a record into a node of the tree; returns everything with a handle, record first."""
        self.parsed[number], own = self._read(number)
        return own

    def parse_some(self, rows: Ints) -> None:
        """Turn records into nodes of the tree."""
        for number in rows.tolist():
            if number not in self.parsed:
                self.parse(number)

    def _read(self, number: int) -> tuple[JavaObject, list[Node]]:
        return self.context.read(int(self.starts[number]), int(self.firsts[number]))

    def part(self, rows: Ints | slice) -> Run:
        """Return a run of some of the records, none of which was parsed."""
        return Run(
            self.context, self.starts[rows], self.ends[rows], self.kinds[rows], self.firsts[rows]
        )

    def pieces(self) -> Iterator[Run | JavaObject]:
        """Give unparsed stretches and parsed records in order."""
        if not self.parsed:
            yield self
            return
        begin = 0
        for number in sorted(self.parsed):
            if begin < number:
                yield self.part(slice(begin, number))
            yield self.parsed[number]
            begin = number + 1
        if begin < len(self):
            yield self.part(slice(begin, None))

    def groups(self) -> list[Group]:
        """Group the records by shape and by their references, in order of their first records."""
        if self._groups is None:
            found = [
                Group(rows, self.context.shapes[kind], self.copy(int(rows[0])))
                for kind in np.unique(self.kinds).tolist()
                for rows in self._grouped(kind)
            ]
            self._groups = sorted(found, key=lambda group: int(group.rows[0]))
        return self._groups

    def _grouped(self, kind: int) -> Iterator[Ints]:
        rows = np.flatnonzero(self.kinds == kind)
        group = np.zeros(len(rows), np.int64)
        for mentioned in self._slots(kind, rows).values():
            known, _, which = distinct(mentioned)
            _, _, group = distinct(group * len(known) + which)
        order = np.argsort(group, kind="stable")
        counts = np.bincount(group)
        yield from np.split(rows[order], np.cumsum(counts)[:-1])

    def _slots(self, kind: int, rows: Ints) -> dict[Path, Ints]:
        """Handles in the slots of records with the same shape."""
        shape, source = self.context.shapes[kind], self.context.source
        positions = shape.positions(source, self.starts[rows])
        return {
            path: source.numbers(positions[field.block] + field.offset, 4) - FIRST_HANDLE
            for path, field in shape.slots.items()
        }

    def values(self, group: Group, path: Path, size: int = 0) -> NDArray[np.uint8] | None:
        """Return the bytes of one value for each record of a group.

        Parameters
        ----------
        group : Group
        path : path
            Part of the object, see :class:`~qupath_hccmil.qupath.native.similar_records.Free`.
        size : int
            For an array: the number of bytes to return.

        Returns
        -------
        (n, size) uint8 or None
            None if the shape has no such value, or an array is shorter.
        """
        field = group.shape.fields.get(path)
        if field is None:
            return None
        source = self.context.source
        at = group.shape.positions(source, self.starts[group.rows])[field.block]
        if field.size:
            return source.rows(at + field.offset, field.size)
        block = group.shape.blocks[field.block]
        counts = source.numbers(at, field.offset) * block.size
        return source.rows(at + field.offset, size) if (counts >= size).all() else None

    def mentioned(self) -> dict[int, int]:
        """Handles that the records refer to, each with the first record that does."""
        found: dict[int, int] = {}
        for kind in np.unique(self.kinds).tolist():
            rows = np.flatnonzero(self.kinds == kind)
            pairs = [(handle, int(rows[0])) for _, handle in self.context.shapes[kind].references]
            for column in self._slots(kind, rows).values():
                known, first, _ = distinct(column)
                pairs += zip(known.tolist(), rows[first].tolist(), strict=True)
            for handle, row in pairs:
                found[handle] = min(row, found.get(handle, row))
        return found

    def stretches(self) -> Iterator[memoryview]:
        """Yield the unchanged bytes of the records."""
        whole = memoryview(self.context.source.data)
        for first, last in spans(self.starts, self.ends):
            yield whole[first:last]

    def rewritten(self, handles: dict[int, int]) -> Iterator[memoryview]:
        """Yield the bytes with new handles in the references; keys are the old handles."""
        for begin in range(0, len(self), _CHUNK):
            yield self.part(slice(begin, begin + _CHUNK))._rewritten(handles)

    def _rewritten(self, handles: dict[int, int]) -> memoryview:
        content = np.concatenate([self.context.source.bytes[a:b] for a, b in self._spans()])
        sizes = self.ends - self.starts
        moved = np.cumsum(sizes) - sizes - self.starts
        numbers = np.ndarray((len(content) - 3,), ">u4", content, strides=(1,))
        for kind in np.unique(self.kinds).tolist():
            rows = np.flatnonzero(self.kinds == kind)
            shape = self.context.shapes[kind]
            positions = shape.positions(self.context.source, self.starts[rows])

            def place(field: Field, at: list[Ints] = positions, rows: Ints = rows) -> Ints:
                return at[field.block] + field.offset + moved[rows]

            for field, handle in shape.references:
                if handles[handle] != handle:
                    numbers[place(field)] = handles[handle] + FIRST_HANDLE
            for field in shape.slots.values():
                known, _, which = distinct(numbers[place(field)].astype(np.int64))
                new = [handles[int(each) - FIRST_HANDLE] + FIRST_HANDLE for each in known]
                numbers[place(field)] = np.array(new, ">u4")[which]
        return content.data

    def _spans(self) -> list[tuple[int, int]]:
        return list(spans(self.starts, self.ends))


class RunFinder:
    """Finds runs while a stream is parsed.

    Parameters
    ----------
    context : RunContext
    rules : RunRules
    """

    def __init__(self, context: RunContext, rules: RunRules) -> None:
        self.rules = rules
        self._context = context
        self._by_class: dict[bytes, list[int]] = {}
        self._wait = 0
        self._next_wait = 1

    def forget(self) -> None:
        """Start again, because handles lose their meaning after a reset of the stream."""
        self._context = RunContext(self._context.source, self._context.parse)
        self._by_class.clear()

    def run(self, node: JavaObject, start: int, end: int, handles: list[Node]) -> Run | None:
        """Return the records that follow an object that was parsed from some bytes.

        `handles` are those assigned so far. None if the run would be too short.
        """
        if self._wait:
            self._wait -= 1
            return None
        shapes = len(self._context.shapes)
        run = self._find(node, start, end, handles)
        learned = shapes < len(self._context.shapes) <= _MOST_SHAPES
        if run is not None or learned:
            self._wait, self._next_wait = 0, 1
        else:
            # If all objects differ, not every one of them is tried.
            self._wait = self._next_wait
            self._next_wait = min(2 * self._next_wait, _LONGEST_WAIT)
        return run

    def _find(self, node: JavaObject, start: int, end: int, handles: list[Node]) -> Run | None:
        data = self._context.source.data
        prefix = data[start : start + 6]
        kinds = self._by_class.setdefault(prefix, [])
        if not self._is_known(kinds, start, end, handles):
            free = self.rules.free(node)
            shape = None if free is None else learn(self._context.source, start, end, node, free)
            if shape is None:
                return None
            self._add(kinds, shape, handles)
        found = _Found(end)
        while data.startswith(prefix, found.end) and self._extend(found, prefix, kinds, handles):
            pass
        if found.count < SHORTEST_RUN:
            return None
        return self._run_of(found, len(handles))

    def _is_known(self, kinds: list[int], start: int, end: int, handles: list[Node]) -> bool:
        at = np.array([start], np.int64)
        return any(self._ends(kind, at, handles)[0] == end for kind in kinds)

    def _add(self, kinds: list[int], shape: Shape, handles: list[Node]) -> None:
        kinds.append(len(self._context.shapes))
        self._context.shapes.append(shape)
        del kinds[:-_MOST_SHAPES]
        for _, handle in shape.references:
            self._context.nodes[handle] = handles[handle]

    def _ends(self, kind: int, starts: Ints, handles: list[Node]) -> Ints:
        shape = self._context.shapes[kind]

        def allowed(path: Path, mentioned: Ints) -> Ints:
            wanted = _type(_part(shape.example, path))
            good = []
            for handle in mentioned.tolist():
                if 0 <= handle < len(handles) and _type(handles[handle]) == wanted:
                    self._context.nodes[handle] = handles[handle]
                    good.append(handle)
            return np.array(good, np.int64)

        return shape.ends(self._context.source, starts, allowed)

    def _extend(self, found: _Found, prefix: bytes, kinds: list[int], handles: list[Node]) -> bool:
        """Add records from the next stretch of bytes; returns whether there may be more."""
        data = self._context.source.data
        matches = re.compile(re.escape(prefix)).finditer(data, found.end, found.end + found.window)
        starts = np.fromiter((match.start() for match in matches), np.int64)
        which = np.full(len(starts), -1, np.int64)
        ends = np.zeros(len(starts), np.int64)
        for kind in reversed(kinds):
            left = np.flatnonzero(which < 0)
            if not len(left):
                break
            here = self._ends(kind, starts[left], handles)
            which[left[here > 0]] = kind
            ends[left] = here
        # each record must begin where the previous one ends
        chained = np.concatenate([[True], starts[1:] == ends[:-1]]) & (which >= 0)
        count = len(starts) if chained.all() else int(np.argmin(chained))
        found.add(starts[:count], ends[:count], which[:count])
        longer = min(_GROWTH * found.window, _LAST_WINDOW)
        found.window = longer if chained.all() else _FIRST_WINDOW
        return count > 0

    def _run_of(self, found: _Found, first_handle: int) -> Run:
        starts, ends, kinds = (np.concatenate(each) for each in zip(*found.columns, strict=True))
        sizes = np.array([shape.handles for shape in self._context.shapes])[kinds]
        firsts = np.cumsum(sizes) - sizes + first_handle
        return Run(self._context, starts, ends, kinds.astype(np.int64), firsts)


class _Found:
    """Records found so far, and how far to look for more."""

    def __init__(self, end: int) -> None:
        self.columns: list[tuple[Ints, Ints, Ints]] = []
        self.count = 0
        self.end = end
        self.window = _FIRST_WINDOW

    def add(self, starts: Ints, ends: Ints, kinds: Ints) -> None:
        if len(starts):
            self.columns.append((starts, ends, kinds))
            self.count += len(starts)
            self.end = int(ends[-1])


def _part(node: JavaObject, path: Path) -> object:
    """Return the part of an object at a path."""
    found: object = node
    for at in path:
        found = next(islice(getattr(found, "parts", ()), at, None), None)
    return found


def _type(part: object) -> tuple[type, object]:
    return part.__class__, getattr(part, "desc", None)
