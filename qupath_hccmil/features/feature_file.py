"""Files of features: HDF5, one for each slide and encoder, in the layout of CLAM and TRIDENT.

``features`` (n, d) and ``coords`` (n, 2), the top left of each tile in level-0 px. TRIDENT's
attributes stand on both datasets, and ours on the file. Files that CLAM, TRIDENT or STAMP wrote
are read as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.atomic_files import atomic_file, is_temporary
from qupath_hccmil.errors import FeatureFileError
from qupath_hccmil.features.layouts import Described, Layout, describe, places, spacing

SUFFIXES = (".h5", ".hdf5")
DEPENDS_ON = "depends_on"
# What h5py raises where the inside of a file makes no sense, depending on the part that is wrong.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)


@dataclass(frozen=True)
class SlideFeatures:
    """The features of one slide in a file; they are read when they are asked for.

    Attributes
    ----------
    path : Path
    layout : {"qupath-hccmil", "TRIDENT", "CLAM", "STAMP"}
        Whose variant of the layout it is.
    slide : str
        Name of the slide: of its image in QuPath or of its file, or else the name of this file.
    count : int
        Number of tiles, n; at least 1.
    width : int
        Numbers in a feature vector, d.
    encoder : str or None
        Name of the encoder; None where the file does not say.
    encoder_sha256 : str or None
        What determines the features of a tile, see
        :attr:`~qupath_hccmil.encoders.encoder_folder.EncoderConfig.sha256`. Only in our files.
    tile_level0_px : float or None
        Side of a tile in level-0 px. Where the file does not say, the distance between tiles;
        None if there is none, and for STAMP, whose files do not know the pixels of the slide.
    tile_px : int or None
        Side of a tile in px as it was cut for the encoder.
    mpp : float or None
        µm per px of such a tile.
    attributes : mapping
        All attributes of the file and of its datasets, as plain data.
    """

    path: Path
    layout: Layout
    slide: str
    count: int
    width: int
    encoder: str | None
    encoder_sha256: str | None
    tile_level0_px: float | None
    tile_px: int | None
    mpp: float | None
    attributes: Mapping[str, Any] = field(repr=False)

    @property
    def tile_um(self) -> float | None:
        """Side of a tile on the slide, µm; None where the file does not say."""
        if self.mpp is None or self.tile_px is None:
            return None
        return self.mpp * self.tile_px

    def coords(self, level0_mpp: float | None = None) -> NDArray[np.int64]:
        """Read the top left of each tile.

        Parameters
        ----------
        level0_mpp : float, optional
            µm per level-0 px of the slide; needed for files of STAMP, whose coordinates are in µm.

        Returns
        -------
        (n, 2) int64
            x and y, level-0 px.

        Raises
        ------
        FeatureFileError
            They cannot be read, or are in µm and `level0_mpp` is missing.
        """
        with _opened(self.path) as file:
            found = describe(file, self.path)
            if found.coords is None:
                raise FeatureFileError(
                    f"{self.path}: does not say where its tiles lie, or in which unit"
                )
            where = places(found.coords)
        if not np.isfinite(where).all():
            raise FeatureFileError(f"{self.path}: coords has values that are not numbers")
        if found.coords_um is not None:
            if level0_mpp is None:
                raise FeatureFileError(
                    f"{self.path}: its coordinates are in µm, and the pixel size of the slide is "
                    "not in the file; give the slide's µm per pixel"
                )
            where *= found.coords_um / level0_mpp
        return np.rint(where).astype(np.int64)

    def read(self, rows: slice | None = None) -> NDArray[np.float32]:
        """Read feature vectors.

        Parameters
        ----------
        rows : slice, optional
            Which; default: all.

        Returns
        -------
        (n, d) float32

        Raises
        ------
        FeatureFileError
            They cannot be read, or one is not finite.
        """
        chosen = slice(None) if rows is None else rows
        with _opened(self.path) as file:
            stored = describe(file, self.path).features
            where = (0, chosen) if stored.ndim == 3 else chosen
            found = np.empty((len(range(*chosen.indices(self.count))), self.width), np.float32)
            with np.errstate(over="ignore"):  # double floats too large for float32: said below
                found[...] = stored[where]
        finite = np.isfinite(found).all(axis=1)
        if not finite.all():
            tile = range(*chosen.indices(self.count))[int(np.argmin(finite))]
            raise FeatureFileError(
                f"{self.path}: the features of {int((~finite).sum())} of {len(found)} tiles are "
                f"not finite numbers, the first of tile {tile}; compute them again"
            )
        return found


def open_features(path: Path) -> SlideFeatures:
    """Open a file of features, ours or that of CLAM, TRIDENT or STAMP; only its head is read.

    Raises
    ------
    FeatureFileError
        It is damaged, has no tiles, or is of another layout.
    """
    if path.suffix.lower() in (".pt", ".pth"):
        raise FeatureFileError(
            f"{path}: is a file of PyTorch, which has no coordinates and may run code when it is "
            "opened; give the .h5 files (CLAM keeps them in h5_files, TRIDENT in features_*)"
        )
    with _opened(path) as file:
        found = describe(file, path)
        return SlideFeatures(
            path=path,
            layout=found.layout,
            slide=found.slide or path.stem,
            count=found.features.shape[-2],
            width=found.features.shape[-1],
            encoder=found.encoder,
            encoder_sha256=found.encoder_sha256,
            tile_level0_px=found.tile_level0_px or _spacing(found),
            tile_px=found.tile_px,
            mpp=found.mpp,
            attributes=found.attributes,
        )


def feature_files(folder: Path) -> list[Path]:
    """Find the files of features in a folder, sorted by name.

    Where the folder has none itself, but one of the folders in it has (as with CLAM's
    ``h5_files``, or after ``features`` with one encoder), those are taken.

    Raises
    ------
    FeatureFileError
        There are none, or several folders in it have some.
    """
    if not folder.is_dir():
        raise FeatureFileError(f"{folder}: there is no such folder of features")
    if found := _files_in(folder):
        return found
    inside = {each: _files_in(each) for each in sorted(folder.iterdir()) if each.is_dir()}
    filled = {each.name: files for each, files in inside.items() if files}
    if len(filled) == 1:
        return next(iter(filled.values()))
    if filled:
        raise FeatureFileError(
            f"{folder}: has features of several encoders: {', '.join(filled)}; give the folder of "
            f"one, such as {folder / next(iter(filled))}"
        )
    raise FeatureFileError(f"{folder}: has no files of features ({', '.join(SUFFIXES)})")


def write_features(
    path: Path,
    features: NDArray[np.float32],
    coords: NDArray[np.int64],
    *,
    of_file: Mapping[str, Any],
    of_features: Mapping[str, Any],
    of_coords: Mapping[str, Any],
) -> None:
    """Write a file of features completely or not at all.

    Parameters
    ----------
    path : Path
    features : (n, d) float32
    coords : (n, 2) int64
        Top left of each tile, level-0 px.
    of_file, of_features, of_coords : mapping of str to str, int, float or bool
        Attributes of the file and of the two datasets.

    Raises
    ------
    WriteError
        The system refuses.
    """
    # Made in memory: HDF5 that cannot write its own file may crash the process when it closes it.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        # Not in chunks and not compressed: read as fast as the disk, and mapped by others.
        file.create_dataset("features", data=np.asarray(features, np.float32))
        file.create_dataset("coords", data=np.asarray(coords, np.int64))
        file.attrs.update(of_file)
        file["features"].attrs.update(of_features)
        file["coords"].attrs.update(of_coords)
        file.flush()
        image = file.id.get_file_image()
    with atomic_file(path) as new:
        new.write_bytes(image)


def depends_on(features: SlideFeatures) -> Any:
    """What a file of ours says that its features follow from; None for other files."""
    stored = features.attributes.get(DEPENDS_ON)
    try:
        return json.loads(stored) if isinstance(stored, str) else None
    except ValueError:
        return None


def _files_in(folder: Path) -> list[Path]:
    return sorted(
        each
        for each in folder.iterdir()
        if each.suffix.lower() in SUFFIXES and each.is_file() and not is_temporary(each)
    )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        # Many processes may read it, on file systems without locks too.
        file = h5py.File(path, "r", locking="best-effort")
    except FileNotFoundError as error:
        raise FeatureFileError(f"{path}: there is no such file of features") from error
    except OSError as error:
        raise _damaged(path, error) from error
    with file:
        try:
            yield file
        except FeatureFileError:
            raise
        except _DAMAGE as error:
            # A part of it is missing or wrong: HDF5 notices when that part is read.
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> FeatureFileError:
    if path.is_dir():
        return FeatureFileError(f"{path}: is a folder, not a file of features")
    reason = " ".join(str(error).split())
    return FeatureFileError(f"{path}: is not an HDF5 file, or is damaged ({reason:.200})")


def _spacing(found: Described) -> float | None:
    """Distance between tiles in level-0 px, for files that do not say how large a tile is."""
    if found.coords is None or found.coords_um is not None:
        return None
    return spacing(found.coords)
