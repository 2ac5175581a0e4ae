"""TIFF files read with tifffile: those that OpenSlide cannot decode, or with several images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import tifffile
from PIL import Image

from qupath_hccmil.errors import SlideError
from qupath_hccmil.slides.slide import PyramidSlide
from qupath_hccmil.slides.tiff_tiles import TiffTiles

_REDUCED = 1
_UM = {2: 25_400.0, 3: 10_000.0}
_RGB, _SEPARATED, _YCBCR = (
    tifffile.PHOTOMETRIC.RGB,
    tifffile.PHOTOMETRIC.SEPARATED,
    tifffile.PHOTOMETRIC.YCBCR,
)
_CONVERT = "convert it to a pyramidal TIFF in RGB (QuPath: Export images > OME TIFF)"


class TiffSlide(PyramidSlide):
    """An RGB image in a TIFF file, in tiles or strips, with the levels that belong to it.

    Pixels are returned as stored, as Bio-Formats shows them: neither the orientation tag nor a
    colour profile is applied.

    Parameters
    ----------
    path : Path
    series : int or None
        Number of the image in the file as Bio-Formats counts, from 0; None for the only image.
    ignore_alpha : bool
        Ignore a fourth channel. Otherwise pixels that are not opaque are refused when they are
        read: QuPath's Bio-Formats server paints them on black if a region spans several tiles, but
        not within one tile.

    Raises
    ------
    SlideError
        The file is damaged, has no such image, or the image is not RGB with 8 bits per channel,
        or its compression cannot be decoded here.
    """

    def __init__(self, path: Path, *, series: int | None = 0, ignore_alpha: bool = False) -> None:
        self.path = path
        try:
            tiff = tifffile.TiffFile(path)
        except (OSError, ValueError, tifffile.TiffFileError) as error:
            raise SlideError(_damaged(path, error)) from error
        try:
            pages = _levels(tiff, path, series)
            self._tiles = TiffTiles(tiff, pages, ignore_alpha=ignore_alpha)
            self._sizes = [(page.imagewidth, page.imagelength) for page in pages]
            self.width, self.height = self._sizes[0]
            self.levels = tuple(
                1.0
                if size == self._sizes[0]
                else (self.width / size[0] + self.height / size[1]) / 2
                for size in self._sizes
            )
            self.mpp = _mpp(pages[0])
            self._try_one_tile(pages[0])
        except (OSError, ValueError, IndexError, KeyError, tifffile.TiffFileError) as error:
            tiff.close()
            raise SlideError(_damaged(path, error)) from error
        except BaseException:
            tiff.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._tiles.close()

    def _try_one_tile(self, page: tifffile.TiffPage) -> None:
        if self._tiles.read(0, 0, 0, 1, 1) is None:
            raise SlideError(
                f"{self.path}: its pixels cannot be decoded ({compression(page)}): the file is "
                f"damaged, or no decoder for it is installed; {_CONVERT}"
            )

    def _block(self, level: int, left: int, top: int, width: int, height: int) -> Image.Image:
        pixels = self._tiles.read(level, left, top, width, height)
        if pixels is None:
            raise SlideError(
                f"{self.path}: damaged or truncated TIFF: cannot read level {level} at "
                f"({left}, {top})"
            )
        return Image.fromarray(pixels)


def _damaged(path: Path, error: Exception) -> str:
    return f"{path}: damaged or truncated TIFF: {' '.join(str(error).split())}"


def is_tiff(path: Path) -> bool:
    """Whether a file begins like a TIFF or BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def first_page(path: Path) -> tifffile.TiffPage | None:
    """First page of a TIFF; None if no page can be read."""
    try:
        if is_tiff(path):
            with tifffile.TiffFile(path) as tiff:
                return tiff.pages.first
    except (OSError, ValueError, IndexError, tifffile.TiffFileError):
        pass
    return None


def compression(page: tifffile.TiffPage) -> str:
    """Name and number of a page's compression."""
    kind = page.compression
    return f"{getattr(kind, 'name', 'compression')} {int(kind)}"


def why_not_rgb(page: tifffile.TiffPage) -> str:
    """Why a page is not an RGB image with 8 bits per channel; empty if it is one."""
    if page.photometric == _SEPARATED:
        return "its colours are CMYK, those of a printer"
    coded = page.photometric == _YCBCR and page.compression != tifffile.COMPRESSION.JPEG
    if page.photometric not in (_RGB, _YCBCR) or coded or page.samplesperpixel not in (3, 4):
        name = getattr(page.photometric, "name", page.photometric)
        return f"its pixels are not RGB ({name}, {page.samplesperpixel} samples per pixel)"
    if page.dtype != "uint8" or page.bitspersample != 8:
        return f"it has {page.bitspersample} bits per channel"
    return ""


def _levels(tiff: tifffile.TiffFile, path: Path, series: int | None) -> list[tifffile.TiffPage]:
    images = _images(tiff)
    if series is None and len(images) > 1:
        raise SlideError(
            f"{path}: contains {len(images)} images, and it is not certain which one is meant; "
            "add the right one to a project in QuPath"
        )
    number = series or 0
    if number >= len(images):
        raise SlideError(
            f"{path}: series {number} does not exist in this image, or cannot be identified"
        )
    finest, *coarser = images[number]
    reason = why_not_rgb(finest)
    if reason:
        raise SlideError(f"{path}: {reason}, so it is not an H&E slide; or {_CONVERT}")
    size = finest.imagewidth, finest.imagelength
    return [finest, *(each for each in coarser if not why_not_rgb(each) and _is_level(each, size))]


def _images(tiff: tifffile.TiffFile) -> list[list[tifffile.TiffPage]]:
    """Pages of each image, finest first, as far as it is certain how Bio-Formats counts them."""
    if tiff.is_ome:
        images = [[_whole(level.pages[0]) for level in each.levels] for each in tiff.series]
        known = (tiff.ome_metadata or "").count("<Image ")
        mine = all(page.parent is tiff for pages in images for page in pages)
        return images if known == len(images) and mine else images[:1] if mine else []
    pages = [_whole(page) for page in tiff.pages]
    reduced = [page for page in pages if page.subfiletype & _REDUCED]
    pages = [page for page in pages if not page.subfiletype & _REDUCED] or pages[:1]
    sizes = [(page.imagewidth, page.imagelength) for page in pages]
    # Pages of one size are planes of one image; other repeated sizes are ambiguous.
    if len(set(sizes)) < len(sizes):
        pages = pages[:1]
    return [
        [page, *(_whole(each) for each in page.pages or ()), *(reduced if page is pages[0] else ())]
        for page in pages
    ]


def _whole(page: tifffile.TiffPage | tifffile.TiffFrame | None) -> tifffile.TiffPage:
    if page is None:
        raise ValueError("an image has no pixels")
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def _is_level(page: tifffile.TiffPage, size: Sequence[int]) -> bool:
    """Whether a page shows the whole image: it has the same aspect ratio."""
    width, height = page.imagewidth, page.imagelength
    return width < size[0] and abs(width * size[1] - height * size[0]) <= max(size)


def _mpp(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Pixel size in µm from the resolution tags, as OpenSlide reads it."""
    unit = _UM.get(int(page.tags.valueof("ResolutionUnit", default=0)))
    found = [page.tags.valueof(f"{axis}Resolution", default=(0, 1)) for axis in "XY"]
    if unit is None or not all(n > 0 and d > 0 for n, d in found):
        return None
    x, y = (unit * d / n for n, d in found)
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None
