"""The interface of every slide: tiles of any position and size, read with one resampler."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qupath_hccmil.method.published_numbers import TILE_MPP, TILE_PX
from qupath_hccmil.method.tile_geometry import TileGeometry

RESAMPLER = "pillow-bilinear"
"""Pillow's antialiased BILINEAR: a triangle filter as wide as two output pixels, without aliasing.

Scores depend on the resampler, so models name the one they were trained with.
"""

READ_TOLERANCE = 0.1
"""A level counts as 0.25 µm/px if it is at most this share coarser: scanners give 0.23 to 0.27."""

_RGB = NDArray[np.uint8]
Box = tuple[float, float, float, float]

_Self = TypeVar("_Self", bound="Slide")
_THUMBNAIL_CELL = 256


class Slide(ABC):
    """The pixels of one image in the coordinates of QuPath's server; a context manager.

    All methods may be called from several threads at the same time.

    Attributes
    ----------
    path : Path
        The file.
    width, height : int
        Level-0 px.
    levels : tuple of float
        Downsample of each level, 1.0 first.
    mpp : (float, float) or None
        Size of a level-0 pixel in x and y, µm, as the file states it.
    magnification : float or None
        Magnification of the objective, such as 40, as the file states it.
    scanner : str
        The scanner as the file states it; empty if it does not.
    """

    path: Path
    width: int
    height: int
    levels: tuple[float, ...]
    mpp: tuple[float, float] | None
    magnification: float | None = None
    scanner: str = ""

    def read_tile(
        self, x: float, y: float, side_x: float, side_y: float, out: int = TILE_PX
    ) -> _RGB:
        """Read a rectangle and resample it once to a square.

        Reads the coarsest level that is at least as fine as :data:`TILE_MPP`, or level 0 if there
        is none. The resolution follows from the sides, because `out` px correspond to a tile at
        the model's resolution.

        Parameters
        ----------
        x, y, side_x, side_y : float
            In level-0 px; fractions are allowed. Pixels beyond the slide are white.
        out : int
            Side of the result, px.

        Returns
        -------
        (out, out, 3) uint8
            RGB.

        Raises
        ------
        SlideError
            The file is damaged there.
        """
        finest = TILE_MPP * (1 + READ_TOLERANCE) / TileGeometry().mpp
        downsample = finest * min(side_x, side_y) / out
        return self._resample((x, y, side_x, side_y), (out, out), downsample)

    def thumbnail(self, max_side: int) -> _RGB:
        """Return the slide as (h, w, 3) uint8 RGB, with a longer side of at most `max_side` px."""
        scale = min(1.0, max_side / max(self.width, self.height))
        width, height = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        step_x, step_y = self.width / width, self.height / height
        result = np.empty((height, width, 3), dtype=np.uint8)
        # In cells, because level 0 of a slide without a pyramid may not fit into memory.
        for top in range(0, height, _THUMBNAIL_CELL):
            for left in range(0, width, _THUMBNAIL_CELL):
                cell = result[top : top + _THUMBNAIL_CELL, left : left + _THUMBNAIL_CELL]
                rows, columns = cell.shape[:2]
                box = (left * step_x, top * step_y, columns * step_x, rows * step_y)
                cell[...] = self._resample(box, (columns, rows), min(step_x, step_y))
        return result

    @abstractmethod
    def _resample(self, box: Box, size: tuple[int, int], downsample: float) -> _RGB:
        """Resample a rectangle to `size` (width, height) px.

        Parameters
        ----------
        box : (x, y, width, height) of float
            Level-0 px.
        size : (width, height) of int
        downsample : float
            Read no level that is coarser than this, if there is one.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class PyramidSlide(Slide):
    """A slide with levels of pixels; subclasses only read blocks of whole pixels."""

    @abstractmethod
    def _block(self, level: int, left: int, top: int, width: int, height: int) -> Image.Image:
        """Read whole pixels of a level as an RGB image, white beyond the slide."""

    def _resample(self, box: Box, size: tuple[int, int], downsample: float) -> _RGB:
        fine_enough = [i for i, own in enumerate(self.levels) if own <= downsample]
        level = max(fine_enough, default=0)
        left, top, width, height = (value / self.levels[level] for value in box)
        x0, y0 = math.floor(left), math.floor(top)
        x1, y1 = math.ceil(left + width), math.ceil(top + height)
        block = self._block(level, x0, y0, x1 - x0, y1 - y0)
        inner = (left - x0, top - y0, left - x0 + width, top - y0 + height)
        return np.asarray(block.resize(size, Image.Resampling.BILINEAR, box=inner))
