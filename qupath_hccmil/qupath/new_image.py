"""A new image for a project, made from a slide on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from qupath_hccmil.errors import SlideError
from qupath_hccmil.qupath.native.newdata import NewAnnotation
from qupath_hccmil.slides.open_slide import Slide, open_slide
from qupath_hccmil.slides.openslide_file import OpenSlideFile
from qupath_hccmil.slides.other_readers import open_as_bioformats, open_as_imagej

__all__ = ["NewAnnotation", "NewImage", "image_of_slide", "open_for_qupath"]

OPENSLIDE = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
IMAGEJ = "qupath.imagej.images.servers.ImageJServerBuilder"
BIOFORMATS = "qupath.lib.images.servers.bioformats.BioFormatsServerBuilder"
THUMBNAIL_PX = 1000


@dataclass(frozen=True)
class NewImage:
    """An image of a new project.

    Attributes
    ----------
    path : Path
        The slide.
    name : str
    width, height : int
        Level-0 px.
    mpp : float, (float, float) or None
        µm/px; width and height if pixels are not square. None leaves the image without
        calibration.
    downsamples : sequence of float
        Downsample of each level; 1 first.
    magnification : float or None
    metadata : mapping of str to str
        Of the project's entry.
    annotations : sequence of NewAnnotation
    thumbnail : PIL image or None
    provider : str
        QuPath's class that opens the file.
    args : sequence of str
        Arguments of that class.
    """

    path: Path
    name: str
    width: int
    height: int
    mpp: float | tuple[float, float] | None = None
    downsamples: Sequence[float] = (1.0,)
    magnification: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    annotations: Sequence[NewAnnotation] = ()
    thumbnail: Image.Image | None = None
    provider: str = OPENSLIDE
    args: Sequence[str] = ()


def open_for_qupath(path: Path) -> tuple[Slide, str, tuple[str, ...]]:
    """Open a file with the first of QuPath's readers that shows it as this program does.

    Parameters
    ----------
    path : Path

    Returns
    -------
    slide : Slide
    provider : str
        QuPath's class: OpenSlide if it knows the format, ImageJ for ordinary images, otherwise
        Bio-Formats.
    args : tuple of str
        Arguments of the class.

    Raises
    ------
    SlideError
        It is missing, damaged, or no slide or image that is known here.
    """
    slide = open_slide(path)
    if isinstance(slide, OpenSlideFile):
        return slide, OPENSLIDE, ()
    slide.close()
    try:
        return open_as_imagej(path), IMAGEJ, ()
    except SlideError:
        return open_as_bioformats(path, 0), BIOFORMATS, ("--series", "0")


def image_of_slide(
    path: Path,
    name: str,
    *,
    annotations: Sequence[NewAnnotation] = (),
    metadata: Mapping[str, str] | None = None,
    magnification: float | None = None,
) -> NewImage:
    """Read the size, resolution, levels and thumbnail of a slide.

    Parameters
    ----------
    path : Path
    name : str
        Name of the image in the project.
    annotations : sequence of NewAnnotation
    metadata : mapping of str to str
        Of the project's entry.
    magnification : float, optional
        Magnification of the objective, if the file does not state it.

    Raises
    ------
    SlideError
        It is missing, damaged, or no slide or image that is known here.
    """
    slide, provider, args = open_for_qupath(path)
    with slide:
        return NewImage(
            path=path,
            name=name,
            width=slide.width,
            height=slide.height,
            mpp=slide.mpp,
            downsamples=slide.levels,
            magnification=slide.magnification or magnification,
            metadata=metadata or {},
            annotations=annotations,
            thumbnail=Image.fromarray(slide.thumbnail(THUMBNAIL_PX)),
            provider=provider,
            args=args,
        )
