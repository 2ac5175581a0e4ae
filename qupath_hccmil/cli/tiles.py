"""``tiles``: the highest and lowest tiles of a cohort, and the reviews of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import exit_codes, options
from qupath_hccmil.cli.options import EngineChoice
from qupath_hccmil.plain_words import count_of

if TYPE_CHECKING:
    from qupath_hccmil.tiles_of_interest.choose_tiles import TileWish
    from qupath_hccmil.tiles_of_interest.cohort_tiles import Cohort
    from qupath_hccmil.tiles_of_interest.review_report import ReviewReport

_FOR_PAGES = ("slides", "mpp", "self_contained")
_FOR_REVIEWS = ("bootstrap", "confidence")


@click.command()
@click.argument("projects", type=options.PathType, nargs=-1, required=True, metavar="PROJECT...")
@click.option("--out", type=options.PathType, required=True, help="Folder for the results.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Number of highest tiles, and of lowest tiles.",
)
@click.option(
    "--per-slide",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most N highest and N lowest tiles per slide (with --level patient: per patient).",
)
@click.option(
    "--by",
    type=click.Choice(["contribution", "risk"]),
    default="contribution",
    show_default=True,
    help="Order tiles by their share of the slide's (or patient's) m, or by their own risk.",
)
@click.option(
    "--level",
    type=click.Choice(["slide", "patient"]),
    default="slide",
    show_default=True,
    help="Unit that N counts for, that contributions are shares of, and that statistics take as "
    "independent.",
)
@options.patient_key
@options.seed("Seed of every random order.")
@click.option(
    "--mpp",
    type=click.FloatRange(0.1, 4.0),
    default=0.5,
    show_default=True,
    help="Resolution of the pictures, µm per pixel.",
)
@click.option(
    "--self-contained",
    is_flag=True,
    help="Write the gallery as one file that includes the pictures.",
)
@options.slides
@click.option(
    "--reviews",
    is_flag=True,
    help="Compare the reviews in the projects' hccmil-reviews instead: agreement, features, "
    "artefacts.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="With --reviews: bootstrap samples for intervals; 0 for none.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.95,
    show_default=True,
    help="With --reviews: confidence level of intervals.",
)
@options.engine
@options.quiet
@options.as_json
@click.pass_context
def tiles(
    context: click.Context,
    projects: tuple[Path, ...],
    out: Path,
    top: int,
    per_slide: int | None,
    by: Any,
    level: Any,
    patient_key: str | None,
    seed: int,
    reviews: bool,
    engine: EngineChoice,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Show the highest and lowest tiles of all scored images of the PROJECTs.

    Writes pictures, tiles.csv, a contact sheet for a paper and a gallery page for reviewing them.
    With --reviews: compares the reviewers, and writes the table that survival --tiles takes.
    Exit code 3 if an image, a slide or a review file can't be read. For research use only.

    Example: qupath-hccmil tiles PROJECT --out tiles --top 200 --per-slide 20
    """
    from qupath_hccmil.qupath.export.patient_of_image import patient_by_key
    from qupath_hccmil.tiles_of_interest.choose_tiles import TileWish
    from qupath_hccmil.tiles_of_interest.cohort_tiles import Cohort

    _refuse_mixed(context, _FOR_PAGES if reviews else _FOR_REVIEWS, reviews)
    cohort = Cohort.of(projects, engine, patient_by_key(patient_key), level)
    wish = TileWish(top, per_slide, by, level, seed)
    run = _compare if reviews else _show
    result, lines, failed = run(cohort, out, wish, given)
    for line in failed:
        click.echo(f"FAILED: {line}", err=True)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
    elif not quiet:
        for line in lines:
            click.echo(line)
    return exit_codes.SOME_FAILED if failed else exit_codes.DONE


def _refuse_mixed(context: click.Context, foreign: tuple[str, ...], reviews: bool) -> None:
    """Refuse options of the other mode, because ignoring them silently would mislead."""
    for name in foreign:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} has no effect {'with' if reviews else 'without'} --reviews"
            )


Result = tuple[dict[str, Any], list[str], list[str]]


def _show(cohort: Cohort, out: Path, wish: TileWish, given: dict[str, Any]) -> Result:
    from qupath_hccmil.tiles_of_interest.gallery_folder import PAGE, make_gallery

    made = make_gallery(
        cohort,
        out,
        wish,
        mpp=given["mpp"],
        slides=given["slides"],
        self_contained=given["self_contained"],
    )
    lines = [f"Note: {note}" for note in made.notes]
    lines.append(
        f"{made.high} highest and {made.low} lowest tiles of {count_of(made.images, 'image')}, "
        f"{count_of(made.pictures, 'picture')}"
    )
    lines.append(f"Gallery: {out / PAGE}")
    return {**asdict(made), "folder": str(out)}, lines, made.failed


def _compare(cohort: Cohort, out: Path, wish: TileWish, given: dict[str, Any]) -> Result:
    from qupath_hccmil.atomic_files import make_folder
    from qupath_hccmil.tiles_of_interest.review_folder import write_reviews
    from qupath_hccmil.tiles_of_interest.review_report import ReviewSettings, review_report

    make_folder(out)
    failed: list[str] = []
    settings = ReviewSettings(given["bootstrap"], wish.seed, given["confidence"])
    report = review_report(cohort, wish, settings, failed=failed.append)
    asked = {
        "projects": [str(project.path) for project in cohort.projects],
        **asdict(wish),
        **asdict(settings),
    }
    written = write_reviews(report, out, asked)
    notes = [*cohort.notes, *report.notes]
    every = [*cohort.failed, *failed]
    result: dict[str, Any] = {
        "folder": str(out),
        "files": written,
        "reviewers": report.reviewers.to_dict("records"),
        "notes": notes,
        "failed": every,
    }
    lines = [*(f"Note: {note}" for note in notes), *_said(report, wish), f"Tables: {out}"]
    return result, lines, every


def _said(report: ReviewReport, wish: TileWish) -> list[str]:
    """Describe the main numbers, one line each."""
    lines = [
        f"{row['reviewer']}: {count_of(row['reviewed_tiles'], 'tile')}, {row['blinded_tiles']} of "
        "them blinded"
        for row in report.reviewers.to_dict("records")
    ]
    for row in report.agreement.to_dict("records"):
        kappa = "none, all answers are the same" if isnan(row["kappa"]) else f"{row['kappa']:.2f}"
        span = "" if isnan(row["lower"]) else f" ({row['lower']:.2f} to {row['upper']:.2f})"
        lines.append(
            f"{row['question']}: {row['statistic']} of {row['reviewers']} over "
            f"{count_of(row['compared_tiles'], 'tile')}: {kappa}{span}"
        )
    for row in report.features.to_dict("records"):
        lines.append(
            f"{row['feature']}: {row['high']}/{row['high_total']} high, "
            f"{row['low']}/{row['low_total']} low; odds ratio {row['odds_ratio']:.2f} "
            f"({row['lower']:.2f} to {row['upper']:.2f}), Fisher p {row['fisher_p']:.2g} (Holm "
            f"{row['fisher_p_holm']:.2g}), by {wish.level} p {row['units_p']:.2g} (Holm "
            f"{row['units_p_holm']:.2g})"
        )
    if not len(report.features):
        lines.append("No feature was judged in both high and low tiles, so none is compared")
    for row in report.artefacts.to_dict("records"):
        lines.append(
            f"Artefacts: {row['artefacts']} of {row['reviewed_tiles']} {row['chosen_as']} tiles"
        )
    return lines
