"""Prepared tiles of patients: normalised RGB and heat map as bytes, on disk or in memory.

A bag is prepared once, so that an epoch of training costs only the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.atomic_files import atomic_file, is_device, is_temporary
from qupath_hccmil.errors import DataError

CHANNELS = 4
SUFFIX = ".npy"

HeatMap = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Maps (n, s, s, 3) uint8 RGB to (n, s, s) heat maps in [0, 1]."""


class Bag(Protocol):
    """The tiles of one patient."""

    @property
    def patient(self) -> str:
        """Name of the patient."""
        ...

    def __len__(self) -> int: ...

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read tiles ``(n, 4, s, s)`` uint8: RGB and heat map, with 255 for 1."""
        ...


def bag_file(patient: str) -> str:
    """File name for the bag of a patient; special characters are escaped as in a URL."""
    name = quote(patient, safe=" !#$&'()+,;=@[]^`{}~") + SUFFIX
    # Windows would write the bag of a patient CON to the console
    return f"%{ord(name[0]):02X}{name[1:]}" if is_device(name) else name


class StoredBag:
    """A bag in a file written by :func:`write_bag`, read through a memory map.

    Parameters
    ----------
    path : Path
        File of the bag.
    patient : str, optional
        By default, the name of the file gives the patient, see :func:`bag_file`.

    Raises
    ------
    DataError
        The file is not such a bag.
    """

    def __init__(self, path: Path, patient: str = "") -> None:
        self.path = path
        self.patient = patient or unquote(path.name.removesuffix(SUFFIX))
        try:
            tiles = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: not a bag of tiles, or damaged ({error}); remove it to have it made again"
            ) from error
        if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[1] != CHANNELS:
            raise DataError(
                f"{path}: not a bag of tiles: it is {tiles.dtype} {tiles.shape}, but uint8 "
                f"(n, {CHANNELS}, side, side) is needed"
            )
        if not len(tiles):
            raise DataError(f"{path}: has no tiles; remove it")
        self._tiles = tiles

    def __len__(self) -> int:
        return len(self._tiles)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Tiles ``(n, 4, s, s)`` uint8."""
        return np.asarray(self._tiles[indices])


def bag_files(folder: Path) -> list[Path]:
    """Files of prepared bags in a folder, sorted, without partly written ones."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not is_temporary(path))


def stored_bags(folder: Path) -> dict[str, StoredBag]:
    """All bags in a folder, by patient.

    Raises
    ------
    DataError
        The folder has none.
    """
    bags = [StoredBag(path) for path in bag_files(folder)]
    if not bags:
        raise DataError(f"{folder}: contains no prepared bags (*{SUFFIX})")
    return {bag.patient: bag for bag in bags}


def with_heat(rgb: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Join RGB and heat map as the tile network's input.

    Parameters
    ----------
    rgb : (n, s, s, 3) uint8
    heat : (n, s, s) float32 in [0, 1]

    Returns
    -------
    (n, 4, s, s) uint8
        RGB and heat map, the latter rounded to 1/255.
    """
    tiles = np.empty((len(rgb), CHANNELS, *rgb.shape[1:3]), dtype=np.uint8)
    tiles[:, :3] = rgb.transpose(0, 3, 1, 2)
    tiles[:, 3] = np.rint(heat * 255)
    return tiles


def write_bag(
    path: Path,
    batches: Iterable[NDArray[np.uint8]],
    count: int | None,
    side: int,
    heat_map: HeatMap,
) -> StoredBag:
    """Write a bag to a file, atomically, with only one batch in memory at a time.

    Parameters
    ----------
    path : Path
        :func:`bag_file` of the patient.
    batches : iterable of (n, side, side, 3) uint8
        Stain-normalised RGB, `count` tiles in total.
    count : int or None
        Number of tiles; None if it is not known beforehand.
    side : int
    heat_map : callable

    Returns
    -------
    StoredBag

    Raises
    ------
    DataError
        There are no tiles, or another number than `count`.
    WriteError
        The system refuses, for example because the disk is full.
    """
    with atomic_file(path) as new:
        total = _write_tiles(new, batches, side, heat_map)
        if total != count and count is not None:
            raise DataError(f"{path.name}: {total} tiles, but {count} were announced")
        if not total:
            raise DataError(f"{path.name}: no tiles for this patient")
    return StoredBag(path)


def _write_tiles(
    path: Path, batches: Iterable[NDArray[np.uint8]], side: int, heat_map: HeatMap
) -> int:
    """Write tiles as they arrive, and finally their number."""
    total = 0
    with path.open("wb") as file:
        start = _write_header(file, 0, side)
        for batch in batches:
            file.write(with_heat(batch, heat_map(batch)).tobytes())
            total += len(batch)
        file.seek(0)
        if _write_header(file, total, side) != start:
            raise AssertionError("numpy leaves room for the number of tiles in a header")
        file.flush()
        os.fsync(file.fileno())
    return total


def _write_header(file: BinaryIO, count: int, side: int) -> int:
    """Begin a .npy file; returns the position of the tiles, the same for any number of them."""
    shape = (count, CHANNELS, side, side)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def draw(bag: Sized, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the indices of up to `count` random tiles of a bag, without repeats, in order."""
    if len(bag) <= count:
        return np.arange(len(bag))
    return np.sort(rng.choice(len(bag), size=count, replace=False))


def chunks(indices: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Cut indices into pieces of at most `size`."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
