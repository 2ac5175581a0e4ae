"""Open a slide or an ordinary image."""

from __future__ import annotations

import os
from pathlib import Path

import openslide

from qupath_hccmil.errors import SlideError, SlideMissingError
from qupath_hccmil.slides.image_file import ImageFile, pillow_decodes
from qupath_hccmil.slides.openslide_file import OpenSlideFile
from qupath_hccmil.slides.slide import RESAMPLER, Slide
from qupath_hccmil.slides.tiff_file import TiffSlide, compression, first_page

__all__ = ["RESAMPLER", "Slide", "open_slide"]


def open_slide(path: str | os.PathLike[str], *, crop_to_bounds: bool = True) -> Slide:
    """Open a file with OpenSlide if it knows the format, otherwise with Pillow or tifffile.

    Parameters
    ----------
    path : path
    crop_to_bounds : bool
        False for QuPath's ``--no-crop``: level-0 px then start at the corner of the whole scan.

    Raises
    ------
    SlideMissingError
        There is no such file.
    SlideError
        The file is not an image, is damaged or truncated, or its compression is not known here.
    """
    path = existing(path)
    vendor = openslide_vendor(path)
    if vendor is None:
        page = first_page(path)
        return ImageFile(path) if page is None or pillow_decodes(page) else TiffSlide(path)
    try:
        return OpenSlideFile(path, crop_to_bounds=crop_to_bounds)
    except SlideError:
        if vendor != "generic-tiff" or (page := first_page(path)) is None:
            raise
        kind = compression(page)
    try:
        return TiffSlide(path)
    except SlideError as error:
        raise SlideError(f"{error} (OpenSlide does not read {kind} either)") from error


def existing(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file, after checking that the file exists.

    Raises
    ------
    SlideMissingError
        There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise SlideMissingError(
            f"{path}: there is no such file; move the slide there or give --slides DIR"
        )
    return path


def openslide_vendor(path: Path) -> str | None:
    """OpenSlide's name for the format of a file; None if OpenSlide does not know it.

    Raises
    ------
    SlideError
        The file is damaged.
    """
    try:
        return openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError as error:
        raise SlideError(f"{path}: damaged or truncated slide: {error}") from error
