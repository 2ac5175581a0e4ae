"""JPEG tiles of a TIFF slide, decoded directly: the same bits as OpenSlide, several times faster.

Most scanners write TIFF with JPEG tiles, and most of the time for reading is spent on decoding
them. OpenSlide reads everything that is not clearly such a file, or that does not decode.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tifffile

from qupath_hccmil.slides.tiff_tiles import TiffTiles

_FORMATS = {"aperio", "generic-tiff"}


def jpeg_tiles(path: Path, vendor: str, sizes: Sequence[tuple[int, int]]) -> TiffTiles | None:
    """Direct access to the tiles of a slide, or None if OpenSlide must read it.

    Parameters
    ----------
    path : Path
    vendor : str
        OpenSlide's name for the format.
    sizes : sequence of (int, int)
        Width and height of each level, px.
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
