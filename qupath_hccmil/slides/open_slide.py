"""Open a slide or an ordinary image."""

from __future__ import annotations

import os
from pathlib import Path

import openslide

from qupath_hccmil.errors import SlideError, SlideMissingError
from qupath_hccmil.slides.image_file import ImageFile
from qupath_hccmil.slides.openslide_file import OpenSlideFile
from qupath_hccmil.slides.slide import RESAMPLER, Slide

__all__ = ["RESAMPLER", "Slide", "open_slide"]


def open_slide(
    path: str | os.PathLike[str], *, series: int = 0, crop_to_bounds: bool = True
) -> Slide:
    """Open a file with OpenSlide where it knows the format, and otherwise with Pillow.

    Parameters
    ----------
    path : path
    series : int
        Image within the file, as in QuPath's ``--series``; OpenSlide has one a file.
    crop_to_bounds : bool
        False for QuPath's ``--no-crop``: level-0 px then start at the corner of the whole scan.

    Raises
    ------
    SlideMissingError
        There is no such file.
    SlideError
        It is not an image, damaged, truncated, or has no such series.
    """
    path = Path(path)
    if not path.is_file():
        raise SlideMissingError(f"{path}: no such file: move the slide there or give --slides DIR")
    if not _openslide_knows(path):
        return ImageFile(path, series=series)
    if series != 0:
        raise SlideError(f"{path}: no series {series}: OpenSlide reads the first image only")
    return OpenSlideFile(path, crop_to_bounds=crop_to_bounds)


def _openslide_knows(path: Path) -> bool:
    try:
        return openslide.OpenSlide.detect_format(path) is not None
    except openslide.OpenSlideError as error:
        raise SlideError(f"{path}: damaged or truncated slide: {error}") from error
