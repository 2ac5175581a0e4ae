"""The content of a Java serialization stream, with a node for everything that has a handle.

Two references to one object are the same Python object. Contents are kept in `parts`, in the order
of the stream, where a part is

- `bytes`: written as they are: primitive field values, a block of data with its header, or
  :data:`END`, which closes custom contents;
- `None`: Java's null;
- a node.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from qupath_hccmil.errors import UnsupportedDataError

FIRST_HANDLE = 0x7E0000

# codes that begin a part
NULL, REFERENCE, CLASSDESC, OBJECT, STRING, ARRAY, CLASS, BLOCK = range(0x70, 0x78)
END_BLOCK, RESET_CODE, LONG_BLOCK, EXCEPTION, LONG_STRING, PROXY, ENUM_CODE = range(0x78, 0x7F)

END = b"\x78"
RESET = b"\x79"

# sizes in bytes of primitive types, by their letter in the stream
SIZES = {"B": 1, "C": 2, "D": 8, "F": 4, "I": 4, "J": 8, "S": 2, "Z": 1}

# flags of a class: it has a writeObject method, is Serializable, Externalizable, writes blocks
WRITE_METHOD = 0x01
SERIALIZABLE = 0x02
EXTERNALIZABLE = 0x04
BLOCK_DATA = 0x08
ENUM = 0x10


class Node:
    """Anything with a handle; `handle` is used only while writing."""

    __slots__ = ("handle",)

    def __init__(self) -> None:
        self.handle = -1


Part = Node | bytes | None

# for each field the part and, if it is primitive, start and end of its bytes
Layout = dict[str, tuple[int, int, int]]


class JavaString(Node):
    """A string, in Java's modified UTF-8; equal strings may be different objects."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.handle = -1
        self.data = data

    @classmethod
    def of(cls, text: str) -> JavaString:
        """Make a string from text."""
        return cls(encode(text))

    def __str__(self) -> str:
        return decode(self.data)


class ClassDesc(Node):
    """The description of a class in the stream.

    Attributes
    ----------
    name : bytes
        Modified UTF-8, with dots.
    suid : bytes
        Eight bytes.
    flags : int
    fields : sequence of (letter, name, type)
        In the order of the stream: primitives first. `type` is the node of the type's name for
        objects and arrays, and None for primitives.
    annotation : list of Part
        Ends with :data:`END`.
    parent : ClassDesc, ProxyDesc or None
    """

    __slots__ = (
        "_layout",
        "_plan",
        "_short",
        "annotation",
        "depth",
        "fields",
        "flags",
        "name",
        "parent",
        "suid",
    )

    def __init__(
        self,
        name: bytes,
        suid: bytes,
        flags: int,
        fields: Sequence[tuple[str, bytes, Part]],
        parent: ClassDesc | ProxyDesc | None = None,
        annotation: Sequence[Part] = (END,),
    ) -> None:
        self.handle = -1
        self.name = name
        self.suid = suid
        self.flags = flags
        self.fields = tuple(fields)
        self.annotation = list(annotation)
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self._plan: tuple[int, ...] | None = None
        self._short: str | None = None
        self._layout: Layout | None = None

    @property
    def short(self) -> str:
        """Name without its package."""
        if self._short is None:
            self._short = self.name.decode("utf-8", "replace").rpartition(".")[2]
        return self._short

    def chain(self) -> list[ClassDesc]:
        """Return the superclasses, topmost first, and this class."""
        found: list[ClassDesc] = []
        each: ClassDesc | ProxyDesc | None = self
        while isinstance(each, ClassDesc):
            found.append(each)
            each = each.parent
        return found[::-1]

    @property
    def layout(self) -> Layout:
        """Positions of an object's fields, up to the first class that writes with its own method.

        For each name the part, and for primitive values its bytes.
        """
        if self._layout is None:
            self._layout = _layout(self)
        return self._layout

    @property
    def plan(self) -> tuple[int, ...]:
        """The sequence of an object's parts, superclasses first.

        A number ≥ 0 means that many bytes, :data:`ITEM` one part, :data:`CONTENTS` parts up to END.
        """
        if self._plan is None:
            self._plan = _plan(self)
        return self._plan


class ProxyDesc(Node):
    """The class of a dynamic proxy: the interfaces it implements."""

    __slots__ = ("annotation", "depth", "interfaces", "parent")

    def __init__(
        self,
        interfaces: Sequence[bytes],
        parent: ClassDesc | ProxyDesc | None = None,
        annotation: Sequence[Part] = (END,),
    ) -> None:
        self.handle = -1
        self.interfaces = tuple(interfaces)
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.annotation = list(annotation)

    @property
    def plan(self) -> tuple[int, ...]:
        """The same as :attr:`ClassDesc.plan`; a proxy has no fields of its own."""
        return self.parent.plan if self.parent else ()


