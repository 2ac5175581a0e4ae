"""Write a judgement into a folder: report, figures, tables, predictions and results."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path

from qupath_hccmil.judgement.judge import Judgement
from qupath_hccmil.judgement.report_page import build_report
from qupath_hccmil.survival.report.render import render_html
from qupath_hccmil.survival.result_contents import Contents, write_contents
from qupath_hccmil.survival.results_json import plain

REPORT, RESULTS, PREDICTIONS = "report.html", "results.json", "predictions.csv"
FORMAT = "qupath-hccmil judgement results 1"
OURS = re.compile(r"report\.html|results\.json|predictions\.csv|(figures|tables)/[\w.-]+")


def write_judgement(found: Judgement, folder: Path) -> Path:
    """Write everything and return the path of the report.

    ``report.html``, ``figures/*.svg``, ``tables/*.csv``, ``predictions.csv`` (a row for each
    patient and repeat) and ``results.json``. Files that an earlier run wrote and this one does not
    are removed; the user's own files are not touched.

    Raises
    ------
    DataError
        A file exists that no earlier run wrote.
    WriteError
        The folder cannot be written.
    """
    report = build_report(found)
    contents: Contents = {REPORT: render_html(report), PREDICTIONS: found.predictions}
    contents.update({f"figures/{image.key}.svg": image.drawing.svg for image in report.images()})
    contents.update({f"tables/{table.key}.csv": table.data for table in report.tables()})
    write_contents(folder, contents, (RESULTS, OURS), lambda names: _results(found, names))
    return folder / REPORT


def _results(found: Judgement, files: list[str]) -> str:
    """Every number as strict JSON, for programs; absent values are null."""
    content = {
        "format": FORMAT,
        "files": files,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": found.command,
        "learner": dict(found.learner),
        "settings": found.settings,
        "cohort": {
            "patients": len(found.cohort.frame),
            "events": int(found.cohort.frame["event"].sum()),
            "centre_column": found.cohort.centre_column,
            "variables": [variable.name for variable in found.cohort.variables],
            "in_two_centres": {p: list(c) for p, c in found.cohort.in_two_centres.items()},
            "left_out": dict(found.cohort.left_out),
        },
        "horizons": found.horizons,
        "comparisons": found.compared.table,
        "differences": found.compared.differences,
        "added_to_clinical": found.added,
        "permuted": found.permuted,
        "folds": found.by_fold,
        "chosen": found.chosen,
        "calibrations": found.calibrations,
        "net_benefit": found.net_benefit,
        "can_show": found.can_show,
        "cautions": found.cautions,
        "problems": [{"part": part, "reason": reason} for part, reason in found.problems],
    }
    return json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False)
