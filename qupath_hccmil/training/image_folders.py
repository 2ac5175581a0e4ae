"""Tiles from folders of images: one folder per patient, and every image is a field of view."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.nuclei.dice_evaluation import window_starts
from qupath_hccmil.nuclei.image_mask_folders import SUFFIXES, image_size, read_image
from qupath_hccmil.slide_sources.file_image import FileImage, refuse_images_of_two_patients
from qupath_hccmil.stain.vahadane import Normalizer, fit
from qupath_hccmil.training.random_tiles import TileSettings

_FIT_TILES = 24
_BATCH = 8


def patient_images(folder: Path) -> dict[str, list[Path]]:
    """Images of each patient, from one subfolder per patient, which may be a link.

    Raises
    ------
    DataError
        There is no subfolder with images, or two are the same folder or have the same image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder")
    patients = {}
    real: dict[str, Path] = {}
    for path, images in _with_images(folder):
        patients[path.name] = images
        same = real.setdefault(os.path.realpath(path), path)
        if same != path:
            raise DataError(
                f"{path}: is the same folder as {same}; give each patient a folder of their own"
            )
    refuse_images_of_two_patients(
        (FileImage.of(path), name, f"{name}/{path.name}")
        for name, images in patients.items()
        for path in images
    )
    if not patients:
        raise DataError(
            f"{folder}: contains no QuPath project, slides, prepared bags or subfolders of images; "
            "give a folder with one subfolder per patient"
        )
    return patients


def holds_images(folder: Path) -> bool:
    """Whether a folder has a subfolder with images."""
    return next(_with_images(folder), None) is not None


def _with_images(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield the subfolders that contain images, with their images."""
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        images = sorted(
            p
            for p in path.iterdir()
            if p.suffix.lower() in SUFFIXES and p.is_file() and not p.name.startswith(".")
        )
        if images:
            yield path, images


def field_batches(
    images: Sequence[Path], mpp: float, settings: TileSettings
) -> Iterator[NDArray[np.uint8]]:
    """Yield normalised tiles of a patient's images in batches; a patient counts as one slide.

    Parameters
    ----------
    images : sequence of Path
    mpp : float
        µm/px of the images.
    settings : TileSettings
        Gives the largest number of random tiles, `per_patient`.

    Yields
    ------
    (n, tile_px, tile_px, 3) uint8
    """
    geometry = settings.geometry
    # Evenly spaced images for the stain fit, with a few tiles from each.
    chosen = images[:: max(1, len(images) // _FIT_TILES)][:_FIT_TILES]
    a_few = max(1, _FIT_TILES // len(chosen))
    # Copied, because a part of an array would keep all tiles of all these images in memory.
    pool = [field_tiles(read_image(image), mpp, geometry)[:a_few].copy() for image in chosen]
    normalizer = Normalizer(fit(np.concatenate(pool)), settings.stain_target)
    counts = [_tile_count(image, mpp, geometry) for image in images]
    kept = _random_tiles(sum(counts), settings)
    starts = np.cumsum([0, *counts])
    for image, start, count in zip(images, starts[:-1], counts, strict=True):
        mine = kept[(kept >= start) & (kept < start + count)] - start
        if not len(mine):
            continue
        tiles = field_tiles(read_image(image), mpp, geometry)[mine]
        for first in range(0, len(tiles), _BATCH):
            yield normalizer.transform(tiles[first : first + _BATCH])


def _random_tiles(total: int, settings: TileSettings) -> NDArray[np.int64]:
    if settings.per_patient is None or total <= settings.per_patient:
        return np.arange(total)
    rng = np.random.default_rng(settings.seed)
    return np.sort(rng.choice(total, size=settings.per_patient, replace=False))


def field_tiles(rgb: NDArray[np.uint8], mpp: float, geometry: TileGeometry) -> NDArray[np.uint8]:
    """Cut a field of view into tiles at the model's pixel size.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
    mpp : float
        µm/px.
    geometry : TileGeometry

    Returns
    -------
    (n, s, s, 3) uint8
        The tiles cover the field, with the last of each row and column moved inside; a smaller
        field is padded by reflection.
    """
    side = geometry.tile_px
    width, height = _model_size(rgb.shape[1], rgb.shape[0], mpp, geometry)
    scaled = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))
    pad = [(0, max(0, side - height)), (0, max(0, side - width)), (0, 0)]
    padded = np.pad(scaled, pad, mode="symmetric")
    return np.stack(
        [
            padded[y : y + side, x : x + side]
            for y in window_starts(padded.shape[0], side)
            for x in window_starts(padded.shape[1], side)
        ]
    )


def _tile_count(path: Path, mpp: float, geometry: TileGeometry) -> int:
    size = _model_size(*image_size(path), mpp, geometry)
    side = geometry.tile_px
    columns, rows = (len(window_starts(max(extent, side), side)) for extent in size)
    return columns * rows


def _model_size(width: int, height: int, mpp: float, geometry: TileGeometry) -> tuple[int, int]:
    scale = mpp / geometry.mpp
    return max(1, round(width * scale)), max(1, round(height * scale))
