"""Writes the files of a report: texts, images and tables, next to a record that lists them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

import pandas as pd

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.result_folder import ResultFolder
from qupath_hccmil.tables.table_writer import write_rows

Contents = dict[str, str | bytes | pd.DataFrame]


def write_contents(
    folder: Path,
    contents: Contents,
    kind: tuple[str, re.Pattern[str]],
    record: Callable[[list[str]], str],
    keep: Collection[Path] = (),
) -> None:
    """Write all files of a run, and remove those of an earlier one that this run does not write.

    Parameters
    ----------
    folder : Path
        It need not exist.
    contents : dict
        By name: text, bytes, or a table, which is written as CSV.
    kind : (str, compiled pattern)
        Name of the record, and names that our files may have; see :class:`ResultFolder`.
    record : callable
        Makes the record of the names of all files, itself included.
    keep : collection of Path
        Resolved paths of inputs, which are never removed.

    Raises
    ------
    DataError
        A file exists that no earlier run wrote, or the record does not list its files.
    WriteError
        The folder cannot be written.
    """
    name, ours = kind
    # Written first, so that it lists our files even if the run is interrupted.
    contents = {name: record(sorted([*contents, name])), **contents}
    results = ResultFolder(folder, name, ours)
    results.require_free(contents)
    results.remove_others(contents, keep=keep)
    for path, content in contents.items():
        if isinstance(content, pd.DataFrame):
            rows = (
                content.astype(object)
                .where(content.notna(), None)
                .itertuples(index=False, name=None)
            )
            write_rows(folder / path, list(content.columns), rows)
            continue
        with atomic_file(folder / path) as new:
            if isinstance(content, bytes):
                new.write_bytes(content)
                continue
            # A file name may not be valid in any encoding; its bytes are then written as escapes.
            new.write_text(content, encoding="utf-8", errors="backslashreplace", newline="\n")
