"""Scores of an earlier run for unchanged outlines, which are reused and not computed again.

The tiles of an outline and their values depend on its shape, the slide's pixels, the settings and
the slide's stain. If none of these has changed, the values have not changed either, and a run with
``--resume`` reads only the tiles of outlines that were edited or added. They are normalised with
the stain that the slide was scored with, so that all tiles of the slide are comparable. The stain
is fitted again if no outline of the slide is kept, or if the slide is scored without ``--resume``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.run_record import OutlineRecord
from qupath_hccmil.qupath.staleness import OutlineChanges, recorded
from qupath_hccmil.scoring.network_batches import Scored
from qupath_hccmil.stain.vahadane import StainFit
from qupath_hccmil.tiles.read_ahead import TileVerdict

# QuPath stores the corners of a rectangle, so its sides are read back with rounding.
_PER_PX = 1000


@dataclass(frozen=True, eq=False)
class ReusedOutline:
    """One outline as it was scored before.

    Attributes
    ----------
    values : mapping of str to float
        Its measurements; empty if it had no tile with tissue.
    bounds : (k, 4) float64
        x, y, width, height of its tiles, level-0 px.
    logit, nuclei_fraction : (k,) float64
    noted : OutlineRecord
        Record of the outline, with the numbers of tiles that were left out.
    """

    values: Mapping[str, float]
    bounds: NDArray[np.float64]
    logit: NDArray[np.float64]
    nuclei_fraction: NDArray[np.float64]
    noted: OutlineRecord


@dataclass(frozen=True, eq=False)
class ReusedScores:
    """The scores of a slide that are reused.

    Attributes
    ----------
    stain : StainFit or None
        Stain that the slide was scored with; None if each tile has its own fit.
    outlines : dict of int to ReusedOutline
        For each :attr:`Annotation.index`, the outline as it was scored.
    """

    stain: StainFit | None
    outlines: dict[int, ReusedOutline]


def reused_scores(state: ImageState, changes: OutlineChanges) -> ReusedScores | None:
    """Collect the scores of outlines that did not change.

    An outline with tiles that were changed by hand is not included.

    Returns
    -------
    ReusedScores or None
        None if nothing can be reused, so that the whole slide must be scored.
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
    """Keys that identify tiles: their bounds to a thousandth of a pixel."""
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
    """The planned tiles of a slide, with the values that are known before any tile is read.

    Attributes
    ----------
    scored : Scored
        Values of all planned tiles.
    to_read : (m,) int64
        Rows of the tiles that are not known and that an outline needs.
    members : dict of int to (k,) int64
        For each outline that is kept, the rows of its tiles.
    reused : int
        Number of tiles with known values.
    """

    scored: Scored
    to_read: NDArray[np.int64]
    members: dict[int, NDArray[np.int64]]
    reused: int

    def completed(self, found: Scored) -> KnownTiles:
        """The same with the values of the tiles that were read."""
        if found.features is not None:
            # A head needs all tiles at once, so that none was known before.
            return replace(self, scored=found)
        self.scored.logits[self.to_read] = found.logits
        self.scored.nuclei_fraction[self.to_read] = found.nuclei_fraction
        self.scored.verdicts[self.to_read] = found.verdicts
        return self


def known_tiles(
    bounds: NDArray[np.float64],
    members: Mapping[int, NDArray[np.int64]],
    reused: ReusedScores | None,
) -> KnownTiles:
    """Find the tiles of kept outlines among the planned tiles.

    Parameters
    ----------
    bounds : (n, 4) float64
        x, y, width, height of every planned tile, level-0 px.
    members : mapping of int to (k,) int64
        For each :attr:`Annotation.index`, the rows of its tiles.
    reused : ReusedScores or None
        Scores to reuse. An outline with tiles that are no longer planned is scored again.
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
