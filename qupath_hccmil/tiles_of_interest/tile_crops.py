"""Pixels of chosen tiles, read from the slides as QuPath shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import HccMilError, one_line
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.qupath.slide_location import locate_slide
from qupath_hccmil.scoring.open_image import open_image
from qupath_hccmil.tiles_of_interest.choose_tiles import ChosenTile
from qupath_hccmil.tiles_of_interest.cohort_tiles import ScoredImage

CROP_MPP = 0.5
MIN_MPP, MAX_MPP = 0.1, 4.0
"""µm/px that a crop may have: a tile of 128 µm is then 1280 to 32 px."""

Crops = dict[int, NDArray[np.uint8]]


def read_crops(
    tiles: Sequence[ChosenTile],
    *,
    mpp: float = CROP_MPP,
    slides: Path | None = None,
    failed: Callable[[str], None],
) -> Crops:
    """Read each tile and resample it once.

    Parameters
    ----------
    tiles : sequence of ChosenTile
    mpp : float
        µm per px of the crops.
    slides : Path, optional
        Folder in which slides that have moved are looked for by file name.
    failed : callable
        Called with one line for each slide that can't be read; its tiles have no crop.

    Returns
    -------
    dict of int to (side, side, 3) uint8
        :attr:`.ChosenTile.number` to RGB.
    """
    crops: Crops = {}
    ordered = sorted(tiles, key=_place)
    for _, group in groupby(ordered, key=lambda tile: tile.image.unit("slide")):
        mine = list(group)
        image = mine[0].image
        try:
            crops.update(_of_slide(image, mine, mpp, slides))
        except (HccMilError, OSError) as error:
            reason = one_line(error).removeprefix(f"{image.entry.name}: ")
            failed(f"{image.called}: {count_of(len(mine), 'tile')} without a picture: {reason}")
    return crops


def _place(tile: ChosenTile) -> tuple[tuple[str, ...], float, float]:
    x, y, _, _ = tile.bounds
    return tile.image.unit("slide"), y, x


def _of_slide(
    image: ScoredImage, tiles: Sequence[ChosenTile], mpp: float, slides: Path | None
) -> Crops:
    """Read all tiles of a slide, or none."""
    project = image.project
    path = locate_slide(image.entry, project.path, project.previous_uri, slides)
    with open_image(image.entry, path) as slide:
        return {
            tile.number: slide.read_tile(*tile.bounds, max(1, round(tile.side_um / mpp)))
            for tile in tiles
        }
