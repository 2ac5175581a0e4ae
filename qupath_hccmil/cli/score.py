"""``score``: score the tumour annotations of a project."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import exit_codes, many_slides, options
from qupath_hccmil.cli.options import EngineChoice
from qupath_hccmil.cli.progress_lines import ProgressLines, end_when_told, print_line
from qupath_hccmil.cli.score_results import run_results
from qupath_hccmil.cli.show import ScoringDisplay

if TYPE_CHECKING:
    from qupath_hccmil.scoring.score_settings import ScoreSettings


@click.command()
@click.argument("projects", nargs=-1, metavar="PROJECT...", type=options.PathType)
@many_slides.projects_table
@options.engine
@options.images
@options.annotation_classes
@options.settings_file()
@click.option("--model", type=options.PathType, help="Folder of a risk model; default: shipped.")
@options.encoders
@options.tile_choice
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
@options.precision
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
@click.option(
    "--results",
    type=options.PathType,
    metavar="DIR",
    help="Write each slide's result to a file in DIR, and nothing into the project; "
    "project commit takes the results in. What is there is not done again.",
)
@many_slides.shared_out("score", "With --results: ")
@click.option(
    "--commit",
    is_flag=True,
    help="With --results: take the results into the projects at the end.",
)
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
    """Score the tumour annotations of QuPath projects and write the risk into them.

    PROJECT is a project.qpproj or its folder. Close the project in QuPath first, or reload its
    data afterwards: saving in an open viewer would overwrite the scores. For research use only.
    """
    from qupath_hccmil.results.slide_tasks import project_paths
    from qupath_hccmil.scoring.score_settings import ScoreSettings

    _check_usage(arguments)
    projects = project_paths(arguments.pop("projects"), arguments.pop("projects_table"))
    given = options.settings_given(ScoreSettings, arguments)
    settings = ScoreSettings(**given)
    if arguments["results"] is not None:
        return run_results(settings, projects, arguments)
    if len(projects) == 1:
        return _run(settings, asked=frozenset(given), project=projects[0], **arguments)
    return _run_each(projects, settings, frozenset(given), arguments)


_NOT_WITH_RESULTS = {
    "resume": "--resume: what is in the folder of --results is never done again",
    "out": "--out: tables and maps are made once project commit has taken the results in",
}
_NEEDS = {
    "shard": "results",
    "dask": "results",
    "commit": "results",
    "workers": "dask",
    "slide_timeout": "dask",
}
_NOT_TOGETHER = (
    ("dask", "shard", many_slides.LEAVE_SHARD_OUT),
    (
        "dask",
        "encoders",
        "--encoder does not go with --dask; put the encoder's folder next to the model's, under "
        "the encoder's name",
    ),
    ("commit", "dry_run", "--commit writes the projects, --dry-run nothing; choose one"),
)


def _check_usage(arguments: Mapping[str, Any]) -> None:
    """Refuse options that do not go together.

    Raises
    ------
    click.UsageError
    """
    if not arguments["projects"] and arguments["projects_table"] is None:
        raise click.UsageError("Missing argument 'PROJECT...'.")
    if arguments["as_json"] and arguments["progress"] == "json":
        raise click.UsageError("--json and --progress json both print JSON; choose one")
    for name, needed in _NEEDS.items():
        if arguments[name] and not arguments[needed]:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --{needed}")
    if arguments["results"] is None:
        return
    if arguments["progress"] == "json":
        raise click.UsageError("--progress json is for scoring one project, without --results")
    for name, why in _NOT_WITH_RESULTS.items():
        if arguments[name]:
            raise click.UsageError(f"--results does not go with {why}")
    if arguments["wait"] and not arguments["commit"]:
        raise click.UsageError("--wait goes with --commit where --results is given")
    for one, other, why in _NOT_TOGETHER:
        if arguments[one] and arguments[other]:
            raise click.UsageError(why)


def _run_each(
    projects: Sequence[Path],
    settings: ScoreSettings,
    asked: frozenset[str],
    arguments: dict[str, Any],
) -> int:
    """Score several projects; one that cannot be used costs only itself."""
    from qupath_hccmil.errors import HccMilError, ModelError, PackageError

    if arguments["as_json"] or arguments["progress"] == "json":
        raise click.UsageError("JSON is printed for one project; with several use --out DIR")
    out = arguments.pop("out")
    codes = []
    for path, name in zip(projects, _told_apart(projects), strict=True):
        folder = None if out is None else out / name
        try:
            codes.append(_run(settings, asked=asked, project=path, out=folder, **arguments))
        except (ModelError, PackageError):
            raise
        except HccMilError as error:
            click.echo(f"{path}: FAILED: {error}", err=True)
            codes.append(exit_codes.SOME_FAILED)
    return max(codes)


def _told_apart(projects: Sequence[Path]) -> list[str]:
    """Names of the projects' folders; one that occurred before has a number at its end."""
    names: list[str] = []
    for path in projects:
        folder = (path if path.is_dir() else path.parent).resolve().name
        numbered = (f"{folder}-{number}" for number in count(2))
        names.append(next(name for name in chain([folder], numbered) if name not in names))
    return names


def _run(
    settings: ScoreSettings,
    *,
    asked: frozenset[str],
    project: Path,
    engine: EngineChoice,
    images: tuple[str, ...],
    model: Path | None,
    encoders: tuple[Path, ...],
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
    models = ScorerSource(
        model, runtime=runtime, device=device, precision=settings.precision, encoders=encoders
    )
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
            encoders=encoders,
        )
        display: ScoringDisplay | ProgressLines
        with (
            ProgressLines(choose_images(opened, images))
            if for_programs
            else ScoringDisplay(quiet=quiet, lines=not as_json)
        ) as display:
            outcomes = list(score_project(opened, models, settings, batch, display))
        # with the precision that the networks ran in, so that they can be given again
        ran = replace(settings, precision=models.precision)
        record = summary(opened, ran, outcomes, models.facts)
        if out is not None:
            write_record(out, record, ran, opened)
    if as_json:
        click.echo(json.dumps(record, indent=2))
    elif for_programs:
        print_line(event="end", summary=summary_line(outcomes, models.facts))
    elif not quiet:
        click.echo(summary_line(outcomes, models.facts))
    failed = any(outcome.status == "failed" for outcome in outcomes)
    return exit_codes.SOME_FAILED if failed else exit_codes.DONE
