"""Tiles on a grid over the slide, and which of them lie inside an outline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.slides.inside_outline import cell_shares

# Rounding must not drop the last tile of a grid that ends exactly at the edge of the slide.
_EDGE_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class GridTiles:
    """The tiles of one outline, ordered by row and then column of the grid.

    Attributes
    ----------
    indices : (n, 2) int64
        Column and row in the slide's grid: the same tile has the same indices in every outline.
    bounds : (n, 4) float64
        x, y, width, height in level-0 px.
    share_inside : (n,) float64
        Share of the tile's area that lies inside the outline, in (0, 1].
    """

    indices: NDArray[np.int64]
    bounds: NDArray[np.float64]
    share_inside: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.indices)


def tile_grid(
    polygons: Sequence[BaseGeometry],
    side_x: float,
    side_y: float,
    width: int,
    height: int,
    min_inside: float = 0.5,
) -> list[GridTiles]:
    """Lay the grid of a slide over outlines.

    The grid starts at the slide's corner (0, 0) and is the same for all outlines of the slide, so
    that overlapping outlines share tiles. Only tiles that lie completely on the slide are used.

    Parameters
    ----------
    polygons : sequence of shapely geometry
        Outlines in level-0 px; parts without an area are ignored. If an outline crosses itself,
        inside means what QuPath says, see :mod:`qupath_hccmil.slides.inside_outline`.
    side_x, side_y : float
        Sides of a tile, level-0 px.
    width, height : int
        Size of the slide, level-0 px.
    min_inside : float
        Keep a tile if at least this share of it is inside the outline, in (0, 1].

    Returns
    -------
    list of GridTiles
        One per outline; empty if no tile is kept.

    Raises
    ------
    ValueError
        A side is not positive, or `min_inside` is not in (0, 1].
    """
    if not (side_x > 0 and side_y > 0 and 0 < min_inside <= 1):
        raise ValueError(f"tile sides {side_x} × {side_y}, min_inside {min_inside}")
    columns = math.floor(width / side_x + _EDGE_TOLERANCE)
    rows = math.floor(height / side_y + _EDGE_TOLERANCE)
    sides = np.array([side_x, side_y])
    return [_tiles_of(polygon, sides, (columns, rows), min_inside) for polygon in polygons]


def unique_tiles(
    grids: Sequence[GridTiles],
) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Return every tile once, however many outlines contain it.

    Returns
    -------
    bounds : (m, 4) float64
        x, y, width, height in level-0 px, ordered by row and then column of the grid.
    members : list of (n,) int64
        For each outline, the row numbers of its tiles in `bounds`.
    """
    if not any(len(grid) for grid in grids):
        return np.empty((0, 4)), [np.empty(0, dtype=np.int64) for _ in grids]
    indices = np.concatenate([grid.indices for grid in grids])
    bounds = np.concatenate([grid.bounds for grid in grids])
    _, first, place = np.unique(indices[:, ::-1], axis=0, return_index=True, return_inverse=True)
    ends = np.cumsum([len(grid) for grid in grids])[:-1]
    return bounds[first], np.split(place.reshape(-1).astype(np.int64), ends)


def _tiles_of(
    polygon: BaseGeometry,
    sides: NDArray[np.float64],
    shape: tuple[int, int],
    min_inside: float,
) -> GridTiles:
    if polygon.is_valid:
        area = _with_area(polygon)
        indices = _candidates(area, sides, shape)
        inside = _share_inside(area, indices, sides)
    else:
        indices = _candidates(polygon, sides, shape)
        inside = _share_wound(polygon, indices, sides)
    # An outline along the grid lines that contains half a tile must count as half after rounding.
    kept = inside >= min_inside * (1 - 1e-9)
    indices = indices[kept]
    bounds = np.concatenate([indices * sides, np.broadcast_to(sides, indices.shape)], axis=1)
    return GridTiles(indices, bounds, np.minimum(inside[kept], 1.0))


def _with_area(polygon: BaseGeometry) -> BaseGeometry:
    """Return the polygons of a valid geometry; lines and points in it are left out."""
    if isinstance(polygon, shapely.Polygon | shapely.MultiPolygon):
        return polygon
    parts = shapely.get_parts(polygon)
    while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
        parts = shapely.get_parts(parts)
    return shapely.union_all(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])


def _candidates(
    area: BaseGeometry, sides: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Indices (n, 2) of all tiles in the bounding box, ordered by row and then column."""
    if area.is_empty:
        return np.empty((0, 2), dtype=np.int64)
    left, top, right, bottom = area.bounds
    first = np.maximum(np.floor(np.array([left, top]) / sides), 0).astype(np.int64)
    last = np.minimum(np.ceil(np.array([right, bottom]) / sides), shape).astype(np.int64)
    columns, rows = (np.arange(*ends) for ends in zip(first, last, strict=True))
    return np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)


def _share_inside(
    area: BaseGeometry, indices: NDArray[np.int64], sides: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Exact share (n,) of each tile that is inside, computed only for tiles on the border."""
    inside = np.zeros(len(indices))
    if not len(indices):
        return inside
    boxes = _boxes(indices, sides)
    tree = shapely.STRtree(boxes)
    whole = tree.query(area, predicate="contains")
    inside[whole] = 1.0
    border = np.setdiff1d(tree.query(area, predicate="intersects"), whole)
    # An outline may have 50,000 corners: cut it into rows of the grid first, so that each tile is
    # intersected only with the corners of its own row.
    rows, row_of = np.unique(indices[border, 1], return_inverse=True)
    left, _, right, _ = area.bounds
    strips = shapely.box(left, rows * sides[1], right, (rows + 1) * sides[1])
    cut = np.asarray(shapely.intersection(area, strips))
    parts = shapely.intersection(cut[row_of], boxes[border])
    inside[border] = shapely.area(parts) / sides.prod()
    return inside


def _share_wound(
    polygon: BaseGeometry, indices: NDArray[np.int64], sides: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share (n,) of each tile inside an outline that crosses itself."""
    if not len(indices):
        return np.zeros(0)
    (first, top), (last, bottom) = indices[0].tolist(), indices[-1].tolist()
    columns, rows = range(first, last + 1), range(top, bottom + 1)
    side_x, side_y = sides.tolist()
    return cell_shares(polygon, side_x, side_y, columns, rows).reshape(-1)


def _boxes(indices: NDArray[np.int64], sides: NDArray[np.float64]) -> NDArray[np.object_]:
    corner = indices * sides
    boxes: NDArray[np.object_] = shapely.box(*corner.T, *(corner + sides).T)
    return boxes
