"""The slides of a user: images of a QuPath project, files in a folder, or rows of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shapely.geometry import box

from qupath_hccmil.errors import (
    AnnotationError,
    DataError,
    HccMilError,
    SlideError,
    SlideMissingError,
)
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageState, Server
from qupath_hccmil.qupath.export.patient_of_image import patient_by_key
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint
from qupath_hccmil.qupath.geojson_files import geojson_next_to, read_annotations
from qupath_hccmil.qupath.open_project import EngineChoice, open_project
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.qupath.qpproj import meant_instead
from qupath_hccmil.qupath.selection import (
    choose_images,
    has_area,
    is_of_class,
    tumour_annotations,
    tumour_outlines,
)
from qupath_hccmil.qupath.slide_location import locate_slide
from qupath_hccmil.scoring.open_image import image_in_file, open_image
from qupath_hccmil.slide_sources.file_image import FileImage
from qupath_hccmil.slide_sources.left_out import LeftOut
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.slide_files import SUFFIXES, slide_files
from qupath_hccmil.tables.table_reader import SUFFIXES as TABLE_SUFFIXES
from qupath_hccmil.tables.table_reader import find_column, read_table
from qupath_hccmil.tiles.tile_plan import TumourOutline

NO_OUTLINE, NOT_FOUND, UNREADABLE = "no tumour outline", "not found", "unreadable"
SAME_NAME = "several files with this name"


@dataclass(frozen=True)
class OutlinedSlide:
    """A slide with everything that is needed to take tiles from it.

    Attributes
    ----------
    entry : ImageEntry
    path : Path
    annotations : sequence of Annotation
        Tumour outlines; empty for the whole slide, in which only tissue is used.
    patient : str or None
        Patient according to the project's metadata.
    """

    entry: ImageEntry
    path: Path
    annotations: Sequence[Annotation]
    patient: str | None = None

    @property
    def name(self) -> str:
        """Name of the slide as the user knows it."""
        return self.entry.name

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines its tiles (outlines, pixels), as plain data."""
        server = self.entry.server
        image = image_in_file(server)
        return {
            "name": self.name,
            "file": self.path.name,
            "bytes": self.path.stat().st_size,
            "outlines": annotation_fingerprint(self.annotations),
            "calibration": [server.pixel_width, server.pixel_height],
            "views": [str(view) for view in server.views],
            # Tiles of a file's first image, which are nearly all there are, need not be made again.
            **({"image": list(image)} if image else {}),
        }

    @property
    def file_images(self) -> tuple[FileImage, ...]:
        """The image and its file, by which two entries of one image are found."""
        return (FileImage.of(self.path, self.entry),)

    def open(self) -> Slide:
        """Open the pixels, in the coordinates of the outlines."""
        return open_image(self.entry, self.path)

    def outlines(self, slide: Slide) -> list[TumourOutline]:
        """Outlines of the slide; the whole open slide if there are none."""
        if self.annotations:
            return tumour_outlines(self.annotations)
        return [TumourOutline(0, self.name, box(0, 0, slide.width, slide.height))]


@dataclass(frozen=True)
class OutlinedSlides:
    """All slides of a source, and those that cannot be used."""

    slides: list[OutlinedSlide]
    left_out: list[LeftOut] = field(default_factory=list)


def find_slides(
    source: Path,
    classes: Sequence[str],
    *,
    engine: EngineChoice = "auto",
    images: Sequence[str] = (),
    slides_dir: Path | None = None,
    patient_key: str | None = None,
) -> OutlinedSlides:
    """Find the slides of any source.

    Parameters
    ----------
    source : Path
        A QuPath project, a folder of slides, one slide, or a table with a column ``slide``.
    classes : sequence of str
        Classes of tumour outlines.
    engine, images, slides_dir, patient_key
        For a QuPath project, see :func:`project_slides`.

    Raises
    ------
    DataError
        It is none of these, there are no slides, or `images` are given without a project.
    ProjectError, EngineError
    """
    if is_project(source):
        return project_slides(
            source,
            classes,
            engine=engine,
            images=images,
            slides_dir=slides_dir,
            patient_key=patient_key,
        )
    refuse_images(source, images)
    if source.is_dir():
        return folder_slides(source, classes)
    suffix = source.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return _slides_of(table_slides(source), classes)
    if suffix in SUFFIXES and source.is_file():
        return _slides_of([source], classes)
    raise DataError(
        f"{source}: is neither a QuPath project, a slide, a folder of slides, nor a table of them"
    )


def is_project(source: Path) -> bool:
    """Whether a path is a QuPath project: its folder or its ``.qpproj``."""
    return source.suffix == ".qpproj" or (source / "project.qpproj").is_file()


def refuse_images(source: Path, images: Sequence[str]) -> None:
    """Refuse a choice of images where the source is no QuPath project: it would be passed over.

    Raises
    ------
    DataError
    """
    if images:
        raise DataError(
            f"{source}: is not a QuPath project, so --image {images[0]} can't choose in it; give a "
            "table with the column slide that names the slides to use"
        )


