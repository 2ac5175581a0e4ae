"""What lies inside an outline according to QuPath, even if the outline crosses itself.

An outline drawn with a brush can cross itself millions of times, and computing every crossing
takes minutes and gigabytes. Here the outline is cut into thin horizontal strips instead, at each
corner if that is affordable; the result is exact along the middle of each strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

# Tiles of 0.5 µm/px are cut at each half px; an outline with thousands of edges in each strip is
# cut into fewer strips.
_STRIPS_A_CELL = 512
_STRIPS_FOR_AN_AREA = 8192
_MOST_CROSSINGS = 5_000_000
# Crossings of strips and edges that are held in memory at a time: 100 MB.
_CROSSINGS_AT_A_TIME = 1_000_000

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Spans = tuple[_Ints, _Ints, _Floats, _Floats]


def outline_area(geometry: BaseGeometry) -> float:
    """Area inside an outline.

    Parameters
    ----------
    geometry : shapely geometry
        In px. For an invalid geometry, inside means what QuPath's ``contains`` says: for a polygon
        without holes, everything that the outline winds around (non-zero rule); for others,
        everything in an outer ring and in none of its holes (even-odd rule for each ring).

    Returns
    -------
    float
        Area in px²; 0 for lines and points.
    """
    if geometry.is_valid:
        return float(geometry.area)
    outline = _Outline(geometry)
    strips = outline.strips(np.array([outline.top, outline.bottom]), _STRIPS_FOR_AN_AREA)
    heights = np.diff(strips)
    return sum(
        float(((right - left) * heights[strip]).sum())
        for strip, left, right in outline.spans(strips)
    )


def cell_shares(
    geometry: BaseGeometry, side_x: float, side_y: float, columns: range, rows: range
) -> _Floats:
    """Share of each cell of a grid that lies inside an outline, which may cross itself.

    Parameters
    ----------
    geometry : shapely geometry
        In px; inside means the same as for :func:`outline_area`.
    side_x, side_y : float
        Sides of a cell, px. The cell with column and row 0 has its corner at (0, 0).
    columns, rows : range
        Columns and rows of the cells, in steps of 1.

    Returns
    -------
    (rows, columns) float64
        Shares in [0, 1].
    """
    areas = np.zeros((len(rows), len(columns)))
    if not areas.size:
        return areas
    outline = _Outline(geometry)
    borders = np.arange(rows.start, rows.stop + 1, dtype=np.float64) * side_y
    strips = outline.strips(borders, _STRIPS_A_CELL)
    heights = np.diff(strips) / side_y
    row_of = np.searchsorted(borders, strips[:-1], side="right") - 1
    for strip, left, right in outline.spans(strips):
        _add_lengths(
            areas,
            row_of[strip],
            heights[strip],
            np.clip(left / side_x - columns.start, 0, len(columns)),
            np.clip(right / side_x - columns.start, 0, len(columns)),
        )
    return np.clip(areas, 0.0, 1.0)


class _Outline:
    """The edges of all rings of the polygons of a geometry."""

    def __init__(self, geometry: BaseGeometry) -> None:
        parts = shapely.get_parts(geometry)
        while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
            parts = shapely.get_parts(parts)
        parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
        rings, self._polygon_of = shapely.get_rings(parts, return_index=True)
        corners, ring_of = shapely.get_coordinates(rings, return_index=True)
        same_ring = ring_of[1:] == ring_of[:-1]
        self._from, self._to = corners[:-1][same_ring], corners[1:][same_ring]
        self._ring = ring_of[1:][same_ring].astype(np.int64)
        # the first ring of each polygon is the outer one
        self._outer = np.diff(self._polygon_of, prepend=-1) != 0
        self._winds = len(rings) == 1 and isinstance(geometry, shapely.Polygon)
        heights = corners[:, 1] if len(corners) else np.zeros(1)
        self.top, self.bottom = float(heights.min()), float(heights.max())

    def strips(self, borders: _Floats, most: int) -> _Floats:
        """Cut strips into thinner ones: at each corner and in up to `most` equal parts.

        Outlines with many corners and crossings are cut less, so that time has a limit.
        """
        climbed = float(np.abs(self._to[:, 1] - self._from[:, 1]).sum())
        height = float(borders[-1] - borders[0]) / (len(borders) - 1)
        if not height > 0:
            return borders
        n = max(1, min(most, int(_MOST_CROSSINGS * height / max(climbed, height))))
        parts = np.arange(len(borders) - 1)[:, None] + np.arange(n) / n
        coarse = np.append(
            np.interp(parts.reshape(-1), np.arange(len(borders)), borders), borders[-1]
        )
        corners = self._from[:, 1]
        fine = np.union1d(coarse, corners[(corners > borders[0]) & (corners < borders[-1])])
        crossings = np.abs(
            np.searchsorted(fine, self._from[:, 1]) - np.searchsorted(fine, self._to[:, 1])
        ).sum()
        return fine if crossings <= _MOST_CROSSINGS else coarse

    def spans(self, strips: _Floats) -> Iterator[tuple[_Ints, _Floats, _Floats]]:
        """Yield the strip, left end and right end of each inside span along the strips' middles."""
        middle = (strips[:-1] + strips[1:]) / 2
        # A line meets a ring between corners above it and corners below it, so always in pairs.
        first, last = (np.searchsorted(middle, end[:, 1]) for end in (self._from, self._to))
        up = np.sign(last - first)
        first, last = np.minimum(first, last), np.maximum(first, last)
        begun, ended = (np.bincount(each, minlength=len(strips)) for each in (first, last))
        met = np.cumsum(np.cumsum(begun - ended)[:-1])
        start = 0
        while start < len(met) and met[-1]:
            enough = (met[start - 1] if start else 0) + _CROSSINGS_AT_A_TIME
            stop = max(start + 1, int(np.searchsorted(met, enough, side="right")))
            edges = np.flatnonzero((first < stop) & (last > start) & (up != 0))
            a, b = np.maximum(first[edges], start), np.minimum(last[edges], stop)
            edge = np.repeat(edges, b - a)
            strip = np.arange(len(edge)) - np.repeat(np.cumsum(b - a) - b, b - a)
            yield self._inside(strip, edge, self._met_at(edge, middle[strip]), up[edge])
            start = stop

    def _met_at(self, edge: _Ints, y: _Floats) -> _Floats:
        one, two = self._from[edge], self._to[edge]
        share = (y - one[:, 1]) / (two[:, 1] - one[:, 1])
        return np.asarray(one[:, 0] + share * (two[:, 0] - one[:, 0]))

    def _inside(
        self, strip: _Ints, edge: _Ints, x: _Floats, up: _Ints
    ) -> tuple[_Ints, _Floats, _Floats]:
        if self._winds:
            strip, _, left, right = _runs(strip, np.zeros_like(strip), x, up, lambda n: n != 0)
            return strip, left, right
        spans = _runs(strip, self._ring[edge], x, np.ones_like(strip), lambda n: n % 2 == 1)
        ring = spans[1]
        spans = _overlaid(spans, self._polygon_of[ring], np.where(self._outer[ring], 1, -1))
        strip, _, left, right = _overlaid(spans, np.zeros_like(spans[1]), np.ones_like(spans[1]))
        return strip, left, right


