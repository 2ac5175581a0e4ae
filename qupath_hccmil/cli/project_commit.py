"""``project commit``: results of ``score --results`` into the project."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qupath_hccmil.cli import exit_codes, options
from qupath_hccmil.cli.options import EngineChoice
from qupath_hccmil.plain_words import count_of

if TYPE_CHECKING:
    from qupath_hccmil.results.commit import CommitOptions, CommitOutcome


@click.command()
@options.project
@click.argument("folder", metavar="DIR", type=options.PathType)
@options.engine
@options.images
@click.option("--model", type=options.PathType, help="Take only results of this risk model.")
@click.option("--force", is_flag=True, help="Also where the image was scored later.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken; write nothing.")
@click.option(
    "--workers",
    # Python can wait for no more on Windows
    type=click.IntRange(1, 61),
    help="Processes that prepare images; one writes the project.  [default: by the cores and the "
    "number of images; 1 with paquo]",
)
@options.wait
@options.quiet
@options.as_json
def commit(
    project: Path,
    folder: Path,
    engine: EngineChoice,
    images: tuple[str, ...],
    model: Path | None,
    force: bool,
    dry_run: bool,
    workers: int | None,
    wait: float,
    quiet: bool,
    as_json: bool,
) -> int:
    """Take the results in DIR, of score --results, into PROJECT.

    A result of other outlines, another slide or another model is named and left. The exit code is
    3 if a result was left or failed. Run it again after an interruption: it goes on.
    """
    from qupath_hccmil.model_store.model_folder import load_model_folder
    from qupath_hccmil.results.commit import CommitOptions

    wanted = CommitOptions(
        images=images,
        model="" if model is None else load_model_folder(model, "mil").identity,
        force=force,
        dry_run=dry_run,
        wait=wait,
        workers=workers,
    )
    outcomes = commit_into(project, folder, engine, wanted, quiet=quiet or as_json)
    if as_json:
        facts = {"project": str(project), "images": [asdict(each) for each in outcomes]}
        click.echo(json.dumps(facts, indent=2))
    elif not quiet:
        click.echo(counted(outcomes))
    wrong = any(outcome.status in ("left", "failed") for outcome in outcomes)
    return exit_codes.SOME_FAILED if wrong else exit_codes.DONE


def commit_into(
    project: Path,
    folder: Path,
    engine: EngineChoice,
    wanted: CommitOptions,
    *,
    quiet: bool,
    prefix: str = "",
) -> list[CommitOutcome]:
    """Take results into a project, and print a line for each image; only bad news where quiet."""
    from qupath_hccmil.qupath.open_project import open_project
    from qupath_hccmil.results.commit import commit_results

    outcomes = []
    with open_project(project, engine) as opened:
        for outcome in commit_results(opened, folder, wanted):
            outcomes.append(outcome)
            wrong = outcome.status in ("left", "failed")
            if wrong or not quiet:
                click.echo(prefix + _line(outcome), err=wrong)
    return outcomes


def _line(outcome: CommitOutcome) -> str:
    if outcome.status in ("left", "failed"):
        reason = outcome.reason.removeprefix(f"{outcome.image}: ")
        return f"{outcome.image}: {outcome.status.upper()}: {reason}"
    if outcome.risk is None:
        return f"{outcome.image}: {outcome.status}"
    return (
        f"{outcome.image}: {outcome.status}, risk {outcome.risk:.4f} ({outcome.group} risk), "
        f"{count_of(outcome.tiles, 'tile')}"
    )


def counted(outcomes: list[CommitOutcome]) -> str:
    """How many images came to what."""
    statuses = ("taken", "would be taken", "up to date", "no result", "left", "failed")
    counts = {each: sum(outcome.status == each for outcome in outcomes) for each in statuses}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) + "."
