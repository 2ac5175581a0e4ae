"""The Java Object Serialization Stream, version 2: bytes to a tree of nodes, and back.

Format: Java Object Serialization Specification, chapter 6. Unchanged data are written back byte for
byte; :func:`load` refuses data for which this is not possible.

Nothing in here recurses with the depth of the data, and no length in the data is believed beyond
the bytes that are there. Where the caller says which objects may stay unparsed, runs of them are
kept as bytes (see :mod:`~qupath_hccmil.qupath.native.record_runs`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native.garbage_collection import no_collection
from qupath_hccmil.qupath.native.javanodes import (
    ARRAY,
    BLOCK,
    BLOCK_DATA,
    CLASS,
    CLASSDESC,
    CONTENTS,
    END,
    END_BLOCK,
    ENUM,
    ENUM_CODE,
    EXTERNALIZABLE,
    FIRST_HANDLE,
    ITEM,
    LONG_BLOCK,
    LONG_STRING,
    MAX_NESTED_CLASSES,
    MAY_BE_RUNS,
    NULL,
    OBJECT,
    PROXY,
    REFERENCE,
    RESET,
    RESET_CODE,
    SERIALIZABLE,
    SIZES,
    STRING,
    WRITE_METHOD,
    ClassDesc,
    Desc,
    JavaClass,
    JavaEnum,
    JavaObject,
    JavaString,
    Node,
    ObjectArray,
    Part,
    PrimitiveArray,
    ProxyDesc,
)
from qupath_hccmil.qupath.native.record_runs import Run, RunContext, RunFinder, RunRules
from qupath_hccmil.qupath.native.similar_records import Source

HEADER = b"\xac\xed\x00\x05"

# bytes that are collected before they are passed on
_CHUNK = 1 << 20

Bytes = bytes | bytearray | memoryview
Plan = Sequence[int]

# the plan of an object whose children may be unparsed
_PARENT: Plan = (MAY_BE_RUNS,)

_INT = struct.Struct(">i")
_UINT = struct.Struct(">I")
_SHORT = struct.Struct(">H")
_LONG = struct.Struct(">q")
_REFERENCE = struct.Struct(">BI")


class JavaStream(NamedTuple):
    """A parsed stream: its contents, and its class descriptions in order."""

    contents: list[Part]
    classes: list[ClassDesc]


def load(data: bytes, rules: RunRules | None = None) -> JavaStream:
    """Parse a stream, and check that it would be written back byte for byte.

    Parameters
    ----------
    data : bytes
        The whole stream.
    rules : RunRules or None
        Which objects may stay unparsed; None makes a node of each.

    Raises
    ------
    UnsupportedDataError
        The data are not such a stream, are truncated or damaged, or would not be written back
        unchanged.
    """
    stream = parse(data, rules)
    require_same(stream, data)
    return stream


def require_same(stream: JavaStream, data: bytes) -> None:
    """Check that a stream would be written back byte for byte as `data`.

    Raises
    ------
    UnsupportedDataError
        The stream would be written differently.
    """
    same = _Same(data)
    write(stream.contents, same)
    if same.position != len(data):
        raise _not_the_same()


def parse(data: bytes, rules: RunRules | None = None) -> JavaStream:
    """Parse a stream without the check that :func:`load` adds."""
    if data[:4] != HEADER:
        raise UnsupportedDataError("is not a Java serialization stream")
    finder = None
    if rules is not None:
        finder = RunFinder(RunContext(Source(data), read_record), rules)
    parser = _Parser(data, finder)
    with no_collection():
        try:
            return JavaStream(parser.contents(), parser.classes)
        except (IndexError, KeyError, struct.error) as error:
            raise UnsupportedDataError(
                f"is truncated or damaged near byte {parser.position} of {len(data)}"
            ) from error
        finally:
            # The reference cycle of the parser's methods would keep every node alive.
            parser.handlers.clear()


def serialise(contents: Sequence[Part]) -> bytes:
    """Return contents as the bytes of a stream."""
    out = bytearray()
    write(contents, out.extend)
    return bytes(out)


def write(contents: Sequence[Part], sink: Callable[[Bytes], object]) -> None:
    """Write contents as a stream; handles are assigned again, in the order of writing.

    Parameters
    ----------
    contents : sequence of Part
    sink : callable
        Called with the bytes, which are valid only during the call.
    """
    writer = _Writer(sink)
    with no_collection():
        try:
            for part in contents:
                if part is RESET:
                    writer.reset()
                else:
                    writer.write((part,))
            writer.flush()
        finally:
            writer.forget()
            writer.writers.clear()


class _Same:
    """Compares what is written with what was read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def __call__(self, content: Bytes) -> None:
        if not self.data.startswith(content, self.position):
            raise _not_the_same()
        self.position += len(content)


