"""The codec of Java streams: what is read is written back byte for byte, or refused at once."""

import random
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native import measurements
from qupath_hccmil.qupath.native.javaclasses import ClassBook, hash_order, list_items, map_items
from qupath_hccmil.qupath.native.javanodes import (
    END,
    RESET,
    SIZES,
    ClassDesc,
    JavaClass,
    JavaEnum,
    JavaObject,
    JavaString,
    ObjectArray,
    Part,
    PrimitiveArray,
    ProxyDesc,
    block,
    decode,
    encode,
    payload,
)
from qupath_hccmil.qupath.native.javastream import HEADER, load, parse, serialise
from qupath_hccmil.qupath.native.measurements import NamePool
from qupath_hccmil.qupath.native.newdata import NewAnnotation, new_data
from tests.qupath.shapes import HOLED

# what Java 17 writes for: writeUTF("Data"); writeObject(new int[]{1, 2}); writeObject("a");
# then the same string again
JAVA_WROTE = bytes.fromhex(
    "aced0005 7706000444617461"
    "7572 0002 5b49 4dba602676eab2a5 02 0000 78 70 00000002 00000001 00000002"
    "7400 0161 71007e0002"
)


def a_file() -> bytes:
    annotation = NewAnnotation(HOLED, "Tumor: Positive", "ünï", locked=True)
    return new_data(
        {}, [annotation, annotation], qupath_version="0.6.0", entry_path="a::1", data_path="d"
    )


def real_files(data_dir: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(data_dir.glob("projects/*/data/1/data.qpdata"))]


