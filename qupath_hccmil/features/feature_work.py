"""Features of slides, as work for a cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from qupath_hccmil.cluster.environment import Stamps, code_facts, stamps
from qupath_hccmil.cluster.work import PRECISION, SlideRow, Step
from qupath_hccmil.encoders.encoder import load_encoder, load_encoders
from qupath_hccmil.errors import WriteError
from qupath_hccmil.features.compute_features import FeatureOutcome, FeatureRun
from qupath_hccmil.features.feature_settings import FeatureSettings
from qupath_hccmil.model_store.model_folder import default_model_dir
from qupath_hccmil.scoring.devices import DeviceName, RuntimeName
from qupath_hccmil.scoring.encoder_runtime import encoder_precision
from qupath_hccmil.scoring.score_project import Unwatched
from qupath_hccmil.slide_sources.outlined_slides import OutlinedSlide

Where = tuple[tuple[str, ...], RuntimeName, DeviceName]
"""Folders of the encoders, none for the one that ships; runtime; device."""


@dataclass(frozen=True)
class FeatureTask:
    """One slide to encode.

    Attributes
    ----------
    stem : str
        Name of its files without the suffix; there is one such slide in a run.
    slide : OutlinedSlide
    """

    stem: str
    slide: OutlinedSlide = field(compare=False)


def environment(where: Where) -> dict[str, str]:
    """Facts of this process that features follow from.

    Raises
    ------
    ModelError
        An encoder or the device cannot be used here.
    """
    folders, runtime, device = where
    facts = _without_precision(tuple(map(Path, folders)))
    return {**facts, PRECISION: encoder_precision(runtime, device)}


def _without_precision(folders: tuple[Path, ...]) -> dict[str, str]:
    facts = code_facts()
    for number, folder in enumerate(folders or (None,), 1):
        facts[f"encoder {number}"] = _identity(folder, stamps(folder or default_model_dir("mil")))
    return facts


@lru_cache(maxsize=16)
def _identity(
    folder: Path | None,
    stamps: Stamps,  # noqa: ARG001 - a changed encoder is read again
) -> str:
    encoder = load_encoder(folder)
    return f"{encoder.name} {encoder.sha256} {encoder.made_by}".strip()


@dataclass(frozen=True)
class FeatureWork:
    """Computes the features of slides; see :class:`~qupath_hccmil.cluster.work.Work`.

    Attributes
    ----------
    folder : Path
        Gets a folder for each encoder.
    encoders : tuple of Path
        Folders of the encoders; none takes the one that ships.
    settings : FeatureSettings
    runtime, device : str
    """

    folder: Path
    encoders: tuple[Path, ...]
    settings: FeatureSettings
    runtime: RuntimeName = "auto"
    device: DeviceName = "auto"

    doing = "its features were computed"
    identify = staticmethod(environment)

    @property
    def where(self) -> Where:
        """Encoders, runtime and device, as plain data."""
        return tuple(map(str, self.encoders)), self.runtime, self.device

    def facts(self) -> Mapping[str, str]:
        """Versions, and hashes of the code and of the encoders."""
        return _without_precision(self.encoders)

    def prepared(self, threads: int | None) -> PreparedFeatures:
        """Load the encoders."""
        return PreparedFeatures(
            FeatureRun(
                self.folder,
                load_encoders(self.encoders),
                self.settings,
                runtime=self.runtime,
                device=self.device,
                threads=threads,
            )
        )

    def failed(
        self, task: FeatureTask, reason: str, *, worker: str, tries: int
    ) -> SlideRow[FeatureOutcome]:
        """Row of a slide whose worker was lost."""
        outcome = FeatureOutcome(task.slide.name, "failed", reason=reason)
        return _row(task, outcome, worker=worker, tries=tries)


class PreparedFeatures:
    """Encoders that are loaded."""

    def __init__(self, run: FeatureRun) -> None:
        self._run = run

    def do(self, task: FeatureTask, step: Step) -> SlideRow[FeatureOutcome]:
        """Compute what is missing of a slide; a disk that refuses costs this slide alone."""
        start = time.perf_counter()
        try:
            outcome = self._run.compute(task.slide, task.stem, Unwatched())
        except WriteError as error:
            seconds = time.perf_counter() - start
            outcome = FeatureOutcome(task.slide.name, "failed", {}, seconds, str(error))
        return _row(task, outcome)


def _row(
    task: FeatureTask, outcome: FeatureOutcome, worker: str = "", tries: int = 1
) -> SlideRow[FeatureOutcome]:
    return SlideRow(str(task.slide.path.resolve()), task.stem, outcome, worker=worker, tries=tries)
