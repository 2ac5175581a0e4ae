"""The tiles of one open slide, encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.features.feature_settings import Stain
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.scoring.encoder_runtime import EncoderRuntime, encode
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.tissue import TissueRule
from qupath_hccmil.stain.vahadane import Normalizer, StainFit
from qupath_hccmil.tiles.read_ahead import Chunk, TileVerdict, chunks_of, read_ahead
from qupath_hccmil.tiles.tile_plan import TilePlan
from qupath_hccmil.tiles.tile_reader import TileReader


@dataclass(frozen=True)
class TileKind:
    """Tiles that several encoders share, so that they are read once.

    Attributes
    ----------
    geometry : TileGeometry
    tissue_rule : TissueRule
    stain_target : StainFit or None
        None leaves the colours as they are.
    """

    geometry: TileGeometry
    tissue_rule: TissueRule
    stain_target: StainFit | None


@dataclass(frozen=True)
class EncodedSlide:
    """Tiles with tissue in focus, and their features.

    Attributes
    ----------
    bounds : (k, 4) float64
        x, y, width, height, level-0 px.
    features : list of (k, d) float32
        Of each encoder.
    background, blurred : int
        Tiles that were left out.
    """

    bounds: NDArray[np.float64]
    features: list[NDArray[np.float32]]
    background: int
    blurred: int


def encode_slide(
    slide: Slide,
    plan: TilePlan,
    kind: TileKind,
    runtimes: Sequence[EncoderRuntime],
    progress: Callable[[int], None] = lambda n: None,
) -> EncodedSlide:
    """Read the planned tiles of a slide once, and run all encoders on them.

    Parameters
    ----------
    slide : Slide
    plan : TilePlan
    kind : TileKind
        Of the tiles in the plan.
    runtimes : sequence of EncoderRuntime
    progress : callable
        Called with the number of tiles that are done since the last call.

    Raises
    ------
    SlideError
        A tile cannot be read, or the stain cannot be fitted.
    AnnotationError
        No tile shows tissue in focus.
    """
    reader = TileReader(slide, plan.bounds, kind, plan.resolution.mpp)
    rows = range(len(plan.bounds))
    load = _loader(reader, kind.stain_target, rows[: plan.wanted])
    chunks = read_ahead(load, chunks_of(rows))
    # Closed before the slide, because its threads read ahead.
    with closing(chunks):
        verdicts, features = encode(
            chunks, runtimes, len(plan.bounds), wanted=plan.wanted, progress=progress
        )
    kept = np.flatnonzero(verdicts == TileVerdict.TISSUE)
    if not len(kept):
        raise AnnotationError(
            f"{slide.path}: all tiles are background or out of focus; check the outlines"
        )
    return EncodedSlide(
        plan.bounds[kept],
        features,
        int((verdicts == TileVerdict.BACKGROUND).sum()),
        int((verdicts == TileVerdict.BLURRED).sum()),
    )


def stain_target(stain: Stain, target: StainFit) -> StainFit | None:
    """What tiles are normalised to with a setting."""
    return target if stain == "vahadane" else None


def _loader(
    reader: TileReader, target: StainFit | None, next_rows: range
) -> Callable[[NDArray[np.int64]], Chunk]:
    normalizer = None if target is None else Normalizer(reader.fit_stain(next_rows), target)

    def load(rows: NDArray[np.int64]) -> Chunk:
        rgb, verdicts = reader.read(rows)
        kept = rgb[verdicts == TileVerdict.TISSUE]
        return Chunk(rows, verdicts, kept if normalizer is None else normalizer.transform(kept))

    return load
