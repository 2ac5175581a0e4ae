"""Writes a pyramidal tiled TIFF block by block, with a resolution for OpenSlide and QuPath."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from qupath_hccmil.atomic_files import atomic_file

TILE = 512
FACTOR = 4
JPEG_QUALITY = 90

Pixels = NDArray[np.uint8]


def write_pyramid(
    path: Path, width: int, height: int, mpp: float, paint: Callable[[int, int, int, int], Pixels]
) -> None:
    """Write a slide from a function that paints blocks.

    One block and the second level (1/16 of the pixels) are in memory. A failure leaves no file.

    Parameters
    ----------
    path : Path
        Ends in ``.tif`` or ``.tiff``.
    width, height : int
        Level-0 px.
    mpp : float
        µm per px; stored as the TIFF resolution.
    paint : callable
        Maps ``(x, y, width, height)`` in level-0 px to (height, width, 3) uint8 RGB.

    Raises
    ------
    WriteError
        The file cannot be written.
    """
    big = width * height > 2**31
    with atomic_file(path) as beside, tifffile.TiffWriter(beside, bigtiff=big) as tiff:
        reduced = np.full((-(-height // FACTOR), -(-width // FACTOR), 3), 255, np.uint8)
        _write_level(tiff, _blocks(width, height, paint, reduced), width, height, mpp, 0)
        level = 1
        while True:
            scaled_mpp = mpp * FACTOR**level
            _write_level(tiff, _tiles(reduced), *reduced.shape[1::-1], scaled_mpp, level)
            if max(reduced.shape) <= 2 * TILE:
                break
            reduced = _reduce(reduced)
            level += 1


def _write_level(
    tiff: tifffile.TiffWriter,
    tiles: Iterator[Pixels],
    width: int,
    height: int,
    mpp: float,
    level: int,
) -> None:
    """Write one directory of the file; all except the first are marked as reduced images."""
    tiff.write(
        tiles,
        shape=(height, width, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb",
        subsampling=(2, 2),
        compression="jpeg",
        compressionargs={"level": JPEG_QUALITY},
        resolution=(1e4 / mpp, 1e4 / mpp),
        resolutionunit="CENTIMETER",
        subfiletype=int(level > 0),
        software="qupath-hccmil",
        metadata=None,
    )


def _blocks(
    width: int, height: int, paint: Callable[[int, int, int, int], Pixels], reduced: Pixels
) -> Iterator[Pixels]:
    """Yield level-0 tiles in file order, and fill `reduced` with their quarter-size copies."""
    small = TILE // FACTOR
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            wide, high = min(TILE, width - x), min(TILE, height - y)
            block = _extend(paint(x, y, wide, high), TILE - high, TILE - wide)
            target = reduced[y // FACTOR :, x // FACTOR :][:small, :small]
            target[:] = _reduce(block)[: target.shape[0], : target.shape[1]]
            yield block


def _tiles(image: Pixels) -> Iterator[Pixels]:
    """Yield the tiles of an image in file order, with those at the border filled up."""
    for y in range(0, image.shape[0], TILE):
        for x in range(0, image.shape[1], TILE):
            part = image[y : y + TILE, x : x + TILE]
            yield _extend(part, TILE - part.shape[0], TILE - part.shape[1])


def _extend(image: Pixels, rows: int, columns: int) -> Pixels:
    """Repeat the last row and column, so that JPEG has no ringing in tiles at the border."""
    return np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="edge")


def _reduce(image: Pixels) -> Pixels:
    """Reduce an image to a quarter by the mean of 4 x 4 pixels, repeating the last ones."""
    image = _extend(image, -image.shape[0] % FACTOR, -image.shape[1] % FACTOR)
    size = (image.shape[1] // FACTOR, image.shape[0] // FACTOR)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
