"""Which of QuPath's objects may stay unparsed: detections without children, alike one to the next.

Two records of a run may differ in what is not needed of a single one: identity, outline, values.
All else is the same, except for class and names of measurements.
"""

from __future__ import annotations

from collections.abc import Iterator

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native.javaclasses import class_name, field
from qupath_hccmil.qupath.native.javanodes import (
    CONTENTS,
    ClassDesc,
    Desc,
    JavaObject,
)
from qupath_hccmil.qupath.native.measurements import GENERAL, NUMERIC
from qupath_hccmil.qupath.native.pathobjects import (
    DETECTIONS,
    METADATA_AT,
    NAME_AT,
    PLURALS,
    PathObject,
)
from qupath_hccmil.qupath.native.record_runs import RunRules
from qupath_hccmil.qupath.native.similar_records import Free, Path


def may_have_unparsed_children(desc: Desc) -> bool:
    """Whether a class is one of QuPath's object classes."""
    return (
        isinstance(desc, ClassDesc)
        and desc.plan == (CONTENTS,)
        and desc.short in PLURALS
        and desc.name.startswith(b"qupath.lib.objects.")
    )


def what_differs(node: JavaObject) -> Free | None:
    """Return the places of class, names, map of names and texts; None where it must be parsed.

    An inline name of a measurement is not such a text, because names must be the same.
    """
    if class_name(node) not in DETECTIONS:
        return None
    try:
        view = PathObject(node)
        if view.child_count or not view.id:
            return None
        references = {(view.class_at,), *_shared_names(view)}
        return Free(references, {(NAME_AT,), (METADATA_AT,)})
    except (UnsupportedDataError, IndexError):
        return None


def _shared_names(view: PathObject) -> Iterator[Path]:
    """Yield the paths of references to objects that closed lists of measurements share.

    Raises
    ------
    UnsupportedDataError
        The list is of an unknown kind.
    """
    node = view.measurements
    if not isinstance(node, JavaObject):
        return
    kind = class_name(node)
    if kind not in (*NUMERIC, GENERAL):
        raise UnsupportedDataError("contains measurements of an unknown kind")
    if kind != GENERAL and isinstance(node.desc, ClassDesc) and field(node, "isClosed") == b"\1":
        layout = node.desc.layout
        yield from ((view.measurements_at, layout[name][0]) for name in ("names", "map"))


RUN_RULES = RunRules(may_have_unparsed_children, what_differs)
