"""``project``: inspect or check a project, clear our results, restore a backup.

Making a project is in :mod:`~qupath_hccmil.cli.project_create`, taking results in is in
:mod:`~qupath_hccmil.cli.project_commit`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import exit_codes, options
from qupath_hccmil.cli.lazy import LazyGroup
from qupath_hccmil.cli.options import EngineChoice
from qupath_hccmil.plain_words import count_of

if TYPE_CHECKING:
    from qupath_hccmil.qupath.project_status import ImageStatus

_HERE = "qupath_hccmil.cli.project"


@click.group(
    cls=LazyGroup,
    lazy={
        "create": (
            "qupath_hccmil.cli.project_create:create",
            "Make a project from slides, or add slides to one.",
        ),
        "info": (f"{_HERE}:info", "Show what is in a project, and which images are scored."),
        "check": (f"{_HERE}:check", "Check that a project is sound, or compare it with a copy."),
        "commit": (
            "qupath_hccmil.cli.project_commit:commit",
            "Take results of score --results into a project.",
        ),
        "clear": (f"{_HERE}:clear", "Remove our results, and nothing else."),
        "restore": (f"{_HERE}:restore", "Restore the state before one of our runs."),
    },
)
def project() -> None:
    """Make, inspect or check a project, clear our results, restore a backup."""


@click.command()
@options.project
@options.engine
@options.images
@options.annotation_classes
@options.slides
@click.option(
    "--settings",
    "settings_of",
    metavar="IMAGE",
    help="Print the settings that this image was scored with, for score --settings.",
)
@options.as_json
def info(
    project: Path,
    engine: EngineChoice,
    images: tuple[str, ...],
    annotation_classes: tuple[str, ...],
    slides: Path | None,
    settings_of: str | None,
    as_json: bool,
) -> int:
    """Show what is in PROJECT: slides, annotations by class, scores and whether they are stale."""
    if settings_of is not None:
        click.echo(_settings(project, engine, settings_of), nl=False)
        return exit_codes.DONE
    facts, statuses = _look(project, engine, images, annotation_classes, slides)
    if as_json:
        click.echo(json.dumps({**facts, "images": [_plain(s) for s in statuses]}, indent=2))
        return exit_codes.DONE
    click.echo(facts.pop("heading"))
    for note in facts["notes"]:
        click.echo(f"note: {note}")
    for status in statuses:
        click.echo(f"{status.name}")
        for line in _lines(status):
            click.echo(f"  {line}")
    return exit_codes.DONE


@click.command()
@options.project
@options.engine
@click.option(
    "--against",
    type=options.PathType,
    help="An earlier copy of the project; lists every difference that is not our results.",
)
@options.slides
@options.as_json
def check(
    project: Path, engine: EngineChoice, against: Path | None, slides: Path | None, as_json: bool
) -> int:
    """Check that every slide of PROJECT is found and every data file can be read.

    The exit code is 3 if there is a problem or a difference; notes do not count.
    """
    notes: list[str] = []
    if against is not None:
        from qupath_hccmil.qupath.project_differences import difference

        problems = difference(against, project)
    else:
        facts, statuses = _look(project, engine, (), (), slides)
        problems = [problem for status in statuses for problem in status.problems]
        notes = [*facts["notes"], *(note for status in statuses for note in status.notes)]
    if as_json:
        found = {"project": str(project), "problems": problems, "notes": notes}
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo("\n".join(problems) or ("no difference" if against else "sound"))
        for note in notes:
            click.echo(f"note: {note}")
    return exit_codes.SOME_FAILED if problems else exit_codes.DONE


@click.command()
@options.project
@options.engine
@options.images
@options.wait
@options.quiet
def clear(
    project: Path, engine: EngineChoice, images: tuple[str, ...], wait: float, quiet: bool
) -> int:
    """Remove our results from PROJECT: tiles, measurements, metadata and workflow step."""
    from qupath_hccmil.errors import HccMilError
    from qupath_hccmil.qupath.data_types import ImageResults
    from qupath_hccmil.qupath.open_project import open_project
    from qupath_hccmil.qupath.selection import choose_images

    failed = False
    with open_project(project, engine) as opened:
        entries = choose_images(opened, images)
        opened.begin(wait)
        for entry in entries:
            try:
                state = opened.read(entry)
                if state.results:
                    opened.write(entry, ImageResults(), state.stamp)
                line = "cleared" if state.results else "has no results of ours"
            except HccMilError as error:
                failed = True
                click.echo(f"{entry.name}: FAILED: {error}", err=True)
                continue
            if not quiet:
                click.echo(f"{entry.name}: {line}")
    return exit_codes.SOME_FAILED if failed else exit_codes.DONE


@click.command()
@options.project
@click.argument("run", required=False)
@click.option("--list", "list_only", is_flag=True, help="List the backups and do nothing.")
@click.option(
    "--force", is_flag=True, help="Also restore images that another program changed since."
)
@options.wait
@options.quiet
def restore(
    project: Path, run: str | None, list_only: bool, force: bool, wait: float, quiet: bool
) -> None:
    """Restore PROJECT to its state before RUN (default: our last run), byte for byte.

    Our later runs are undone with it. If another program has changed an image since, the image is
    named and nothing is restored, unless --force is given.
    """
    from qupath_hccmil.qupath.writing.restore_backup import backups
    from qupath_hccmil.qupath.writing.restore_backup import restore as bring_back

    folder = project if project.is_dir() else project.parent
    if list_only:
        for backup in backups(folder):
            state = " (undone)" if backup.undone else ""
            click.echo(f"{backup.run}  {backup.kind}  {count_of(len(backup.files), 'file')}{state}")
        return
    files = bring_back(folder, run, force=force, wait=wait)
    if not quiet:
        click.echo("\n".join(f"restored {path}" for path in files) or "nothing to restore")


def _settings(project: Path, engine: EngineChoice, image: str) -> str:
    """TOML of the settings of an image's last run.

    Raises
    ------
    ProjectError
        There is no such image, or it has no record of a run.
    """
    from qupath_hccmil.errors import ProjectError
    from qupath_hccmil.qupath.open_project import open_project
    from qupath_hccmil.qupath.selection import choose_images
    from qupath_hccmil.qupath.staleness import recorded
    from qupath_hccmil.scoring.score_settings import ScoreSettings, settings_toml

    with open_project(project, engine) as opened:
        entry, *_ = choose_images(opened, [image])
        record = recorded(opened.read(entry))
    if record is None:
        raise ProjectError(f"{entry.name}: has no record of a run; score it first")
    return settings_toml(ScoreSettings.from_record(record.settings))


def _look(
    project: Path,
    engine: EngineChoice,
    images: tuple[str, ...],
    classes: tuple[str, ...],
    slides: Path | None,
) -> tuple[dict[str, Any], list[ImageStatus]]:
    from qupath_hccmil.qupath.open_project import open_project
    from qupath_hccmil.qupath.project_status import image_statuses, project_notes
    from qupath_hccmil.qupath.selection import choose_images

    with open_project(project, engine) as opened:
        facts = {
            "project": str(opened.path),
            "engine": opened.engine,
            "qupath_version": opened.qupath_version,
            "qupath_in_use": opened.qupath_in_use,
            "heading": opened.heading,
            "notes": project_notes(opened),
        }
        # a project without images is told too
        entries = choose_images(opened, images) if images else opened.images
        statuses = image_statuses(opened, entries, classes=classes, slides=slides)
        return facts, list(statuses)


def _plain(status: ImageStatus) -> dict[str, Any]:
    return {**asdict(status), "slide": str(status.slide) if status.slide else None}


def _lines(status: ImageStatus) -> list[str]:
    problems = [f"problem: {problem}" for problem in status.problems]
    if status.image_type is None:
        return [f"slide: {status.slide or 'missing'}", "its data cannot be read", *problems]
    classes = ", ".join(f"{count} {name}" for name, count in status.classes.items())
    lines = [
        f"slide: {status.slide or 'missing'}",
        f"type: {status.image_type}; annotations: {classes or 'none'}; "
        f"other objects: {status.objects}",
    ]
    if status.scored:
        stale = f"; STALE: {_stale(status)}" if status.stale else ""
        by = "no record of the run"
        if status.model:
            computed = f", nuclei in {status.precision}" if status.precision else ""
            by = f"model {status.model}{computed}, {status.time}"
        group = f" ({status.group} risk)" if status.group else ""
        risk = "no risk" if status.risk is None else f"risk {status.risk:.4f}{group}"
        lines.append(f"scored: {risk}, {count_of(status.tiles, 'tile')}, {by}{stale}")
    else:
        lines.append("not scored")
    return [*lines, *problems, *(f"note: {note}" for note in status.notes)]


def _stale(status: ImageStatus) -> str:
    """How the outlines changed since, and what to do."""
    changes = [
        f"{len(labels)} {word} ({', '.join(labels)})"
        for word, labels in (("edited", status.edited), ("added", status.added))
        if labels
    ]
    changes += [f"{status.deleted} deleted"] if status.deleted else []
    if changes:
        since = f"outlines changed since: {', '.join(changes)}"
    elif status.model is None:
        since = "scored by an earlier version of this program"
    else:
        since = "some results are missing"
    return f"{since}; score --resume scores it again"
