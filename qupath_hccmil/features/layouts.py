"""What the variants of the layout call things: our files, and those of TRIDENT, CLAM and STAMP.

========  =============  ===============================  =======================================
variant   features       coordinates                      side of a tile
========  =============  ===============================  =======================================
ours      ``features``   ``coords``, level-0 px           ``tile_level0_px`` of the file
TRIDENT   ``features``   ``coords``, level-0 px           ``patch_size_level0`` of ``coords``
CLAM      ``features``   ``coords``, level-0 px           not in the file
STAMP     ``feats``      ``coords``, µm                   ``tile_size_um``, once ``tile_size``
earlier   ``feats``      ``coords``, px of 256 µm / 224   always 256 µm in 224 px
========  =============  ===============================  =======================================

TRIDENT's attributes stand on the datasets, STAMP's and ours on the file. TRIDENT copies the
attributes of CLAM's own patches where it was given those: ``patch_size`` in px of a level of the
slide. Features may have an axis more in front, of length 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import FeatureFileError

Layout = Literal["qupath-hccmil", "TRIDENT", "CLAM", "STAMP"]
OUR_VERSION = "qupath_hccmil_version"
# STAMP's and marugoto's first files: tiles of 256 µm in 224 px, coordinates in these px.
_EARLIER_UM, _EARLIER_PX = 256.0, 224


@dataclass(frozen=True)
class Described:
    """What a file says of itself; `features` and `coords` are not read yet.

    Attributes
    ----------
    coords_um : float or None
        µm in a unit of the coordinates; None where they are level-0 px.
    """

    layout: Layout
    features: h5py.Dataset
    coords: h5py.Dataset | None
    attributes: Mapping[str, Any]
    slide: str | None = None
    encoder: str | None = None
    encoder_sha256: str | None = None
    tile_level0_px: float | None = None
    tile_px: int | None = None
    mpp: float | None = None
    coords_um: float | None = None


def describe(file: h5py.File, path: Path) -> Described:
    """Find out the variant of an open file, and what it says.

    Raises
    ------
    FeatureFileError
        It has no features of tiles.
    """
    name = next((each for each in ("features", "feats", "patch_embeddings") if each in file), None)
    if name is None:
        there = ", ".join(str(each) for each in list(file)[:5]) or "nothing"
        raise FeatureFileError(
            f"{path}: has neither features (CLAM, TRIDENT) nor feats (STAMP), but {there}"
        )
    features = _features(file[name], name, path)
    coords = _coords(file, features.shape[-2], path)
    of_file = _plain(file.attrs)
    of_features = _plain(features.attrs)
    of_coords = {} if coords is None else _plain(coords.attrs)
    attributes = {**of_coords, **of_features, **of_file}
    if OUR_VERSION in of_file:
        return Described(
            "qupath-hccmil",
            features,
            coords,
            attributes,
            _text(of_file, "slide"),
            _text(of_file, "encoder"),
            _text(of_file, "encoder_sha256"),
            _number(of_file, "tile_level0_px", path),
            _whole(of_file, "tile_px", path),
            _number(of_file, "mpp", path),
        )
    if name != "features":
        return _of_stamp(features, coords, of_file, attributes, path)
    return _of_trident_or_clam(features, coords, of_features, of_coords, attributes, path)


def places(coords: h5py.Dataset) -> NDArray[np.float64]:
    """Read coordinates (n, 2), in whatever unit they are."""
    found = np.empty(coords.shape)
    found[...] = coords[...]
    return found.reshape(-1, 2)


def spacing(coords: h5py.Dataset) -> float | None:
    """Smallest distance between two tiles of one row or column; None if no two are in line."""
    where = places(coords)
    gaps = []
    for along, across in ((0, 1), (1, 0)):
        order = np.lexsort((where[:, along], where[:, across]))
        steps = np.diff(where[order], axis=0)
        gaps.append(steps[(steps[:, across] == 0) & (steps[:, along] > 0), along])
    distances = np.concatenate(gaps)
    return float(distances.min()) if len(distances) else None


def _of_trident_or_clam(
    features: h5py.Dataset,
    coords: h5py.Dataset | None,
    of_features: Mapping[str, Any],
    of_coords: Mapping[str, Any],
    attributes: Mapping[str, Any],
    path: Path,
) -> Described:
    if not of_features and not of_coords:
        return Described("CLAM", features, coords, attributes)
    side = _whole(of_coords, "patch_size", path)
    level0 = _number(of_coords, "patch_size_level0", path)
    source = _number(of_coords, "level0_magnification", path)
    target = _number(of_coords, "target_magnification", path)
    if level0 is None and side and source and target:
        level0 = side * source / target
    if level0 is None and side and "patch_level" in of_coords:
        # Coordinates that CLAM made: its patches are px of a level of the slide.
        downsample = np.ravel(of_coords.get("downsample", 1.0))[0]
        level0 = side * float(downsample) * (_number(of_coords, "custom_downsample", path) or 1.0)
    return Described(
        "TRIDENT" if of_features or target else "CLAM",
        features,
        coords,
        attributes,
        slide=_text(of_features, "name") or _text(of_coords, "name"),
        encoder=_text(of_features, "encoder"),
        tile_level0_px=level0,
        tile_px=side,
        # A magnification of 10 is 1 µm/px by convention.
        mpp=10.0 / target if target else None,
    )


def _of_stamp(
    features: h5py.Dataset,
    coords: h5py.Dataset | None,
    of_file: Mapping[str, Any],
    attributes: Mapping[str, Any],
    path: Path,
) -> Described:
    kind = _text(of_file, "feat_type")
    if kind not in (None, "tile"):
        raise FeatureFileError(
            f"{path}: holds features of a {kind}, not of its tiles; give those of the tiles"
        )
    side_um = _number(of_file, "tile_size_um", path)
    side_px = _whole(of_file, "tile_size_px", path)
    unit = 1.0
    if side_um is None and of_file.get("unit") == "um":
        side_um = _number(of_file, "tile_size", path)
    if side_um is None and coords is not None and round(spacing(coords) or 0) == _EARLIER_PX:
        side_um, side_px, unit = _EARLIER_UM, _EARLIER_PX, _EARLIER_UM / _EARLIER_PX
    if side_um is None:
        # Features are features, but nothing says in what unit their places are.
        coords = None
    return Described(
        "STAMP",
        features,
        coords,
        attributes,
        encoder=_text(of_file, "extractor") or _text(of_file, "encoder"),
        tile_px=side_px,
        mpp=side_um / side_px if side_um and side_px else None,
        coords_um=unit,
    )


def _features(stored: Any, name: str, path: Path) -> h5py.Dataset:
    if not isinstance(stored, h5py.Dataset):
        raise FeatureFileError(f"{path}: {name} is a group, not a table of numbers")
    shape: tuple[int, ...] = stored.shape or ()
    if stored.dtype.kind not in "fiu":
        raise FeatureFileError(f"{path}: {name} holds {stored.dtype}, not numbers")
    if shape[:1] == (0,):
        raise FeatureFileError(f"{path}: has no tiles; leave the file out")
    if len(shape) == 1:
        raise FeatureFileError(
            f"{path}: {name} is one vector for the whole slide, not one for each tile; "
            "give features of tiles"
        )
    if not (len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)) or 0 in shape:
        raise FeatureFileError(
            f"{path}: {name} has the shape {' × '.join(map(str, shape)) or 'of one number'}, "
            "not tiles × numbers"
        )
    return stored


def _coords(file: h5py.File, count: int, path: Path) -> h5py.Dataset | None:
    stored = file.get("coords")
    if stored is None:
        return None
    shape = stored.shape if isinstance(stored, h5py.Dataset) else None
    if shape not in ((count, 2), (1, count, 2)) or stored.dtype.kind not in "fiu":
        found = "a group" if shape is None else " × ".join(map(str, shape))
        raise FeatureFileError(
            f"{path}: coords is {found}, but there are {count} tiles, so it should be {count} × 2; "
            "the file is damaged or was joined wrongly"
        )
    return stored


def _plain(attributes: h5py.AttributeManager) -> dict[str, Any]:
    return {name: _value(value) for name, value in attributes.items()}


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    """A text; TRIDENT writes one that is absent as ``None``."""
    value = attributes.get(name)
    return None if value in (None, "", "None") else str(value)


def _number(attributes: Mapping[str, Any], name: str, path: Path) -> float | None:
    if _text(attributes, name) is None:
        return None
    try:
        value = float(attributes[name])
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 < value < float("inf"):
        raise FeatureFileError(
            f"{path}: its attribute {name} is {attributes[name]!r}, not a number above 0"
        )
    return value


def _whole(attributes: Mapping[str, Any], name: str, path: Path) -> int | None:
    value = _number(attributes, name, path)
    return None if value is None else round(value)
