"""A tile is kept when enough of it lies in an outline, and counts once for the slide."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.tiles.grid import GridTiles, tile_grid, unique_tiles

WIDTH, HEIGHT = 1000, 800


def one(polygon: BaseGeometry, min_inside: float = 0.5, side: float = 100.0) -> GridTiles:
    (found,) = tile_grid([polygon], side, side, WIDTH, HEIGHT, min_inside)
    return found


def indices(tiles: GridTiles) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in tiles.indices]


def by_hand(polygon: BaseGeometry, side: float, min_inside: float) -> dict[tuple[int, int], float]:
    shares = {
        (x, y): polygon.intersection(
            shapely.box(x * side, y * side, (x + 1) * side, (y + 1) * side)
        ).area
        / side**2
        for y in range(int(HEIGHT // side))
        for x in range(int(WIDTH // side))
    }
    return {place: share for place, share in shares.items() if share >= min_inside}


class TestInside:
    def test_rectangle(self) -> None:
        found = one(shapely.box(200, 100, 400, 250))
        assert indices(found) == [(2, 1), (3, 1), (2, 2), (3, 2)]
        np.testing.assert_array_equal(found.share_inside, [1, 1, 0.5, 0.5])
        np.testing.assert_array_equal(found.bounds[2], [200, 200, 100, 100])
        assert found.bounds.dtype == np.float64
        assert found.indices.dtype == np.int64

    def test_exactly_half_is_enough_at_any_side(self) -> None:
        for side in (256.513026, 0.1 + 0.2, 37.7):
            found = one(shapely.box(0, 0, side, side / 2), side=side)
            assert indices(found) == [(0, 0)]

    def test_less_than_half_is_not(self) -> None:
        assert len(one(shapely.box(0, 0, 100, 49.9))) == 0
        assert len(one(shapely.box(0, 0, 100, 49.9), min_inside=0.4)) == 1

    def test_hole(self) -> None:
        ring = shapely.box(0, 0, 300, 300).difference(shapely.box(100, 100, 200, 200))
        assert (1, 1) not in indices(one(ring))
        assert len(one(ring)) == 8

    def test_parts(self) -> None:
        parts = shapely.MultiPolygon([shapely.box(0, 0, 100, 100), shapely.box(500, 500, 600, 600)])
        assert indices(one(parts)) == [(0, 0), (5, 5)]

    def test_bow_tie(self) -> None:
        tie = shapely.Polygon([(0, 0), (400, 400), (400, 0), (0, 400)])
        assert not tie.is_valid
        found = one(tie)
        assert dict(zip(indices(found), found.share_inside, strict=True)) == pytest.approx(
            by_hand(shapely.make_valid(tie), 100, 0.5)
        )

    @pytest.mark.parametrize(
        "shape",
        [
            shapely.Polygon(),
            shapely.Point(50, 50),
            shapely.LineString([(0, 0), (500, 500)]),
            shapely.Polygon([(0, 0), (300, 0), (0, 0)]),
            shapely.box(-500, -500, -100, -100),
            shapely.box(5000, 5000, 6000, 6000),
            shapely.GeometryCollection(),
        ],
    )
    def test_nothing(self, shape: BaseGeometry) -> None:
        found = one(shape)
        assert len(found) == 0
        assert found.bounds.shape == (0, 4)

    def test_spikes_and_lines_do_not_count(self) -> None:
        spike = shapely.Polygon([(0, 0), (100, 0), (100, 100), (700, 700), (100, 100), (0, 100)])
        mixed = shapely.GeometryCollection(
            [
                shapely.MultiPolygon([shapely.box(0, 0, 100, 100)]),
                shapely.LineString([(0, 0), (900, 700)]),
            ]
        )
        assert indices(one(spike)) == indices(one(mixed)) == [(0, 0)]

    @settings(max_examples=60, deadline=None)
    @given(
        corners=st.lists(
            st.tuples(st.integers(-200, 1200), st.integers(-200, 1000)), min_size=3, max_size=12
        ),
        side=st.sampled_from([100.0, 83.7, 256.5]),
        min_inside=st.sampled_from([0.05, 0.5, 1.0]),
    )
    def test_equals_tile_by_tile(
        self, corners: list[tuple[int, int]], side: float, min_inside: float
    ) -> None:
        shape = shapely.make_valid(shapely.Polygon(corners))
        found = one(shape, min_inside, side)
        shares = dict(zip(indices(found), found.share_inside, strict=True))
        # Between these two, rounding may decide.
        surely = by_hand(shape, side, min_inside * (1 + 1e-6))
        perhaps = by_hand(shape, side, min_inside * (1 - 1e-6))
        assert set(surely) <= set(shares) <= set(perhaps)
        assert shares == pytest.approx({place: perhaps[place] for place in shares}, abs=1e-9)


class TestGrid:
    def test_starts_at_the_slides_corner_and_ends_within_it(self) -> None:
        found = one(shapely.box(-50, -50, 2000, 2000), side=256.5)
        assert indices(found) == [(x, y) for y in range(3) for x in range(3)]
        assert found.bounds[:, 0].min() == 0
        assert (found.bounds[:, :2] + found.bounds[:, 2:] <= [WIDTH, HEIGHT]).all()

    def test_a_last_tile_that_fits_but_for_rounding_is_kept(self) -> None:
        side = 0.1 + 0.2
        assert side * 10 > 3
        (found,) = tile_grid([shapely.box(0, 0, 4, 4)], side, side, 3, 3)
        assert len(found) == 100

    def test_sides_may_differ(self) -> None:
        (found,) = tile_grid([shapely.box(0, 0, 200, 100)], 100, 50, WIDTH, HEIGHT)
        assert len(found) == 4
        np.testing.assert_array_equal(found.bounds[-1], [100, 50, 100, 50])

    @pytest.mark.parametrize("values", [(0, 1, 0.5), (1, -1, 0.5), (1, 1, 0), (1, 1, 1.1)])
    def test_refuses(self, values: tuple[float, float, float]) -> None:
        with pytest.raises(ValueError, match="min_inside"):
            tile_grid([], *values[:2], WIDTH, HEIGHT, values[2])

    def test_many_corners(self) -> None:
        """An outline drawn with a brush; a tile at a time this takes minutes."""
        angle = np.linspace(0, 2 * np.pi, 50_000, endpoint=False)
        radius = 30_000 * (1 + 0.2 * np.sin(7 * angle) + 0.01 * np.sin(700 * angle))
        outline = shapely.Polygon(
            np.column_stack([45_000 + radius * np.cos(angle), 40_000 + radius * np.sin(angle)])
        )
        (found,) = tile_grid([outline], 512, 512, 100_000, 90_000, 1e-9)
        assert (found.share_inside * 512**2).sum() == pytest.approx(outline.area, rel=1e-6)


class TestUnique:
    def test_shared_tiles_count_once(self) -> None:
        first, second = shapely.box(0, 0, 300, 100), shapely.box(200, 0, 500, 200)
        grids = tile_grid([first, shapely.Polygon(), second], 100, 100, WIDTH, HEIGHT)
        bounds, members = unique_tiles(grids)
        assert [len(rows) for rows in members] == [3, 0, 6]
        assert len(bounds) == 8
        for grid, rows in zip(grids, members, strict=True):
            np.testing.assert_array_equal(bounds[rows], grid.bounds)
        assert (np.diff(bounds[:, 1]) >= 0).all()

    def test_nothing(self) -> None:
        bounds, members = unique_tiles(tile_grid([shapely.Polygon()], 1, 1, WIDTH, HEIGHT))
        assert bounds.shape == (0, 4)
        assert len(members) == 1
        assert unique_tiles([])[0].shape == (0, 4)
