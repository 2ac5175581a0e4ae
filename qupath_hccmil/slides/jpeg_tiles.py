"""JPEG tiles of a TIFF slide, decoded directly: OpenSlide's bits, several times as fast.

Most scanners' slides are TIFF with JPEG tiles, and decoding them is most of the time that reading
takes. OpenSlide stays the judge: what is not plainly such a file, or does not decode, is its.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

_FORMATS = {"aperio", "generic-tiff"}
_CACHE_BYTES = 2**24

_RGB = NDArray[np.uint8]


class JpegTiles:
    """Levels of one slide. Reads may come from several threads.

    Parameters
    ----------
    path : Path
    sizes : sequence of (int, int)
        Width and height of OpenSlide's levels, px.

    Raises
    ------
    ValueError
        The file has other levels, or they are not of JPEG tiles in RGB.
    """

    def __init__(self, path: Path, sizes: Sequence[tuple[int, int]]) -> None:
        self._tiff = tifffile.TiffFile(path)
        try:
            self._pages = [self._page(size) for size in sizes]
        except BaseException:
            self._tiff.close()
            raise
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, int], _RGB] = OrderedDict()
        self._cached_bytes = 0

    def close(self) -> None:
        """Let go of the file."""
        self._tiff.close()

    def read(self, level: int, left: int, top: int, width: int, height: int) -> _RGB | None:
        """Read px of a level as (height, width, 3) RGB, white beyond the slide.

        None where a tile is absent or does not decode.
        """
        page = self._pages[level]
        block = np.full((height, width, 3), 255, np.uint8)
        x0, x1 = max(left, 0), min(left + width, page.imagewidth)
        y0, y1 = max(top, 0), min(top + height, page.imagelength)
        side_x, side_y = page.tilewidth, page.tilelength
        columns = -(-page.imagewidth // side_x)
        for row in range(y0 // side_y, -(-y1 // side_y)):
            for column in range(x0 // side_x, -(-x1 // side_x)):
                tile = self._tile(level, row * columns + column)
                if tile is None:
                    return None
                x, y = column * side_x, row * side_y
                a, b = max(x, x0), min(x + side_x, x1)
                c, d = max(y, y0), min(y + side_y, y1)
                block[c - top : d - top, a - left : b - left] = tile[c - y : d - y, a - x : b - x]
        return block

    def _page(self, size: tuple[int, int]) -> tifffile.TiffPage:
        for page in self._tiff.pages:
            if isinstance(page, tifffile.TiffPage) and _is_plain(page, size):
                return page
        raise ValueError(f"no level of {size[0]} × {size[1]} px in JPEG tiles")

    def _tile(self, level: int, index: int) -> _RGB | None:
        with self._lock:
            tile = self._cache.get((level, index))
            if tile is not None:
                self._cache.move_to_end((level, index))
                return tile
            page = self._pages[level]
            self._tiff.filehandle.seek(page.dataoffsets[index])
            encoded = self._tiff.filehandle.read(page.databytecounts[index])
        tile = _decoded(page, encoded, index)
        if tile is not None:
            self._keep((level, index), tile)
        return tile

    def _keep(self, key: tuple[int, int], tile: _RGB) -> None:
        """Neighbours share tiles of the file: keep the last ones."""
        with self._lock:
            if key not in self._cache:
                self._cached_bytes += tile.nbytes
            self._cache[key] = tile
            while self._cached_bytes > _CACHE_BYTES:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes


def jpeg_tiles(path: Path, vendor: str, sizes: Sequence[tuple[int, int]]) -> JpegTiles | None:
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
        return JpegTiles(path, sizes)
    except (OSError, ValueError, tifffile.TiffFileError):
        return None


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


def _decoded(page: tifffile.TiffPage, encoded: bytes, index: int) -> _RGB | None:
    if not encoded or len(encoded) < page.databytecounts[index]:
        return None
    try:
        segment = page.decode(encoded, index, jpegtables=page.jpegtables)[0]
    except (RuntimeError, ValueError):
        return None
    return None if segment is None else np.asarray(segment[0])
