"""Files as Bio-Formats and ImageJ show them, where they differ from OpenSlide."""

from __future__ import annotations

from pathlib import Path

import tifffile

from qupath_hccmil.errors import SlideError
from qupath_hccmil.slides.image_file import ImageFile
from qupath_hccmil.slides.open_slide import existing, openslide_vendor
from qupath_hccmil.slides.openslide_file import OpenSlideFile
from qupath_hccmil.slides.slide import Slide
from qupath_hccmil.slides.tiff_file import TiffSlide, first_page

# Formats with one image per file and no bounds, whose first series is what OpenSlide reads.
_SAME_IN_OPENSLIDE = ("aperio", "hamamatsu")
_IMAGEJ_DECODES = {1, 5, 8, 32773, 32946}


def open_as_bioformats(path: Path, series: int | None) -> Slide:
    """Open a file so that its pixels are those that Bio-Formats gives.

    Parameters
    ----------
    path : Path
    series : int or None
        Number of the image as Bio-Formats counts, from 0; None for the only image of a file.

    Raises
    ------
    SlideError
        The file is damaged or has no such image, or it is not certain what Bio-Formats shows.
    """
    path = existing(path)
    vendor = openslide_vendor(path)
    if vendor in _SAME_IN_OPENSLIDE:
        _require_first(path, series)
        return OpenSlideFile(path)
    if vendor not in (None, "generic-tiff"):
        raise SlideError(
            f"{path}: QuPath opens it with Bio-Formats, and it is not certain that OpenSlide shows "
            f"a slide by {vendor} at the same position; add it to the project with OpenSlide "
            "(QuPath: Add images > Image provider)"
        )
    if first_page(path) is not None:
        return TiffSlide(path, series=series)
    _require_first(path, series)
    return ImageFile(path, like="bioformats")


def open_as_imagej(path: Path) -> Slide:
    """Open a file so that its pixels are those that ImageJ gives.

    Raises
    ------
    SlideError
        The file is damaged, or ImageJ does not show it as RGB.
    """
    path = existing(path)
    page = first_page(path)
    if page is None:
        return ImageFile(path, like="imagej")
    plain = not (page.is_tiled or page.parent.is_bigtiff)
    if not plain or page.compression not in _IMAGEJ_DECODES or page.photometric not in _PLAIN:
        raise SlideError(
            f"{path}: QuPath opens it with ImageJ, which cannot read this kind of TIFF; add it to "
            "the project again"
        )
    return TiffSlide(path, ignore_alpha=True)


_PLAIN = {tifffile.PHOTOMETRIC.RGB}


def _require_first(path: Path, series: int | None) -> None:
    if series:
        raise SlideError(f"{path}: series {series} cannot be read; only the first one can")
