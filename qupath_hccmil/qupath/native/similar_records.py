"""Records: consecutive objects of one shape in a stream, recognised by their bytes.

A million cells differ only in numbers and identities. The shape of a parsed cell says which bytes
must be the same in the next one (codes, class descriptions, references, counts) and which are free
(values, identities, the length of an outline), so that numpy recognises thousands at once. The
recognised records are exactly those that the parser would have read; the rest is left to the
parser.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.qupath.native.javanodes import (
    ARRAY,
    END,
    FIRST_HANDLE,
    ITEM,
    NULL,
    OBJECT,
    REFERENCE,
    STRING,
    ClassDesc,
    JavaObject,
    JavaString,
    ObjectArray,
    Part,
    PrimitiveArray,
)

Ints = NDArray[np.int64]
Path = tuple[int, ...]

_MAX_DEPTH = 8
# a primitive field this short is part of the shape: flags and counts
_SHORT_FIELD = 4
_SHORT_DOUBLE = b"\x77\x08"
_WORD = 8
_UUID = 36


class _NoShapeError(Exception):
    """The object contains something that a shape cannot describe."""


class Free(NamedTuple):
    """What may differ between records, apart from values.

    A path names a part of the object: ``(6,)`` is its part 6, ``(3, 2)`` is part 2 of its part 3.

    Attributes
    ----------
    references : collection of path
        References to objects of one kind; they must be references, or null in all records.
    texts : collection of path
        Parts in which texts may differ.
    """

    references: Collection[Path]
    texts: Collection[Path]


class Field(NamedTuple):
    """The position of a value: its block, the offset in it, and its size in bytes."""

    block: int
    offset: int
    size: int


class Fixed(NamedTuple):
    """A fixed number of bytes, of which those under the mask must be the same."""

    size: int
    wanted: NDArray[np.uint64]
    mask: NDArray[np.uint64]


class Counted(NamedTuple):
    """A count of `width` bytes, followed by that many items of `size` bytes."""

    width: int
    size: int


class Source:
    """The bytes of a stream for numpy: numbers and rows at any offset, aligned or not."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)

    def numbers(self, at: Ints, width: int) -> Ints:
        """Read big-endian unsigned integers of 2 or 4 bytes; all offsets must be inside."""
        numbers = _overlapping(self.data, f">u{width}", width)
        return numbers[at].astype(np.int64)

    def rows(self, at: Ints, size: int) -> NDArray[np.uint8]:
        """Read (n, size) bytes that begin at the offsets; all must be inside."""
        if not (len(at) and size):
            return np.empty((len(at), size), np.uint8)
        return _overlapping(self.data, f"V{size}", size)[at].view(np.uint8).reshape(-1, size)


class Shape:
    """The properties that all records of one kind share.

    Attributes
    ----------
    example : JavaObject
        The object that the shape was learned from.
    handles : int
        Number of handles of a record.
    references : list of (Field, int)
        References that are the same in all records, with their handles.
    slots : mapping of path to Field
        References that may differ, each to an object of one kind.
    fields : mapping of path to Field
        Values that may differ; a size of 0 means that a count comes before them.
    """

    def __init__(self, example: JavaObject, reader: _Learner) -> None:
        self.example = example
        self.blocks: list[Fixed | Counted] = reader.blocks
        self.handles = reader.handles
        self.references = reader.references
        self.slots: Mapping[Path, Field] = reader.slots
        self.fields: Mapping[Path, Field] = reader.fields

    def ends(
        self, source: Source, starts: Ints, allowed: Callable[[Path, NDArray[np.int64]], Ints]
    ) -> Ints:
        """Ends of the records at some offsets; 0 if there is no record of this shape.

        `allowed` returns which handles may be in a slot.
        """
        at = starts.copy()
        alive = np.arange(len(starts))
        for number, block in enumerate(self.blocks):
            good, ends = self._passes(source, at, number, block, allowed)
            alive, at = alive[good], ends[good]
            if not len(alive):
                break
        found = np.zeros(len(starts), np.int64)
        found[alive] = at
        return found

    def _passes(
        self,
        source: Source,
        at: Ints,
        number: int,
        block: Fixed | Counted,
        allowed: Callable[[Path, NDArray[np.int64]], Ints],
    ) -> tuple[NDArray[np.bool_], Ints]:
        size = len(source.data)
        if isinstance(block, Counted):
            good = at + block.width <= size
            ends = at + block.width
            ends[good] += source.numbers(at[good], block.width) * block.size
            return good & (ends <= size), ends
        padded = len(block.wanted) * _WORD
        # the last few bytes of a file are left to the parser
        good = at + padded <= size
        words = source.rows(at[good], padded).view(np.uint64)
        words ^= block.wanted
        words &= block.mask
        good[good] = ~words.any(axis=1)
        for path, field in self.slots.items():
            if field.block == number:
                mentioned = source.numbers(at[good] + field.offset, 4) - FIRST_HANDLE
                good[good] = _allowed(mentioned, partial(allowed, path))
        return good, at + block.size

    def positions(self, source: Source, starts: Ints) -> list[Ints]:
        """Starts of each block of some records, which have this shape."""
        found = []
        at = starts
        for block in self.blocks:
            found.append(at)
            if isinstance(block, Counted):
                at = at + block.width + source.numbers(at, block.width) * block.size
            else:
                at = at + block.size
        return found


