"""Prepared bags from folders of images: one folder a patient, every image a field of view."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qupath_hccmil.errors import DataError, SlideError
from qupath_hccmil.mil.bags import HeatMap, StoredBag, stored_bags, write_bag
from qupath_hccmil.model_folder import ModelConfig, ModelReference
from qupath_hccmil.nuclei.evaluate import window_starts
from qupath_hccmil.nuclei.images import SUFFIXES, read_image
from qupath_hccmil.slide.geometry import TileGeometry
from qupath_hccmil.stain.vahadane import Normalizer, StainFit, fit

_RECORD = "bags.json"
_FIT_TILES = 24
_BATCH = 8


def prepare_bags(
    folder: Path,
    out: Path,
    mpp: float,
    heat_map: HeatMap,
    nuclei: ModelReference,
    reference: StainFit,
    geometry: TileGeometry | None = None,
) -> tuple[dict[str, StoredBag], list[str]]:
    """Prepare the bags of all patients, those that `out` has already excepted.

    Parameters
    ----------
    folder : Path
        One subfolder a patient, with images in it.
    out : Path
        Gets ``<patient>.npy`` and a record of how they were made.
    mpp : float
        µm/px of the images.
    heat_map : callable
    nuclei : ModelReference
        Of `heat_map`, for the record.
    reference : StainFit
        Target of the stain normalisation; a patient counts as one slide.
    geometry : TileGeometry, optional

    Returns
    -------
    bags : dict of str to StoredBag
    notes : list of str
        Patients that were left out, with the reason.

    Raises
    ------
    DataError
        There is no patient, or `out` was prepared in another way.
    """
    geometry = geometry or TileGeometry()
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "mpp": mpp,
        "tile_um": geometry.tile_um,
        "tile_px": geometry.tile_px,
        "nuclei_sha256": nuclei.sha256,
        "stain_reference": reference.to_dict(),
    }
    _check_record(out / _RECORD, record)
    bags, notes = {}, []
    for patient, images in _patients(folder).items():
        path = out / f"{patient}.npy"
        try:
            if not path.exists():
                _prepare(path, images, mpp, heat_map, reference, geometry)
            bags[patient] = StoredBag(path)
        except (DataError, SlideError) as error:
            notes.append(f"{patient}: {error}")
    if not bags:
        raise DataError(f"{folder}: no patient could be prepared ({notes[0]})")
    return bags, notes


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds prepared bags."""
    return any(folder.glob("*.npy"))


def prepared_bags(folder: Path, config: ModelConfig) -> dict[str, StoredBag]:
    """Bags that were prepared before, if they were made with the model's nuclei model.

    Raises
    ------
    DataError
        They were made in another way than the model needs.
    """
    path = folder / _RECORD
    if path.exists() and config.risk is not None:
        made = json.loads(path.read_text(encoding="utf-8")).get("nuclei_sha256")
        if made != config.risk.nuclei_model.sha256:
            raise DataError(f"{folder}: prepared with another nuclei model; prepare them anew")
    return dict(stored_bags(folder))


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
        They cover the field, the last of each row and column moved to lie within it; a smaller
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


def _prepare(
    path: Path,
    images: Sequence[Path],
    mpp: float,
    heat_map: HeatMap,
    reference: StainFit,
    geometry: TileGeometry,
) -> None:
    # Evenly spaced images for the stain fit, and a few tiles of each.
    chosen = images[:: max(1, len(images) // _FIT_TILES)][:_FIT_TILES]
    a_few = max(1, _FIT_TILES // len(chosen))
    pool = [field_tiles(read_image(image), mpp, geometry)[:a_few] for image in chosen]
    normalizer = Normalizer(fit(np.concatenate(pool)), reference)

    def batches() -> Iterator[NDArray[np.uint8]]:
        for image in images:
            tiles = field_tiles(read_image(image), mpp, geometry)
            for start in range(0, len(tiles), _BATCH):
                yield normalizer.transform(tiles[start : start + _BATCH])

    count = sum(_tile_count(image, mpp, geometry) for image in images)
    write_bag(path, batches(), count, geometry.tile_px, heat_map)


def _tile_count(path: Path, mpp: float, geometry: TileGeometry) -> int:
    with Image.open(path) as image:
        size = _model_size(image.width, image.height, mpp, geometry)
    side = geometry.tile_px
    columns, rows = (len(window_starts(max(extent, side), side)) for extent in size)
    return columns * rows


def _model_size(width: int, height: int, mpp: float, geometry: TileGeometry) -> tuple[int, int]:
    scale = mpp / geometry.mpp
    return max(1, round(width * scale)), max(1, round(height * scale))


def _patients(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    patients = {}
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        images = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if images:
            patients[path.name] = images
    if not patients:
        raise DataError(f"{folder}: no subfolders with images; give one folder a patient")
    return patients


def _check_record(path: Path, record: Mapping[str, Any]) -> None:
    if not path.exists():
        path.write_text(json.dumps(record, indent=1), encoding="utf-8")
    elif json.loads(path.read_text(encoding="utf-8")) != record:
        raise DataError(
            f"{path.parent}: holds bags of another resolution, nuclei model or stain reference; "
            "use another --out or remove it"
        )
