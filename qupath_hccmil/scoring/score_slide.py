"""Score one slide: fit its stain, run the networks on the planned tiles, aggregate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import AnnotationError, ModelError
from qupath_hccmil.method.aggregation import is_high_risk, risk
from qupath_hccmil.qupath import names
from qupath_hccmil.scoring.network_batches import Scored
from qupath_hccmil.scoring.reused_scores import KnownTiles, ReusedOutline, ReusedScores, known_tiles
from qupath_hccmil.scoring.score_settings import Stain
from qupath_hccmil.scoring.scorer import Scorer
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.resolution import Resolution
from qupath_hccmil.stain.colour import Pixels
from qupath_hccmil.stain.staintools_normalizer import StaintoolsNormalizer
from qupath_hccmil.stain.vahadane import Normalizer, StainFit
from qupath_hccmil.tiles.read_ahead import Chunk, TileVerdict, chunks_of, read_ahead
from qupath_hccmil.tiles.tile_plan import TilePlan
from qupath_hccmil.tiles.tile_reader import TileReader

Normalise = Callable[[Pixels], tuple[Pixels, NDArray[np.bool_]]]
"""(n, h, w, 3) RGB to (k, h, w, 3) of those that can be normalised, and (n,): which they are."""


@dataclass(frozen=True)
class TileWork:
    """The tiles of a slide that are to be read, and how.

    Attributes
    ----------
    n_tiles : int
    divisible : bool
        Whether parts of the tiles may be scored apart; False if only some of them are wanted.
    fit_stain : callable
        Returns the slide's stain, or None where each tile has its own fit. It is given the tiles
        that this process scores next.
    score : callable
        Scores the tiles of a range of 0 to `n_tiles`, given the stain.
    """

    n_tiles: int
    divisible: bool
    fit_stain: Callable[[range], StainFit | None]
    score: Callable[[StainFit | None, range], Scored]


TileScoring = Callable[[TileWork], tuple[StainFit | None, Scored]]
"""Scores the tiles of a slide; raises :class:`UnfinishedError` to leave the slide unfinished."""


class UnfinishedError(Exception):
    """A slide is left unfinished on purpose: its parts are scored by several processes."""


def score_at_once(work: TileWork) -> tuple[StainFit | None, Scored]:
    """Score all tiles of a slide in this process."""
    every = range(work.n_tiles)
    stain = work.fit_stain(every)
    return stain, work.score(stain, every)


@dataclass(frozen=True)
class TileScores:
    """Scored tiles, each tile once, as columns of length n.

    Attributes
    ----------
    bounds : (n, 4) float64
        x, y, width, height, level-0 px.
    logit, risk, contribution, nuclei_fraction : (n,) float64
        `contribution` is the signed share of the tile in the slide's m: its sum over the slide's
        tiles is m, and S = sign(m) |m|^(1/p). For a head it sums to S, which is the same with
        p = 1. `nuclei_fraction` is NaN for a head, whose encoder need not see nuclei.
    """

    bounds: NDArray[np.float64]
    logit: NDArray[np.float64]
    risk: NDArray[np.float64]
    contribution: NDArray[np.float64]
    nuclei_fraction: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bounds)


@dataclass(frozen=True)
class AnnotationScore:
    """The score of one tumour outline, aggregated over its own tiles.

    Attributes
    ----------
    rows : (k,) int64
        Rows of its tiles among the tiles of the slide.
    """

    risk: float
    logit: float
    high_fraction: float
    nuclei_fraction: float
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class SlideScore:
    """The score of one slide; every tile counts once, however many annotations contain it.

    Attributes
    ----------
    background, blurred : int
        Tiles left out for that reason. Of outlines whose scores are kept from an earlier run those
        that it noted for each outline are added up.
    stain : StainFit or None
        None where each tile has its own fit.
    left_out : dict of int to (int, int)
        The same two numbers for each :attr:`Annotation.index`.
    reused : int
        Number of tiles with values from an earlier run.
    """

    risk: float
    logit: float
    group: str
    resolution: Resolution
    tiles: TileScores
    annotations: dict[int, AnnotationScore]
    background: int
    blurred: int
    stain: StainFit | None
    left_out: dict[int, tuple[int, int]] = field(default_factory=dict)
    reused: int = 0
    notes: list[str] = field(default_factory=list)


def score_slide(
    slide: Slide,
    plan: TilePlan,
    scorer: Scorer,
    progress: Callable[[int], None] = lambda n: None,
    reused: ReusedScores | None = None,
    stain: Stain = "vahadane",
    scoring: TileScoring = score_at_once,
) -> SlideScore:
    """Score the planned tiles of a slide.

    Parameters
    ----------
    slide : Slide
    plan : TilePlan
    scorer : Scorer
        Networks and the numbers that belong to them.
    progress : callable
        Told how many more tiles are dealt with.
    reused : ReusedScores or None
        Outlines whose scores are taken over; the others' tiles alone are read.
    stain : {"vahadane", "staintools"}
        See :class:`ScoreSettings`. Tiles that staintools cannot normalise count as background.
    scoring : callable
        Who scores the tiles.

    Raises
    ------
    UnfinishedError
        `scoring` leaves the slide unfinished.
    PackageError
        staintools is asked for and not installed.
    SlideError
        A tile cannot be read.
    AnnotationError
        No tile shows tissue in focus.
    """
    known = known_tiles(plan.bounds, plan.members, reused)
    rows = known.to_read
    if reused is not None:
        progress(len(plan.bounds) - len(rows))
    if scorer.stain_target is None or not scorer.judge.divisible:
        _check_stain(scorer, stain)
    reader = TileReader(slide, plan.bounds[rows], scorer, plan.resolution.mpp)

    def fit_stain(next_rows: range) -> StainFit | None:
        if stain == "staintools" or scorer.stain_target is None:
            return None
        if reused is not None and reused.stain:
            return reused.stain
        return reader.fit_stain(next_rows[: plan.wanted])

    def score(fit: StainFit | None, places: range) -> Scored:
        found = scorer.judge.run(
            read_ahead(
                _loader(reader, fit, scorer), chunks_of(places), readers=scorer.judge.readers
            ),
            len(rows),
            plan.wanted,
            progress,
        )
        return found.part(places)

    divisible = plan.wanted is None and scorer.judge.divisible
    fit, found = scoring(TileWork(len(rows), divisible, fit_stain, score))
    return _aggregate(plan, scorer, known.completed(found), reused, fit)


def _check_stain(scorer: Scorer, stain: Stain) -> None:
    """Refuse a stain normalisation that a head did not see in its training."""
    if stain == "staintools":
        raise ModelError(
            f"{scorer.name}: is a head on features, which were not made with --stain staintools; "
            "leave that option out"
        )


def _loader(
    reader: TileReader, fit: StainFit | None, scorer: Scorer
) -> Callable[[NDArray[np.int64]], Chunk]:
    """What reads and normalises some tiles."""
    normalise: Normalise
    if scorer.stain_target is None:
        normalise = _as_they_are
    elif fit is None:
        normalise = StaintoolsNormalizer(scorer.stain_target).transform
    else:
        normalise = _all_of(Normalizer(fit, scorer.stain_target))

    def load(places: NDArray[np.int64]) -> Chunk:
        rgb, verdicts = reader.read(places)
        to_normalise = np.flatnonzero(verdicts == TileVerdict.TISSUE)
        normalised, possible = normalise(rgb[to_normalise])
        verdicts[to_normalise[~possible]] = TileVerdict.BACKGROUND
        return Chunk(places, verdicts, normalised)

    return load


def _as_they_are(batch: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    return batch, np.ones(len(batch), np.bool_)


def _all_of(normalizer: Normalizer) -> Normalise:
    """Normalise a batch, of which every tile can be."""
    return lambda batch: (normalizer.transform(batch), np.ones(len(batch), np.bool_))


def _aggregate(
    plan: TilePlan,
    scorer: Scorer,
    known: KnownTiles,
    reused: ReusedScores | None,
    stain: StainFit | None,
) -> SlideScore:
    verdicts = known.scored.verdicts
    rows_scored = np.flatnonzero(verdicts == TileVerdict.TISSUE)
    if not len(rows_scored):
        raise AnnotationError("all tiles in the tumour annotations are background or out of focus")
    place = np.full(len(plan.bounds), -1)
    place[rows_scored] = np.arange(len(rows_scored))
    judged = scorer.judge.judge(known.scored, rows_scored)
    tiles = TileScores(
        bounds=plan.bounds[rows_scored],
        logit=judged.tile_logits,
        risk=risk(judged.tile_logits),
        contribution=judged.contributions,
        nuclei_fraction=known.scored.nuclei_fraction[rows_scored],
    )
    outlines = {} if reused is None else {key: reused.outlines[key] for key in known.members}
    annotations: dict[int, AnnotationScore] = {}
    left_out: dict[int, tuple[int, int]] = {}
    notes = []
    for annotation, rows in plan.members.items():
        if annotation in outlines:
            outline = outlines[annotation]
            left_out[annotation] = (outline.noted.background, outline.noted.blurred)
            if len(outline.bounds):
                mine = place[known.members[annotation]]
                annotations[annotation] = _as_it_was(outline, mine)
            continue
        mine = place[rows]
        mine = mine[mine >= 0]
        left_out[annotation] = _left_out(verdicts[rows])
        if len(mine):
            own = scorer.judge.judge(known.scored, rows_scored[mine])
            annotations[annotation] = _annotation_score(tiles, mine, own.logit, scorer)
        elif len(rows):
            notes.append(
                f"{plan.labels[annotation]}: no tile shows tissue in focus, so it has no score"
            )
    background, blurred = np.sum(
        [_left_out(verdicts), *(left_out[key] for key in outlines)], axis=0
    ).tolist()
    slide_risk = float(risk(judged.logit))
    return SlideScore(
        risk=slide_risk,
        logit=judged.logit,
        group=scorer.group(slide_risk),
        resolution=plan.resolution,
        tiles=tiles,
        annotations=annotations,
        background=background,
        blurred=blurred,
        stain=stain,
        left_out=left_out,
        reused=known.reused,
        notes=notes,
    )


def _left_out(verdicts: NDArray[np.int8]) -> tuple[int, int]:
    """Count background tiles and blurred tiles."""
    return (
        int(np.sum(verdicts == TileVerdict.BACKGROUND)),
        int(np.sum(verdicts == TileVerdict.BLURRED)),
    )


def _as_it_was(outline: ReusedOutline, rows: NDArray[np.int64]) -> AnnotationScore:
    return AnnotationScore(
        risk=outline.values[names.ANNOTATION_RISK],
        logit=outline.values[names.ANNOTATION_LOGIT],
        high_fraction=outline.values[names.ANNOTATION_HIGH_FRACTION],
        nuclei_fraction=outline.values[names.ANNOTATION_NUCLEI_FRACTION],
        rows=rows,
    )


def _annotation_score(
    tiles: TileScores, rows: NDArray[np.int64], logit: float, scorer: Scorer
) -> AnnotationScore:
    return AnnotationScore(
        risk=float(risk(logit)),
        logit=logit,
        high_fraction=float(np.mean(is_high_risk(tiles.risk[rows], scorer.threshold))),
        nuclei_fraction=float(np.mean(tiles.nuclei_fraction[rows])),
        rows=rows,
    )