class Trees:
    """Random contents with everything that the format has, shared and nested."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.type_name = JavaString.of("Ljava/lang/Object;")
        self.nodes: list[Part] = [None, JavaString.of("shared")]
        self.descs: list[ClassDesc] = []
        for _ in range(rng.randint(1, 4)):
            self.descs.append(self.desc())
        self.proxy = ProxyDesc((b"a.Iface", b"b.Iface"), rng.choice([None, *self.descs]))

    def contents(self) -> list[Part]:
        found = [self.part(3) for _ in range(self.rng.randint(0, 5))]
        if self.rng.random() < 0.2:
            # after a reset nothing is known any more, so all is written again
            found = [*found, RESET, *found]
        return found

    def desc(self) -> ClassDesc:
        rng = self.rng
        primitives = [
            (rng.choice(list(SIZES)), self.word(), None) for _ in range(rng.randint(0, 3))
        ]
        objects = [
            (rng.choice("L["), self.word(), self.type_name) for _ in range(rng.randint(0, 2))
        ]
        flags = rng.choice([0x02, 0x02, 0x03, 0x0C, 0x00])
        parent = rng.choice([None, *(each for each in self.descs if each.flags in (0x02, 0x03))])
        annotation = [self.string(), END] if rng.random() < 0.2 else [END]
        return ClassDesc(
            self.word(), rng.randbytes(8), flags, [*primitives, *objects], parent, annotation
        )

    def word(self) -> bytes:
        return encode("".join(self.rng.choices("ab$./é\0🙂", k=self.rng.randint(0, 5))))

    def string(self) -> JavaString:
        long = self.rng.random() < 0.02
        return JavaString(b"x" * 70_000 if long else self.word())

    def part(self, depth: int) -> Part:
        rng = self.rng
        if rng.random() < 0.3:
            return rng.choice(self.nodes)
        makers = [self.string, self.primitive_array, self.enum, self.java_class, self.block]
        if depth:
            makers += [lambda: self.object(depth), lambda: self.object_array(depth)] * 2
        made = rng.choice(makers)()
        if not isinstance(made, bytes):
            self.nodes.append(made)
        return made

    def block(self) -> bytes:
        return block(self.rng.randbytes(self.rng.choice([0, 1, 255, 256, 1024])))

    def primitive_array(self) -> PrimitiveArray:
        letter = self.rng.choice(list(SIZES))
        data = self.rng.randbytes(SIZES[letter] * self.rng.randint(0, 4))
        return PrimitiveArray(self.array_desc(letter), data, SIZES[letter])

    def array_desc(self, kind: str) -> ClassDesc:
        return ClassDesc(b"[" + kind.encode(), self.rng.randbytes(8), 2, ())

    def enum(self) -> JavaEnum:
        constant = self.rng.choice([self.nodes[1], self.string()])
        return JavaEnum(ClassDesc(self.word(), bytes(8), 0x12, ()), constant)

    def java_class(self) -> JavaClass:
        return JavaClass(self.rng.choice([*self.descs, self.proxy]))

    def object(self, depth: int) -> JavaObject:
        desc = self.rng.choice([*self.descs, self.proxy])
        node = JavaObject(desc, [])
        self.nodes.append(node)
        for step in desc.plan:
            if step >= 0:
                node.parts.append(self.rng.randbytes(step))
            elif step == -1:
                node.parts.append(self.item(depth - 1))
            else:
                node.parts += [self.part(depth - 1) for _ in range(self.rng.randint(0, 3))]
                node.parts.append(END)
        return node

    def object_array(self, depth: int) -> ObjectArray:
        items = [self.item(depth - 1) for _ in range(self.rng.randint(0, 3))]
        return ObjectArray(self.array_desc("Lx;"), items)

    def item(self, depth: int) -> Part:
        part = self.part(depth)
        return None if isinstance(part, bytes) else part


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_tree_comes_back_byte_for_byte(rng: random.Random) -> None:
    contents = Trees(rng).contents()
    written = serialise(contents)
    again = load(written).contents
    assert serialise(again) == written
    assert len(again) == len(contents)


def test_a_stream_of_java_is_understood() -> None:
    stream = load(JAVA_WROTE)
    head, array, text, same = stream.contents
    assert payload(head)[2:] == b"Data"
    assert isinstance(array, PrimitiveArray)
    assert struct.unpack(">2i", array.data) == (1, 2)
    assert str(text) == "a"
    assert same is text
    assert [desc.short for desc in stream.classes] == ["[I"]


def test_real_files_come_back_byte_for_byte(data_dir: Path) -> None:
    files = real_files(data_dir)
    assert len(files) >= 4
    for data in files:
        assert serialise(load(data).contents) == data


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_comes_back_the_same(data: st.DataObject) -> None:
    content = bytearray(a_file())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _refused_or_same(bytes(content))


@settings(max_examples=150, deadline=None)
@given(size=st.integers(0, len(a_file()) - 1))
def test_a_truncated_file_is_refused_or_ends_between_two_objects(size: int) -> None:
    _refused_or_same(a_file()[:size])


def test_damaged_real_files_are_refused_or_come_back_the_same(data_dir: Path) -> None:
    rng = random.Random(0)
    for original in real_files(data_dir):
        for _ in range(40):
            content = bytearray(original)
            content[rng.randrange(len(content))] = rng.randrange(256)
            _refused_or_same(bytes(content))
            _refused_or_same(original[: rng.randrange(len(original))])


def _refused_or_same(content: bytes) -> None:
    try:
        stream = load(content)
    except UnsupportedDataError:
        return
    assert serialise(stream.contents) == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a stream at all",
        HEADER + b"\x7b",  # an exception
        HEADER + b"\x71\x00\x7e\x00\x00",  # a handle that nothing has
        HEADER + b"\x71\x00\x00\x00\x00",  # a handle below the first
        HEADER + b"\x74\xff\xffabc",  # a string longer than the file
        HEADER + b"\x7c\x7f\xff\xff\xff\xff\xff\xff\xff",  # 8 exabytes
        HEADER + b"\x7c\xff\xff\xff\xff\xff\xff\xff\xff",  # -1
        HEADER + b"\x7a\x7f\xff\xff\xff",  # a block of 2 GB
        HEADER + b"\x7a\x80\x00\x00\x00",
        HEADER + b"\x7d\x7f\xff\xff\xff",  # a proxy of 2 billion interfaces
        HEADER + b"\x78",  # an end of nothing
        HEADER + b"\x73\x70",  # an object without class
        HEADER + b"\x72\x00\x01a" + bytes(8) + b"\x04\x00\x00\x78\x70",  # Externalizable, no blocks
        HEADER
        + b"\x72\x00\x01a"
        + bytes(8)
        + b"\x02\x00\x00\x78\x71\x00\x7e\x00\x00",  # own parent
        HEADER + b"\x75\x72\x00\x02[I" + bytes(8) + b"\x02\x00\x00\x78\x70\x7f\xff\xff\xff",
        HEADER + b"\x75\x72\x00\x02[L" + bytes(8) + b"\x02\x00\x00\x78\x70\x7f\xff\xff\xff",
        HEADER + (b"\x72\x00\x01a" + bytes(8) + b"\x02\x00\x00\x78") * 10_000,  # endless parents
    ],
)
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(UnsupportedDataError):
        load(content)


def _class(name: bytes, flags: int, fields: bytes, parent: bytes) -> bytes:
    """Describe a class; `parent` is another description, a mention or null."""
    head = b"\x72" + struct.pack(">H", len(name)) + name + bytes(8) + bytes((flags,))
    return head + fields + b"\x78" + parent


def test_a_long_chain_of_super_classes_is_refused() -> None:
    """Each mentions the one before: there is no nesting in it, only in what it means."""
    content = bytearray(HEADER)
    parent = b"\x70"
    for number in range(5000):
        # as a value, then as the super class of the next
        content += b"\x76" + _class(b"a", 2, b"\0\0", parent)
        parent = b"\x71" + struct.pack(">I", 0x7E0000 + 2 * number)
    with pytest.raises(UnsupportedDataError):
        load(bytes(content))


def test_a_count_takes_no_memory_before_its_items_come() -> None:
    """Arrays in arrays, each of which says that it fills the rest of the file."""
    size = 200_000
    first = b"\x75" + _class(b"[La;", 2, b"\0\0", b"\x70") + struct.pack(">i", size)
    inner = b"\x75\x71\x00\x7e\x00\x00" + struct.pack(">i", size)
    content = HEADER + first + inner * 20_000 + b"\x70" * size
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedDataError):
            load(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(content)


def test_an_array_of_many_nothings_comes_back() -> None:
    array = ObjectArray(ClassDesc(b"[La;", bytes(8), 2, ()), [None] * 5000)
    written = serialise([array])
    assert serialise(load(written).contents) == written


def test_blocks_keep_the_header_they_came_with() -> None:
    """Java writes a short one; another writer's long one is valid too."""
    content = HEADER + b"\x7a\x00\x00\x00\x01a"
    assert serialise(load(content).contents) == content


