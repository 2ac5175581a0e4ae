"""Selects images of a project, and tumour outlines among their annotations."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from shapely.geometry import MultiPolygon, Polygon

from qupath_hccmil.errors import AnnotationError, ProjectError
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageState
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.slides.inside_outline import outline_area
from qupath_hccmil.tiles.tile_plan import TumourOutline

TUMOUR_CLASSES = ("Tumor", "Tumour", "HCC")
TISSUE_CLASS = "Region*"
"""QuPath's class for regions without structures; tissue that a program found is not a tumour."""
BY_ID = "id:"


def choose_images(project: Project, patterns: Sequence[str]) -> list[ImageEntry]:
    """Choose images with a name in `patterns` or matching one as a glob; all if there are none.

    A pattern such as ``id:7`` means the image with that entry ID, because several images may have
    the same name. Composed and decomposed accents are equal, since file names and typed names may
    differ in this.

    Raises
    ------
    ProjectError
        A pattern matches no image, or the project has none.
    """
    entries = project.images
    if not entries:
        raise ProjectError(f"{project.path}: the project has no images; add slides to it in QuPath")
    chosen: set[str] = set()
    for pattern in patterns:
        found = _matching(entries, pattern)
        if not found:
            have = ", ".join(list(labels(entries).values())[:5])
            raise ProjectError(f"{project.path}: no image is named {pattern}; its images: {have}")
        chosen |= found
    return [entry for entry in entries if not patterns or entry.id in chosen]


def _matching(entries: Sequence[ImageEntry], pattern: str) -> set[str]:
    """Entry IDs of the images that match a pattern, trying the most literal meaning first."""
    same = _composed(pattern)
    names = {entry.id: _composed(entry.name) for entry in entries}
    return (
        {entry.id for entry in entries if entry.name == pattern}
        or {identity for identity, name in names.items() if name == same}
        or {identity for identity in names if f"{BY_ID}{identity}" == pattern}
        or {identity for identity, name in names.items() if fnmatchcase(name, same)}
    )


def labels(entries: Sequence[ImageEntry]) -> Mapping[str, str]:
    """Label of each image by entry ID: its name, with the ID if several have the same name."""
    known = Counter(_composed(entry.name) for entry in entries)
    return {
        entry.id: f"{entry.name} ({BY_ID}{entry.id})"
        if known[_composed(entry.name)] > 1
        else entry.name
        for entry in entries
    }


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


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
    """Area annotations of the wanted classes in the first plane, in QuPath's order.

    Lines, points, empty outlines, and other z-slices and time points are ignored.

    Raises
    ------
    AnnotationError
        There is none; the message names the classes that the image has.
    """
    chosen = [
        annotation
        for annotation in state.annotations
        if is_of_class(annotation.class_name, wanted) and has_area(annotation)
    ]
    if not chosen:
        raise AnnotationError(_nothing_found(state, wanted))
    return chosen


def tumour_outlines(annotations: Sequence[Annotation]) -> list[TumourOutline]:
    """Convert annotations to outlines for planning tiles."""
    return [
        TumourOutline(each.index, each.name or each.id, each.geometry)
        for each in annotations
        if each.geometry is not None
    ]


def on_other_planes(state: ImageState, wanted: Sequence[str] = TUMOUR_CLASSES) -> list[Annotation]:
    """Area annotations of the wanted classes that are on another z-slice or time point."""
    return [
        annotation
        for annotation in state.annotations
        if is_of_class(annotation.class_name, wanted)
        and _is_area(annotation)
        and not _in_first_plane(annotation)
    ]


def without_area(state: ImageState, wanted: Sequence[str] = TUMOUR_CLASSES) -> list[Annotation]:
    """Annotations of the wanted classes that were drawn as areas but enclose no area."""
    return [
        annotation
        for annotation in state.annotations
        if is_of_class(annotation.class_name, wanted)
        and isinstance(annotation.geometry, Polygon | MultiPolygon)
        and not _is_area(annotation)
    ]


def has_area(annotation: Annotation) -> bool:
    """Whether an annotation encloses an area in the first plane, where tiles are taken."""
    return _is_area(annotation) and _in_first_plane(annotation)


def _is_area(annotation: Annotation) -> bool:
    geometry = annotation.geometry
    return isinstance(geometry, Polygon | MultiPolygon) and outline_area(geometry) > 0


def _in_first_plane(annotation: Annotation) -> bool:
    return annotation.z == 0 and annotation.t == 0


def _nothing_found(state: ImageState, wanted: Sequence[str]) -> str:
    name = state.entry.name
    classes = ", ".join(wanted)
    if not state.annotations:
        return f"{name}: has no annotations; outline the tumour in QuPath with the class {classes}"
    if any(is_of_class(annotation.class_name, wanted) for annotation in state.annotations):
        return f"{name}: the annotations of class {classes} enclose no area in the first plane"
    present = sorted({annotation.class_name or "unclassified" for annotation in state.annotations})
    if present == [TISSUE_CLASS]:
        return (
            f"{name}: no tumour was outlined, only tissue (class {TISSUE_CLASS}); outline the "
            "tumour in QuPath and give it a class "
            f"({classes}), or score all tissue with --annotation-class '{TISSUE_CLASS}'"
        )
    return (
        f"{name}: has no annotation of class {classes}; its classes: {', '.join(present)} "
        "(choose one with --annotation-class)"
    )
