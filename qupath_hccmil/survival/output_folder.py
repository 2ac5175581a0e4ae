"""Write an analysis into a folder: report, figures, tables, results and baseline."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from qupath_hccmil.atomic_files import make_folder
from qupath_hccmil.errors import DataError
from qupath_hccmil.result_folder import ResultFolder
from qupath_hccmil.survival.findings import Analysis
from qupath_hccmil.survival.r_script.analysis_data import (
    analysis_table,
    cohorts_table,
    further_numbers,
    imputed_table,
)
from qupath_hccmil.survival.r_script.write_script import r_script
from qupath_hccmil.survival.report.blocks import Report
from qupath_hccmil.survival.report.build import build_report
from qupath_hccmil.survival.report.excel import render_excel
from qupath_hccmil.survival.report.render import render_html, render_markdown
from qupath_hccmil.survival.report.word import render_word
from qupath_hccmil.survival.result_contents import Contents, write_contents
from qupath_hccmil.survival.results_json import results_json

FORMATS = ("html", "md")
RESULTS = "results.json"
# Nothing else is ever removed, whatever a results file says.
OURS = re.compile(
    r"report\.(html|md|docx)|tables\.xlsx|results\.json|baseline\.json|analysis\.R|"
    r"analysis(_imputed|_cohorts)?\.csv|"
    r"(figures|tables)/[\w.-]+"
)


def write_analysis(
    analysis: Analysis,
    folder: str | Path,
    report_format: str = "html",
    tell: Callable[[str], None] | None = None,
    *,
    paper: bool = False,
) -> Path:
    """Write everything and return the path of the report.

    ``report.html`` or ``report.md``, ``figures/*.svg``, ``tables/*.csv``, ``results.json``,
    ``baseline.json``, and ``analysis.csv`` with ``analysis.R``. Files that an earlier run wrote,
    according to its ``results.json``, and that this run does not write are removed; the user's own
    files are not touched.

    Parameters
    ----------
    analysis : Analysis
    folder : path
    report_format : {"html", "md"}
    tell : callable
        Called with each warning that the results give.
    paper : bool
        Also write ``report.docx``, ``tables.xlsx``, and each figure as PNG (300 dpi) and PDF.

    Raises
    ------
    DataError
        The format is not known, a file exists that no earlier run wrote, or the folder has results
        that do not list their files.
    WriteError
        The folder cannot be written.
    """
    if report_format not in FORMATS:
        raise DataError(f"report format {report_format!r} is not one of {', '.join(FORMATS)}")
    folder = Path(folder)
    report = build_report(analysis)
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    contents: Contents = {
        f"report.{report_format}": (render_html if report_format == "html" else render_markdown)(
            report
        ),
    }
    # A baseline that was given comes from other data; only a fitted one is written.
    if analysis.performance.baseline is not None and not analysis.settings.baseline:
        contents["baseline.json"] = analysis.performance.baseline.to_json()
    contents.update({f"figures/{image.key}.svg": image.drawing.svg for image in report.images()})
    if paper:
        contents.update(_for_paper(report))
    contents.update({f"tables/{table.key}.csv": table.data for table in report.tables()})
    contents.update(_for_r(analysis))
    given = {Path(analysis.settings.baseline).resolve()} if analysis.settings.baseline else set()
    write_contents(
        folder, contents, (RESULTS, OURS), lambda names: results_json(analysis, when, names), given
    )
    if tell is not None:
        for line in report.found:
            tell(line)
    return folder / f"report.{report_format}"


def check_folder(folder: Path, report_format: str = "html") -> None:
    """Refuse, before a long analysis, a folder that `write_analysis` would refuse after it.

    Raises
    ------
    DataError
        A report is there that no earlier run wrote.
    WriteError
        The folder cannot be written.
    """
    make_folder(folder)
    ResultFolder(folder, RESULTS, OURS).require_free((RESULTS, f"report.{report_format}"))


def _for_paper(report: Report) -> Contents:
    """The report for Word, its tables for Excel, and its figures for a printer."""
    contents: Contents = {"report.docx": render_word(report), "tables.xlsx": render_excel(report)}
    for image in report.images():
        contents[f"figures/{image.key}.png"] = image.drawing.png()
        contents[f"figures/{image.key}.pdf"] = image.drawing.pdf
    return contents


def _for_r(analysis: Analysis) -> Contents:
    """The patients as analysed, numbers that no table of the report has, and the R script."""
    contents: Contents = {
        f"tables/{name}.csv": table for name, table in further_numbers(analysis).items()
    }
    contents["analysis.csv"] = analysis_table(analysis)
    if analysis.effects.imputed is not None:
        contents["analysis_imputed.csv"] = imputed_table(analysis, analysis.effects.imputed)
    external = analysis.external
    if external is not None and len(external.cohorts) > (0 if external.given else 1):
        contents["analysis_cohorts.csv"] = cohorts_table(analysis, external)
    return {**contents, "analysis.R": r_script(analysis)}
