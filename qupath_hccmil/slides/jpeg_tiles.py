"""JPEG tiles of a TIFF slide, decoded directly: OpenSlide's bits, several times as fast.

Most scanners' slides are TIFF with JPEG tiles, and decoding them is most of the time that reading
takes. OpenSlide stays the judge: what is not plainly such a file, or does not decode, is its.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tifffile

from qupath_hccmil.slides.tiff_tiles import TiffTiles

_FORMATS = {"aperio", "generic-tiff"}


def jpeg_tiles(path: Path, vendor: str, sizes: Sequence[tuple[int, int]]) -> TiffTiles | None:
    """Direct access to a slide's tiles, or None where OpenSlide must read it.

    Parameters
    ----------
    path : Path
    vendor : str
        OpenSlide's name of the format.
    sizes : sequence of (int, int)
        Width and height of its levels, px.
    """
    if vendor not in _FORMATS:
        return None
    try:
        tiff = tifffile.TiffFile(path)
    except (OSError, ValueError, tifffile.TiffFileError):
        return None
    try:
        return TiffTiles(tiff, [_page(tiff, size) for size in sizes])
    except (OSError, ValueError, tifffile.TiffFileError):
        tiff.close()
        return None


def _page(tiff: tifffile.TiffFile, size: tuple[int, int]) -> tifffile.TiffPage:
    for page in tiff.pages:
        if isinstance(page, tifffile.TiffPage) and _is_plain(page, size):
            return page
    raise ValueError(f"there is no level of {size[0]} × {size[1]} px in JPEG tiles")


def _is_plain(page: tifffile.TiffPage, size: tuple[int, int]) -> bool:
    return (
        (page.imagewidth, page.imagelength) == size
        and page.is_tiled
        and page.compression == tifffile.COMPRESSION.JPEG
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.samplesperpixel == 3
        and page.bitspersample == 8
        and page.imagedepth == 1
    )
