"""Tiles or strips of the pages of a TIFF, decoded one by one and cached for their neighbours."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import tifffile
from numpy.typing import NDArray

from qupath_hccmil.errors import SlideError

_CACHE_BYTES = 2**24

_RGB = NDArray[np.uint8]


class TiffTiles:
    """Pages of one TIFF with 8 bits per channel; may be read from several threads.

    Pixels are returned as stored: neither the orientation tag nor a colour profile is applied.

    Parameters
    ----------
    tiff : tifffile.TiffFile
        Open; closed by :meth:`close`.
    pages : sequence of tifffile.TiffPage
        Levels of one image, the finest first.
    ignore_alpha : bool
        Ignore a fourth channel. Otherwise pixels that are not opaque are refused.
    """

    def __init__(
        self,
        tiff: tifffile.TiffFile,
        pages: Sequence[tifffile.TiffPage],
        *,
        ignore_alpha: bool = False,
    ) -> None:
        self._tiff = tiff
        self._ignore_alpha = ignore_alpha
        self._pages = list(pages)
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, int], _RGB] = OrderedDict()
        self._cached_bytes = 0

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()

    def read(self, level: int, left: int, top: int, width: int, height: int) -> _RGB | None:
        """Read pixels of a level as (height, width, 3) RGB, white beyond the slide.

        Returns None if a tile is absent or cannot be decoded.

        Raises
        ------
        SlideError
            Some of the pixels are transparent.
        """
        page = self._pages[level]
        block = np.full((height, width, 3), 255, np.uint8)
        x0, x1 = max(left, 0), min(left + width, page.imagewidth)
        y0, y1 = max(top, 0), min(top + height, page.imagelength)
        side_x, side_y = sides(page)
        columns = -(-page.imagewidth // side_x)
        for row in range(y0 // side_y, -(-y1 // side_y)):
            for column in range(x0 // side_x, -(-x1 // side_x)):
                tile = self._tile(level, row * columns + column)
                if tile is None:
                    return None
                x, y = column * side_x, row * side_y
                a, b = max(x, x0), min(x + side_x, x1)
                c, d = max(y, y0), min(y + side_y, y1)
                part = tile[c - y : d - y, a - x : b - x]
                self._require_opaque(part)
                block[c - top : d - top, a - left : b - left] = part[..., :3]
        return block

    def _require_opaque(self, part: NDArray[np.uint8]) -> None:
        if part.shape[-1] > 3 and not self._ignore_alpha and (part[..., 3] < 255).any():
            raise SlideError(
                f"{self._tiff.filehandle.path}: is partly transparent, and it is not certain what "
                "QuPath shows there; remove its alpha channel and add the slide to the project "
                "again"
            )

    def _tile(self, level: int, index: int) -> _RGB | None:
        with self._lock:
            tile = self._cache.get((level, index))
            if tile is not None:
                self._cache.move_to_end((level, index))
                return tile
            page = self._pages[level]
            segments = [(each, self._encoded(page, each)) for each in _segments(page, index)]
        planes = [_decoded(page, encoded, each) for each, encoded in segments]
        tile = _joined(planes)
        if tile is not None:
            self._keep((level, index), tile)
        return tile

    def _encoded(self, page: tifffile.TiffPage, index: int) -> bytes:
        self._tiff.filehandle.seek(page.dataoffsets[index])
        return self._tiff.filehandle.read(page.databytecounts[index])

    def _keep(self, key: tuple[int, int], tile: _RGB) -> None:
        """Keep the last tiles of the file, because neighbouring reads share them."""
        with self._lock:
            if key not in self._cache:
                self._cached_bytes += tile.nbytes
            self._cache[key] = tile
            while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes


def sides(page: tifffile.TiffPage) -> tuple[int, int]:
    """Width and height of a page's tiles, px; a strip is a tile as wide as the page."""
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip, page.imagelength)


def _segments(page: tifffile.TiffPage, index: int) -> list[int]:
    """Indices of the data segments of a tile: one, or one for each channel."""
    if page.planarconfig == tifffile.PLANARCONFIG.CONTIG:
        return [index]
    side_x, side_y = sides(page)
    tiles = -(-page.imagewidth // side_x) * -(-page.imagelength // side_y)
    return [channel * tiles + index for channel in range(page.samplesperpixel)]


def _decoded(page: tifffile.TiffPage, encoded: bytes, index: int) -> _RGB | None:
    if not encoded or len(encoded) < page.databytecounts[index]:
        return None
    try:
        segment = page.decode(encoded, index, jpegtables=page.jpegtables)[0]
    except (RuntimeError, ValueError):
        return None
    return None if segment is None else np.asarray(segment[0])


def _joined(planes: Sequence[_RGB | None]) -> _RGB | None:
    found = [plane for plane in planes if plane is not None]
    if len(found) < len(planes):
        return None
    return found[0] if len(found) == 1 else np.concatenate(found, axis=-1)
