"""Java objects as QuPath and the Java library write them: classes, fields, lists, maps."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native.javanodes import (
    CONTENTS,
    END,
    ITEM,
    SERIALIZABLE,
    SIZES,
    WRITE_METHOD,
    ClassDesc,
    JavaEnum,
    JavaObject,
    JavaString,
    ObjectArray,
    Part,
    PrimitiveArray,
    block,
    encode,
    payload,
)


class _Class(NamedTuple):
    """Description of a class as it is written: serialVersionUID, flags, fields, superclass."""

    suid: str
    flags: int
    fields: str = ""
    parent: str | None = None


_EXTERNAL = 0x0C
_ONE = "0000000000000001"
_STRING = "Ljava/lang/String;"

# fields: letter name or type name, in the order of the stream
_CLASSES = {
    "java.lang.Integer": _Class("12e2a0a4f7818738", 2, "I value", "java.lang.Number"),
    "java.lang.Number": _Class("86ac951d0b94e08b", 2),
    "java.lang.Boolean": _Class("cd207280d59cfaee", 2, "Z value"),
    "java.lang.Enum": _Class("0" * 16, 0x12),
    "java.util.ArrayList": _Class("7881d21d99c7619d", 3, "I size"),
    "java.util.CollSer": _Class("578eabb63a1ba811", 3, "I tag"),
    "java.util.Collections$UnmodifiableCollection": _Class(
        "19420080cb5ef71e", 2, "Ljava/util/Collection; c"
    ),
    "java.util.Collections$UnmodifiableList": _Class(
        "fc0f2531b5ec8e10",
        2,
        "Ljava/util/List; list",
        "java.util.Collections$UnmodifiableCollection",
    ),
    "java.util.HashMap": _Class("0507dac1c31660d1", 3, "F loadFactor, I threshold"),
    "java.util.LinkedHashMap": _Class("34c04e5c106cc0fb", 2, "Z accessOrder", "java.util.HashMap"),
    "java.util.Locale": _Class(
        "7ef811609c30f9ec",
        3,
        f"I hashcode, {_STRING} country, {_STRING} extensions, {_STRING} language, "
        f"{_STRING} script, {_STRING} variant",
    ),
    "[F": _Class("0b9c818922e00c42", 2),
    "[D": _Class("3ea68c14ab635a1e", 2),
    "[B": _Class("acf317f8060854e0", 2),
    "[Ljava.lang.Object;": _Class("90ce589f1073296c", 2),
    "qupath.lib.color.ColorDeconvolutionStains": _Class(_ONE, _EXTERNAL),
    "qupath.lib.images.ImageData$ImageType": _Class("0" * 16, 0x12, "", "java.lang.Enum"),
    "qupath.lib.measurements.DefaultMeasurementList": _Class(_ONE, 2, "Ljava/util/ArrayList; list"),
    "qupath.lib.measurements.DoubleMeasurement": _Class(_ONE, 2, f"D value, {_STRING} name"),
    "qupath.lib.measurements.NumericMeasurementList$AbstractNumericMeasurementList": _Class(
        _ONE, 2, "Z isClosed, Ljava/util/Map; map, Ljava/util/List; names"
    ),
    "qupath.lib.measurements.NumericMeasurementList$FloatList": _Class(
        _ONE,
        2,
        "[F values",
        "qupath.lib.measurements.NumericMeasurementList$AbstractNumericMeasurementList",
    ),
    "qupath.lib.objects.MetadataMap": _Class(_ONE, _EXTERNAL),
    "qupath.lib.objects.PathObject": _Class(_ONE, _EXTERNAL),
    "qupath.lib.objects.PathROIObject": _Class(
        _ONE, _EXTERNAL, "", "qupath.lib.objects.PathObject"
    ),
    "qupath.lib.objects.PathRootObject": _Class(
        _ONE, _EXTERNAL, "", "qupath.lib.objects.PathObject"
    ),
    "qupath.lib.objects.PathAnnotationObject": _Class(
        _ONE, _EXTERNAL, "", "qupath.lib.objects.PathROIObject"
    ),
    "qupath.lib.objects.PathDetectionObject": _Class(
        _ONE, _EXTERNAL, "", "qupath.lib.objects.PathROIObject"
    ),
    "qupath.lib.objects.PathTileObject": _Class(
        _ONE, _EXTERNAL, "", "qupath.lib.objects.PathDetectionObject"
    ),
    "qupath.lib.objects.classes.PathClass": _Class(
        _ONE,
        2,
        f"Ljava/lang/Integer; colorRGB, {_STRING} name, "
        "Lqupath/lib/objects/classes/PathClass; parentClass",
    ),
    "qupath.lib.objects.hierarchy.PathObjectHierarchy": _Class(
        _ONE,
        2,
        "Lqupath/lib/objects/PathObject; rootObject, "
        "Lqupath/lib/objects/hierarchy/TMAGrid; tmaGrid",
    ),
    "qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep": _Class(
        _ONE, 2, f"Ljava/util/Map; map, {_STRING} name, {_STRING} script"
    ),
    "qupath.lib.plugins.workflow.Workflow": _Class(_ONE, _EXTERNAL),
    "qupath.lib.roi.RectangleROI$SerializationProxy": _Class(
        _ONE, 2, f"I c, I t, D x, D x2, D y, D y2, I z, {_STRING} name"
    ),
    "qupath.lib.roi.GeometryROI$WKBSerializationProxy": _Class(
        _ONE, 2, "I c, I t, I z, Lqupath/lib/roi/GeometryROI$GeometryStats; stats, [B wkb"
    ),
    "qupath.lib.roi.PolygonROI$SerializationProxy": _Class(
        _ONE,
        2,
        f"I c, I t, I z, {_STRING} name, Lqupath/lib/roi/ClosedShapeStatistics; stats, [F x, [F y",
    ),
}

IMMUTABLE_LIST = 1


class ClassBook:
    """Class descriptions of a stream: existing ones, and new ones as QuPath would write them.

    Parameters
    ----------
    known : iterable of ClassDesc
        The descriptions that the stream has.
    """

    def __init__(self, known: Iterable[ClassDesc] = ()) -> None:
        self._known: dict[bytes, ClassDesc] = {}
        self._types: dict[bytes, Part] = {}
        self._checked: dict[str, ClassDesc] = {}
        for desc in known:
            self._known.setdefault(desc.name, desc)
            for _, _, kind in desc.fields:
                if isinstance(kind, JavaString):
                    self._types.setdefault(kind.data, kind)

    def get(self, name: str) -> ClassDesc:
        """Return the description of a class.

        Raises
        ------
        UnsupportedDataError
            The stream has the class in another form.
        """
        checked = self._checked.get(name)
        if checked is not None:
            return checked
        wanted = _CLASSES[name]
        desc = self._known.get(encode(name))
        if desc is None:
            desc = self._make(name, wanted)
            self._known[desc.name] = desc
        elif (desc.suid.hex(), desc.flags, _describe(desc)) != (
            wanted.suid,
            wanted.flags,
            wanted.fields,
        ):
            raise UnsupportedDataError(
                f"contains {name} in an unknown form; open and save the image with QuPath 0.5 to "
                "0.7"
            )
        self._checked[name] = desc
        return desc

    def _make(self, name: str, wanted: _Class) -> ClassDesc:
        fields = [self._field(*field.split(" ")) for field in wanted.fields.split(", ") if field]
        return ClassDesc(
            encode(name),
            bytes.fromhex(wanted.suid),
            wanted.flags,
            fields,
            self.get(wanted.parent) if wanted.parent else None,
        )

    def _field(self, kind: str, name: str) -> tuple[str, bytes, Part]:
        letter = kind[0]
        if kind in SIZES:
            return letter, encode(name), None
        data = encode(kind)
        return letter, encode(name), self._types.setdefault(data, JavaString(data))

    def object(self, name: str, *parts: Part) -> JavaObject:
        """Make an object of a class."""
        return JavaObject(self.get(name), list(parts))

    def integer(self, value: int) -> JavaObject:
        """Make a java.lang.Integer."""
        return self.object("java.lang.Integer", struct.pack(">i", value))

    def boolean(self, value: bool) -> JavaObject:
        """Make a java.lang.Boolean."""
        return self.object("java.lang.Boolean", bytes((value,)))

    def array(self, items: Sequence[Part]) -> ObjectArray:
        """Make an Object[]."""
        return ObjectArray(self.get("[Ljava.lang.Object;"), list(items))

    def floats(self, data: bytes) -> PrimitiveArray:
        """Make a float[] from big-endian bytes."""
        return PrimitiveArray(self.get("[F"), data, 4)

    def array_list(self, items: Sequence[Part]) -> JavaObject:
        """Make a java.util.ArrayList."""
        size = struct.pack(">i", len(items))
        return self.object("java.util.ArrayList", size, block(size), *items, END)

    def immutable_list(self, items: Sequence[Part]) -> JavaObject:
        """Make a list as List.copyOf writes it."""
        tag = struct.pack(">i", IMMUTABLE_LIST)
        size = block(struct.pack(">i", len(items)))
        return self.object("java.util.CollSer", tag, size, *items, END)

    def unmodifiable_list(self, items: Sequence[Part]) -> JavaObject:
        """Make a list as Collections.unmodifiableList(new ArrayList) writes it."""
        inner = self.array_list(items)
        return self.object("java.util.Collections$UnmodifiableList", inner, inner)

    def hash_map(self, items: Mapping[str, tuple[JavaString, Part]]) -> JavaObject:
        """Make a java.util.HashMap that was filled in the order of `items`."""
        ordered = [items[key] for key in hash_order(list(items))]
        return self.object("java.util.HashMap", *_map_parts(ordered), END)

    def linked_map(self, items: Sequence[tuple[Part, Part]]) -> JavaObject:
        """Make a java.util.LinkedHashMap."""
        return self.object("java.util.LinkedHashMap", *_map_parts(items), END, b"\0")


def _describe(desc: ClassDesc) -> str:
    kinds = ((str(kind) if kind else letter, name) for letter, name, kind in desc.fields)
    return ", ".join(f"{kind} {name.decode('utf-8', 'replace')}" for kind, name in kinds)


def _map_parts(items: Sequence[tuple[Part, Part]]) -> Iterator[Part]:
    buckets = _buckets(len(items))
    yield struct.pack(">fi", 0.75, buckets * 3 // 4)
    yield block(struct.pack(">ii", buckets, len(items)))
    for key, value in items:
        yield key
        yield value


def _buckets(size: int) -> int:
    buckets = 16
    while size > buckets * 3 // 4:
        buckets *= 2
    return buckets


def hash_order(keys: Sequence[str]) -> list[str]:
    """Return strings in the order in which a java.util.HashMap lists them."""
    buckets = _buckets(len(keys))
    return sorted(keys, key=lambda key: _spread(key) & (buckets - 1))


def _spread(text: str) -> int:
    value = 0
    for (unit,) in struct.iter_unpack(">H", text.encode("utf-16-be", "surrogatepass")):
        value = (31 * value + unit) & 0xFFFFFFFF
    return value ^ value >> 16


def class_name(part: Part) -> str:
    """Return the class name of an object without its package; empty if it is not an object."""
    desc = getattr(part, "desc", None)
    return desc.short if desc.__class__ is ClassDesc else ""


def field(node: Part, name: str) -> Part:
    """Return a field of a Serializable object, from its own class or a superclass.

    Primitive values are big-endian bytes.

    Raises
    ------
    UnsupportedDataError
        There is no such field, or it comes after data that a class wrote with its own method.
    """
    desc = getattr(node, "desc", None)
    if isinstance(node, JavaObject) and isinstance(desc, ClassDesc) and name in desc.layout:
        at, first, end = desc.layout[name]
        part = node.parts[at]
        return part[first:end] if end and isinstance(part, bytes) else part
    raise UnsupportedDataError(f"contains a {class_name(node) or 'null'} without {name}")


def has_field(node: Part, name: str) -> bool:
    """Whether :func:`field` finds the field."""
    desc = getattr(node, "desc", None)
    return isinstance(desc, ClassDesc) and name in desc.layout


def written(node: JavaObject, owner: str) -> tuple[int, int]:
    """Start and end of the parts that a class wrote with its own method, without END."""
    at = 0
    for each in node.desc.chain() if isinstance(node.desc, ClassDesc) else ():
        for step in _own_plan(each):
            if step != CONTENTS:
                at += 1
                continue
            end = at
            while node.parts[end] != END:
                end += 1
            if each.name == encode(owner):
                return at, end
            at = end + 1
    raise UnsupportedDataError(f"contains a {class_name(node)} without the data of {owner}")


def _own_plan(desc: ClassDesc) -> list[int]:
    if not desc.flags & SERIALIZABLE:
        return []
    letters = [letter for letter, _, _ in desc.fields]
    steps = [1] if any(letter in SIZES for letter in letters) else []
    steps += [ITEM for letter in letters if letter not in SIZES]
    return steps + ([CONTENTS] if desc.flags & WRITE_METHOD else [])


def _unwrapped(node: Part, inner: str) -> Part:
    """Remove unmodifiable and synchronised wrappers of java.util.Collections."""
    # Two wrappers are usual; in a damaged file, one may wrap itself.
    for _ in range(10):
        if not class_name(node).startswith("Collections$") or not has_field(node, inner):
            return node
        node = field(node, inner)
    raise UnsupportedDataError("contains a list in too many wrappers")


def list_items(node: Part) -> list[Part]:
    """Return the items of a java.util list, of the kinds that QuPath stores.

    Raises
    ------
    UnsupportedDataError
        The list is of another kind.
    """
    node = _unwrapped(node, "list")
    kind = class_name(node)
    if isinstance(node, JavaObject):
        if kind in ("ArrayList", "CollSer"):
            start, end = written(node, f"java.util.{kind}")
            if kind == "ArrayList" and integer_value(node.parts[0]) != end - start - 1:
                raise UnsupportedDataError("contains a damaged list")
            return node.parts[start + 1 : end]
        if kind == "Arrays$ArrayList":
            array = field(node, "a")
            return array.parts if isinstance(array, ObjectArray) else []
        if kind == "Collections$EmptyList":
            return []
    raise UnsupportedDataError(f"contains an unknown list ({kind or node!r:.40})")


def map_items(node: Part) -> list[tuple[Part, Part]]:
    """Return keys and values of a java.util map; empty for null.

    Raises
    ------
    UnsupportedDataError
        The map is of a kind that QuPath does not store.
    """
    if node is None:
        return []
    node = _unwrapped(node, "m")
    kind = class_name(node)
    if not isinstance(node, JavaObject):
        raise UnsupportedDataError("contains an unknown map")
    if kind in ("HashMap", "LinkedHashMap", "CollSer"):
        start, end = written(node, "java.util." + kind.removeprefix("Linked"))
        items = node.parts[start + 1 : end]
    elif kind == "Collections$SingletonMap":
        items = [field(node, "k"), field(node, "v")]
    elif kind == "Collections$EmptyMap":
        items = []
    else:
        raise UnsupportedDataError(f"contains an unknown map ({kind})")
    if len(items) % 2:
        raise UnsupportedDataError(f"contains a damaged map ({kind})")
    return list(zip(items[::2], items[1::2], strict=True))


def text(part: Part) -> str | None:
    """Return the text of a string; None for anything else."""
    return str(part) if isinstance(part, JavaString) else None


def integer_value(part: Part) -> int | None:
    """Return the value of an Integer object, or of four bytes."""
    if class_name(part) == "Integer":
        part = field(part, "value")
    if isinstance(part, bytes) and len(part) == 4:
        return int.from_bytes(part, "big", signed=True)
    return None


def block_int(part: Part) -> int:
    """Return the number in a block of four bytes.

    Raises
    ------
    UnsupportedDataError
        The part is not such a block.
    """
    data = payload(part)
    if len(data) != 4:
        raise UnsupportedDataError("contains an object with unknown contents")
    return int.from_bytes(data, "big", signed=True)


def enum_name(part: Part) -> str:
    """Return the name of an enum's constant."""
    return str(part.constant) if isinstance(part, JavaEnum) else ""