def learn(source: Source, start: int, end: int, node: JavaObject, free: Free) -> Shape | None:
    """Return the shape of an object that was parsed from bytes; None if it has none.

    Parameters
    ----------
    source : Source
    start, end : int
        Position of the object's bytes.
    node : JavaObject
    free : Free
    """
    learner = _Learner(source.data, start, free)
    try:
        learner.object(node, ())
        learner.close()
    except _NoShapeError:
        return None
    return Shape(node, learner) if learner.at == end else None


class _Learner:
    """Walks through an object and its bytes together."""

    def __init__(self, data: bytes, start: int, free: Free) -> None:
        self.data = data
        self.at = start
        self.free = free
        self.blocks: list[Fixed | Counted] = []
        self.handles = 0
        self.references: list[tuple[Field, int]] = []
        self.slots: dict[Path, Field] = {}
        self.fields: dict[Path, Field] = {}
        self._begun = start
        self._mask = bytearray()

    def object(self, node: JavaObject, path: Path) -> None:
        desc = node.desc
        if len(path) > _MAX_DEPTH or not isinstance(desc, ClassDesc):
            raise _NoShapeError
        self._head()
        at = 0
        for step in desc.plan:
            if step >= 0:
                self._raw(step, (*path, at))
                at += 1
            elif step == ITEM:
                self._item(node.parts[at], (*path, at))
                at += 1
            else:
                at = self._contents(node.parts, at, path)

    def close(self) -> None:
        """End a block of fixed size."""
        size = len(self._mask)
        if not size:
            return
        padding = bytes(-size % _WORD)
        wanted = self.data[self._begun : self._begun + size] + padding
        mask = np.frombuffer(bytes(self._mask) + padding, np.uint64)
        self.blocks.append(Fixed(size, np.frombuffer(wanted, np.uint64), mask))
        self._mask.clear()

    def _contents(self, parts: list[Part], at: int, path: Path) -> int:
        while True:
            part = parts[at]
            if isinstance(part, bytes):
                self._same(2 if part[:2] == _SHORT_DOUBLE else len(part))
                if part[:2] == _SHORT_DOUBLE:
                    self._free(8, (*path, at))
            else:
                self._item(part, (*path, at))
            at += 1
            if part == END:
                return at

    def _item(self, part: Part, path: Path) -> None:
        code = self.data[self.at]
        if code == NULL:
            self._same(1)
        elif code == REFERENCE:
            self._same(1)
            self._reference(path)
        elif path in self.free.references:
            raise _NoShapeError
        elif code == OBJECT and isinstance(part, JavaObject):
            self.object(part, path)
        elif code == ARRAY and isinstance(part, PrimitiveArray):
            self._head()
            self._counted(4, part.size, len(part.data) // part.size, path)
        elif code == ARRAY and isinstance(part, ObjectArray):
            self._head()
            self._same(4)
            for at, each in enumerate(part.parts):
                self._item(each, (*path, at))
        elif code == STRING and isinstance(part, JavaString):
            self._text(part, path)
        else:
            raise _NoShapeError

    def _head(self) -> None:
        """Read code and class, which must have been described before."""
        if self.data[self.at + 1] != REFERENCE:
            raise _NoShapeError
        self._same(2)
        self._reference(None)
        self.handles += 1

    def _reference(self, path: Path | None) -> None:
        field = Field(len(self.blocks), len(self._mask), 4)
        if path is not None and path in self.free.references:
            self.slots[path] = field
            self._free(4)
            return
        handle = int.from_bytes(self.data[self.at : self.at + 4], "big") - FIRST_HANDLE
        self.references.append((field, handle))
        self._same(4)

    def _text(self, part: JavaString, path: Path) -> None:
        self.handles += 1
        self._same(1)
        size = len(part.data)
        if not any(path[: len(each)] == each for each in self.free.texts):
            self._same(2 + size)
        elif size == _UUID:
            # of fixed length, and the text that every object has
            self._same(2)
            self._free(size, path)
        else:
            self._counted(2, 1, size, path)

    def _raw(self, size: int, path: Path) -> None:
        if size <= _SHORT_FIELD:
            self._same(size)
        else:
            self._free(size, path)

    def _same(self, size: int) -> None:
        self._add(size, b"\xff")

    def _free(self, size: int, path: Path | None = None) -> None:
        if path is not None:
            self.fields[path] = Field(len(self.blocks), len(self._mask), size)
        self._add(size, b"\0")

    def _add(self, size: int, mask: bytes) -> None:
        if not self._mask:
            self._begun = self.at
        self._mask += mask * size
        self.at += size

    def _counted(self, width: int, size: int, count: int, path: Path) -> None:
        self.close()
        self.fields[path] = Field(len(self.blocks), width, 0)
        self.blocks.append(Counted(width, size))
        self.at += width + count * size


def _allowed(mentioned: Ints, allowed: Callable[[Ints], Ints]) -> NDArray[np.bool_]:
    """Whether each handle may be where it is; of most kinds, all records have the same."""
    if len(mentioned) and (mentioned == mentioned[0]).all():
        return np.full(len(mentioned), len(allowed(mentioned[:1])) > 0)
    known, _, which = distinct(mentioned)
    return np.isin(known, allowed(known))[which]


def distinct(numbers: Ints) -> tuple[Ints, Ints, Ints]:
    """Different numbers in order, where each is first, and which of them each number is.

    As :func:`numpy.unique` gives them, but without sorting where the numbers are close to each
    other, as handles of objects that many records share are.
    """
    if not len(numbers):
        return numbers, numbers, numbers
    least = int(numbers.min())
    span = int(numbers.max()) - least + 1
    if span > 2 * len(numbers):
        known, first, which = np.unique(numbers, return_index=True, return_inverse=True)
        return known, first.astype(np.int64), which.astype(np.int64)
    places = numbers - least
    first = np.full(span, -1, np.int64)
    # of several, the last that is assigned stays
    first[places[::-1]] = np.arange(len(numbers))[::-1]
    there = first >= 0
    return np.flatnonzero(there) + least, first[there], (np.cumsum(there) - 1)[places]


def _overlapping(data: bytes, dtype: str, size: int) -> NDArray[np.void]:
    """View bytes as items that begin at every offset."""
    return np.ndarray((max(len(data) - size + 1, 0),), dtype, data, strides=(1,))


def spans(starts: Ints, ends: Ints) -> Iterator[tuple[int, int]]:
    """Yield the stretches of bytes that records cover, joined if they touch."""
    if len(starts):
        breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
        first = starts[np.concatenate([[0], breaks])]
        last = ends[np.concatenate([breaks, [len(ends)]]) - 1]
        yield from zip(first.tolist(), last.tolist(), strict=True)
