"""``export``: write the scores of a project as a table or as GeoJSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qupath_hccmil.cli import exit_codes, options
from qupath_hccmil.cli.options import EngineChoice
from qupath_hccmil.plain_words import count_of

if TYPE_CHECKING:
    from qupath_hccmil.method.patient_score import PatientRule
    from qupath_hccmil.qupath.data_types import ImageEntry
    from qupath_hccmil.qupath.export.patient_of_image import PatientOf
    from qupath_hccmil.qupath.project_folder import Project
    from qupath_hccmil.tables.export_columns import Level


@click.command()
@options.project
@click.argument("out", type=options.PathType)
@click.option(
    "--level",
    type=click.Choice(["image", "annotation", "tile", "patient"]),
    default="image",
    show_default=True,
    help="What each row stands for.",
)
@click.option(
    "--geojson", is_flag=True, help="Write one GeoJSON file per image into the folder OUT."
)
@options.patient_key
@click.option(
    "--patients",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Table with the columns image and patient, to use instead of metadata.",
)
@options.reading
@options.patient_rule("pool")
@options.annotation_classes
@options.engine
@options.quiet
def export(
    project: Path,
    out: Path,
    level: Level,
    geojson: bool,
    patient_key: str | None,
    patients: Path | None,
    patient_rule: PatientRule,
    annotation_classes: tuple[str, ...],
    engine: EngineChoice,
    quiet: bool,
    **reading: str | None,
) -> int:
    """Write the scores of PROJECT to OUT: a .csv or .parquet table, or a folder of GeoJSON.

    GeoJSON files open in QuPath by drag and drop. The exit code is 3 if an image cannot be read.
    """
    from qupath_hccmil.qupath.open_project import open_project

    if patients is not None and patient_key is not None:
        raise click.UsageError("--patients and --patient-key both name the patient; give only one")
    failures = _Failures()
    with open_project(project, engine) as opened:
        if geojson:
            written = _write_geojson(opened, out, failures)
        else:
            classes = annotation_classes or None
            lookup = _patient_lookup(patient_key, patients, reading, opened)
            written = _write_table(opened, out, level, patient_rule, lookup, classes, failures)
    if not quiet:
        click.echo(written)
    return exit_codes.SOME_FAILED if failures.count else exit_codes.DONE


class _Failures:
    """Reports each image that cannot be read, and counts them."""

    count = 0

    def __call__(self, entry: ImageEntry, error: Exception) -> None:
        self.count += 1
        click.echo(f"{entry.name}: FAILED: {error}", err=True)


def _patient_lookup(
    key: str | None, path: Path | None, reading: dict[str, str | None], project: Project
) -> PatientOf:
    from qupath_hccmil.qupath.export.patient_of_image import patient_by_key, patient_by_table
    from qupath_hccmil.tables.table_reader import Reading

    if path is None:
        return patient_by_key(key)
    table = patient_by_table(path, Reading(**{k: v or "" for k, v in reading.items()}))
    for line in table.said:
        click.echo(f"{path}: {line}", err=True)
    unmatched = table.unmatched(entry.name for entry in project.images)
    if unmatched:
        some = ", ".join(unmatched[:5]) + (", …" if len(unmatched) > 5 else "")
        click.echo(
            f"{path}: rows that match no image of the project: {len(unmatched)} ({some})", err=True
        )
    return table


def _write_table(
    project: Project,
    out: Path,
    level: Level,
    patient_rule: PatientRule,
    lookup: PatientOf,
    classes: tuple[str, ...] | None,
    failures: _Failures,
) -> str:
    from qupath_hccmil.qupath.export.score_tables import table
    from qupath_hccmil.tables.table_writer import write_table

    scores = table(
        project,
        level,
        join=patient_rule,
        patient_of=lookup,
        classes=classes or (),
        failed=failures,
    )
    rows = write_table(scores, out)
    return f"{out}: {count_of(rows, 'row')}, one per {level}"


def _write_geojson(project: Project, folder: Path, failures: _Failures) -> str:
    from qupath_hccmil.atomic_files import file_name, make_folder
    from qupath_hccmil.errors import HccMilError
    from qupath_hccmil.qupath.export.geojson_export import write_geojson

    make_folder(folder)
    files = features = 0
    for entry in project.images:
        try:
            state = project.read(entry)
        except HccMilError as error:
            failures(entry, error)
            continue
        if state.results:
            path = folder / f"{entry.id}-{file_name(entry.name)}.geojson"
            features += write_geojson(path, entry, state)
            files += 1
    return f"{folder}: {count_of(features, 'object')} in {count_of(files, 'file')}"
