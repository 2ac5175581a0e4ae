"""Scoring into a folder of results, as work for a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from qupath_hccmil.cluster.environment import Stamps, code_facts, stamps
from qupath_hccmil.cluster.work import PRECISION, SlideRow, Step
from qupath_hccmil.model_store.model_folder import default_model_dir
from qupath_hccmil.results.slide_tasks import SlideTask
from qupath_hccmil.results.slide_worker import ScoringPlan, SlideWorker, failed_row
from qupath_hccmil.scoring.devices import DeviceName, RuntimeName
from qupath_hccmil.scoring.precision import PrecisionName
from qupath_hccmil.scoring.runtime import RuntimeOptions
from qupath_hccmil.scoring.score_project import ImageOutcome, Unwatched
from qupath_hccmil.scoring.scorer import ScorerSource

PIECE_TILES = 2048
"""Tiles of a piece. A slide of more than twice as many is scored in pieces, by several workers."""

Where = tuple[str | None, RuntimeName, DeviceName, PrecisionName]
"""Folder of the risk model, or None for the shipped one; runtime; device; precision."""


def environment(where: Where) -> dict[str, str]:
    """Facts of this process that scores follow from.

    Returns
    -------
    dict of str to str
        Those of :func:`without_precision`, and the precision of the nuclei network.

    Raises
    ------
    ModelError
        The model, the device or the precision cannot be used here.
    """
    model, runtime, device, precision = where
    options = RuntimeOptions(runtime, device, precision)
    facts = without_precision(None if model is None else Path(model))
    return {**facts, PRECISION: options.nuclei_precision()}


def without_precision(model: Path | None) -> dict[str, str]:
    """Facts of this process that scores follow from, wherever the networks are run.

    Parameters
    ----------
    model : Path or None
        Folder of the risk model; None takes the shipped one.

    Returns
    -------
    dict of str to str
        Versions of this package and of the libraries that change numbers, a hash of this
        package's code, the model's identity (hashes of its weights).

    Raises
    ------
    ModelError
        The model cannot be used.
    """
    return {
        **code_facts(),
        "model": _model_identity(model, stamps(model or default_model_dir("mil"))),
    }


@lru_cache(maxsize=4)
def _model_identity(
    model: Path | None,
    stamps: Stamps,  # noqa: ARG001 - a changed model is read again
) -> str:
    return ScorerSource(model).identity


@dataclass(frozen=True)
class ScoringWork:
    """Scores slides as a plan says, large ones in pieces; see :class:`~.cluster.work.Work`.

    Attributes
    ----------
    plan : ScoringPlan
    """

    plan: ScoringPlan
    piece_tiles: int = field(default_factory=lambda: PIECE_TILES)

    doing = "this slide was scored"
    identify = staticmethod(environment)

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return self.plan.folder

    @property
    def where(self) -> Where:
        """Model, runtime, device and precision, as plain data."""
        model = None if self.plan.model is None else str(self.plan.model)
        return model, self.plan.runtime, self.plan.device, self.plan.settings.precision

    def facts(self) -> Mapping[str, str]:
        """See :func:`without_precision`."""
        return without_precision(self.plan.model)

    def prepared(self, threads: int | None) -> PreparedScoring:
        """Load the networks."""
        return PreparedScoring(replace(self.plan, piece_tiles=self.piece_tiles), threads)

    def failed(
        self, task: SlideTask, reason: str, *, worker: str, tries: int
    ) -> SlideRow[ImageOutcome]:
        """Row of a slide whose worker was lost."""
        return failed_row(task, reason, worker=worker, tries=tries)


class PreparedScoring:
    """Networks that are loaded."""

    def __init__(self, plan: ScoringPlan, threads: int | None) -> None:
        self._worker = SlideWorker(plan, threads)

    def do(self, task: SlideTask, step: Step) -> SlideRow[ImageOutcome]:
        """Score a slide, or do one step of it."""
        return self._worker.score(task, Unwatched(), step)
