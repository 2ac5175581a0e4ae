"""Score the images of a project one by one; an image that fails does not stop the others."""

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
from qupath_hccmil.plain_words import count_of
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
from qupath_hccmil.scoring.destination import Destination, IntoProject, SlideRequest
from qupath_hccmil.scoring.open_image import open_image
from qupath_hccmil.scoring.qupath_results import image_results
from qupath_hccmil.scoring.reused_scores import ReusedScores, reused_scores
from qupath_hccmil.scoring.score_settings import ScoreSettings
from qupath_hccmil.scoring.score_slide import (
    SlideScore,
    TileScoring,
    UnfinishedError,
    score_at_once,
    score_slide,
)
from qupath_hccmil.scoring.scorer import ScorerSource
from qupath_hccmil.scoring.workflow_step import reproduce
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.stain.staintools_normalizer import check_installed
from qupath_hccmil.tiles.tile_plan import holds_no_tile, plan_tiles

_log = logging.getLogger(__name__)

Status = Literal["scored", "planned", "up to date", "unfinished", "failed"]

# Image types that are or may be H&E: QuPath leaves the type of many H&E slides unset.
_ACCEPTED_TYPES = {"BRIGHTFIELD_H_E", "UNSET"}


class Progress(Protocol):
    """Receives the progress of a batch."""

    def start(self, image: str, n_tiles: int) -> None:
        """Note that the tiles of an image are about to be read."""
        ...

    def advance(self, n_tiles: int) -> None:
        """Count this many more tiles as done."""
        ...

    def finish(self, outcome: ImageOutcome) -> None:
        """Note that an image is done."""
        ...


class Unwatched:
    """A progress display that shows nothing."""

    def start(self, image: str, n_tiles: int) -> None:
        """Ignore that the tiles of an image are about to be read."""

    def advance(self, n_tiles: int) -> None:
        """Ignore that more tiles are done."""

    def finish(self, outcome: ImageOutcome) -> None:
        """Ignore that an image is done."""


