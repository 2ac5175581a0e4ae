"""Which annotations of an image are tumour outlines."""

from __future__ import annotations

from collections.abc import Sequence

from shapely.geometry import MultiPolygon, Polygon

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.project.model import Annotation, ImageState

TUMOUR_CLASSES = ("Tumor", "Tumour", "HCC")


def is_of_class(class_name: str | None, wanted: Sequence[str]) -> bool:
    """Whether a class is one of `wanted` or derived from one, case-insensitive.

    Examples
    --------
    >>> is_of_class("tumor: Positive", ["Tumor"]), is_of_class("Tumor bed", ["Tumor"])
    (True, False)
    """
    if class_name is None:
        return False
    parts = [part.strip().casefold() for part in class_name.split(":")]
    prefixes = {": ".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return any(_normalised(name) in prefixes for name in wanted)


def _normalised(name: str) -> str:
    return ": ".join(part.strip().casefold() for part in name.split(":"))


def tumour_annotations(
    state: ImageState, wanted: Sequence[str] = TUMOUR_CLASSES
) -> list[Annotation]:
    """Area annotations of the wanted classes, in the first plane, in QuPath's order.

    Lines, points and empty outlines are left alone, and so are other z-slices and time points.

    Raises
    ------
    AnnotationError
        There is none; the message names the classes that the image does have.
    """
    chosen = [
        annotation
        for annotation in state.annotations
        if is_of_class(annotation.class_name, wanted) and _has_area(annotation)
    ]
    if not chosen:
        raise AnnotationError(_nothing_found(state, wanted))
    return chosen


def _has_area(annotation: Annotation) -> bool:
    geometry = annotation.geometry
    return (
        isinstance(geometry, Polygon | MultiPolygon)
        and geometry.area > 0
        and annotation.z == 0
        and annotation.t == 0
    )


def _nothing_found(state: ImageState, wanted: Sequence[str]) -> str:
    name = state.entry.name
    classes = ", ".join(wanted)
    if not state.annotations:
        return f"{name}: no annotations; outline the tumour in QuPath and give it a class ({classes})"
    if any(is_of_class(annotation.class_name, wanted) for annotation in state.annotations):
        return f"{name}: the annotations of class {classes} enclose no area in the first plane"
    present = sorted({annotation.class_name or "unclassified" for annotation in state.annotations})
    return (
        f"{name}: no annotation of class {classes}; there are: {', '.join(present)} "
        "(choose with --annotation-class)"
    )
