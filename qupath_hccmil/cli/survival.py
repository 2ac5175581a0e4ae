"""``survival``: test scores against follow-up and write a report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import options
from qupath_hccmil.plain_words import count_of

if TYPE_CHECKING:
    from qupath_hccmil.survival.analysis_settings import Settings


@click.command()
@click.argument("scores", type=options.PathType)
@click.argument("clinical", type=options.PathType)
@click.option(
    "--out", type=options.PathType, required=True, help="Folder for the report and its tables."
)
@click.option("--time", help="Column of the follow-up time.")
@click.option("--event", help="Column of the event status.")
@options.dates(("--start", "--start-date", "start"), ("--end", "--end-date", "end"))
@click.option(
    "--entry",
    help="Column of the time (or date) from which a patient is at risk (left truncation).",
)
@click.option("--centre", help="Column of the centre, if there are several.")
@click.option(
    "--subgroup",
    "subgroups",
    multiple=True,
    help="Column of subgroups for the effect of the score; repeatable; 'none' for none; default: "
    "the variables.",
)
@click.option(
    "--unit",
    type=options.TimeUnit,
    help="Unit of the time column; default: taken from the column's name.",
)
@click.option(
    "--report-unit",
    type=options.TimeUnit,
    help="Unit of the report and of the horizons.  [default: years]",
)
@options.settings_file("--config")
@click.option("--patient", help="Patient column of the clinical table.")
@click.option("--score-patient", help="Patient column of the scores.")
@click.option("--score", help="Score column; higher means higher risk.")
@options.patient_rule()
@options.match
@options.reading
@click.option(
    "--variable", "variables", multiple=True, help="Prognostic column; repeatable; 'none' for none."
)
@click.option(
    "--reference",
    multiple=True,
    metavar="COLUMN=LEVEL",
    help="Reference level of a column; repeatable.",
)
@options.missing
@click.option(
    "--exclude", multiple=True, metavar="COLUMN=VALUE", help="Leave these patients out; repeatable."
)
@options.event_values
@options.censored_values
@click.option(
    "--competing-value",
    "competing_values",
    multiple=True,
    help="Status of a competing event, such as death without recurrence.",
)
@click.option("--competing-name", help="Name of the competing event, for the report.")
@click.option(
    "--cut",
    help="Cut into risk groups: model, median, tertiles, quartiles, quantiles=N or a number.  "
    "[default: model]",
)
@click.option(
    "--threshold", type=float, help="Threshold of the model; default: from the scores table."
)
@click.option(
    "--horizon",
    "horizons",
    type=float,
    multiple=True,
    help="Time at which to report results, in the report's unit; repeatable.",
)
@click.option(
    "--landmark",
    "landmarks",
    type=float,
    multiple=True,
    help="Also analyse from this time on those who are event-free then; repeatable.  "
    "[default: half a year]",
)
@click.option("--endpoint", help="Name of the endpoint, for the report.")
@click.option("--time-zero", help="When follow-up begins, for the report.")
@click.option("--title", help="Title of the report.")
@click.option(
    "--bootstrap",
    type=int,
    help="Bootstrap samples for intervals; 0 for none.  [default: 500]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of all random draws.  [default: 2021]"
)
@click.option("--confidence", type=float, help="Level of the intervals.  [default: 0.95]")
@click.option(
    "--penalty",
    type=click.Choice(["auto", "none", "firth"]),
    help="Penalty of the Cox models; auto: Firth's if a group has no events.",
)
@click.option(
    "--imputations", type=int, help="Number of imputed tables; 0 for complete cases only."
)
@click.option("--baseline", help="baseline.json of another cohort, to test its predictions here.")
@click.option(
    "--cohort",
    "cohorts",
    nargs=3,
    multiple=True,
    metavar="NAME SCORES CLINICAL",
    help="Another cohort, for external validation; repeatable. One with other columns goes into "
    "the settings, as [cohorts.NAME].",
)
@click.option("--tiles", help="Table of the features of high- and low-risk tiles.")
@click.option(
    "--format", "report_format", type=click.Choice(["html", "md"]), default="html",
    show_default=True, help="Format of the report.",
)  # fmt: skip
@click.option(
    "--paper",
    is_flag=True,
    help="Also write the report for Word, its tables for Excel, and figures as PNG and PDF.",
)
@options.quiet
@options.as_json
def survival(
    scores: Path,
    clinical: Path,
    out: Path,
    settings_file: Path | None,
    report_format: str,
    paper: bool,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Test SCORES against the follow-up in CLINICAL and write a report.

    SCORES is an export of this program (any level), the predictions.csv of 'train mil --folds', or
    any table with patients and scores. CLINICAL
    is a table with one row per patient. Both may be CSV, Parquet or Excel. Nobody is dropped
    silently: the report lists every patient who is left out, and why. For research use only.

    Example: qupath-hccmil survival scores.csv clinical.csv --time rfs_days --event rfs_event
    --out report
    """
    from qupath_hccmil.survival.analysis import analyse
    from qupath_hccmil.survival.analysis_cohort import read_cohort
    from qupath_hccmil.survival.analysis_settings import read_settings
    from qupath_hccmil.survival.output_folder import check_folder, write_analysis

    in_file = read_settings(settings_file) if settings_file else None
    settings = _settings(in_file, given).check()
    silent = quiet or as_json
    cohort = read_cohort(scores, clinical, settings)
    events = int(cohort.frame["event"].sum())
    if not silent:
        patients = count_of(len(cohort.frame), "patient")
        click.echo(f"{patients}, {count_of(events, 'event')}; {cohort.coding.describe()}")
        click.echo(f"Risk groups: {cohort.groups.description}")
        for reason, count in cohort.left_out["reason"].value_counts().items():
            click.echo(f"Left out: {count} ({reason})")
        for note in cohort.notes:
            click.echo(f"Note: {note}")
    check_folder(out, report_format)
    analysis = analyse(cohort, settings, None if silent else _tell)
    analysis.command = options.command_line()
    found: list[str] = []
    report = write_analysis(analysis, out, report_format, found.append, paper=paper)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "report": str(report),
                    "results": str(out / "results.json"),
                    "patients": len(cohort.frame),
                    "events": events,
                    "left_out": len(cohort.left_out),
                    "notes": [*cohort.notes, *found],
                    "problems": [{"part": p, "reason": r} for p, r in analysis.problems],
                }
            )
        )
    elif not quiet:
        for note in found:
            click.echo(f"Note: {note}")
        for part, reason in analysis.problems:
            click.echo(f"Not done: {part}: {reason}")
        click.echo(f"Report: {report}")


