"""Score the images of a project, one after the other; one that fails does not stop the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from qupath_hccmil.atomic_files import file_name
from qupath_hccmil.errors import AnnotationError, ModelError, UnsupportedDataError, one_line
from qupath_hccmil.method.research_use import RESEARCH_USE, SURROGATE
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageState
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.qupath.run_record import listed_metadata
from qupath_hccmil.qupath.selection import (
    choose_images,
    labels,
    on_other_planes,
    tumour_annotations,
    tumour_outlines,
    without_area,
)
from qupath_hccmil.qupath.slide_location import locate_slide
from qupath_hccmil.qupath.staleness import (
    OutlineChanges,
    is_stale,
    list_differs,
    outline_changes,
    recorded,
)
from qupath_hccmil.scoring.open_image import open_image
from qupath_hccmil.scoring.qupath_results import image_results
from qupath_hccmil.scoring.reused_scores import ReusedScores, reused_scores
from qupath_hccmil.scoring.risk_map_picture import draw_risk_map
from qupath_hccmil.scoring.score_settings import ScoreSettings
from qupath_hccmil.scoring.score_slide import SlideScore, score_slide
from qupath_hccmil.scoring.scorer import ScorerSource
from qupath_hccmil.scoring.workflow_step import reproduce
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.tiles.tile_plan import holds_no_tile, plan_tiles

_log = logging.getLogger(__name__)

Status = Literal["scored", "planned", "up to date", "failed"]

# Image types that are H&E or may be: QuPath leaves many H&E slides unset.
_ACCEPTED_TYPES = {"BRIGHTFIELD_H_E", "UNSET"}


class Progress(Protocol):
    """Told what goes on."""

    def start(self, image: str, n_tiles: int) -> None:
        """An image's tiles are about to be read."""
        ...

    def advance(self, n_tiles: int) -> None:
        """So many more tiles are dealt with."""
        ...

    def finish(self, outcome: ImageOutcome) -> None:
        """An image is done."""
        ...


@dataclass(frozen=True)
class ImageOutcome:
    """What became of one image.

    Attributes
    ----------
    tiles : int
        Scored, or planned in a dry run.
    background, blurred : int
        Tiles left out for that reason.
    seconds : float
        Wall clock from the first tile to written, without loading the networks.
    reused : int
        Scored tiles whose values are those of an earlier run.
    reason : str
        Why it failed.
    notes : list of str
        What a careful user wants to know: an annotation without tiles, an edited outline.
    image_id : str
        ID of the image's entry in the project.
    """

    image: str
    status: Status
    annotations: int = 0
    tiles: int = 0
    background: int = 0
    blurred: int = 0
    risk: float | None = None
    logit: float | None = None
    group: str | None = None
    mpp: float | None = None
    mpp_source: str | None = None
    seconds: float = 0.0
    reused: int = 0
    reason: str = ""
    notes: list[str] = field(default_factory=list)
    image_id: str = ""


@dataclass(frozen=True)
class BatchOptions:
    """How a batch goes about its images; none of this changes a score.

    Attributes
    ----------
    images : tuple of str
        Names or glob patterns; empty takes all.
    resume : bool
        Leave images whose results are of the same model, settings and outlines; where some
        outlines were edited, added or deleted, score just those. An image is scored with the
        settings that it was scored with before.
    asked : frozenset of str
        Names of settings that the user gave. A resume refuses an image that was scored with
        another value of one of them.
    force : bool
        Score images that QuPath does not hold for H&E too, and those that a resume refuses.
    dry_run : bool
        Count tiles and write nothing.
    slides : Path or None
        Folder in which slides that have moved are looked for by file name.
    maps : Path or None
        Folder for a PNG of each risk map.
    wait : float
        Seconds to wait for another run that writes the project.
    model : Path or None
        Folder of the risk model that the user gave, for the workflow step.
    """

    images: tuple[str, ...] = ()
    resume: bool = False
    asked: frozenset[str] = frozenset()
    force: bool = False
    dry_run: bool = False
    slides: Path | None = None
    maps: Path | None = None
    wait: float = 0.0
    model: Path | None = None


