"""The public Python interface: everything that the command line does.

Each function takes and returns plain data. Heavy libraries are imported when a function needs them,
so ``import qupath_hccmil`` is quick. For research use only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from shapely.geometry.base import BaseGeometry

    from qupath_hccmil.demo.demo_project import DemoProject
    from qupath_hccmil.qupath.open_project import EngineChoice
    from qupath_hccmil.qupath.project_folder import Project
    from qupath_hccmil.qupath.project_of_slides import SlideOutcome
    from qupath_hccmil.scoring.devices import DeviceName, RuntimeName
    from qupath_hccmil.scoring.precision import PrecisionName
    from qupath_hccmil.scoring.score_project import ImageOutcome
    from qupath_hccmil.scoring.score_settings import ScoreSettings, Stain
    from qupath_hccmil.scoring.score_slide import SlideScore
    from qupath_hccmil.slides.slide import Slide
    from qupath_hccmil.stain.vahadane import StainFit
    from qupath_hccmil.tables.export_columns import Level
    from qupath_hccmil.tiles_of_interest.choose_tiles import OrderBy
    from qupath_hccmil.tiles_of_interest.cohort_tiles import GroupLevel
    from qupath_hccmil.tiles_of_interest.gallery_folder import GalleryMade
    from qupath_hccmil.tiles_of_interest.review_report import ReviewReport


def open_project(path: str | Path, engine: EngineChoice = "auto") -> Project:
    """Open a QuPath project; use it as a context manager.

    Parameters
    ----------
    path : path
        Folder of the project, or its ``.qpproj``.
    engine : {"auto", "paquo", "native"}
        ``auto`` uses paquo if a QuPath is found and starts, otherwise our own reader and writer.

    Raises
    ------
    ProjectError
        The path is not a project.
    EngineError
        paquo was requested, but no QuPath starts.
    """
    from qupath_hccmil.qupath.open_project import open_project

    return open_project(Path(path), engine)


def create_project(
    folder: str | Path,
    slides: Sequence[str | Path],
    *,
    outlines: str | Path | None = None,
    outline_class: str | None = None,
    tissue: bool = False,
    patients: str | Path | None = None,
    qupath_version: str = "0.5.1",
) -> list[SlideOutcome]:
    """Make a QuPath project of slides, or add slides to one that exists.

    Parameters
    ----------
    folder : path
        The project's folder: new, empty, or that of a project, in which nothing else changes.
    slides : sequence of path
        Files, or folders of slides.
    outlines : path, optional
        Folder of GeoJSON files named after the slides.
    outline_class : str, optional
        Class of outlines that have none, such as ``Tumor``.
    tissue : bool
        Outline the tissue of slides without outlines, as class ``Region*``.
    patients : path, optional
        Table with the columns ``image`` and ``patient``.
    qupath_version : {"0.5.1", "0.6.0", "0.7.0"}
        QuPath whose files a new project has; newer ones open them too.

    Returns
    -------
    list of SlideOutcome
        What became of each slide, in order; one that cannot be read costs only itself.

    Raises
    ------
    ProjectError
        The folder holds something else, or the project cannot be read.
    SlideMissingError
        A folder of slides has none.
    DataError
        The table cannot be read.
    WriteError
        The project cannot be written.
    """
    from qupath_hccmil.qupath.export.patient_of_image import patient_by_table
    from qupath_hccmil.qupath.project_of_slides import SlideChoice, files_of, project_of_slides

    choice = SlideChoice(
        None if outlines is None else Path(outlines),
        outline_class,
        tissue,
        None if patients is None else patient_by_table(Path(patients)),
    )
    files = files_of([Path(slide) for slide in slides])
    return list(project_of_slides(Path(folder), files, choice, qupath_version=qupath_version))


def make_demo_project(
    folder: str | Path,
    *,
    slide: str | Path | None = None,
    drawn: bool = False,
    drawn_size: tuple[int, int] | None = None,
) -> DemoProject:
    """Make a small QuPath project to try things on, as ``qupath-hccmil demo`` does.

    Parameters
    ----------
    folder : path
        Made if absent; a demo that is there already is used as it is.
    slide : path, optional
        Your own slide, which stays where it is. Default: a public slide, which is downloaded.
    drawn : bool
        Draw a slide; nothing is downloaded.
    drawn_size : (int, int), optional
        Width and height of a drawn slide, level-0 px.

    Returns
    -------
    DemoProject
        Its ``project`` can be scored; its ``slide`` is the slide's file.

    Raises
    ------
    SlideError, AnnotationError, ProjectError
    """
    from qupath_hccmil.demo.demo_project import make_demo_project

    own = None if slide is None else Path(slide)
    size = {} if drawn_size is None else {"drawn_size": drawn_size}
    return make_demo_project(Path(folder), own, drawn=drawn, **size)


def open_slide(path: str | Path) -> Slide:
    """Open a slide or an ordinary image; use it as a context manager.

    Raises
    ------
    SlideError
        The file is missing or damaged, or its format is not known.
    """
    from qupath_hccmil.slides.open_slide import open_slide

    return open_slide(Path(path))


def score_project(
    project: str | Path,
    *,
    engine: EngineChoice = "auto",
    images: Sequence[str] = (),
    annotation_classes: Sequence[str] = (),
    model: str | Path | None = None,
    mpp: float | None = None,
    min_inside: float = 0.5,
    max_tiles: int | None = None,
    seed: int = 0,
    stain: Stain = "vahadane",
    resume: bool = False,
    force: bool = False,
    dry_run: bool = False,
    slides: str | Path | None = None,
    device: DeviceName = "auto",
    runtime: RuntimeName = "auto",
    precision: PrecisionName = "auto",
    encoders: Sequence[str | Path] = (),
) -> list[ImageOutcome]:
    """Score the tumour outlines of a QuPath project and write the results into it.

    Parameters
    ----------
    project : path
        Folder of the project, or its ``.qpproj``.
    engine : {"auto", "paquo", "native"}
    images : sequence of str
        Names or glob patterns of images; empty for all images.
    annotation_classes : sequence of str
        Classes of the tumour outlines; empty for Tumor, Tumour and HCC.
    model : path, optional
        Folder of a risk model; default: the model that ships, a surrogate.
    mpp : float, optional
        µm per level-0 px, overriding the values of QuPath and of the slide.
    min_inside : float
        Smallest share of a tile that must be inside an outline, in (0, 1].
    max_tiles, seed : int
        Largest number of random tiles per slide, and the seed of their choice.
    stain : {"vahadane", "staintools"}
        Fit the stains once per slide, or with staintools for every tile, which takes a second each.
    resume : bool
        Score only what is new, was edited or has lost tiles, with the settings of the previous
        run; the settings given here apply only to images that were never scored.
    force : bool
        Also score images whose image type in QuPath is not H&E.
    dry_run : bool
        Count tiles and write nothing.
    slides : path, optional
        Folder in which to look, by file name, for slides that have moved.
    device : {"auto", "cpu", "cuda", "mps"}
    runtime : {"auto", "openvino", "torch"}
    precision : {"auto", "f32", "bf16"}
        Of the nuclei network. ``auto`` takes bf16 on a processor or GPU with instructions for it,
        which is about twice as fast and moves a risk by less than 0.005.
    encoders : sequence of path
        Folders in which the encoder of a head may be, if it is not in or next to the model folder.

    Returns
    -------
    list of ImageOutcome
        One per image. A failed image is unchanged, and its outcome has the reason.

    Raises
    ------
    ProjectError, ModelError, PackageError, WriteError
        No image could be scored.
    DataError
        A setting is out of range.
    """
    from qupath_hccmil.scoring.score_project import BatchOptions, Unwatched
    from qupath_hccmil.scoring.score_project import score_project as score
    from qupath_hccmil.scoring.scorer import ScorerSource

    folder = None if model is None else Path(model)
    classes = {"annotation_classes": list(annotation_classes)} if annotation_classes else {}
    settings = _score_settings(
        "score_project", mpp=mpp, min_inside=min_inside, max_tiles=max_tiles, seed=seed,
        stain=stain, precision=precision, **classes,
    )  # fmt: skip
    options = BatchOptions(
        images=tuple(images),
        resume=resume,
        force=force,
        dry_run=dry_run,
        slides=None if slides is None else Path(slides),
        model=folder,
        encoders=tuple(map(Path, encoders)),
    )
    models = ScorerSource(
        folder,
        runtime=runtime,
        device=device,
        precision=settings.precision,
        encoders=options.encoders,
    )
    with open_project(project, engine) as opened:
        return list(score(opened, models, settings, options, Unwatched()))


def score_slide(
    path: str | Path,
    outlines: Sequence[BaseGeometry],
    *,
    model: str | Path | None = None,
    mpp: float | None = None,
    min_inside: float = 0.5,
    max_tiles: int | None = None,
    seed: int = 0,
    stain: Stain = "vahadane",
    device: DeviceName = "auto",
    runtime: RuntimeName = "auto",
    precision: PrecisionName = "auto",
    encoders: Sequence[str | Path] = (),
) -> SlideScore:
    """Score one slide without a QuPath project; nothing is written.

    Parameters
    ----------
    path : path
    outlines : sequence of shapely geometry
        Tumour outlines, level-0 px, y down.
    model, mpp, min_inside, max_tiles, seed, stain, device, runtime, precision, encoders
        As for :func:`score_project`.

    Returns
    -------
    SlideScore
        Its ``annotations`` are keyed by the position of each outline in `outlines`.

    Raises
    ------
    SlideError, ResolutionError, AnnotationError, ModelError, PackageError
    DataError
        A setting is out of range.
    """
    from qupath_hccmil.scoring.score_slide import score_slide as score
    from qupath_hccmil.scoring.scorer import ScorerSource
    from qupath_hccmil.tiles.tile_plan import TumourOutline, plan_tiles

    settings = _score_settings(
        "score_slide", mpp=mpp, min_inside=min_inside, max_tiles=max_tiles, seed=seed, stain=stain,
        precision=precision,
    )  # fmt: skip
    models = ScorerSource(
        None if model is None else Path(model),
        runtime=runtime,
        device=device,
        precision=settings.precision,
        encoders=tuple(map(Path, encoders)),
    )
    with open_slide(path) as slide:
        named = [TumourOutline(k, f"outline {k}", each) for k, each in enumerate(outlines)]
        plan = plan_tiles(slide, named, settings, models.geometry, name=Path(path).name)
        return score(slide, plan, models.scorer(), stain=settings.stain)


def _score_settings(function: str, **given: Any) -> ScoreSettings:
    from qupath_hccmil.scoring.score_settings import ScoreSettings
    from qupath_hccmil.settings_file import checked

    return ScoreSettings(**checked(ScoreSettings, given, function))


def tile_scores(
    project: str | Path, *, level: Level = "tile", engine: EngineChoice = "auto"
) -> pd.DataFrame:
    """Scores of a project as a table, as ``qupath-hccmil export`` writes it.

    Parameters
    ----------
    project : path
    level : {"tile", "annotation", "image", "patient"}
        What each row stands for.
    engine : {"auto", "paquo", "native"}

    Returns
    -------
    DataFrame
        Absent values are None or NaN.
    """
    import pandas as pd

    from qupath_hccmil.qupath.export.score_tables import table

    with open_project(project, engine) as opened:
        found = table(opened, level)
        frames = [pd.DataFrame(dict(batch)) for batch in found.batches]
        names = [column.name for column in found.columns]
    return pd.concat(frames, ignore_index=True)[names] if frames else pd.DataFrame(columns=names)


def tile_gallery(
    projects: Sequence[str | Path],
    out: str | Path,
    *,
    top: int = 200,
    per_slide: int | None = None,
    by: OrderBy = "contribution",
    level: GroupLevel = "slide",
    patient_key: str | None = None,
    seed: int = 0,
    mpp: float = 0.5,
    self_contained: bool = False,
    slides: str | Path | None = None,
    engine: EngineChoice = "auto",
) -> GalleryMade:
    """Show the highest and lowest tiles of a cohort: pictures, table, contact sheet and gallery.

    Parameters
    ----------
    projects : sequence of path
        Scored projects; nothing in them is changed.
    out : path
        Folder for what is written.
    top : int
        So many highest and so many lowest tiles.
    per_slide : int, optional
        At most so many of one slide (with level ``patient``: of one patient) on each side.
    by : {"contribution", "risk"}
        Order by the share of the slide's (or patient's) m, or by the tile's own risk.
    level : {"slide", "patient"}
    patient_key : str, optional
        Metadata key that names the patient; else a usual one.
    seed : int
        Of the order in which tiles are numbered.
    mpp : float
        µm per px of the pictures.
    self_contained : bool
        The gallery holds its pictures itself.
    slides : path, optional
        Folder in which slides that have moved are looked for by file name.
    engine : {"auto", "paquo", "native"}

    Returns
    -------
    GalleryMade
        What was written, and what could not be read.

    Raises
    ------
    DataError
        No tile is scored, images are of different models, or a file is there that no earlier run
        wrote.
    ProjectError, EngineError, WriteError
    """
    from qupath_hccmil.qupath.export.patient_of_image import patient_by_key
    from qupath_hccmil.tiles_of_interest.choose_tiles import TileWish
    from qupath_hccmil.tiles_of_interest.cohort_tiles import Cohort
    from qupath_hccmil.tiles_of_interest.gallery_folder import make_gallery

    paths = [Path(project) for project in projects]
    return make_gallery(
        Cohort.of(paths, engine, patient_by_key(patient_key), level),
        Path(out),
        TileWish(top, per_slide, by, level, seed),
        mpp=mpp,
        slides=None if slides is None else Path(slides),
        self_contained=self_contained,
    )


def tile_reviews(
    projects: Sequence[str | Path],
    *,
    top: int = 200,
    per_slide: int | None = None,
    by: OrderBy = "contribution",
    level: GroupLevel = "slide",
    patient_key: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    engine: EngineChoice = "auto",
) -> ReviewReport:
    """Compare what reviewers said of tiles: agreement, features of high and low tiles, artefacts.

    Parameters
    ----------
    projects : sequence of path
        Scored projects with reviews in ``hccmil-reviews``.
    top, per_slide, by, level, patient_key
        Which tiles are high and low, as :func:`tile_gallery`. The level is also what is taken
        for independent.
    bootstrap : int
        Samples for intervals; 0 for none.
    seed : int
    confidence : float
        Of intervals, in (0, 1).
    engine : {"auto", "paquo", "native"}

    Returns
    -------
    ReviewReport
        Tables. Files of reviews that can't be read are named in its notes.

    Raises
    ------
    DataError
        There is no review or no scored tile, or images are of different models.
    ProjectError, EngineError
    """
    from qupath_hccmil.qupath.export.patient_of_image import patient_by_key
    from qupath_hccmil.tiles_of_interest.choose_tiles import TileWish
    from qupath_hccmil.tiles_of_interest.cohort_tiles import Cohort
    from qupath_hccmil.tiles_of_interest.review_report import ReviewSettings, review_report

    paths = [Path(project) for project in projects]
    damaged: list[str] = []
    report = review_report(
        Cohort.of(paths, engine, patient_by_key(patient_key), level),
        TileWish(top, per_slide, by, level, seed),
        ReviewSettings(bootstrap, seed, confidence),
        failed=damaged.append,
    )
    report.notes.extend(damaged)
    return report


def fit_stain(path: str | Path, *, mpp: float | None = None) -> StainFit:
    """Fit the two stains of a slide (Vahadane) on tissue tiles spread over the whole slide.

    Parameters
    ----------
    path : path
    mpp : float, optional
        µm per level-0 px, overriding the value of the slide.

    Raises
    ------
    SlideError, ResolutionError
    AnnotationError
        No tile shows tissue in focus.
    """
    from shapely.geometry import box

    from qupath_hccmil.method.tile_geometry import TileGeometry
    from qupath_hccmil.slides.tissue import TissueRule
    from qupath_hccmil.tiles.tile_plan import TileChoice, TumourOutline, plan_tiles
    from qupath_hccmil.tiles.tile_reader import TileReader, TileRules

    class Rules:
        geometry = TileGeometry()
        tissue_rule = TissueRule()

    rules: TileRules = Rules()
    with open_slide(path) as slide:
        everything = TumourOutline(0, "slide", box(0, 0, slide.width, slide.height))
        plan = plan_tiles(
            slide, [everything], TileChoice(mpp=mpp), rules.geometry, name=Path(path).name
        )
        return TileReader(slide, plan.bounds, rules, plan.resolution.mpp).fit_stain()


def survival_report(
    scores: str | Path,
    clinical: str | Path,
    out: str | Path,
    *,
    report_format: str = "html",
    paper: bool = False,
    **settings: Any,
) -> Path:
    """Test scores against follow-up and write the report and its tables.

    Parameters
    ----------
    scores : path
        An export of this program, the ``predictions.csv`` of a training with folds, or any table
        with a patient and a score.
    clinical : path
        A table with one row per patient.
    out : path
        Folder for the report.
    report_format : {"html", "md"}
    paper : bool
        Also write the report for Word, its tables for Excel, and its figures as PNG and PDF.
    **settings
        Fields of :class:`~qupath_hccmil.survival.analysis_settings.Settings`, such as ``time`` and
        ``event``, the names of the follow-up columns.

    Returns
    -------
    Path
        Path of the report.

    Raises
    ------
    DataError
        A table or a setting cannot be used.
    WriteError
        The folder cannot be written.
    """
    from qupath_hccmil.survival.analysis import analyse
    from qupath_hccmil.survival.analysis_cohort import read_cohort
    from qupath_hccmil.survival.analysis_settings import Settings
    from qupath_hccmil.survival.output_folder import write_analysis

    asked = Settings(**settings).check()
    cohort = read_cohort(scores, clinical, asked)
    return write_analysis(analyse(cohort, asked), Path(out), report_format, paper=paper)