def _tell(step: str) -> None:
    click.echo(f"  {step} …", err=True)


def _settings(in_file: Settings | None, given: dict[str, Any]) -> Settings:
    """Override the file's settings by options; an option that is not given changes nothing."""
    from qupath_hccmil.survival.analysis_settings import CohortRequest, Settings

    settings = in_file or Settings()
    pairs = {key: given.pop(key) for key in ("exclude", "reference")}
    variables = given.pop("variables")
    others = tuple(CohortRequest(*three) for three in given.pop("cohorts"))
    chosen = {key: value for key, value in given.items() if value not in (None, ())}
    if chosen.get("baseline"):
        chosen["baseline"] = str(chosen["baseline"])
    if pairs["exclude"]:
        chosen["exclude"] = tuple(_pair("--exclude", text) for text in pairs["exclude"])
    settings = replace(settings, **chosen, cohorts=settings.cohorts + others)
    return _with_variables(
        settings, variables, dict(_pair("--reference", t) for t in pairs["reference"])
    )


def _with_variables(
    settings: Settings, names: tuple[str, ...], references: dict[str, str]
) -> Settings:
    from qupath_hccmil.survival.statistics.variables import VariableRequest

    requests = settings.variables
    if names:
        known = {request.name: request for request in settings.variables or ()}
        requests = tuple(
            known.get(name, VariableRequest(name)) for name in names if name.lower() != "none"
        )
    if references:
        have = {request.name for request in requests or ()}
        unknown = [name for name in references if name not in have]
        if unknown:
            raise click.UsageError(
                f"--reference {unknown[0]}: name the variable too, with --variable {unknown[0]}"
            )
        requests = tuple(
            replace(request, reference=references.get(request.name, request.reference))
            for request in requests or ()
        )
    return replace(settings, variables=requests)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{option}: give it as COLUMN=VALUE, not {text!r}")
    return name.strip(), value.strip()
