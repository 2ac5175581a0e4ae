"""Features of patients in files that random tiles are read from without reading the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import DataError
from qupath_hccmil.held_files import remove_folder
from qupath_hccmil.mil.bags import bag_file
from qupath_hccmil.training.patient_features import PatientFeatures

Prepared = Callable[[str, int, int], None]
"""Called with a patient whose features are ready, its number from 1, and the number of patients."""


@dataclass(frozen=True)
class CachedFeatures:
    """The features of one patient in a file of a cache, read through a memory map.

    The map is closed after each read, because a process may have only so many files open.
    """

    patient: str
    path: Path
    tiles: int

    def __len__(self) -> int:
        return self.tiles

    def read(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Features ``(n, d)`` of some tiles, by default of all."""
        try:
            stored = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path}: was removed or is damaged; run the same command again"
            ) from error
        return np.array(stored if rows is None else stored[rows])


def cached(
    bags: Mapping[str, PatientFeatures], folder: Path, progress: Prepared | None = None
) -> dict[str, CachedFeatures]:
    """Copy features into a cache; files that were copied before a kill are used as they are.

    Parameters
    ----------
    bags : mapping of str to PatientFeatures
    folder : Path
        A copy takes 4 bytes for each number: 2 GB for 500 patients with 2,000 tiles of 512 numbers.
    progress : callable, optional

    Raises
    ------
    DataError
        Features cannot be read, or are not finite.
    WriteError
        The system refuses, for example because the disk is full.

    Notes
    -----
    HDF5 reads scattered rows slowly, and compressed files must be read whole, so that every epoch
    would read everything. The copy is float32, so that training sees what evaluation will see.
    """
    found = {}
    for number, (patient, bag) in enumerate(sorted(bags.items()), start=1):
        path = folder / bag_file(f"{patient}-{bag.stamp[:16]}")
        if not path.exists():
            _write(path, bag)
        found[patient] = CachedFeatures(patient, path, len(bag))
        if progress:
            progress(patient, number, len(bags))
    return found


def remove_cache(folder: Path) -> None:
    """Remove a cache at the end of a training."""
    with suppress(OSError):
        remove_folder(folder)


def _write(path: Path, bag: PatientFeatures) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(bag), bag.slides[0].width)}
    with atomic_file(path) as new, new.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for slide in bag.slides:
            file.write(slide.read().astype("<f4", copy=False).tobytes())
        file.flush()
        os.fsync(file.fileno())
