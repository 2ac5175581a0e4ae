"""Write an analysis into a folder: report, figures, tables, results and baseline."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.findings import Analysis
from qupath_hccmil.survival.report.build import build_report
from qupath_hccmil.survival.report.render import render_html, render_markdown
from qupath_hccmil.survival.results_json import results_json

FORMATS = ("html", "md")
RISKY = re.compile(r"^[=+\-@\t\r]")


def write_analysis(analysis: Analysis, folder: str | Path, report_format: str = "html") -> Path:
    """Write everything and return the path of the report.

    ``report.html`` or ``report.md``, ``figures/*.svg``, ``tables/*.csv``, ``results.json`` and
    ``baseline.json``. Files of these names are replaced, others are left alone.

    Raises
    ------
    DataError
        The format is not known.
    WriteError
        The folder cannot be written.
    """
    if report_format not in FORMATS:
        raise DataError(f"report format {report_format!r} is none of {', '.join(FORMATS)}")
    folder = Path(folder)
    report = build_report(analysis)
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    texts = {
        f"report.{report_format}": (render_html if report_format == "html" else render_markdown)(
            report
        ),
        "results.json": results_json(analysis, when),
    }
    # A baseline that was given is somebody else's: only a fitted one is written.
    if analysis.performance.baseline is not None and not analysis.settings.baseline:
        texts["baseline.json"] = analysis.performance.baseline.to_json()
    texts.update({f"figures/{image.key}.svg": image.svg for image in report.images()})
    texts.update({f"tables/{table.key}.csv": as_csv(table.data) for table in report.tables()})
    for name, text in texts.items():
        with atomic_file(folder / name) as new:
            new.write_text(text, encoding="utf-8", newline="\n")
    return folder / f"report.{report_format}"


def as_csv(table: pd.DataFrame) -> str:
    """Write a table as CSV; a text that a spreadsheet would take for a formula is defused."""
    safe = table.map(
        lambda value: f"'{value}" if isinstance(value, str) and RISKY.match(value) else value
    )
    return safe.to_csv(index=False, lineterminator="\n")
