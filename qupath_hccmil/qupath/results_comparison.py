"""Compares results that were written with those that are read back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath.data_types import ImageResults, TileObjects

# QuPath stores the measurements of tiles as 32-bit floats.
RELATIVE = 2.0**-23
ABSOLUTE = 2.0**-126


def same_results(found: ImageResults, wanted: ImageResults) -> bool:
    """Whether the results in an image's data are those that should be there.

    Parameters
    ----------
    found : ImageResults
        Results as read.
    wanted : ImageResults
        Results as given for writing; values that are not finite are absent. Metadata, which are not
        in the data file, are ignored.
    """
    measured = {key: some for key, each in wanted.annotations.items() if (some := _finite(each))}
    tiles = {key: each for key, each in wanted.tiles.items() if len(each)}
    return (
        found.step == wanted.step
        and _close(found.root, _finite(wanted.root))
        and found.annotations.keys() == measured.keys()
        and all(_close(found.annotations[key], each) for key, each in measured.items())
        and found.tiles.keys() == tiles.keys()
        and all(_same_tiles(found.tiles[key], each) for key, each in tiles.items())
    )


def require_annotations(results: ImageResults, count: int) -> None:
    """Refuse results for annotations that an image does not have.

    Raises
    ------
    WriteError
        The message says what is wrong; the caller adds the file.
    """
    missing = [key for key in (*results.annotations, *results.tiles) if not 0 <= key < count]
    if missing:
        raise WriteError(f"contains no annotation number {min(missing)}; read the image again")


def _finite(measurements: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in measurements.items() if np.isfinite(value)}


def _close(found: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return found.keys() == wanted.keys() and all(
        np.isclose(found[name], value, RELATIVE, ABSOLUTE) for name, value in wanted.items()
    )


def _same_tiles(found: TileObjects, wanted: TileObjects) -> bool:
    finite = {
        name: np.where(np.isfinite(values), values, np.nan)
        for name, values in wanted.measurements.items()
        if np.isfinite(values).any()
    }
    return (
        found.bounds.shape == wanted.bounds.shape
        and np.allclose(found.bounds, wanted.bounds, rtol=0, atol=1e-6)
        and list(found.class_names) == list(wanted.class_names)
        and found.measurements.keys() == finite.keys()
        and all(
            np.allclose(found.measurements[name], values, RELATIVE, ABSOLUTE, equal_nan=True)
            for name, values in finite.items()
        )
    )
