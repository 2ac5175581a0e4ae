"""Writes a table as CSV or Parquet, batch by batch, whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.export_columns import Column
from qupath_hccmil.tables.table import Batch, Table

ROWS_A_GROUP = 50_000
"""Rows held in memory at a time, and a row group of Parquet."""

# A spreadsheet runs a cell that begins like this as a formula; a name may come from anyone.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(table: Table, out: Path) -> int:
    """Write a table; the suffix of `out` chooses the format.

    In CSV a text that a spreadsheet would run as a formula gets an apostrophe in front, and an
    absent value is an empty cell. Parquet holds every text as it is, and nulls.

    Parameters
    ----------
    table : Table
        Is read to its end.
    out : Path
        ``.csv`` or ``.parquet``.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    DataError
        Another suffix.
    WriteError
        The file cannot be written; an older one of that name is as it was.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    write = writers.get(out.suffix.lower())
    if write is None:
        raise DataError(f"{out}: tables are written as .csv or .parquet; choose one as the suffix")
    with atomic_file(out) as beside:
        return write(table, beside)


def _write_csv(table: Table, path: Path) -> int:
    columns = table.columns
    count = 0
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow([column.name for column in columns])
        for batch in table.batches:
            cells = [_cells(column, batch[column.name]) for column in columns]
            writer.writerows(zip(*cells, strict=True))
            count += len(cells[0])
    return count


def _cells(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    if column.kind == "text":
        return [_defused(value) for value in values]
    if column.kind == "flag":
        return [None if value is None else str(value).lower() for value in values]
    return values


def _defused(text: str | None) -> str | None:
    return f"'{text}" if text and text.startswith(_FORMULA) else text


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


def _groups(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Join small batches, so that a table of images is not one row group a row."""
    held: dict[str, list[Any]] = {}
    rows = 0
    for batch in batches:
        for name, values in batch.items():
            held.setdefault(name, []).extend(values)
        rows += len(next(iter(batch.values())))
        if rows >= ROWS_A_GROUP:
            yield held
            held.clear()  # not a new one: the reader still holds this one while the next grows
            rows = 0
    if rows:
        yield held