def test_depth_of_the_data_is_no_depth_of_python() -> None:
    desc = ClassDesc(b"Linked", bytes(8), 2, [("L", b"next", JavaString.of("LLinked;"))])
    node: Part = None
    for _ in range(100_000):
        node = JavaObject(desc, [node])
    written = serialise([node])
    assert serialise(load(written).contents) == written


def test_a_cycle_is_kept() -> None:
    desc = ClassDesc(b"Ring", bytes(8), 2, [("L", b"next", JavaString.of("LRing;"))])
    ring = JavaObject(desc, [])
    ring.parts.append(ring)
    again = parse(serialise([ring])).contents[0]
    assert isinstance(again, JavaObject)
    assert again.parts == [again]


def test_writing_twice_gives_the_same() -> None:
    contents = load(a_file()).contents
    assert serialise(contents) == serialise(contents) == a_file()


@given(st.text(st.characters(), max_size=20))
def test_text_comes_back(text: str) -> None:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert decode(encode(text)) == whole


def test_modified_utf8_is_javas() -> None:
    assert encode("\0") == b"\xc0\x80"
    assert encode("🙂") == b"\xed\xa0\xbd\xed\xb9\x82"


def test_maps_list_their_keys_as_java_does() -> None:
    # the names of a closed list, in the order in which QuPath 0.6.0 stored their map
    assert hash_order(["Cell: NaN", "Nucleus: Area µm^2"]) == ["Nucleus: Area µm^2", "Cell: NaN"]
    # "Aa" and "BB" have one hash code, 2112: bucket 0 of 16, in the order of insertion
    assert hash_order(["b", "BB", "a", "Aa"]) == ["BB", "Aa", "a", "b"]


def test_lists_and_maps_come_back() -> None:
    book = ClassBook()
    names = [JavaString.of(name) for name in "abc"]
    pairs = [(name, book.integer(at)) for at, name in enumerate(names)]
    lists = [book.array_list(names), book.immutable_list(names), book.unmodifiable_list(names)]
    maps = [
        book.hash_map({str(key): (key, value) for key, value in pairs}),
        book.linked_map(pairs),
    ]
    contents = load(serialise([*lists, *maps])).contents
    for each in contents[:3]:
        assert [str(item) for item in list_items(each)] == ["a", "b", "c"]
    for each in contents[3:]:
        assert [str(key) for key, _ in map_items(each)] == ["a", "b", "c"]


@pytest.mark.parametrize("wrong", [0, 1, 3, 66, -1])
def test_a_list_that_miscounts_its_items_is_damaged(wrong: int) -> None:
    node = ClassBook().array_list([JavaString.of("a"), JavaString.of("b")])
    node.parts[0] = struct.pack(">i", wrong)
    with pytest.raises(UnsupportedDataError, match="damaged list"):
        list_items(node)


def test_a_list_of_measurements_in_another_form_is_not_changed() -> None:
    """Java may leave room at its end: when ours are taken out, that could not be made again."""
    pool = NamePool(ClassBook(), immutable=True)
    node = pool.general_list({"a": 1.0})
    inner = node.parts[0]
    assert isinstance(inner, JavaObject)
    inner.parts[1] = block(struct.pack(">i", 10))
    assert measurements.read(node) == {"a": 1.0}
    with pytest.raises(UnsupportedDataError, match="no QuPath wrote"):
        pool.add(node, {"b": 2.0})
