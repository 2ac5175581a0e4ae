"""Scores slides into a folder of results: one process's part of the work."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qupath_hccmil.cluster.work import SlideRow, Step
from qupath_hccmil.errors import one_line
from qupath_hccmil.qupath.data_types import ImageEntry
from qupath_hccmil.qupath.open_project import EngineChoice, open_project
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.results.results_folder import IntoFolder
from qupath_hccmil.results.slide_pieces import InPieces
from qupath_hccmil.results.slide_tasks import SlideTask
from qupath_hccmil.scoring.devices import DeviceName, RuntimeName
from qupath_hccmil.scoring.score_project import BatchOptions, ImageOutcome, Progress, ScoringJob
from qupath_hccmil.scoring.score_settings import ScoreSettings
from qupath_hccmil.scoring.score_slide import score_at_once
from qupath_hccmil.scoring.scorer import ScorerSource
from qupath_hccmil.stain.staintools_normalizer import check_installed

_log = logging.getLogger(__name__)

# Projects that a worker keeps open; a list of 10,000 images takes a second to read.
_KEPT_PROJECTS = 4


@dataclass(frozen=True)
class ScoringPlan:
    """How slides are scored, on whatever machine.

    Attributes
    ----------
    folder : Path
        Where the results go.
    settings : ScoreSettings
    engine : {"auto", "paquo", "native"}
    model : Path or None
        Folder of the risk model; None takes the shipped one.
    encoders : tuple of Path
        Folders in which a head's encoder may be.
    runtime, device : str
    slides : Path or None
        Folder in which slides that have moved are looked for.
    force : bool
        Score images that QuPath does not hold for H&E too.
    dry_run : bool
        Count tiles and write nothing.
    piece_tiles : int or None
        Tiles of a piece of a large slide; None scores each slide as a whole.
    """

    folder: Path
    settings: ScoreSettings
    engine: EngineChoice = "auto"
    model: Path | None = None
    encoders: tuple[Path, ...] = ()
    runtime: RuntimeName = "auto"
    device: DeviceName = "auto"
    slides: Path | None = None
    force: bool = False
    dry_run: bool = False
    piece_tiles: int | None = None


def failed_row(task: SlideTask, reason: str, **more: Any) -> SlideRow[ImageOutcome]:
    """Row of a slide that was not scored."""
    outcome = ImageOutcome(task.image, "failed", reason=reason)
    return SlideRow(str(task.project), task.image_id, outcome, **more)


class SlideWorker:
    """Scores slides one after the other; the networks are loaded once.

    Parameters
    ----------
    plan : ScoringPlan
    threads : int, optional
        Threads that the networks may use on a CPU; default: all.

    Raises
    ------
    ModelError
        The model cannot be used.
    PackageError
        staintools is asked for and not installed.
    """

    def __init__(self, plan: ScoringPlan, threads: int | None = None) -> None:
        if plan.settings.stain == "staintools":
            check_installed()
        self.models = ScorerSource(
            plan.model,
            runtime=plan.runtime,
            device=plan.device,
            precision=plan.settings.precision,
            encoders=plan.encoders,
            threads=threads,
        )
        self._plan = plan
        self._options = BatchOptions(
            force=plan.force,
            dry_run=plan.dry_run,
            slides=plan.slides,
            model=plan.model,
            encoders=plan.encoders,
        )
        self._open: OrderedDict[Path, _OpenProject] = OrderedDict()

    def score(
        self, task: SlideTask, progress: Progress, step: Step | None = None
    ) -> SlideRow[ImageOutcome]:
        """Score a slide, or do one step of it; whatever is wrong with it is in the row.

        Parameters
        ----------
        task : SlideTask
        progress : Progress
        step : Step, optional
            Of a slide that may be scored in pieces. If others are left, the row's status is
            ``unfinished``.

        Raises
        ------
        ModelError
            The networks cannot be loaded: no slide could be scored.
        """
        start = time.perf_counter()
        try:
            opened = self._project(task.project)
            entry = opened.entries.get(task.image_id)
            if entry is None:
                return failed_row(task, "is no longer in the project")
        except Exception as error:
            # Whatever the error is, the other slides are done.
            _log.debug("%s", task.project, exc_info=True)
            return failed_row(task, one_line(error))
        destination = IntoFolder(self._plan.folder, self.models)
        in_pieces = None
        if step is not None and self._plan.piece_tiles is not None:
            in_pieces = InPieces(destination, step, self._plan.piece_tiles)
        job = ScoringJob(
            opened.project,
            self.models,
            self._plan.settings,
            self._options,
            progress,
            destination,
            in_pieces or score_at_once,
        )
        outcome = replace(job.outcome(entry), image=task.image, image_id=task.image_id)
        if in_pieces is not None and outcome.status in ("scored", "up to date"):
            in_pieces.tidy()
        return SlideRow(
            str(task.project),
            task.image_id,
            outcome,
            overhead=max(0.0, time.perf_counter() - start - outcome.seconds),
            pieces=0 if in_pieces is None else in_pieces.pieces,
        )

    def _project(self, path: Path) -> _OpenProject:
        """An open project, its list as it is on disk now."""
        there = path.stat() if path.exists() else None
        stamp = None if there is None else (there.st_mtime_ns, there.st_size)
        known = self._open.pop(path, None)
        if known is None or known.stamp != stamp:
            project = open_project(path, self._plan.engine, recover=False)
            known = _OpenProject(project, {each.id: each for each in project.images}, stamp)
        self._open[path] = known
        if len(self._open) > _KEPT_PROJECTS:
            self._open.popitem(last=False)
        return known


@dataclass(frozen=True)
class _OpenProject:
    project: Project
    entries: Mapping[str, ImageEntry]
    stamp: tuple[int, int] | None
