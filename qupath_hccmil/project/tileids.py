"""Identity of our tiles: the same tile of the same annotation has the same UUID in every run."""

from __future__ import annotations

import uuid

import numpy as np
from numpy.typing import NDArray


def tile_ids(annotation: str, bounds: NDArray[np.float64]) -> list[uuid.UUID]:
    """UUIDs of tiles.

    Parameters
    ----------
    annotation : str
        UUID of the annotation that they are in.
    bounds : (n, 4) float64
        x, y, width, height in level-0 px.

    Returns
    -------
    list of UUID
        Version 5 (RFC 4122), in the annotation's namespace.
    """
    parent = uuid.UUID(annotation)
    return [
        uuid.uuid5(parent, f"HCC-MIL tile {x!r} {y!r} {w!r} {h!r}")
        for x, y, w, h in bounds.tolist()
    ]