def score_project(
    project: Project,
    models: ScorerSource,
    settings: ScoreSettings,
    options: BatchOptions,
    progress: Progress,
) -> Iterator[ImageOutcome]:
    """Score the chosen images and write the results into the project.

    Parameters
    ----------
    project : Project
        Open.
    models : ScorerSource
        Loaded only where an image needs them.
    settings : ScoreSettings
    options : BatchOptions
    progress : Progress

    Yields
    ------
    ImageOutcome
        One an image, in the project's order. A failed image is as it was, whatever its error.

    Raises
    ------
    ModelError
        The networks cannot be loaded: no image could be scored.
    WriteError
        Another run is at work on the project, or it cannot be written.
    """
    job = _Job(project, models, settings, options, progress)
    entries = choose_images(project, options.images)
    if not options.dry_run:
        # before hours of work, not at the first result
        project.begin(options.wait)
    called = labels(project.images)
    for entry in entries:
        start = time.perf_counter()
        try:
            outcome = job.image(entry)
        except ModelError:
            raise
        except Exception as error:
            # whatever it is, Java's errors and a want of memory too: the other images are done
            _log.debug("%s", entry.name, exc_info=True)
            outcome = ImageOutcome(
                entry.name,
                "failed",
                seconds=time.perf_counter() - start,
                reason=one_line(error),
                notes=list(job.notes),
            )
        outcome = replace(outcome, image=called[entry.id], image_id=entry.id)
        progress.finish(outcome)
        yield outcome