@dataclass(frozen=True)
class ImageOutcome:
    """The outcome for one image.

    Attributes
    ----------
    tiles : int
        Number of tiles that were scored, or planned in a dry run.
    background, blurred : int
        Number of tiles left out for that reason.
    seconds : float
        Wall-clock time from the first tile until the results were written, without loading the
        networks.
    reused : int
        Number of scored tiles with values from an earlier run.
    reason : str
        Why the image failed.
    notes : list of str
        Notes for the user, such as an annotation without tiles or an edited outline.
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
    """How a batch processes its images; none of these options changes a score.

    Attributes
    ----------
    images : tuple of str
        Names or glob patterns of images; empty for all images.
    resume : bool
        Skip images with results for the same model, settings and outlines; if some outlines were
        edited, added or deleted, score only those. An image is scored with the settings that it
        was scored with before.
    asked : frozenset of str
        Names of the settings that the user gave. With `resume`, an image that was scored with
        another value of one of them is refused.
    force : bool
        Also score images whose type in QuPath is not H&E, and those that `resume` refuses.
    dry_run : bool
        Count tiles and write nothing.
    slides : Path or None
        Folder in which to look, by file name, for slides that have moved.
    maps : Path or None
        Folder for a PNG of each risk map.
    wait : float
        Seconds to wait for another run that writes to the project.
    model : Path or None
        Folder of the risk model that the user gave, for the workflow step.
    encoders : tuple of Path
        Folders of encoders that the user gave, for the workflow step.
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
    encoders: tuple[Path, ...] = ()


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
        Models, which are loaded only if an image needs them.
    settings : ScoreSettings
    options : BatchOptions
    progress : Progress

    Yields
    ------
    ImageOutcome
        One per image, in the order of the project. A failed image is unchanged.

    Raises
    ------
    ModelError
        The networks cannot be loaded: no image could be scored.
    PackageError
        staintools is asked for and not installed.
    WriteError
        Another run is active on the project, or the project cannot be written.
    """
    job = ScoringJob(project, models, settings, options, progress)
    entries = choose_images(project, options.images)
    if settings.stain == "staintools":
        check_installed()
    if not options.dry_run:
        # Take the lock before hours of work, not at the first result.
        project.begin(options.wait)
    called = labels(project.images)
    for entry in entries:
        outcome = replace(job.outcome(entry), image=called[entry.id], image_id=entry.id)
        progress.finish(outcome)
        yield outcome


class ScoringJob:
    """Scores one image at a time.

    Parameters
    ----------
    project, models, settings, options, progress
        See :func:`score_project`.
    destination : Destination, optional
        Where the results go; default: into the project. What is held there is not scored again.
    scoring : callable, optional
        See :data:`TileScoring`; default: this process scores all tiles.
    """

    def __init__(
        self,
        project: Project,
        models: ScorerSource,
        settings: ScoreSettings,
        options: BatchOptions,
        progress: Progress,
        destination: Destination | None = None,
        scoring: TileScoring = score_at_once,
    ) -> None:
        self.project = project
        self.models = models
        self.settings = settings
        self.options = options
        self.progress = progress
        self._into_project = IntoProject(project)
        self._destination = self._into_project if destination is None else destination
        self._scoring = scoring
        self._notes: tuple[str, ...] = ()

    def outcome(self, entry: ImageEntry) -> ImageOutcome:
        """Score an image; whatever is wrong with it costs only itself.

        Raises
        ------
        ModelError
            The networks cannot be loaded: no image could be scored.
        """
        start = time.perf_counter()
        try:
            return self._image(entry)
        except ModelError:
            raise
        except Exception as error:
            # Whatever the error is (Java errors and lack of memory too), the other images are done.
            _log.debug("%s", entry.name, exc_info=True)
            return ImageOutcome(
                entry.name,
                "failed",
                seconds=time.perf_counter() - start,
                reason=one_line(error),
                notes=list(self._notes),
            )

    def _image(self, entry: ImageEntry) -> ImageOutcome:
        self._notes = ()
        state = self.project.read(entry)
        self._notes = state.notes
        if state.read_only:
            raise UnsupportedDataError(f"{entry.name}: {state.read_only}")
        self._check_type(state)
        settings = self._settings(state)
        notes = [*state.notes]
        annotations = tumour_annotations(state, settings.annotation_classes)
        changes = self._changes(state, settings) if self.options.resume else None
        if changes is not None and not is_stale(state, settings.annotation_classes):
            return _up_to_date(state, annotations, self._repair_list(state))
        if settings.precision != self.models.precision:
            if changes is not None:
                notes.append(_in_another_precision(settings, self.models))
            changes = None
            settings = replace(settings, precision=self.models.precision)
        # A random choice of tiles is made over all outlines, so it changes if they change.
        # A head judges all tiles at once, by features that are not kept.
        whole = settings.max_tiles is not None or self.models.is_head
        reused = None if whole else self._reused(state, changes)
        path = locate_slide(
            entry, self.project.path, self.project.previous_uri, self.options.slides
        )
        request = SlideRequest(state, annotations, settings, path)
        if self._destination.holds(request):
            return _up_to_date(state, annotations)
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
            notes += _without_area(state, settings)
            notes += [f"{label}: {why}, so it has no score" for label in plan.without_tiles]
            if reused is not None and changes is not None:
                notes.append(_told(changes, reused))
            notes += [
                f"{' '.join((each.name or each.id).split())}: is on plane z {each.z}, t {each.t}, "
                "but only the first plane is scored"
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
            # The time for loading the networks is not counted for this image.
            scorer = self.models.scorer()
            start = time.perf_counter()
            try:
                score = score_slide(
                    slide,
                    plan,
                    scorer,
                    self.progress.advance,
                    reused,
                    stain=settings.stain,
                    scoring=self._scoring,
                )
            except UnfinishedError:
                seconds = time.perf_counter() - start
                return ImageOutcome(entry.name, "unfinished", seconds=seconds)
            self._keep(request, score)
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
                f"{state.entry.name}: its image type in QuPath is {state.image_type}, not H&E; "
                "set the image type in QuPath or use --force"
            )

    def _settings(self, state: ImageState) -> ScoreSettings:
        """Settings for one image; with `resume`, those that it was scored with before.

        Raises
        ------
        AnnotationError
            The user gave other settings together with `resume`.
        """
        record = recorded(state) if self.options.resume else None
        if record is None:
            return self.settings
        before = ScoreSettings.from_record(record.settings)
        other = [
            f"{name} {getattr(before, name)!r}, not {getattr(self.settings, name)!r}"
            for name in sorted(self._asked)
            if getattr(before, name) != getattr(self.settings, name)
        ]
        if not other:
            return before
        if not self.options.force:
            raise AnnotationError(
                f"{state.entry.name}: was scored with {'; '.join(other)}, so it is left as it is; "
                "use --resume without that option, or add --force to score it again"
            )
        return self.settings

    @property
    def _asked(self) -> frozenset[str]:
        """Settings that the user gave; a precision that is left to this machine is none."""
        given = self.options.asked
        return given - {"precision"} if self.settings.precision == "auto" else given

    def _repair_list(self, state: ImageState) -> list[str]:
        """Make the project's lists agree with the image; returns a note for each repair.

        A QuPath that was open during scoring restores both old lists when it quits.
        """
        record = recorded(state)
        if record is None or self.options.dry_run:
            return []
        notes = []
        if self._into_project.list_classes():
            notes.append(
                "the project's class list lacked the classes of our tiles or had their former"
                " colours; it was repaired"
            )
        if list_differs(state):
            self.project.write_list({state.entry.id: listed_metadata(record)})
            notes.append("the project's list differed from the image; it was repaired")
        return notes

    def _changes(self, state: ImageState, settings: ScoreSettings) -> OutlineChanges | None:
        """How the outlines changed since; None if the whole image must be scored."""
        record = recorded(state)
        now = settings.fingerprint(self.models.identity, state.entry.server)
        if record is None or record.settings_sha256 != now:
            return None
        return outline_changes(state, settings.annotation_classes)

    def _reused(self, state: ImageState, changes: OutlineChanges | None) -> ReusedScores | None:
        return None if changes is None else reused_scores(state, changes)

    def _keep(self, request: SlideRequest, score: SlideScore) -> None:
        results = image_results(
            request.state.entry,
            request.annotations,
            score,
            self.models.scorer(),
            request.settings,
            reproduce(
                # Another machine may choose another precision, if this one did.
                replace(request.settings, precision=self.settings.precision),
                self.options.model,
                self.project.engine,
                self.options.encoders,
            ),
        )
        self._destination.keep(request, results)

    def _draw(
        self,
        entry: ImageEntry,
        slide: Slide,
        annotations: Sequence[Annotation],
        score: SlideScore,
    ) -> None:
        # It imports matplotlib, which nothing else here needs.
        from qupath_hccmil.scoring.risk_map_picture import draw_risk_map

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
                f"{count_of(len(score.tiles), 'tile')}, model {scorer.name}"
            ),
            note=RESEARCH_USE + (f" {SURROGATE}" if scorer.surrogate else ""),
        )


def _up_to_date(
    state: ImageState, annotations: Sequence[Annotation], notes: Sequence[str] = ()
) -> ImageOutcome:
    return ImageOutcome(
        state.entry.name,
        "up to date",
        annotations=len(annotations),
        notes=[*state.notes, *notes],
    )


def _without_area(state: ImageState, settings: ScoreSettings) -> list[str]:
    """List the outlines of the wanted classes that enclose no area, one line each."""
    return [
        f"{' '.join((each.name or each.id).split())}: encloses no area, so it has no score"
        for each in without_area(state, settings.annotation_classes)
    ]


def _in_another_precision(before: ScoreSettings, models: ScorerSource) -> str:
    """Say in one line why all outlines are scored although only some of them changed."""
    return (
        f"its scores were computed in {before.precision}, and this run computes in "
        f"{models.precision}, so all outlines are scored again; with --precision "
        f"{before.precision} only those that changed would be"
    )


def _told(changes: OutlineChanges, reused: ReusedScores) -> str:
    """Say in one line which outlines are scored and which are kept."""
    counts = [
        f"{len(each)} {word}"
        for word, each in (
            ("edited", changes.edited),
            ("added", changes.added),
            ("deleted", changes.deleted),
        )
        if each
    ]
    stain = "" if reused.stain is None else ", as is the stain of the slide"
    return (
        f"outlines changed since the last run: {', '.join(counts) or 'tiles changed'}; the scores "
        f"of {count_of(len(reused.outlines), 'outline')} are kept{stain}"
    )
