"""Features of many slides: each slide is opened once, and what is there is not made again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from qupath_hccmil.encoders.encoder import Encoder
from qupath_hccmil.errors import DataError, ModelError, PackageError, WriteError, one_line
from qupath_hccmil.features.encode_slide import EncodedSlide, TileKind, encode_slide, stain_target
from qupath_hccmil.features.feature_folder import EncoderFeatures
from qupath_hccmil.features.feature_settings import FeatureSettings
from qupath_hccmil.features.slides_to_encode import SlidesToEncode
from qupath_hccmil.scoring.devices import DeviceName, RuntimeName
from qupath_hccmil.scoring.encoder_runtime import (
    EncoderRuntime,
    encoder_precision,
    load_encoder_runtime,
)
from qupath_hccmil.slide_sources.outlined_slides import OutlinedSlide
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.tissue import TissueRule
from qupath_hccmil.tiles.tile_plan import TilePlan, plan_tiles

_log = logging.getLogger(__name__)

Status = Literal["computed", "up to date", "failed"]


@dataclass(frozen=True)
class FeatureOutcome:
    """What became of a slide.

    Attributes
    ----------
    slide : str
    status : {"computed", "up to date", "failed"}
    tiles : dict of str to int
        For each encoder that ran, the number of tiles.
    seconds : float
    reason : str
        Why it failed, in one line.
    """

    slide: str
    status: Status
    tiles: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""


class Watcher(Protocol):
    """Who is told how far the tiles of a slide are."""

    def start(self, image: str, n_tiles: int) -> None:
        """Note that the tiles of a slide are about to be read."""
        ...

    def advance(self, n_tiles: int) -> None:
        """Count this many more tiles as done."""
        ...


class FeatureRun:
    """Computes the features of slides into a folder; the encoders are loaded once.

    Parameters
    ----------
    out : Path
        Gets a folder for each encoder.
    encoders : sequence of Encoder
        With different names.
    settings : FeatureSettings
    runtime, device : str
        See :class:`~qupath_hccmil.scoring.runtime.RuntimeOptions`.
    threads : int, optional
        Threads that the encoders may use on a CPU; default: all.

    Raises
    ------
    DataError
        `out` has features of another encoder with the same name, or an encoder needs normalised
        colours and is not to get them.
    ModelError
        The device is not available here.
    WriteError
        `out` cannot be written.
    """

    def __init__(
        self,
        out: Path,
        encoders: Sequence[Encoder],
        settings: FeatureSettings,
        *,
        runtime: RuntimeName = "auto",
        device: DeviceName = "auto",
        threads: int | None = None,
    ) -> None:
        self._settings = settings
        self._threads = threads
        self._where: tuple[RuntimeName, DeviceName] = (runtime, device)
        self._precision = encoder_precision(runtime, device)
        self._loaded: dict[str, EncoderRuntime] = {}
        self._kinds: list[tuple[TileKind, list[EncoderFeatures]]] = []
        for encoder in encoders:
            if encoder.needs_stain and settings.stain == "none":
                raise DataError(
                    f"{encoder.path}: the encoder {encoder.name} knows stain-normalised colours "
                    "only; leave out --stain none, or this encoder"
                )
            target = stain_target(settings.stain, encoder.stain_target)
            kind = TileKind(encoder.geometry, TissueRule(), target)
            self._of_kind(kind).append(EncoderFeatures(out, encoder, settings, kind))

    def compute(self, slide: OutlinedSlide, stem: str, watcher: Watcher) -> FeatureOutcome:
        """Compute what is missing of a slide; whatever is wrong with it costs only itself.

        Parameters
        ----------
        slide : OutlinedSlide
        stem : str
            Name of its files without the suffix.
        watcher : Watcher

        Raises
        ------
        ModelError, PackageError
            An encoder cannot be loaded: no slide could be encoded.
        WriteError
            The disk is full or refuses: so would it for the next slide.
        """
        start = time.perf_counter()
        tiles: dict[str, int] = {}
        try:
            for kind, files in self._kinds:
                missing = [each for each in files if not each.holds(slide, stem)]
                if missing:
                    tiles |= self._of_slide(slide, stem, kind, missing, watcher)
        except (ModelError, PackageError, WriteError):
            raise
        except Exception as error:
            # Whatever the error is (lack of memory too), the other slides are done.
            _log.debug("%s", slide.name, exc_info=True)
            return FeatureOutcome(
                slide.name, "failed", tiles, time.perf_counter() - start, one_line(error)
            )
        status: Status = "computed" if tiles else "up to date"
        return FeatureOutcome(slide.name, status, tiles, time.perf_counter() - start)

    def _of_kind(self, kind: TileKind) -> list[EncoderFeatures]:
        """Encoders that share tiles; a new list for other tiles."""
        for known, files in self._kinds:
            if known.geometry == kind.geometry and _same_target(known, kind):
                return files
        self._kinds.append((kind, []))
        return self._kinds[-1][1]

    def _of_slide(
        self,
        slide: OutlinedSlide,
        stem: str,
        kind: TileKind,
        missing: Sequence[EncoderFeatures],
        watcher: Watcher,
    ) -> dict[str, int]:
        before = slide.identity
        with slide.open() as pixels:
            plan = self._plan(slide, pixels, kind)
            watcher.start(slide.name, plan.expected)
            runtimes = [self._runtime(each.encoder) for each in missing]
            encoded = encode_slide(pixels, plan, kind, runtimes, watcher.advance)
            if slide.identity != before:
                raise DataError(f"{slide.path}: was changed while it was read; run again")
            return self._write(slide, stem, pixels, plan, missing, encoded)

    def _write(
        self,
        slide: OutlinedSlide,
        stem: str,
        pixels: Slide,
        plan: TilePlan,
        missing: Sequence[EncoderFeatures],
        encoded: EncodedSlide,
    ) -> dict[str, int]:
        """Write what each encoder found; one that failed does not cost the others."""
        wrong: list[DataError] = []
        for files, features in zip(missing, encoded.features, strict=True):
            try:
                files.write(slide, stem, pixels, plan, encoded.bounds, features, self._precision)
            except DataError as error:
                wrong.append(error)
        if wrong:
            raise DataError("; ".join(map(str, wrong)))
        return {files.encoder.name: len(encoded.bounds) for files in missing}

    def _plan(self, slide: OutlinedSlide, pixels: Slide, kind: TileKind) -> TilePlan:
        server = slide.entry.server
        return plan_tiles(
            pixels,
            slide.outlines(pixels),
            self._settings,
            kind.geometry,
            name=slide.name,
            calibration=(server.pixel_width, server.pixel_height),
        )

    def _runtime(self, encoder: Encoder) -> EncoderRuntime:
        if encoder.name not in self._loaded:
            runtime, device = self._where
            self._loaded[encoder.name] = load_encoder_runtime(
                encoder, runtime=runtime, device=device, threads=self._threads
            )
        return self._loaded[encoder.name]


def compute_features(
    found: SlidesToEncode, run: FeatureRun, watcher: Watcher
) -> Iterator[FeatureOutcome]:
    """Compute the features of slides, one after the other.

    Parameters
    ----------
    found : SlidesToEncode
        Slides that cannot be used count as failed.
    run : FeatureRun
    watcher : Watcher
    """
    for name, reason in found.unusable:
        yield FeatureOutcome(name, "failed", reason=reason)
    for slide, stem in found.slides:
        yield run.compute(slide, stem, watcher)


def _same_target(one: TileKind, other: TileKind) -> bool:
    if one.stain_target is None or other.stain_target is None:
        return one.stain_target is other.stain_target
    return one.stain_target.to_dict() == other.stain_target.to_dict()
