"""Small files of features as CLAM, TRIDENT and STAMP write them; how, was read in their code."""

from pathlib import Path

import h5py
import numpy as np

COUNT, WIDTH, SIDE = 6, 5, 512


def vectors(count: int = COUNT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)


def grid(count: int = COUNT, side: float = SIDE) -> np.ndarray:
    """Two tiles a row, away from the corner."""
    number = np.arange(count)
    return np.stack([number % 2 + 3, number // 2 + 1], axis=1) * side


def clam(path: Path, count: int = COUNT, features: np.ndarray | None = None) -> Path:
    """CLAM's extract_features_fp: no attributes, in growing chunks, int32."""
    with h5py.File(path, "w") as file:
        found = vectors(count) if features is None else features
        kept = {"maxshape": (None, *found.shape[1:]), "chunks": (32, *found.shape[1:])}
        file.create_dataset("features", data=found, **kept)
        file.create_dataset(
            "coords", data=grid(count).astype(np.int32), maxshape=(None, 2), chunks=(32, 2)
        )
    return path


TRIDENT_COORDS = {
    "patch_size": 256,
    "patch_size_level0": 512,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 0,
    "name": "slide-1",
    "savetodir": "out",
    "level0_width": 9000,
    "level0_height": 8000,
}


def trident(path: Path, of_coords: dict | None = None, axis: bool = False) -> Path:
    """TRIDENT's save_h5: attributes on the datasets, a tile a chunk; absent ones as 'None'."""
    found = vectors()[None] if axis else vectors()
    with h5py.File(path, "w") as file:
        features = file.create_dataset("features", data=found, chunks=(1, *found.shape[1:]))
        features.attrs.update({"name": "slide-1", "savetodir": "out", "encoder": "uni_v1"})
        coords = file.create_dataset("coords", data=grid().astype(np.int64), chunks=(1, 2))
        coords.attrs.update(TRIDENT_COORDS if of_coords is None else of_coords)
    return path


def stamp(path: Path, of_file: dict | None = None, unit_um: float = 256.0) -> Path:
    """STAMP's preprocess: half floats, µm, attributes on the file."""
    with h5py.File(path, "w") as file:
        file["coords"] = grid(side=unit_um).astype(np.float32)
        file["feats"] = vectors().astype(np.float16)
        now = {
            "stamp_version": "2.4.0",
            "extractor": "ctranspath",
            "unit": "um",
            "tile_size_um": 256.0,
            "tile_size_px": 224,
            "code_hash": "0a1b",
            "feat_type": "tile",
        }
        file.attrs.update(now if of_file is None else of_file)
    return path