def _not_the_same() -> UnsupportedDataError:
    return UnsupportedDataError("contains a Java stream that could not be written back unchanged")


class _Handles(list[Node]):
    """Handles of one record: its own, and those that it refers to."""

    def __init__(self, known: dict[int, Node], first: int) -> None:
        self._known = known
        self._first = first

    def __getitem__(self, index: Any) -> Any:
        own = index - self._first
        return super().__getitem__(own) if own >= 0 else self._known[index]


def read_record(
    data: bytes, mentioned: dict[int, Node], start: int, first: int
) -> tuple[JavaObject, list[Node]]:
    """Parse a record of a run; return its node and all that have handles in it."""
    parser = _Parser(data)
    parser.position = start
    parser.handles = own = _Handles(mentioned, first)
    found: list[Part] = []
    parser.item((ITEM,), found)
    parser.handlers.clear()
    (node,) = found
    if not isinstance(node, JavaObject):
        raise KeyError
    return node, own


def record_bytes(node: JavaObject, known: Sequence[Node]) -> bytes:
    """Return the bytes of an object alone, where other nodes have the handles 0, 1 and so on."""
    out = bytearray()
    writer = _Writer(out.extend)
    try:
        for each in known:
            writer.assign(each)
        writer.write((node,))
        writer.flush()
    finally:
        writer.forget()
        writer.writers.clear()
    return bytes(out[len(HEADER) :])


