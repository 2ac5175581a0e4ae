"""``project create``: make a project of slides, or add slides to a project."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qupath_hccmil.cli import exit_codes, options
from qupath_hccmil.plain_words import count_of

if TYPE_CHECKING:
    from qupath_hccmil.qupath.project_of_slides import SlideChoice, SlideOutcome


@click.command()
@click.argument("folder", metavar="DIR", type=options.PathType)
@click.argument("slides", nargs=-1, required=True, type=options.PathType)
@click.option(
    "--outlines",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of GeoJSON files named after the slides: their objects become annotations.",
)
@click.option(
    "--outline-class",
    metavar="NAME",
    help="Class of outlines that have none, such as Tumor.",
)
@click.option(
    "--tissue",
    is_flag=True,
    help="Outline the tissue of slides without outlines, with class Region*. It does not count as "
    "tumour until somebody gives it a tumour class.",
)
@click.option(
    "--patients",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Table with the columns image (the slide's file, with or without suffix) and patient.",
)
@options.reading
@click.option(
    "--qupath-version",
    type=click.Choice(["0.5.1", "0.6.0", "0.7.0"]),
    default="0.5.1",
    show_default=True,
    help="QuPath version of the files in a new project; newer versions open them too.",
)
@options.wait
@options.quiet
@options.as_json
def create(
    folder: Path,
    slides: tuple[Path, ...],
    outlines: Path | None,
    outline_class: str | None,
    tissue: bool,
    patients: Path | None,
    qupath_version: str,
    wait: float,
    quiet: bool,
    as_json: bool,
    **reading: str | None,
) -> int:
    """Make a QuPath project in DIR from SLIDES, which are files or folders of slides.

    If DIR is a project already, slides that are not in it are added and nothing else changes.
    Close it in QuPath first, because QuPath would overwrite the longer list of images with its own.
    Slides stay where they are. The exit code is 3 if a slide cannot be read; the others are added.
    """
    from qupath_hccmil.qupath.project_of_slides import files_of, project_of_slides

    choice = _choice(outlines, outline_class, tissue, patients, reading)
    files = files_of(slides)
    seen = []
    for outcome in project_of_slides(
        folder, files, choice, qupath_version=qupath_version, wait=wait
    ):
        seen.append(outcome)
        if outcome.state == "failed":
            click.echo(f"{outcome.path}: FAILED: {outcome.reason}", err=True)
        elif not (quiet or as_json):
            click.echo(_line(outcome))
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "slides": [_plain(o) for o in seen]}))
    elif not quiet:
        click.echo(_end(folder, seen, choice))
    failed = any(outcome.state == "failed" for outcome in seen)
    return exit_codes.SOME_FAILED if failed else exit_codes.DONE


def _choice(
    outlines: Path | None,
    outline_class: str | None,
    tissue: bool,
    patients: Path | None,
    reading: dict[str, str | None],
) -> SlideChoice:
    from qupath_hccmil.qupath.export.patient_of_image import patient_by_table
    from qupath_hccmil.qupath.project_of_slides import SlideChoice
    from qupath_hccmil.tables.table_reader import Reading

    if outline_class is not None and outlines is None:
        raise click.UsageError("--outline-class applies to --outlines; give both")
    table = None
    if patients is not None:
        table = patient_by_table(patients, Reading(**{k: v or "" for k, v in reading.items()}))
        for line in table.said:
            click.echo(f"{patients}: {line}", err=True)
    return SlideChoice(outlines, outline_class, tissue, table)


def _line(outcome: SlideOutcome) -> str:
    if outcome.state == "there":
        return f"{outcome.name}: is in the project"
    count = outcome.outlines
    said = [f"{count} outline{'' if count == 1 else 's'}", *outcome.notes]
    return f"{outcome.name}: added, {'; '.join(said)}"


def _plain(outcome: SlideOutcome) -> dict[str, object]:
    return {
        "path": str(outcome.path),
        "name": outcome.name,
        "state": outcome.state,
        "reason": outcome.reason,
        "outlines": outcome.outlines,
        "notes": list(outcome.notes),
    }


def _end(folder: Path, seen: Sequence[SlideOutcome], choice: SlideChoice) -> str:
    added = [outcome for outcome in seen if outcome.state == "added"]
    if not any(outcome.state != "failed" for outcome in seen):
        return "no slide could be read; no project was made"
    lines = [f"{len(added)} of {count_of(len(seen), 'slide')} added to {folder}; open it in QuPath"]
    if added and choice.tissue and not choice.outlines:
        lines.append(
            "the outlines are of tissue, not of a tumour: outline the tumour in QuPath, or give "
            "the outlines that are one the class Tumor"
        )
    if choice.patients is not None:
        unmatched = choice.patients.not_of(outcome.path.name for outcome in seen)
        if unmatched:
            some = ", ".join(unmatched[:5]) + (", …" if len(unmatched) > 5 else "")
            match = "row matches" if len(unmatched) == 1 else "rows match"
            lines.append(f"{choice.patients.path}: {len(unmatched)} {match} no slide: {some}")
    return "\n".join(lines)
