"""Writes the tables of the reviews into a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from qupath_hccmil import __version__
from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.method.research_use import RESEARCH_USE
from qupath_hccmil.result_folder import ResultFolder
from qupath_hccmil.tables.export_columns import TableName, columns_of
from qupath_hccmil.tables.table import Table
from qupath_hccmil.tables.table_writer import write_rows, write_table
from qupath_hccmil.tiles_of_interest.review_report import ReviewReport

RECORD = "reviews.json"
FOR_SURVIVAL = "survival-tiles.csv"
_TABLES: dict[str, TableName] = {
    "reviews": "review",
    "reviewers": "reviewer",
    "verdicts": "verdict",
    "agreement": "agreement",
    "features": "feature",
    "artefacts": "artefact",
}
OURS = re.compile(rf"({'|'.join(_TABLES)})\.csv|reviews\.json|survival-tiles\.csv")


def write_reviews(report: ReviewReport, folder: Path, settings: dict[str, Any]) -> list[str]:
    """Write the tables; those that hold nothing are not written.

    Parameters
    ----------
    report : ReviewReport
    folder : Path
        Files of an earlier run are replaced or removed, others are left alone.
    settings : dict
        What was asked, for the record ``reviews.json``.

    Returns
    -------
    list of str
        Names of the tables.

    Raises
    ------
    DataError
        A file is there that no earlier run wrote.
    WriteError
        The folder can't be written.
    """
    frames = {f"{name}.csv": getattr(report, name) for name in _TABLES}
    frames[FOR_SURVIVAL] = report.for_survival
    frames = {name: frame for name, frame in frames.items() if len(frame)}
    names = sorted([*frames, RECORD])
    results = ResultFolder(folder, RECORD, OURS)
    results.require_free(names)
    results.remove_others(names)
    record = {
        "note": RESEARCH_USE,
        "version": __version__,
        "settings": settings,
        "notes": report.notes,
        "files": names,
    }
    # Written first, so that it lists our files even if the run is interrupted.
    with atomic_file(folder / RECORD) as new:
        content = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        new.write_text(content, encoding="utf-8", errors="backslashreplace", newline="\n")
    for name, frame in frames.items():
        if name == FOR_SURVIVAL:
            write_rows(folder / name, list(frame.columns), _cells(frame))
            continue
        columns = columns_of(_TABLES[Path(name).stem])
        rows = list(_cells(frame[[column.name for column in columns]]))
        batch = {column.name: [row[place] for row in rows] for place, column in enumerate(columns)}
        write_table(Table(_TABLES[Path(name).stem], [batch]), folder / name)
    return [name for name in names if name != RECORD]


def _cells(frame: pd.DataFrame) -> Iterator[Sequence[Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return plain.itertuples(index=False, name=None)
