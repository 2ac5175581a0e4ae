"""What an earlier run found in outlines that are as they were: taken over, not scored again.

The tiles of an outline follow from its shape, the slide's pixels, the settings and the slide's
stain. Where all of these are as they were, so are its values, and a run that resumes reads only the
tiles of the outlines that were edited or added. They are normalised with the stain that the slide
was scored with, so that all its tiles are comparable; a stain is fitted anew when no outline of the
slide is kept, or the slide is scored without ``--resume``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.run_record import OutlineRecord
from qupath_hccmil.qupath.staleness import OutlineChanges, recorded
from qupath_hccmil.scoring.network_batches import Scored
from qupath_hccmil.stain.vahadane import StainFit
from qupath_hccmil.tiles.read_ahead import TileVerdict

# QuPath keeps the corners of a rectangle, from which its sides come back rounded.
_PER_PX = 1000


@dataclass(frozen=True, eq=False)
class ReusedOutline:
    """One outline as it was scored.

    Attributes
    ----------
    values : mapping of str to float
        Its measurements; empty where it had no tile with tissue.
    bounds : (k, 4) float64
        x, y, width, height of its tiles, level-0 px.
    logit, nuclei_fraction : (k,) float64
    noted : OutlineRecord
        Its tiles that were left out.
    """

    values: Mapping[str, float]
    bounds: NDArray[np.float64]
    logit: NDArray[np.float64]
    nuclei_fraction: NDArray[np.float64]
    noted: OutlineRecord


@dataclass(frozen=True, eq=False)
class ReusedScores:
    """What is kept of a slide.

    Attributes
    ----------
    stain : StainFit or None
        That the slide was scored with; None where each tile has its own fit.
    outlines : dict of str to ReusedOutline
        By :attr:`Annotation.index`.
    """

    stain: StainFit | None
    outlines: dict[int, ReusedOutline]


def reused_scores(state: ImageState, changes: OutlineChanges) -> ReusedScores | None:
    """Scores of the outlines that did not change.

    An outline whose tiles were changed by hand is not among them.

    Returns
    -------
    ReusedScores or None
        None where nothing can be kept: the slide is to be scored as a whole.
    """
    record = recorded(state)
    if record is None:
        return None
    stain = None
    if record.settings.get("stain") != "staintools":
        try:
            stain = StainFit.from_dict(record.stain)
        except ValueError:
            return None
    outlines = {
        index: outline
        for index, noted in changes.unchanged.items()
        if (outline := _reused_outline(state, index, noted)) is not None
    }
    if not any(len(each.bounds) for each in outlines.values()):
        return None
    return ReusedScores(stain, outlines)


def tile_keys(bounds: NDArray[np.float64]) -> list[tuple[int, ...]]:
    """What tells tiles apart: their bounds to a thousandth of a px."""
    return [tuple(row) for row in np.rint(bounds * _PER_PX).astype(np.int64).tolist()]


def _reused_outline(state: ImageState, key: int, noted: OutlineRecord) -> ReusedOutline | None:
    tiles = state.results.tiles.get(key)
    values = state.results.annotations.get(key, {})
    if tiles is None:
        nothing = np.empty(0)
        return None if values else ReusedOutline({}, np.empty((0, 4)), nothing, nothing, noted)
    logit, nuclei = (
        tiles.measured(name) for name in (names.TILE_LOGIT, names.TILE_NUCLEI_FRACTION)
    )
    whole = (
        values.keys() >= names.ANNOTATION_VALUES
        and values[names.ANNOTATION_TILES] == len(tiles)
        and len(set(tile_keys(tiles.bounds))) == len(tiles)
        and bool(np.isfinite(logit).all() and np.isfinite(nuclei).all())
    )
    return ReusedOutline(values, tiles.bounds, logit, nuclei, noted) if whole else None


@dataclass(frozen=True, eq=False)
class KnownTiles:
    """A slide's planned tiles, with the values that are known before any is read.

    Attributes
    ----------
    scored : Scored
        Of all planned tiles.
    to_read : (m,) int64
        Rows of those that are not known and that an outline needs.
    members : dict of int to (k,) int64
        Place of each outline that is kept to the rows of its tiles.
    reused : int
        Tiles whose values are known.
    """

    scored: Scored
    to_read: NDArray[np.int64]
    members: dict[int, NDArray[np.int64]]
    reused: int


def known_tiles(
    bounds: NDArray[np.float64],
    members: Mapping[int, NDArray[np.int64]],
    reused: ReusedScores | None,
) -> KnownTiles:
    """Find the tiles of kept outlines among those that are planned.

    Parameters
    ----------
    bounds : (n, 4) float64
        x, y, width, height of every planned tile, level-0 px.
    members : mapping of int to (k,) int64
        :attr:`Annotation.index` to the rows of its tiles.
    reused : ReusedScores or None
        An outline whose tiles are not planned any more is not kept after all.
    """
    scored = Scored(
        np.full(len(bounds), np.nan),
        np.full(len(bounds), np.nan),
        np.full(len(bounds), TileVerdict.NOT_READ, np.int8),
    )
    found: dict[int, NDArray[np.int64]] = {}
    for key, outline in reused.outlines.items() if reused is not None else ():
        rows = members.get(key, np.empty(0, np.int64))
        row_of = dict(zip(tile_keys(bounds[rows]), rows.tolist(), strict=True))
        wanted = tile_keys(outline.bounds)
        if not row_of.keys() >= set(wanted):
            continue
        found[key] = mine = np.array([row_of[each] for each in wanted], np.int64)
        scored.logits[mine] = outline.logit
        scored.nuclei_fraction[mine] = outline.nuclei_fraction
        scored.verdicts[mine] = TileVerdict.TISSUE
    known = scored.verdicts == TileVerdict.TISSUE
    needed = np.zeros(len(bounds), bool)
    for key, rows in members.items():
        needed[rows] |= key not in found
    return KnownTiles(scored, np.flatnonzero(needed & ~known), found, int(known.sum()))
