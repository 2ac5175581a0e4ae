"""Makes a project of slides, or adds slides to an existing project."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.errors import (
    AnnotationError,
    ConflictError,
    HccMilError,
    SlideError,
    SlideMissingError,
    one_line,
)
from qupath_hccmil.qupath.add_images import add_images
from qupath_hccmil.qupath.create_project import create_project
from qupath_hccmil.qupath.export.patient_of_image import PatientTable
from qupath_hccmil.qupath.geojson_files import geojson_next_to, read_annotations
from qupath_hccmil.qupath.new_image import NewAnnotation, NewImage, image_of_slide
from qupath_hccmil.qupath.qpproj import project_file, read_project
from qupath_hccmil.qupath.selection import TISSUE_CLASS, has_area
from qupath_hccmil.qupath.slide_location import locate_slide
from qupath_hccmil.qupath.writing.replace_files import WriteRun
from qupath_hccmil.qupath.writing.restore_backup import ADD
from qupath_hccmil.slides.slide_files import SUFFIXES, slide_files
from qupath_hccmil.slides.tissue_outline import tissue_outline

TISSUE_NAME = "Tissue, found by qupath-hccmil"
PATIENT_KEY = "Patient ID"
BATCH = 20
"""Number of images that are added at once; a killed run has added the previous batches."""


@dataclass(frozen=True)
class SlideChoice:
    """What the images of a project contain in addition to their slides.

    Attributes
    ----------
    outlines : Path or None
        Folder of GeoJSON files, one per slide and named after it: ``a.geojson`` for ``a.svs``.
    outline_class : str or None
        Class for outlines without a class.
    tissue : bool
        Outline the tissue of slides without outlines, with class :data:`TISSUE_CLASS`.
    patients : PatientTable or None
        Patient of each slide, by its name with or without suffix.
    """

    outlines: Path | None = None
    outline_class: str | None = None
    tissue: bool = False
    patients: PatientTable | None = None


@dataclass(frozen=True)
class SlideOutcome:
    """The outcome for one slide.

    Attributes
    ----------
    path : Path
        The slide.
    name : str
        Name of the image in the project.
    state : {"added", "there", "failed"}
    reason : str
        Why the slide failed.
    outlines : int
        Number of annotations of the image.
    notes : tuple of str
        Notes for the user.
    """

    path: Path
    name: str
    state: str
    reason: str = ""
    outlines: int = 0
    notes: tuple[str, ...] = field(default=())


def files_of(slides: Sequence[Path]) -> list[Path]:
    """List the slides in given files and folders, each once, in the given order.

    In a folder, these are the files that
    :func:`~qupath_hccmil.slides.slide_files.slide_files` finds.

    Raises
    ------
    SlideMissingError
        A folder has no slides.
    """
    files: dict[Path, None] = {}
    for path in slides:
        found = slide_files(path) if path.is_dir() else [path]
        if not found:
            known = ", ".join(sorted(SUFFIXES))
            raise SlideMissingError(f"{path}: no slides in it ({known}; TIFFs not in subfolders)")
        files.update(dict.fromkeys(found))
    return list(files)


def project_of_slides(
    folder: Path,
    slides: Iterable[Path],
    choice: SlideChoice | None = None,
    *,
    qupath_version: str = "0.5.1",
    wait: float = 0.0,
) -> Iterator[SlideOutcome]:
    """Make a project of slides, or add slides to an existing project.

    A slide that cannot be read affects no other slide. The present content of a project is not
    changed, and a slide that is in it is not added again.

    Parameters
    ----------
    folder : Path
        Folder of the project: new, empty, or that of an existing project.
    slides : iterable of Path
    choice : SlideChoice, optional
    qupath_version : {"0.5.1", "0.6.0", "0.7.0"}
        QuPath version of the files in a new project; newer versions open them too.
    wait : float
        Seconds to wait for another run of ours that is active on the project.

    Yields
    ------
    SlideOutcome
        One per slide, in order; an added slide is yielded when it is in the project.

    Raises
    ------
    ProjectError
        The folder has other content, or the project cannot be read.
    ConflictError
        QuPath saved the project in the meantime; slides that were yielded as added are in it.
    WriteError
        Another run is active, or the disk refused; slides that were yielded as added are in it.
    """
    choice = choice or SlideChoice()
    project = _existing(folder)
    with WriteRun(project.parent if project else folder, kind=ADD) as run:
        if project:
            run.begin(wait)
        known = _slides_in(project) if project else {}
        names = set(known.values())
        batch: list[tuple[NewImage, SlideOutcome]] = []
        for path in slides:
            real = os.path.realpath(path)
            if real in known:
                yield SlideOutcome(path, known[real], "there")
                continue
            name = _unused(path, names)
            try:
                made = _image(path, name, choice)
            except (HccMilError, OSError) as error:
                yield SlideOutcome(path, name, "failed", reason=one_line(error))
                continue
            known[real] = name
            names.add(name)
            batch.append(made)
            if len(batch) == BATCH:
                project = _add(run, folder, project, batch, qupath_version)
                yield from (outcome for _, outcome in batch)
                batch.clear()
        if batch:
            _add(run, folder, project, batch, qupath_version)
            yield from (outcome for _, outcome in batch)


def _existing(folder: Path) -> Path | None:
    """Return the ``.qpproj`` of a folder; None if the folder is new or empty."""
    if folder.suffix == ".qpproj" or (folder.is_dir() and any(folder.iterdir())):
        return project_file(folder)
    return None


def _slides_in(project: Path) -> dict[str, str]:
    """Name of the image for the real path of each slide that exists in a project."""
    found = read_project(project)
    known: dict[str, str] = {}
    for entry in found.images:
        try:
            path = locate_slide(entry, project, found.previous_uri)
        except SlideError:
            known[f"?{entry.id}"] = entry.name
            continue
        known[os.path.realpath(path)] = entry.name
    return known


def _add(
    run: WriteRun,
    folder: Path,
    project: Path | None,
    batch: Sequence[tuple[NewImage, SlideOutcome]],
    qupath_version: str,
) -> Path:
    images = [image for image, _ in batch]
    if project is None:
        return create_project(folder, images, qupath_version=qupath_version)
    try:
        add_images(run, project, images)
    except ConflictError as error:
        raise ConflictError(
            f"{error}; then the same command adds the slides that are missing"
        ) from error
    return project


def _unused(path: Path, names: set[str]) -> str:
    """Return the slide's file name, with its folder in front if the name is already used."""
    name, folder = path.name, path.absolute().parent
    while name in names and folder != folder.parent:
        name, folder = f"{folder.name} - {name}", folder.parent
    return name