@dataclass
class _Job:
    """One image at a time; `notes` are of the data of the image that was read last."""

    project: Project
    models: ScorerSource
    settings: ScoreSettings
    options: BatchOptions
    progress: Progress
    notes: tuple[str, ...] = ()
    _classes_added: bool = False

    def image(self, entry: ImageEntry) -> ImageOutcome:
        self.notes = ()
        state = self.project.read(entry)
        self.notes = state.notes
        if state.read_only:
            raise UnsupportedDataError(f"{entry.name}: {state.read_only}")
        self._check_type(state)
        settings = self._settings(state)
        annotations = tumour_annotations(state, settings.annotation_classes)
        changes = self._changes(state, settings) if self.options.resume else None
        if changes is not None and not is_stale(state, settings.annotation_classes):
            return ImageOutcome(
                entry.name,
                "up to date",
                annotations=len(annotations),
                notes=[*state.notes, *self._repair_list(state)],
            )
        # a random choice of tiles is one over all outlines, so another where they are others
        kept = None if settings.max_tiles is not None else self._kept(state, changes)
        path = locate_slide(
            entry, self.project.path, self.project.previous_uri, self.options.slides
        )
        with open_image(entry, path) as slide:
            plan = plan_tiles(
                slide,
                tumour_outlines(annotations),
                settings,
                self.models.geometry,
                name=entry.name,
                calibration=(entry.server.pixel_width, entry.server.pixel_height),
            )
            self.progress.start(entry.name, plan.expected)
            why = holds_no_tile(settings, self.models.geometry)
            notes = [*state.notes, *_without_area(state, settings)]
            notes += [f"{label}: {why}, so no score" for label in plan.without_tiles]
            if kept is not None and changes is not None:
                notes.append(_told(changes, kept))
            notes += [
                f"{' '.join((each.name or each.id).split())}: is on plane z {each.z}, t {each.t}, "
                "and only the first plane is scored"
                for each in on_other_planes(state, settings.annotation_classes)
            ]
            if self.options.dry_run:
                return ImageOutcome(
                    entry.name,
                    "planned",
                    annotations=len(annotations),
                    tiles=plan.expected,
                    mpp=plan.resolution.mpp,
                    mpp_source=plan.resolution.source,
                    notes=notes,
                )
            # Loading the networks is the run's time, not this image's.
            scorer = self.models.scorer()
            start = time.perf_counter()
            score = score_slide(slide, plan, scorer, self.progress.advance, kept)
            self._write(state, annotations, score, settings)
            if self.options.maps is not None:
                self._draw(entry, slide, annotations, score)
        return ImageOutcome(
            entry.name,
            "scored",
            annotations=len(annotations),
            tiles=len(score.tiles),
            background=score.background,
            blurred=score.blurred,
            risk=score.risk,
            logit=score.logit,
            group=score.group,
            mpp=score.resolution.mpp,
            mpp_source=score.resolution.source,
            seconds=time.perf_counter() - start,
            reused=score.reused,
            notes=notes + score.notes,
        )

    def _check_type(self, state: ImageState) -> None:
        if state.image_type not in _ACCEPTED_TYPES and not self.options.force:
            raise AnnotationError(
                f"{state.entry.name}: QuPath holds it for {state.image_type}, not H&E; "
                "set the image type in QuPath or use --force"
            )

    def _settings(self, state: ImageState) -> ScoreSettings:
        """Settings for one image: a resume goes on with those that it was scored with.

        Raises
        ------
        AnnotationError
            The user asks a resume for others than those.
        """
        record = recorded(state) if self.options.resume else None
        if record is None:
            return self.settings
        before = ScoreSettings.from_record(record.settings)
        other = [
            f"{name} {getattr(before, name)!r}, not {getattr(self.settings, name)!r}"
            for name in sorted(self.options.asked)
            if getattr(before, name) != getattr(self.settings, name)
        ]
        if not other:
            return before
        if not self.options.force:
            raise AnnotationError(
                f"{state.entry.name}: was scored with {'; '.join(other)}: left as it is; resume "
                "without that option, or add --force to score it again"
            )
        return self.settings

    def _repair_list(self, state: ImageState) -> list[str]:
        """Bring the project's lists to what the image says; returns notes where they were not so.

        A QuPath that was open writes both back as they were when it quits.
        """
        record = recorded(state)
        if record is None or self.options.dry_run:
            return []
        notes = []
        if not self._classes_added and self.project.add_classes(names.CLASS_COLOURS):
            notes.append(
                "the project's class list lacked the classes of our tiles or had their former"
                " colours; it is repaired"
            )
        self._classes_added = True
        if list_differs(state):
            self.project.write_list(state.entry, listed_metadata(record))
            notes.append("the project's list said something else than the image; it is repaired")
        return notes

    def _changes(self, state: ImageState, settings: ScoreSettings) -> OutlineChanges | None:
        """What became of the outlines since; None where the image is to be scored as a whole."""
        record = recorded(state)
        now = settings.fingerprint(self.models.identity, state.entry.server)
        if record is None or record.settings_sha256 != now:
            return None
        return outline_changes(state, settings.annotation_classes)

    def _kept(self, state: ImageState, changes: OutlineChanges | None) -> ReusedScores | None:
        return None if changes is None else reused_scores(state, changes)

    def _write(
        self,
        state: ImageState,
        annotations: Sequence[Annotation],
        score: SlideScore,
        settings: ScoreSettings,
    ) -> None:
        results = image_results(
            state.entry,
            annotations,
            score,
            self.models.scorer(),
            settings,
            reproduce(settings, self.options.model, self.project.engine),
        )
        if not self._classes_added:
            self.project.add_classes(names.CLASS_COLOURS)
            self._classes_added = True
        self.project.write(state.entry, results, state.stamp)

    def _draw(
        self,
        entry: ImageEntry,
        slide: Slide,
        annotations: Sequence[Annotation],
        score: SlideScore,
    ) -> None:
        assert self.options.maps is not None
        scorer = self.models.scorer()
        draw_risk_map(
            self.options.maps / f"{entry.id}-{file_name(entry.name)}-risk-map.png",
            slide.thumbnail(1500),
            width=slide.width,
            mpp=score.resolution.mpp,
            bounds=score.tiles.bounds,
            tile_risk=score.tiles.risk,
            outlines=[a.geometry for a in annotations if a.geometry is not None],
            threshold=scorer.threshold,
            title=(
                f"{entry.name}: risk {score.risk:.3f} ({score.group}), "
                f"{len(score.tiles)} tiles, model {scorer.name}"
            ),
            note=RESEARCH_USE + (f" {SURROGATE}" if scorer.surrogate else ""),
        )


def _without_area(state: ImageState, settings: ScoreSettings) -> list[str]:
    """Which outlines of the wanted classes enclose nothing, one line each."""
    return [
        f"{' '.join((each.name or each.id).split())}: encloses no area, so no score"
        for each in without_area(state, settings.annotation_classes)
    ]


def _told(changes: OutlineChanges, kept: ReusedScores) -> str:
    """Which outlines are scored and which are kept, in one line."""
    counts = [
        f"{len(each)} {word}"
        for word, each in (
            ("edited", changes.edited),
            ("added", changes.added),
            ("deleted", changes.deleted),
        )
        if each
    ]
    return (
        f"outlines since the last run: {', '.join(counts) or 'tiles changed'}; the scores of "
        f"{len(kept.outlines)} are kept, with the slide's stain"
    )
