"""Which images of a project are meant, and which of their annotations are tumour outlines."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from shapely.geometry import MultiPolygon, Polygon

from qupath_hccmil.errors import AnnotationError, ProjectError
from qupath_hccmil.project.model import Annotation, ImageEntry, ImageState, Project

TUMOUR_CLASSES = ("Tumor", "Tumour", "HCC")


def choose_images(project: Project, patterns: Sequence[str]) -> list[ImageEntry]:
    """Images whose name is one of `patterns` or matches it as a glob; all when there are none.

    Raises
    ------
    ProjectError
        A pattern matches no image, or the project has none.
    """
    entries = project.images
    if not entries:
        raise ProjectError(f"{project.path}: the project has no images; add slides in QuPath")
    chosen: set[str] = set()
    for pattern in patterns:
        exact = {entry.id for entry in entries if entry.name == pattern}
        found = exact or {entry.id for entry in entries if fnmatchcase(entry.name, pattern)}
        if not found:
            have = ", ".join(entry.name for entry in entries[:5])
            raise ProjectError(f"{project.path}: no image named {pattern}; there are: {have}")
        chosen |= found
    return [entry for entry in entries if not patterns or entry.id in chosen]


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
        return (
            f"{name}: no annotations; outline the tumour in QuPath and give it a class ({classes})"
        )
    if any(is_of_class(annotation.class_name, wanted) for annotation in state.annotations):
        return f"{name}: the annotations of class {classes} enclose no area in the first plane"
    present = sorted({annotation.class_name or "unclassified" for annotation in state.annotations})
    return (
        f"{name}: no annotation of class {classes}; there are: {', '.join(present)} "
        "(choose with --annotation-class)"
    )
