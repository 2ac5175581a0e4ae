"""The outline that a tile of ours belongs to, and tiles that belong to the user by now.

QuPath's *Resolve hierarchy* moves tiles with a centre outside their outline to the root or into
another object. They still belong to their outline, which is known from their UUID.

A tile whose class was changed by somebody belongs to the user: it stays as it is, and no run writes
a second object with its UUID.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.qupath.data_types import ImageResults, TileObjects
from qupath_hccmil.qupath.run_record import with_tiles_left
from qupath_hccmil.qupath.tile_ids import copies, tile_ids


def outline_of_tiles(
    ids: Sequence[str],
    bounds: NDArray[np.float64],
    annotations: Sequence[str],
) -> NDArray[np.int64]:
    """Find the outline of each tile that is not a child of its outline.

    Parameters
    ----------
    ids : sequence of str, length n
        UUIDs of the tiles.
    bounds : (n, 4) float64
        x, y, width, height, level-0 px.
    annotations : sequence of str
        UUIDs of all annotations of the image, in QuPath's order.

    Returns
    -------
    (n,) int64
        Index of the annotation; -1 if it no longer exists.
    """
    found = np.full(len(ids), -1, np.int64)
    for index, (annotation, copy) in enumerate(zip(annotations, copies(annotations), strict=True)):
        wanted = tile_ids(annotation, bounds, copy)
        same = np.array([a == b for a, b in zip(ids, wanted, strict=True)], bool)
        found[same & (found < 0)] = index
    return found


def leave_to_user(
    results: ImageResults, annotations: Sequence[str], taken: Collection[str]
) -> ImageResults:
    """Return results without tiles that belong to the user by now; the record counts them.

    Parameters
    ----------
    results : ImageResults
    annotations : sequence of str
        UUIDs of all annotations of the image, in QuPath's order.
    taken : collection of str
        UUIDs of the user's tile objects.
    """
    if not taken:
        return results
    numbers = copies(annotations)
    tiles: dict[int, TileObjects] = {}
    left: dict[int, int] = {}
    for index, each in results.tiles.items():
        ids = tile_ids(annotations[index], each.bounds, numbers[index])
        free = np.array([identity not in taken for identity in ids], bool)
        tiles[index] = each if free.all() else each.rows(free)
        left[index] = int((~free).sum())
    return replace(results, tiles=tiles, step=with_tiles_left(results.step, left))


def together(parts: Sequence[TileObjects]) -> TileObjects:
    """Concatenate tiles, with NaN for measurements that some of them lack."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for each in parts for name in each.measurements)
    return TileObjects(
        bounds=np.concatenate([np.empty((0, 4)), *(each.bounds for each in parts)]),
        class_names=[name for each in parts for name in each.class_names],
        measurements={
            name: np.concatenate([each.measured(name) for each in parts]) for name in names
        },
    )


def with_strays(
    tiles: Mapping[int, TileObjects], strays: TileObjects, outline: NDArray[np.int64]
) -> dict[int, TileObjects]:
    """Return tiles by outline, with moved tiles after the other tiles of their outline."""
    joined = dict(tiles)
    for index in np.unique(outline[outline >= 0]).tolist():
        moved = strays.rows(outline == index)
        joined[index] = together([joined[index], moved]) if index in joined else moved
    return joined