class _Items(Sequence[int]):
    """The plan of an array with the stated number of items, without memory for missing ones."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, step: Any) -> Any:
        return ITEM


class _Parser:
    """Reads from `position`; a handler reads the data that follow its code.

    A handler leaves nested parts to the loop of :meth:`item`, in `opened`: what should follow (see
    `ClassDesc.plan`), and the list for it.
    """

    def __init__(self, data: bytes, finder: RunFinder | None = None) -> None:
        self.data = data
        self.position = len(HEADER)
        self.finder = finder
        self.handles: list[Node] = []
        self.opened: tuple[Plan, list[Part]] | None = None
        # the latest object that may be the first of a run, and its position
        self.latest: tuple[Part, int] = (None, 0)
        self.depth = 0
        self.unfinished: set[int] = set()
        self.classes: list[ClassDesc] = []
        self.handlers: dict[int, Callable[[], Part]] = {
            NULL: _null,
            REFERENCE: self.reference,
            CLASSDESC: self.class_desc,
            PROXY: self.proxy_desc,
            OBJECT: self.object,
            STRING: self.string,
            LONG_STRING: self.long_string,
            ARRAY: self.array,
            CLASS: self.java_class,
            ENUM_CODE: self.enum,
            BLOCK: self.block,
            LONG_BLOCK: self.long_block,
        }

    def contents(self) -> list[Part]:
        """Everything up to the end of the data."""
        found: list[Part] = []
        while self.position < len(self.data):
            if self.data[self.position] == RESET_CODE:
                self.position += 1
                self.handles = []
                if self.finder is not None:
                    self.finder.forget()
                found.append(RESET)
            else:
                self.item((ITEM,), found)
        return found

    def item(self, plan: Plan, parts: list[Part]) -> None:
        """Read the parts of a plan into a list, with all nested parts."""
        data, handlers, unpack_uint = self.data, self.handlers, _UINT.unpack_from
        stack: list[tuple[Plan, int, list[Part]]] = []
        step = 0
        while True:
            if step == len(plan):
                if not stack:
                    return
                plan, step, parts = stack.pop()
                continue
            what = plan[step]
            if what >= 0:
                parts.append(self.take(what))
                step += 1
                continue
            code = data[self.position]
            self.position += 1
            if what == ITEM:
                step += 1
            elif code == END_BLOCK:
                parts.append(END)
                step += 1
                continue
            if code == REFERENCE:
                # Every second part is a reference; calling reference() would cost more than all the
                # rest.
                index = unpack_uint(data, self.position)[0] - FIRST_HANDLE
                if index < 0:
                    raise IndexError
                node = self.handles[index]
                parts.append(node if node.__class__ is not Run else self.parsed(index))
                self.position += 4
                continue
            if what == MAY_BE_RUNS and code == OBJECT:
                self.child(parts)
            else:
                parts.append(handlers[code]())
            if self.opened is not None:
                stack.append((plan, step, parts))
                plan, parts = self.opened
                step = 0
                self.opened = None

    def take(self, size: int) -> bytes:
        """Return the next bytes; IndexError if there are too few."""
        start = self.position
        end = start + size
        if size < 0 or end > len(self.data):
            raise IndexError
        self.position = end
        return self.data[start:end]

    def number(self, form: struct.Struct) -> int:
        value: int = form.unpack_from(self.data, self.position)[0]
        self.position += form.size
        return value

    def reference(self) -> Node:
        index = self.number(_UINT) - FIRST_HANDLE
        if index < 0:
            raise IndexError
        node = self.handles[index]
        return node if node.__class__ is not Run else self.parsed(index)

    def parsed(self, index: int) -> Node:
        """Return an object with a handle in a run; its record becomes a node of the tree."""
        run = self.handles[index]
        if not isinstance(run, Run):
            raise KeyError
        number = run.at_handle(index)
        first = int(run.firsts[number])
        own = run.parse(number)
        self.handles[first : first + len(own)] = own
        return self.handles[index]

    def child(self, parts: list[Part]) -> None:
        """Read one object, or a run of objects like the previous one."""
        begun = self.position - 1
        node, before = self.latest
        if self.finder is not None and parts and parts[-1] is node and isinstance(node, JavaObject):
            run = self.finder.run(node, before, begun, self.handles)
            if run is not None:
                parts.append(run)
                self.handles.extend([run] * run.handles)
                self.position = int(run.ends[-1])
                return
        made = self.object()
        parts.append(made)
        if self.opened is not None and self.opened[0] is _PARENT:
            self.latest = (made, begun)

    def object(self) -> JavaObject:
        desc = self.desc()
        parts: list[Part] = []
        node = JavaObject(desc, parts)
        self.handles.append(node)
        if desc is None:
            raise KeyError
        self.opened = (desc.plan, parts)
        if self.finder is not None and self.finder.rules.parents(desc):
            self.opened = (_PARENT, parts)
        return node

    def array(self) -> ObjectArray | PrimitiveArray:
        desc = self.desc()
        if not isinstance(desc, ClassDesc):
            raise KeyError
        index = len(self.handles)
        self.handles.append(desc)
        count = self.number(_INT)
        kind = chr(desc.name[1])
        size = SIZES.get(kind)
        node: ObjectArray | PrimitiveArray
        if size is not None:
            node = PrimitiveArray(desc, self.take(count * size), size)
        elif kind in "L[" and 0 <= count <= len(self.data) - self.position:
            parts: list[Part] = []
            node = ObjectArray(desc, parts)
            self.opened = (_Items(count) if count > 16 else (ITEM,) * count, parts)
        else:
            raise IndexError
        self.handles[index] = node
        return node

    def string(self) -> JavaString:
        node = JavaString(self.take(self.number(_SHORT)))
        self.handles.append(node)
        return node

    def long_string(self) -> JavaString:
        node = JavaString(self.take(self.number(_LONG)))
        self.handles.append(node)
        return node

    def java_class(self) -> JavaClass:
        node = JavaClass(self.desc())
        self.handles.append(node)
        return node

    def enum(self) -> JavaEnum:
        node = JavaEnum(self.desc(), None)
        self.handles.append(node)
        node.constant = self.string_item()
        return node

    def block(self) -> bytes:
        start = self.position - 1
        self.take(1 + self.data[self.position])
        return self.data[start : self.position]

    def long_block(self) -> bytes:
        start = self.position - 1
        self.take(self.number(_INT))
        return self.data[start : self.position]

    def string_item(self) -> JavaString:
        code = self.take(1)[0]
        if code not in (STRING, REFERENCE, LONG_STRING):
            raise KeyError
        node = self.handlers[code]()
        if not isinstance(node, JavaString):
            raise KeyError
        return node

    def desc(self) -> Desc | None:
        """Read the description of a class, or a reference to one."""
        code = self.data[self.position]
        self.position += 1
        if code not in (NULL, REFERENCE, CLASSDESC, PROXY):
            raise KeyError
        node = self.handlers[code]()
        if node is not None and not isinstance(node, ClassDesc | ProxyDesc):
            raise KeyError
        if id(node) in self.unfinished:
            # a class that is its own superclass
            raise KeyError
        return node

    def class_desc(self) -> ClassDesc:
        name = self.take(self.number(_SHORT))
        node = ClassDesc(name, self.take(8), 0, ())
        self.handles.append(node)
        node.flags = self.take(1)[0]
        node.fields = tuple(self.field() for _ in range(self.number(_SHORT)))
        _check_class(node)
        node.annotation, node.parent = self.tail(node)
        self.classes.append(node)
        return node

    def field(self) -> tuple[str, bytes, Part]:
        letter = self.take(1).decode("latin-1")
        name = self.take(self.number(_SHORT))
        if letter in SIZES:
            return letter, name, None
        if letter not in "L[":
            raise KeyError
        return letter, name, self.string_item()

    def proxy_desc(self) -> ProxyDesc:
        node = ProxyDesc(())
        self.handles.append(node)
        count = self.number(_INT)
        if count > len(self.data) - self.position:
            raise IndexError
        node.interfaces = tuple(self.take(self.number(_SHORT)) for _ in range(count))
        node.annotation, node.parent = self.tail(node)
        return node

    def tail(self, node: Desc) -> tuple[list[Part], Desc | None]:
        """Read annotation and superclass, in which classes can be nested to a limited depth."""
        self.depth += 1
        if self.depth > MAX_NESTED_CLASSES:
            raise KeyError
        self.unfinished.add(id(node))
        annotation: list[Part] = []
        self.item((CONTENTS,), annotation)
        parent = self.desc()
        if parent is not None:
            node.depth = parent.depth + 1
        if node.depth > MAX_NESTED_CLASSES:
            raise KeyError
        self.unfinished.discard(id(node))
        self.depth -= 1
        return annotation, parent


def _null() -> None:
    return None


def _check_class(desc: ClassDesc) -> None:
    letters = "".join(letter for letter, _, _ in desc.fields)
    objects = letters.lstrip("".join(SIZES))
    both = desc.flags & SERIALIZABLE and desc.flags & EXTERNALIZABLE
    # without blocks, only the class itself knows the end of its data
    unbounded = desc.flags & EXTERNALIZABLE and not desc.flags & BLOCK_DATA
    known = WRITE_METHOD | SERIALIZABLE | EXTERNALIZABLE | BLOCK_DATA | ENUM
    if objects.strip("L[") or both or unbounded or desc.flags & ~known:
        raise KeyError


class _Writer:
    """Appends to `out`."""

    def __init__(self, sink: Callable[[Bytes], object]) -> None:
        self.out = bytearray(HEADER)
        self.sink = sink
        self.written: list[Node] = []
        self.next = FIRST_HANDLE
        self.writers: dict[type, Callable[..., Sequence[Part]]] = {
            JavaObject: self.object,
            ObjectArray: self.object_array,
            PrimitiveArray: self.primitive_array,
            JavaString: self.string,
            JavaEnum: self.enum,
            JavaClass: self.java_class,
            ClassDesc: self.class_desc,
            ProxyDesc: self.proxy_desc,
            Run: self.run,
        }

    def flush(self) -> None:
        """Pass on what was collected."""
        self.sink(self.out)
        # a new buffer, because the old one may still be in use
        self.out = bytearray()

    def write(self, parts: Sequence[Part]) -> None:
        """Write parts, with all nested parts."""
        writers = self.writers
        stack: list[Iterator[Part]] = []
        rest = iter(parts)
        while True:
            for part in rest:
                if type(part) is bytes:
                    self.out += part
                elif part is None:
                    self.out.append(NULL)
                elif part.handle >= 0:  # type: ignore[union-attr]
                    self.out += _REFERENCE.pack(REFERENCE, part.handle)  # type: ignore[union-attr]
                elif inside := writers[part.__class__](part):
                    stack.append(rest)
                    rest = iter(inside)
                    break
            else:
                if not stack:
                    return
                rest = stack.pop()

    def reset(self) -> None:
        """Forget all handles, as a reader of the stream will."""
        self.out += RESET
        self.forget()
        self.next = FIRST_HANDLE

    def forget(self) -> None:
        """Restore the nodes to their state before writing."""
        for node in self.written:
            node.handle = -1
        self.written = []

    def assign(self, node: Node) -> None:
        node.handle = self.next
        self.next += 1
        self.written.append(node)

    def run(self, run: Run) -> Sequence[Part]:
        for piece in run.pieces():
            if isinstance(piece, Run):
                self.unparsed(piece)
            else:
                self.write((piece,))
        return ()

    def unparsed(self, run: Run) -> None:
        """Write records unchanged, except for the handles that they refer to."""
        nodes = run.context.nodes
        while len(run):
            mentioned = run.mentioned()
            # An object that they refer to may have been part of an object that was removed; the
            # first record that refers to it then writes it.
            unknown = [row for handle, row in mentioned.items() if nodes[handle].handle < 0]
            count = min(unknown, default=len(run))
            ready = run.part(slice(0, count))
            self.flush()
            handles = {each: nodes[each].handle - FIRST_HANDLE for each in mentioned}
            moved = any(handles[each] not in (each, -1 - FIRST_HANDLE) for each in handles)
            for content in ready.rewritten(handles) if moved else ready.stretches():
                self.sink(content)
            self.next += ready.handles
            if count < len(run):
                self.write((run.copy(count),))
            run = run.part(slice(count + 1, None))

    def object(self, node: JavaObject) -> Sequence[Part]:
        if len(self.out) > _CHUNK:
            self.flush()
        self.out.append(OBJECT)
        self.desc(node.desc)
        self.assign(node)
        return node.parts

    def object_array(self, node: ObjectArray) -> Sequence[Part]:
        self.out.append(ARRAY)
        self.desc(node.desc)
        self.assign(node)
        self.out += _INT.pack(len(node.parts))
        return node.parts

    def primitive_array(self, node: PrimitiveArray) -> Sequence[Part]:
        self.out.append(ARRAY)
        self.desc(node.desc)
        self.assign(node)
        self.out += _INT.pack(len(node.data) // node.size)
        self.out += node.data
        return ()

    def string(self, node: JavaString) -> Sequence[Part]:
        self.assign(node)
        size = len(node.data)
        if size <= 0xFFFF:
            self.out.append(STRING)
            self.out += _SHORT.pack(size)
        else:
            self.out.append(LONG_STRING)
            self.out += _LONG.pack(size)
        self.out += node.data
        return ()

    def enum(self, node: JavaEnum) -> Sequence[Part]:
        self.out.append(ENUM_CODE)
        self.desc(node.desc)
        self.assign(node)
        return (node.constant,)

    def java_class(self, node: JavaClass) -> Sequence[Part]:
        self.out.append(CLASS)
        self.desc(node.desc)
        self.assign(node)
        return ()

    def desc(self, node: Desc | None) -> None:
        if node is not None and node.handle >= 0:
            self.out += _REFERENCE.pack(REFERENCE, node.handle)
        elif node is None:
            self.out.append(NULL)
        else:
            self.write((node,))

    def class_desc(self, node: ClassDesc) -> Sequence[Part]:
        self.out.append(CLASSDESC)
        self.text(node.name)
        self.out += node.suid
        self.assign(node)
        self.out.append(node.flags)
        self.out += _SHORT.pack(len(node.fields))
        for letter, name, kind in node.fields:
            self.out += letter.encode("ascii")
            self.text(name)
            if kind is not None:
                self.write((kind,))
        return (*node.annotation, node.parent)

    def proxy_desc(self, node: ProxyDesc) -> Sequence[Part]:
        self.out.append(PROXY)
        self.assign(node)
        self.out += _INT.pack(len(node.interfaces))
        for name in node.interfaces:
            self.text(name)
        return (*node.annotation, node.parent)

    def text(self, data: bytes) -> None:
        self.out += _SHORT.pack(len(data))
        self.out += data
