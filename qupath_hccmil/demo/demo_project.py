"""Makes a QuPath project with one H&E slide and tumour outlines, ready for scoring."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from shapely.geometry import Polygon

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.demo.cmu import DownloadError, cmu_slide
from qupath_hccmil.demo.drawn import DEMO_HEIGHT, DEMO_WIDTH, DrawnSlide, draw_slide
from qupath_hccmil.errors import AnnotationError, ProjectError, SlideMissingError
from qupath_hccmil.qupath.create_project import create_project
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.new_image import NewAnnotation, NewImage, image_of_slide
from qupath_hccmil.slides.tissue_outline import tissue_outline

PROJECT_FOLDER = "qupath"
SLIDE_FOLDER = "slides"
DRAWN_NAME = "drawn-liver-tumour.tif"
TUMOUR_CLASS = "Tumor"

DRAWN_MAGNIFICATION = 40.0
PATIENT = {"Patient ID": "Demo"}


@dataclass(frozen=True)
class DemoProject:
    """A project to score and to open.

    Attributes
    ----------
    project : Path
        The ``.qpproj``.
    slide : Path
    lines : list of str
        Lines for the user that say what was made.
    drawn : DrawnSlide or None
        Ground truth, if the slide was drawn now.
    """

    project: Path
    slide: Path
    lines: list[str] = field(default_factory=list)
    drawn: DrawnSlide | None = None


def make_demo_project(
    folder: Path,
    slide: Path | None = None,
    *,
    drawn: bool = False,
    drawn_size: tuple[int, int] = (DEMO_WIDTH, DEMO_HEIGHT),
) -> DemoProject:
    """Make ``<folder>/qupath``, and ``<folder>/slides`` if the slide is not the user's own.

    An existing demo of the same slide is used as it is, so that no work in it is lost.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    slide : Path or None
        The user's slide, which stays where it is. None uses the real demo slide, or a drawn one if
        that cannot be obtained.
    drawn : bool
        Always draw the slide.
    drawn_size : (int, int)
        Width and height of a drawn slide, level-0 px.

    Raises
    ------
    SlideError
        The slide is missing, or is not a slide or image in a known format.
    AnnotationError
        No tissue was found on the user's slide.
    ProjectError
        The folder has other content, or cannot be written.
    """
    folder = folder.expanduser().resolve()
    there = folder / PROJECT_FOLDER / "project.qpproj"
    if there.is_file():
        return _earlier(there, slide, drawn)
    if slide is not None:
        return _real(folder, _own(slide), ["Slide: your own; it stays where it is."])
    if drawn:
        return _drawn(folder, drawn_size, [])
    try:
        cached = cmu_slide()
    except DownloadError as error:
        return _drawn(folder, drawn_size, [f"{error}; a slide is drawn instead."])
    copy = folder / SLIDE_FOLDER / cached.name
    with atomic_file(copy) as beside:
        shutil.copyfile(cached, beside)
    said = "Slide: CMU-1-Small-Region (OpenSlide test data, CC0): real H&E, but no liver tumour."
    return _real(folder, copy, [said])


def _own(slide: Path) -> Path:
    slide = slide.expanduser().resolve()
    if not slide.is_file():
        raise SlideMissingError(f"{slide}: no such slide; give the path of an existing file")
    return slide


def _drawn(folder: Path, size: tuple[int, int], lines: list[str]) -> DemoProject:
    path = folder / SLIDE_FOLDER / DRAWN_NAME
    truth = draw_slide(path, width=size[0], height=size[1])
    said = [
        *lines,
        "Slide: drawn by this program, with areas of atypia. It is not from a patient.",
        f"Tumour outlines: the {len(truth.tumours)} drawn nodules.",
    ]
    image = image_of_slide(path, path.name, magnification=DRAWN_MAGNIFICATION)
    project = _create(folder, image, truth.tumours, "Tumour nodule")
    return DemoProject(project, path, said, truth)


def _real(folder: Path, slide: Path, lines: list[str]) -> DemoProject:
    image = image_of_slide(slide, slide.name)
    outlines, share = tissue_outline(np.asarray(image.thumbnail), image.width, image.height)
    if not outlines:
        raise AnnotationError(f"{slide}: no tissue was found on it; choose another slide")
    project = _create(folder, image, outlines, "Tissue (stand-in for a tumour)")
    said = (
        f"Tumour outline: {len(outlines)} {'piece' if len(outlines) == 1 else 'pieces'} with "
        f"{share:.0%} of the tissue, a stand-in for what a pathologist would outline."
    )
    return DemoProject(project, slide, [*lines, said])


def _create(folder: Path, image: NewImage, outlines: list[Polygon], name: str) -> Path:
    several = len(outlines) > 1
    annotations = [
        NewAnnotation(outline, TUMOUR_CLASS, f"{name} {k}" if several else name)
        for k, outline in enumerate(outlines, 1)
    ]
    new = replace(image, metadata=PATIENT, annotations=annotations)
    return create_project(folder / PROJECT_FOLDER, [new])


def _earlier(project: Path, slide: Path | None, drawn: bool) -> DemoProject:
    """Use the demo that exists in a folder, if it is the requested one."""
    with NativeProject(project) as opened:
        names = [image.name for image in opened.images]
    wanted = DRAWN_NAME if drawn else slide.name if slide is not None else None
    if len(names) != 1 or wanted not in (None, names[0]):
        raise ProjectError(
            f"{project.parent}: contains a project with {', '.join(names) or 'no image'}, not with"
            f" {wanted or 'one slide'}; choose another folder"
        )
    path = project.parents[1] / SLIDE_FOLDER / names[0]
    line = f"{project.parent}: exists from an earlier demo and is used as it is."
    return DemoProject(project, _own(slide) if slide is not None else path, [line])
