"""``score``: score the tumour annotations of a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import exit_codes, options
from qupath_hccmil.cli.options import EngineChoice
from qupath_hccmil.cli.progress_lines import ProgressLines, end_when_told, print_line
from qupath_hccmil.cli.show import ScoringDisplay

if TYPE_CHECKING:
    from qupath_hccmil.scoring.score_settings import ScoreSettings


@click.command()
@options.project
@options.engine
@options.images
@options.annotation_classes
@options.settings_file()
@click.option("--model", type=options.PathType, help="Folder of a risk model; default: shipped.")
@click.option("--mpp", type=float, help="µm per pixel, overriding QuPath and the slide.")
@click.option(
    "--min-inside",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    default=0.5,
    show_default=True,
    help="Smallest share of a tile that must be inside the outline.",
)
@click.option(
    "--max-tiles", type=click.IntRange(min=1), help="Score this many random tiles per slide."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed for --max-tiles.")
@click.option(
    "--stain",
    type=click.Choice(["vahadane", "staintools"]),
    default="vahadane",
    show_default=True,
    help="vahadane: fit the stains once per slide. staintools: use that package's Vahadane, which "
    "fits every tile (a second each).",
)
@options.device
@options.runtime
@options.slides
@click.option(
    "--resume",
    is_flag=True,
    help="Skip what is up to date: whole images, and outlines that were not edited since.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Also score images whose type is not H&E, and those that --resume refuses.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be scored; write nothing.")
@click.option("--out", type=options.PathType, help="Folder for tables, risk maps and run.json.")
@options.wait
@options.quiet
@options.as_json
@click.option(
    "--progress",
    type=click.Choice(["bar", "json"]),
    default="bar",
    show_default=True,
    help="json: print progress as lines of JSON for a program, which can cancel the run by writing "
    "the line cancel to standard input.",
)
def score(**arguments: Any) -> int:
    """Score the tumour annotations of a QuPath PROJECT and write the risk into it.

    PROJECT is a project.qpproj or its folder. Close the project in QuPath first, or reload its
    data afterwards: saving in an open viewer would overwrite the scores. For research use only.
    """
    from qupath_hccmil.scoring.score_settings import ScoreSettings

    if arguments["as_json"] and arguments["progress"] == "json":
        raise click.UsageError("--json and --progress json both print JSON; choose one")
    given = options.settings_given(ScoreSettings, arguments)
    return _run(ScoreSettings(**given), asked=frozenset(given), **arguments)


def _run(
    settings: ScoreSettings,
    *,
    asked: frozenset[str],
    project: Path,
    engine: EngineChoice,
    images: tuple[str, ...],
    model: Path | None,
    slides: Path | None,
    resume: bool,
    force: bool,
    dry_run: bool,
    out: Path | None,
    wait: float,
    quiet: bool,
    as_json: bool,
    progress: str,
    runtime: Any,
    device: Any,
    **_: Any,
) -> int:
    from qupath_hccmil.atomic_files import make_folder
    from qupath_hccmil.qupath.open_project import open_project
    from qupath_hccmil.qupath.selection import choose_images
    from qupath_hccmil.scoring.run_folder import summary, summary_line, write_record
    from qupath_hccmil.scoring.score_project import BatchOptions, score_project
    from qupath_hccmil.scoring.scorer import ScorerSource

    for_programs = progress == "json"
    if for_programs:
        end_when_told()
    if out is not None:
        make_folder(out)
    models = ScorerSource(model, runtime=runtime, device=device)
    with open_project(project, engine) as opened:
        if not quiet and not as_json and not for_programs:
            click.echo(opened.heading)
        batch = BatchOptions(
            images=images,
            resume=resume,
            asked=asked,
            force=force,
            dry_run=dry_run,
            slides=slides,
            maps=out,
            wait=wait,
            model=model,
        )
        display: ScoringDisplay | ProgressLines
        with (
            ProgressLines(choose_images(opened, images))
            if for_programs
            else ScoringDisplay(quiet=quiet, lines=not as_json)
        ) as display:
            outcomes = list(score_project(opened, models, settings, batch, display))
        record = summary(opened, settings, outcomes, models.facts)
        if out is not None:
            write_record(out, record, settings, opened)
    if as_json:
        click.echo(json.dumps(record, indent=2))
    elif for_programs:
        print_line(event="end", summary=summary_line(outcomes, models.facts))
    elif not quiet:
        click.echo(summary_line(outcomes, models.facts))
    failed = any(outcome.status == "failed" for outcome in outcomes)
    return exit_codes.SOME_FAILED if failed else exit_codes.DONE
