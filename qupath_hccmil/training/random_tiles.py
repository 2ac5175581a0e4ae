"""Random stain-normalised tiles from a patient's slides, as scoring would see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import AnnotationError, DataError, HccMilError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.slide_sources.left_out import LeftOut
from qupath_hccmil.slide_sources.outlined_slides import UNREADABLE, OutlinedSlide
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.tissue import TissueRule
from qupath_hccmil.stain.vahadane import Normalizer, StainFit
from qupath_hccmil.tiles.read_ahead import Chunk, TileVerdict, chunks_of, read_ahead
from qupath_hccmil.tiles.tile_plan import TileChoice, TilePlan, plan_tiles
from qupath_hccmil.tiles.tile_reader import TileReader

NO_TILE = "no tile that can be used"
IN_PART = "unreadable in part"


@dataclass(frozen=True)
class TileSettings:
    """Which tiles are used, and the stain that they are normalised to.

    Attributes
    ----------
    per_patient : int or None
        Largest number of random tiles, divided between a patient's slides in proportion to their
        numbers of tiles; None for all.
    seed : int
    mpp : float or None
        µm/px, overriding the values of QuPath and of the file.
    min_inside : float
        Smallest share of a tile that must be inside an outline.
    stain_target : StainFit
    geometry : TileGeometry
    tissue_rule : TissueRule
    """

    per_patient: int | None
    seed: int
    mpp: float | None
    stain_target: StainFit
    min_inside: float = 0.5
    geometry: TileGeometry = field(default_factory=TileGeometry)
    tissue_rule: TissueRule = field(default_factory=TissueRule)

    @property
    def choice(self) -> TileChoice:
        """Choose every tile of a slide; the wanted number depends on the patient's other slides."""
        return TileChoice(mpp=self.mpp, min_inside=self.min_inside, seed=self.seed)


def patient_tiles(
    slides: Sequence[OutlinedSlide], settings: TileSettings, left_out: list[LeftOut]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles of a patient in batches, each slide normalised by its own stain fit.

    Parameters
    ----------
    slides : sequence of OutlinedSlide
    settings : TileSettings
    left_out : list of LeftOut
        Slides that cannot be used, or only in part, are added to it.

    Yields
    ------
    (n, tile_px, tile_px, 3) uint8

    Raises
    ------
    DataError
        No slide of the patient can be used.
    """
    with ExitStack() as opened:
        planned = []
        for slide in slides:
            try:
                planned.append((slide.name, _opened(slide, settings, opened)))
            except (HccMilError, OSError) as error:
                left_out.append(LeftOut("slide", slide.name, _reason(error), str(error)))
        total = 0
        quotas = _quotas([len(one.plan.bounds) for _, one in planned], settings.per_patient)
        for (name, one), quota in zip(planned, quotas, strict=True):
            before = total
            try:
                for batch in _tiles(one, quota, settings):
                    total += len(batch)
                    yield batch
            except (HccMilError, OSError) as error:
                left_out.append(_failed(name, error, total - before))
    if not total:
        raise DataError("none of its slides can be used")


def _failed(name: str, error: Exception, used: int) -> LeftOut:
    """Say that a slide could not be read, and whether some of its tiles are in the bag already."""
    if not used:
        return LeftOut("slide", name, _reason(error), str(error))
    return LeftOut("slide", name, IN_PART, f"{error}; its first {count_of(used, 'tile')} are used")


def _reason(error: Exception) -> str:
    return NO_TILE if isinstance(error, AnnotationError) else UNREADABLE


class _OpenSlide(NamedTuple):
    """A slide that stays open from planning its tiles until they have been read."""

    pixels: Slide
    plan: TilePlan


def _opened(slide: OutlinedSlide, settings: TileSettings, opened: ExitStack) -> _OpenSlide:
    server = slide.entry.server
    pixels = opened.enter_context(slide.open())
    plan = plan_tiles(
        pixels,
        slide.outlines(pixels),
        settings.choice,
        settings.geometry,
        name=slide.name,
        calibration=(server.pixel_width, server.pixel_height),
    )
    return _OpenSlide(pixels, plan)


def _quotas(counts: Sequence[int], limit: int | None) -> list[int | None]:
    """Divide a number of tiles in proportion, with at least one tile from every slide."""
    if limit is None or sum(counts) <= limit:
        return [None] * len(counts)
    exact = np.asarray(counts) * (limit / sum(counts))
    quotas = np.maximum(np.floor(exact), 1).astype(int)
    # The tiles that are left after rounding down go to the slides that lost most by it.
    for index in np.argsort(np.floor(exact) - exact, kind="stable")[: max(limit - quotas.sum(), 0)]:
        quotas[index] += 1
    return [int(quota) for quota in quotas]


def _tiles(
    slide: _OpenSlide, quota: int | None, settings: TileSettings
) -> Iterator[NDArray[np.uint8]]:
    plan = slide.plan.at_random(quota, settings.seed)
    reader = TileReader(slide.pixels, plan.bounds, settings, plan.resolution.mpp)
    tiles = range(len(plan.bounds))
    normalizer = Normalizer(reader.fit_stain(tiles[: plan.wanted]), settings.stain_target)

    def load(rows: NDArray[np.int64]) -> Chunk:
        rgb, verdicts = reader.read(rows)
        return Chunk(rows, verdicts, normalizer.transform(rgb[verdicts == TileVerdict.TISSUE]))

    left = len(plan.bounds) if plan.wanted is None else plan.wanted
    # Closed before the slide, because its threads read ahead.
    with closing(read_ahead(load, chunks_of(tiles))) as chunks:
        for chunk in chunks:
            batch = chunk.rgb[:left]
            left -= len(batch)
            if len(batch):
                yield batch
            if not left:
                break
