"""Which tiles of a slide are read, in which order, and to which outlines they belong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.resolution import Resolution, resolve_mpp
from qupath_hccmil.tiles.grid import tile_grid, unique_tiles


@dataclass(frozen=True)
class TileChoice:
    """Which tiles of an outline are used.

    Attributes
    ----------
    mpp : float or None
        µm per level-0 px, overriding the values of the project and of the slide; greater than 0.
    min_inside : float
        Smallest share of a tile's area that must be inside the outline, in (0, 1].
    max_tiles : int or None
        Largest number of random tiles per slide; None for all tiles.
    seed : int
        Seed of the random choice.
    """

    mpp: Annotated[float, Field(gt=0)] | None = None
    min_inside: Annotated[float, Field(gt=0, le=1)] = 0.5
    max_tiles: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, eq=False)
class TumourOutline:
    """An outline to lay tiles over.

    Attributes
    ----------
    index : int
        Number of the outline, unique within the slide.
    label : str
        Name of the outline as the user knows it.
    geometry : shapely geometry
        In level-0 px.
    """

    index: int
    label: str
    geometry: BaseGeometry


@dataclass(frozen=True, eq=False)
class TilePlan:
    """The tiles to read.

    Attributes
    ----------
    resolution : Resolution
    bounds : (n, 4) float64
        x, y, width, height of every tile, in level-0 px, each tile once, in reading order.
    members : dict of int to (k,) int64
        For each :attr:`TumourOutline.index`, the rows of its tiles; a tile may belong to several
        outlines.
    wanted : int or None
        Stop after this many kept tiles.
    labels : dict of int to str
        For each :attr:`TumourOutline.index`, the label of the outline.
    """

    resolution: Resolution
    bounds: NDArray[np.float64]
    members: dict[int, NDArray[np.int64]]
    wanted: int | None
    labels: dict[int, str]

    @property
    def without_tiles(self) -> list[str]:
        """Labels of outlines that contain no tile."""
        return [self.labels[key] for key, rows in self.members.items() if not len(rows)]

    @property
    def expected(self) -> int:
        """Largest number of tiles that can be kept."""
        return len(self.bounds) if self.wanted is None else min(self.wanted, len(self.bounds))

    def at_random(self, max_tiles: int | None, seed: int) -> TilePlan:
        """Return the same tiles in random order, of which at most `max_tiles` are wanted.

        Parameters
        ----------
        max_tiles : int or None
            None, or a number that is not smaller than the number of tiles, keeps the order.
        seed : int
        """
        count = len(self.bounds)
        if max_tiles is None or max_tiles >= count:
            return replace(self, wanted=max_tiles)
        order = np.random.default_rng(seed).permutation(count)
        place = np.empty_like(order)
        place[order] = np.arange(count)
        members = {index: np.sort(place[rows]) for index, rows in self.members.items()}
        return replace(self, bounds=self.bounds[order], members=members, wanted=max_tiles)


def plan_tiles(
    slide: Slide,
    outlines: Sequence[TumourOutline],
    choice: TileChoice,
    geometry: TileGeometry,
    *,
    name: str,
    calibration: tuple[float | None, float | None] | None = None,
) -> TilePlan:
    """Lay the tile grid over tumour outlines.

    Parameters
    ----------
    slide : Slide
        Open, in the coordinates of the outlines.
    outlines : sequence of TumourOutline
    choice : TileChoice
    geometry : TileGeometry
        Tile geometry of the model.
    name : str
        Name of the slide as the user knows it, for messages.
    calibration : pair of float or None
        µm per level-0 px in x and y according to QuPath; it overrides the value of the file.

    Raises
    ------
    ResolutionError
        The pixel size is missing or out of range.
    AnnotationError
        No outline has room for a tile.
    """
    resolution = resolve_mpp(choice.mpp, calibration, slide.mpp, name=name)
    grids = tile_grid(
        [outline.geometry for outline in outlines],
        geometry.tile_um / resolution.mpp_x,
        geometry.tile_um / resolution.mpp_y,
        slide.width,
        slide.height,
        min_inside=choice.min_inside,
    )
    union, rows = unique_tiles(grids)
    if not len(union):
        raise AnnotationError(
            f"{name}: the tumour annotations are too small, or outside the slide: "
            f"{holds_no_tile(choice, geometry)}; outline a larger area or lower --min-inside"
        )
    plan = TilePlan(
        resolution=resolution,
        bounds=union,
        members={each.index: mine for each, mine in zip(outlines, rows, strict=True)},
        wanted=None,
        labels={each.index: each.label for each in outlines},
    )
    return plan.at_random(choice.max_tiles, choice.seed)


def holds_no_tile(choice: TileChoice, geometry: TileGeometry) -> str:
    """Explain for a message why an outline contains no tile."""
    return (
        f"no tile of {geometry.tile_um:g} µm has a share of {choice.min_inside:.3g} of its area "
        "inside (--min-inside)"
    )