def _overlaid(spans: _Spans, group: _Ints, weight: _Ints) -> _Spans:
    """Spans where the weights of a group add up to more than zero."""
    strip, _, left, right = spans
    return _runs(
        np.tile(strip, 2),
        np.tile(group, 2),
        np.concatenate([left, right]),
        np.concatenate([weight, -weight]),
        lambda n: n > 0,
    )


def _runs(
    strip: _Ints,
    group: _Ints,
    x: _Floats,
    weight: _Ints,
    inside: Callable[[_Ints], NDArray[np.bool_]],
) -> _Spans:
    """Walk along each strip, group by group, summing weights; return where `inside` is true."""
    place = strip * (int(group.max(initial=0)) + 1) + group
    order = np.lexsort((x, place))
    now = inside(np.cumsum(weight[order]))
    before = np.concatenate([np.zeros(1, bool), now[:-1]])
    begin, end = order[now & ~before], order[before & ~now]
    return strip[begin], group[begin], x[begin], x[end]


def _add_lengths(
    areas: _Floats, row: _Ints, height: _Floats, left: _Floats, right: _Floats
) -> None:
    """Add to each cell how much of it the spans cover; all lengths are in cells."""
    rows, columns = areas.shape
    wide = columns + 1

    def add(column: _Ints, amount: _Floats) -> _Floats:
        lengths = np.bincount(row * wide + column, amount, rows * wide)
        return lengths.astype(np.float64).reshape(rows, wide)

    first, last = np.floor(left).astype(np.int64), np.floor(right).astype(np.int64)
    # A span covers whole cells from its first cell to the one before its last, except for the part
    # of the first cell before the span begins; of the last cell it covers the part up to its end.
    whole = np.cumsum(add(first, height) - add(last, height), axis=1)
    before = add(last, height * (right - last)) - add(first, height * (left - first))
    areas += (whole + before)[:, :columns]