def _image(path: Path, name: str, choice: SlideChoice) -> tuple[NewImage, SlideOutcome]:
    if not path.is_file():
        raise SlideMissingError(f"{path}: no such file")
    annotations, notes = _outlines(path, choice)
    metadata = {}
    if choice.patients is not None:
        patient = choice.patients.of_slide(path.name)
        if patient is None:
            notes.append(f"no patient in {choice.patients.path}")
        else:
            metadata[PATIENT_KEY] = patient
    image = image_of_slide(path, name, annotations=annotations, metadata=metadata)
    if annotations and not _meet(annotations, image):
        notes.append("its outlines lie beyond the slide: are they of another one?")
    if image.mpp is None:
        notes.append("the file states no pixel size: set it in QuPath, or score with --mpp")
    if choice.tissue and not annotations:
        image = _with_tissue(image)
        if not image.annotations:
            notes.append("no tissue was found on it")
    outcome = SlideOutcome(path, name, "added", outlines=len(image.annotations), notes=tuple(notes))
    return image, outcome


def _outlines(path: Path, choice: SlideChoice) -> tuple[list[NewAnnotation], list[str]]:
    """Return the given outlines of a slide, and notes about them."""
    if choice.outlines is None:
        return [], []
    found = geojson_next_to(choice.outlines / path.name)
    if found is None:
        return [], [f"no outlines of it in {choice.outlines}"]
    given = read_annotations(found)
    areas = [
        NewAnnotation(
            _valid(each.geometry), each.class_name or choice.outline_class, each.name, each.locked
        )
        for each in given
        if each.geometry is not None and has_area(each)
    ]
    if not areas:
        raise AnnotationError(f"{found}: no outline that encloses an area in the first plane")
    left = len(given) - len(areas)
    said = f"{found.name}: {left} annotations are lines, points or on other planes; left out"
    return areas, [said] if left else []


def _valid(shape: BaseGeometry) -> BaseGeometry:
    """Return areas that QuPath's library accepts; a simple polygon may cross itself."""
    if shape.is_valid or (isinstance(shape, Polygon) and not shape.interiors):
        return shape
    return _areas(shapely.make_valid(shape, method="structure", keep_collapsed=False))


def _areas(shape: BaseGeometry) -> MultiPolygon:
    parts = shapely.get_parts(shapely.get_parts(shape))
    return MultiPolygon([each for each in parts if isinstance(each, Polygon)])


def _meet(annotations: Sequence[NewAnnotation], image: NewImage) -> bool:
    slide = box(0, 0, image.width, image.height)
    bounds = [box(*each.geometry.bounds) for each in annotations]
    return bool(shapely.intersects(slide, np.array(bounds)).any())


def _with_tissue(image: NewImage) -> NewImage:
    outlines, _ = tissue_outline(np.asarray(image.thumbnail), image.width, image.height)
    several = len(outlines) > 1
    named = [
        NewAnnotation(each, TISSUE_CLASS, f"{TISSUE_NAME} {k}" if several else TISSUE_NAME)
        for k, each in enumerate(outlines, 1)
    ]
    return replace(image, annotations=named)
