"""Writes all our tables, as CSV or Parquet, completely or not at all.

CSV is UTF-8 with a byte order mark, which is understood by Excel, pandas, Python's ``utf-8-sig``,
R's ``readr`` and ``data.table``; base R reads it with ``fileEncoding = "UTF-8-BOM"``. A text that a
spreadsheet would run as a formula is guarded (:mod:`.spreadsheet_text`), and an absent value is an
empty cell. Parquet has every text unchanged, and nulls.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.export_columns import Column
from qupath_hccmil.tables.spreadsheet_text import guarded
from qupath_hccmil.tables.table import Batch, Table

ROWS_A_GROUP = 50_000
"""Rows held in memory at a time; also the size of a Parquet row group."""

# Half a surrogate pair (from a file name in another encoding) is written as an escape.
_UNSAYABLE = "backslashreplace"


def write_table(table: Table, out: Path) -> int:
    """Write a table; the suffix of `out` chooses the format.

    Parameters
    ----------
    table : Table
        Table to write; it is read to its end.
    out : Path
        ``.csv`` or ``.parquet``.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    DataError
        The suffix is not known.
    WriteError
        The file cannot be written; an older file with that name is unchanged.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    write = writers.get(out.suffix.lower())
    if write is None:
        raise DataError(f"{out}: tables are written as .csv or .parquet; use one of these suffixes")
    with atomic_file(out) as beside:
        return write(table, beside)


def write_rows(out: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write a small table as CSV.

    Parameters
    ----------
    out : Path
    names : sequence of str
        Names of the columns.
    rows : iterable of sequence
        For each column a text, a number, or an absent value (None, NaN).

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    WriteError
        The file cannot be written; an older one of that name is as it was.
    """
    with atomic_file(out) as beside:
        return _write_cells(beside, names, ([_cell(value) for value in row] for row in rows))


def _write_csv(table: Table, path: Path) -> int:
    columns = table.columns

    def rows() -> Iterator[Sequence[Any]]:
        for batch in table.batches:
            cells = [_cells(column, batch[column.name]) for column in columns]
            yield from zip(*cells, strict=True)

    return _write_cells(path, [column.name for column in columns], rows())


def _write_cells(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8-sig", errors=_UNSAYABLE, newline="") as out:
        writer = csv.writer(out)
        writer.writerow([guarded(str(name)) for name in names])
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _cells(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    if column.kind == "text":
        return [None if value is None else guarded(value) for value in values]
    if column.kind == "flag":
        return [None if value is None else str(value).lower() for value in values]
    return values


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return guarded(value)
    return None if value is None or value != value else value


def _write_parquet(table: Table, path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {
        "text": pa.string(),
        "number": pa.float64(),
        "integer": pa.int64(),
        "flag": pa.bool_(),
    }
    schema = pa.schema(
        [
            pa.field(c.name, kinds[c.kind], metadata={"meaning": c.meaning, "unit": c.unit})
            for c in table.columns
        ]
    )
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(table.batches):
            writer.write_table(pa.table(group, schema=schema))
            count += len(next(iter(group.values())))
    return count


def _sayable(value: Any) -> Any:
    """Make a text writable as UTF-8."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", _UNSAYABLE).decode("utf-8")


def _groups(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Join small batches, so that a table of images does not get one row group per row."""
    held: dict[str, list[Any]] = {}
    rows = 0
    for batch in batches:
        for name, values in batch.items():
            held.setdefault(name, []).extend(map(_sayable, values))
        rows += len(next(iter(batch.values())))
        if rows >= ROWS_A_GROUP:
            yield held
            held.clear()  # Reused, because the reader would hold the old one while a new one grows.
            rows = 0
    if rows:
        yield held