Desc = ClassDesc | ProxyDesc


class JavaObject(Node):
    """An object: its class and its parts."""

    __slots__ = ("desc", "parts")

    def __init__(self, desc: Desc | None, parts: list[Part]) -> None:
        self.handle = -1
        self.desc = desc
        self.parts = parts


class ObjectArray(Node):
    """An array of objects."""

    __slots__ = ("desc", "parts")

    def __init__(self, desc: Desc | None, parts: list[Part]) -> None:
        self.handle = -1
        self.desc = desc
        self.parts = parts


class PrimitiveArray(Node):
    """An array of numbers, as big-endian bytes."""

    __slots__ = ("data", "desc", "size")

    def __init__(self, desc: Desc | None, data: bytes, size: int) -> None:
        self.handle = -1
        self.desc = desc
        self.data = data
        self.size = size


class JavaEnum(Node):
    """A constant of an enum."""

    __slots__ = ("constant", "desc")

    def __init__(self, desc: Desc | None, constant: Part) -> None:
        self.handle = -1
        self.desc = desc
        self.constant = constant


class JavaClass(Node):
    """A class as a value."""

    __slots__ = ("desc",)

    def __init__(self, desc: Desc | None) -> None:
        self.handle = -1
        self.desc = desc


ITEM = -1
CONTENTS = -2
# as CONTENTS, where the objects among the parts may stay unparsed
MAY_BE_RUNS = -3

# nested class descriptions; QuPath's deepest chain has six
MAX_NESTED_CLASSES = 50


def _layout(desc: ClassDesc) -> Layout:
    """See :attr:`ClassDesc.layout`."""
    found: Layout = {}
    part = 0
    for owner in desc.chain():
        if not owner.flags & SERIALIZABLE:
            continue
        at = 0
        for letter, name, _ in owner.fields:
            if letter in SIZES:
                found[decode(name)] = (part, at, at + SIZES[letter])
                at += SIZES[letter]
        part += at > 0
        for letter, name, _ in owner.fields:
            if letter not in SIZES:
                found[decode(name)] = (part, 0, 0)
                part += 1
        if owner.flags & WRITE_METHOD:
            break
    return found


def _plan(desc: ClassDesc) -> tuple[int, ...]:
    if desc.flags & EXTERNALIZABLE:
        # such a class writes its superclasses itself
        return (CONTENTS,)
    steps = list(desc.parent.plan) if desc.parent else []
    if desc.flags & SERIALIZABLE:
        size = sum(SIZES.get(letter, 0) for letter, _, _ in desc.fields)
        steps += [size] if size else []
        steps += [ITEM for letter, _, _ in desc.fields if letter in "L["]
        steps += [CONTENTS] if desc.flags & WRITE_METHOD else []
    return tuple(steps)


def block(data: bytes) -> bytes:
    """Return block data with headers as Java writes them (at most 1024 bytes per block)."""
    if len(data) <= 255:
        return b"\x77" + bytes((len(data),)) + data
    return b"\x7a" + struct.pack(">i", len(data)) + data


def payload(part: Part) -> bytes:
    """Return the data of a block, without its header; empty for anything else."""
    if not isinstance(part, bytes) or len(part) < 2:
        return b""
    return part[2:] if part[0] == 0x77 else part[5:]


def encode(text: str) -> bytes:
    """Encode as Java's modified UTF-8: separate surrogates, and zero as two bytes."""
    if text.isascii() and "\0" not in text:
        return text.encode("ascii")
    units = text.encode("utf-16-be", "surrogatepass")
    parts = []
    for (unit,) in struct.iter_unpack(">H", units):
        if 0 < unit < 0x80:
            parts.append(bytes((unit,)))
        elif unit < 0x800:
            parts.append(bytes((0xC0 | unit >> 6, 0x80 | unit & 0x3F)))
        else:
            parts.append(bytes((0xE0 | unit >> 12, 0x80 | unit >> 6 & 0x3F, 0x80 | unit & 0x3F)))
    return b"".join(parts)


def decode(data: bytes) -> str:
    """Decode Java's modified UTF-8; invalid bytes become replacement characters."""
    if data.isascii():
        return data.decode("ascii")
    try:
        text = data.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise UnsupportedDataError(f"{data[:40]!r} is not a Java string") from None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
