"""Chooses the tiles to show: the highest and lowest of a cohort, with a limit per slide.

*By contribution* orders tiles by their signed share of m, the mean from which a slide's risk is
computed (the sigmoid of its p-th root): first come the tiles that mattered most for a slide's
score. As m is a mean, a tile of a slide with few tiles has a larger share. *By risk* orders tiles
by the network's own output, as the paper does; within one slide both orders are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError
from qupath_hccmil.tiles_of_interest.cohort_tiles import (
    GroupLevel,
    ScoredImage,
    TileColumns,
    patient_tiles,
)

Side = Literal["high", "low"]
OrderBy = Literal["contribution", "risk"]


@dataclass(frozen=True)
class TileWish:
    """Which tiles are wanted.

    Attributes
    ----------
    top : int
        Number of highest tiles, and of lowest tiles; positive.
    per_unit : int or None
        Largest number of tiles of one slide (or patient) among the highest, and among the lowest.
    by : {"contribution", "risk"}
    level : {"slide", "patient"}
        What `per_unit` counts, and what a contribution is a share of.
    seed : int
        Seed of the order in which tiles are numbered.
    """

    top: int = 200
    per_unit: int | None = None
    by: OrderBy = "contribution"
    level: GroupLevel = "slide"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class ChosenTile:
    """One tile.

    Attributes
    ----------
    image : ScoredImage
    row : int
        Of the image's tiles.
    side : {"high", "low"}
    rank : int
        1 for the most extreme of its side.
    contribution : float
        Signed share of the slide's m or, at the level of patients, of the patient's.
    number : int
        Place in an order by the seed, from 1: what the tile is called where its score is hidden.
    """

    image: ScoredImage
    row: int
    side: Side
    rank: int
    contribution: float
    number: int = 0

    @property
    def risk(self) -> float:
        """Risk of the tile, [0, 1]."""
        return float(self.image.tiles.risk[self.row])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """x, y, width, height, level-0 px."""
        x, y, width, height = self.image.tiles.bounds[self.row].tolist()
        return x, y, width, height

    @property
    def side_um(self) -> float:
        """Side of the tile, µm."""
        _, _, width, height = self.bounds
        return float(np.sqrt(width * height)) * self.image.record.mpp

    def value_of(self, column: str) -> Any:
        """Value in a column of :class:`.TileColumns`; None where it has none."""
        value = getattr(self.image.tiles, column)[self.row]
        return None if isinstance(value, float) and not np.isfinite(value) else value


def choose_tiles(images: Iterable[ScoredImage], wish: TileWish) -> list[ChosenTile]:
    """Choose the highest and lowest tiles of a cohort.

    The next highest and the next lowest are taken in turns, so that a small cohort is shared
    fairly and no tile is on both sides. Equal values keep the order of reading.

    Parameters
    ----------
    images : iterable of ScoredImage
        Only the most extreme tiles of each are held.
    wish : TileWish

    Returns
    -------
    list of ChosenTile
        High ones by rank, then low ones by rank; numbered.

    Raises
    ------
    DataError
        There is no scored tile.
    """
    held = [_most_extreme(image, wish) for image in images]
    candidates = list(_candidates([image for image in held if len(image.tiles)], wish))
    if not candidates:
        raise DataError("no scored tile in the given projects; run score first")
    value = {"contribution": lambda t: t.contribution, "risk": lambda t: t.risk}[wish.by]
    ordered = sorted(candidates, key=lambda tile: -value(tile))
    chosen = _in_turns(ordered, wish)
    order = np.random.default_rng(wish.seed).permutation(len(chosen)).tolist()
    return [replace(tile, number=k + 1) for tile, k in zip(chosen, order, strict=True)]


def _most_extreme(image: ScoredImage, wish: TileWish) -> ScoredImage:
    """Keep what may be chosen, so that memory doesn't grow with all tiles of a cohort."""
    tiles = image.tiles
    keys = _key(tiles, wish.by)
    known = np.flatnonzero(np.isfinite(tiles.contribution) & np.isfinite(tiles.risk))
    order = known[np.argsort(-keys[known], kind="stable")]
    most = min(wish.top, wish.per_unit or wish.top)
    if len(order) > 2 * most:
        order = np.concatenate([order[:most], order[-most:]])
    return replace(image, tiles=tiles.rows(order))


def _key(tiles: TileColumns, by: OrderBy) -> NDArray[np.float64]:
    return tiles.contribution if by == "contribution" else tiles.risk


def _candidates(images: list[ScoredImage], wish: TileWish) -> Iterator[ChosenTile]:
    of_patient = patient_tiles(images) if wish.level == "patient" else {}
    for image in images:
        share = 1.0
        if wish.level == "patient" and image.patient is not None:
            share = image.record.tiles / of_patient[image.patient]
        for row, value in enumerate(image.tiles.contribution.tolist()):
            yield ChosenTile(image, row, "high", 0, value * share)


def _in_turns(ordered: list[ChosenTile], wish: TileWish) -> list[ChosenTile]:
    taken: set[int] = set()
    ways = {
        "high": iter(range(len(ordered))),
        "low": iter(range(len(ordered) - 1, -1, -1)),
    }
    found: dict[str, list[ChosenTile]] = {"high": [], "low": []}
    counts = {side: Counter[tuple[str, ...]]() for side in ways}
    going: list[Side] = ["high", "low"]
    while going:
        for side in tuple(going):
            place = next(
                (
                    k
                    for k in ways[side]
                    if k not in taken
                    and counts[side][ordered[k].image.unit(wish.level)]
                    < (wish.per_unit or len(ordered))
                ),
                None,
            )
            if place is None or len(found[side]) == wish.top:
                going.remove(side)
                continue
            taken.add(place)
            tile = ordered[place]
            counts[side][tile.image.unit(wish.level)] += 1
            found[side].append(replace(tile, side=side, rank=len(found[side]) + 1))
    return found["high"] + found["low"]