def project_slides(
    path: Path,
    classes: Sequence[str],
    *,
    engine: EngineChoice = "auto",
    images: Sequence[str] = (),
    slides_dir: Path | None = None,
    patient_key: str | None = None,
) -> OutlinedSlides:
    """Find the slides of a QuPath project that have a tumour outline.

    Parameters
    ----------
    path : Path
        Folder of the project, or its ``.qpproj``. Nothing in it is changed.
    classes : sequence of str
        Classes of tumour outlines.
    engine : {"auto", "paquo", "native"}
    images : sequence of str
        Names or glob patterns; empty for all.
    slides_dir : Path, optional
        Folder in which to look, by file name, for slides that have moved.
    patient_key : str, optional
        Metadata key that names the patient; by default a usual one.

    Raises
    ------
    ProjectError, EngineError
    """
    patient_of = patient_by_key(patient_key)
    found, left_out = [], []
    with open_project(path, engine) as project:
        for entry in choose_images(project, images):
            try:
                found.append(_project_slide(project, entry, classes, slides_dir, patient_of(entry)))
            except (HccMilError, OSError) as error:
                left_out.append(LeftOut("slide", entry.name, _reason(error), str(error)))
    return OutlinedSlides(found, left_out)


def folder_slides(folder: Path, classes: Sequence[str]) -> OutlinedSlides:
    """Find the slides in a folder, with outlines from GeoJSON files or else with all their tissue.

    Parameters
    ----------
    folder : Path
        See :func:`~qupath_hccmil.slides.slide_files.slide_files`. If several files have
        the same name, none is used.
    classes : sequence of str
        Classes of tumour outlines in a GeoJSON file, see
        :func:`~.geojson_files.geojson_next_to`. In a file without any class, every polygon is used.

    Raises
    ------
    DataError
        There are no slides.
    """
    found = _slides_of(slide_files(folder), classes)
    if not found.slides and not found.left_out:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{folder}: contains no slides ({suffixes}){meant_instead(folder)}")
    return found


def table_slides(table: Path) -> list[Path]:
    """Paths in the column ``slide`` of a table, each once; relative ones from the table's folder.

    Raises
    ------
    DataError
        The table cannot be read, or names no slide.
    """
    frame = read_table(table).frame
    column = find_column(frame, table, "slide", "the paths of the slides")
    paths = list(dict.fromkeys(table.parent / each for each in frame[column].dropna()))
    if not paths:
        raise DataError(f"{table}: names no slide in its column {column!r}")
    return paths


def _slides_of(files: Sequence[Path], classes: Sequence[str]) -> OutlinedSlides:
    """Slides in files, with the outlines next to them; of several with one name, none."""
    found, left_out = [], []
    names = Counter(path.name for path in files)
    for path in files:
        if names[path.name] > 1:
            left_out.append(LeftOut("slide", path.name, SAME_NAME, str(path)))
            continue
        if not path.exists():
            left_out.append(LeftOut("slide", path.name, NOT_FOUND, str(path)))
            continue
        entry = ImageEntry(path.name, path.name, Server("uri", "", path.resolve().as_uri()))
        try:
            found.append(OutlinedSlide(entry, path, _outlines_next_to(path, classes)))
        except AnnotationError as error:
            left_out.append(LeftOut("slide", path.name, NO_OUTLINE, str(error)))
    return OutlinedSlides(found, left_out)


def read_outlines(path: Path, classes: Sequence[str]) -> list[Annotation]:
    """Read tumour outlines from a GeoJSON file, in level-0 px with y down.

    Raises
    ------
    AnnotationError
        It cannot be read, or has no area of the wanted classes in the first plane.
    """
    areas = [annotation for annotation in read_annotations(path) if has_area(annotation)]
    classed = any(annotation.class_name for annotation in areas)
    chosen = [a for a in areas if not classed or is_of_class(a.class_name, classes)]
    if not chosen:
        there = sorted({a.class_name or "unclassified" for a in areas})
        raise AnnotationError(
            f"{path}: has no polygon of class {', '.join(classes)}; its classes: "
            f"{', '.join(there) or 'none'}"
        )
    return chosen


def _outlines_next_to(slide: Path, classes: Sequence[str]) -> list[Annotation]:
    path = geojson_next_to(slide)
    return [] if path is None else read_outlines(path, classes)


def _project_slide(
    project: Project,
    entry: ImageEntry,
    classes: Sequence[str],
    slides_dir: Path | None,
    patient: str | None,
) -> OutlinedSlide:
    state: ImageState = project.read(entry)
    annotations = tumour_annotations(state, classes)
    path = locate_slide(entry, project.path, project.previous_uri, slides_dir)
    return OutlinedSlide(entry, path, annotations, patient)


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (AnnotationError, NO_OUTLINE),
    (SlideMissingError, NOT_FOUND),
    (SlideError, UNREADABLE),
)


def _reason(error: Exception) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), UNREADABLE)
