"""Reads CSV, Parquet and Excel tables as text; only empty cells are missing values.

A vascular invasion of "None" and a histology of "NA" are values, unless the user says that they are
missing. Everything that the reader detects (encoding, delimiter, titles, sheet, decimal mark) is
reported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.tables.names import clean, spelling_key
from qupath_hccmil.tables.numbers import (
    COMMA,
    POINT,
    NumberStyle,
    as_float,
    as_plain,
    decimal_of,
    has_two_readings,
    number_style,
    way,
    what_is_wrong,
)
from qupath_hccmil.tables.spreadsheet_text import unguarded
from qupath_hccmil.tables.text_files import below_titles, text_rows

CSV = (".csv", ".tsv", ".txt")
PARQUET = ".parquet"
EXCEL = (".xlsx", ".xlsm")
SUFFIXES = (*CSV, PARQUET, *EXCEL)
PATIENT_NAMES = (
    "patient", "patientid", "patientidentifier", "bcrpatientbarcode", "case", "caseid",
    "casesubmitterid", "subject", "subjectid", "participant", "id",
)  # fmt: skip
_PERHAPS = re.compile(r"[,'’ \u00a0\u2009\u202f]|^[+-]?[1-9]\d{0,2}\.\d{3}$|\..*\.")


@dataclass(frozen=True)
class Reading:
    """How a table is written according to the user; empty fields are detected.

    Attributes
    ----------
    sheet : str
        Sheet of an Excel file; by default the first that has values.
    delimiter : str
        Delimiter of a text file: one character, or ``tab``.
    decimal : str
        Decimal mark, ``"."`` or ``","``.
    """

    sheet: str = ""
    delimiter: str = ""
    decimal: str = ""


@dataclass
class UserTable:
    """A table as text.

    Attributes
    ----------
    path : Path
    frame : DataFrame
        Every value is text without surrounding blanks; empty values are missing.
    said : list of str
        Lines that say how the table was read, for the user to check.
    """

    path: Path
    frame: pd.DataFrame
    said: list[str] = field(default_factory=list)
    delimiter: str = COMMA
    decimal: str = ""
    typed: frozenset[str] = frozenset()

    @cached_property
    def _style(self) -> NumberStyle:
        columns = (self.frame[name] for name in self.frame.columns if name not in self.typed)
        return number_style(columns, self.delimiter, self.decimal)

    def plain(self, name: str) -> pd.Series:
        """Return a column with numbers written with a decimal point and without thousands.

        Raises
        ------
        DataError
            A number has two readings, and no column shows which one is meant.
        """
        column = self.frame[name]
        if name in self.typed or not column.dropna().map(_PERHAPS.search).notna().any():
            return column
        decimal = self.decimal or decimal_of(column, self._style)
        if not decimal:
            unsure = next((v for v in column.dropna().unique() if has_two_readings(v)), None)
            if unsure is not None:
                raise DataError(
                    f"{self.path}: column {name!r}: {unsure!r} is {as_plain(unsure, COMMA)} with a "
                    f"decimal comma, but {as_plain(unsure, POINT)} with a decimal point, and "
                    f"{self._style.reason}; give --decimal"
                )
        changed = column.map(lambda text: as_plain(text, decimal), na_action="ignore")
        different = changed[changed.notna() & (changed != column)]
        if len(different):
            first = column[different.index[0]]
            self._say(f"column {name!r}: “{first}” is read as {different.iloc[0]}")
        return changed

    def numbers(self, name: str, missing: tuple[str, ...] = ()) -> pd.Series:
        """Return a column as float64; see `as_numbers`."""
        return as_numbers(self.plain(name), self.path, missing)

    def _say(self, text: str) -> None:
        if text not in self.said:
            self.said.append(text)


def read_table(path: str | Path, reading: Reading | None = None) -> UserTable:
    """Read a table in any of the usual formats.

    CSV may be separated by comma, semicolon, tab or bar, in UTF-8, UTF-16 or Windows-1252; a line
    ``sep=``, comment lines, titles above the header and blank rows are skipped. One sheet of an
    Excel file is read.

    Parameters
    ----------
    path : path
    reading : Reading, optional
        How the table is written, according to the user.

    Raises
    ------
    DataError
        The file does not exist, has another format or no rows, has two columns with the same name
        (or names that differ only in case, blanks or Unicode form), or is ambiguous.
    """
    path, reading = Path(path), reading or Reading()
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    suffix = path.suffix.lower()
    try:
        if suffix == PARQUET:
            table = _parquet(path)
        elif suffix in EXCEL:
            table = _excel(path, reading.sheet)
        elif suffix in CSV:
            table = _text_table(path, "\t" if reading.delimiter == "tab" else reading.delimiter)
        else:
            raise DataError(f"{path}: {suffix or 'no suffix'} is not one of .csv, .parquet, .xlsx")
    except DataError:
        raise
    except Exception as error:
        # The three libraries that read files raise different errors for a damaged file.
        raise DataError(f"{path}: cannot be read as {suffix}: {_line(error)}") from error
    table.decimal = reading.decimal
    if table.frame.empty:
        raise DataError(f"{path}: the table has no rows")
    return table


def find_column(frame: pd.DataFrame, path: str | Path, wanted: str, what: str) -> str:
    """Find a column by name, ignoring case, blanks and Unicode form."""
    if wanted in frame.columns:
        return wanted
    key = spelling_key(wanted)
    for name in frame.columns:
        if spelling_key(name) == key:
            return str(name)
    raise DataError(f"{path}: has no column {wanted!r} for the {what}; its columns: {_have(frame)}")


def find_patient_column(frame: pd.DataFrame, path: str | Path, wanted: str = "") -> str:
    """Find the column of the patient: the wanted one, or one with a usual name."""
    if wanted:
        return find_column(frame, path, wanted, "patient")
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in frame.columns[::-1]}
    for name in PATIENT_NAMES:
        if name in plain:
            return plain[name]
    raise DataError(
        f"{path}: no column is known to name the patient; give --patient; its columns: "
        f"{_have(frame)}"
    )


def as_numbers(column: pd.Series, path: str | Path, missing: tuple[str, ...]) -> pd.Series:
    """Convert a column of plainly written numbers to float64; texts in `missing` become NaN.

    Raises
    ------
    DataError
        A text is not a number; the message says how often it occurs and what to do.
    """
    column = column.where(~column.isin(missing), None)
    values = column.map(as_float, na_action="ignore").astype(float)
    wrong = column[values.isna() & column.notna()]
    if len(wrong):
        first = wrong.iloc[0]
        count = int((wrong == first).sum())
        others = "" if count == len(wrong) else f"; in all, {len(wrong)} rows have no number"
        raise DataError(f"{path}: column {column.name!r}: {what_is_wrong(first, count)}{others}")
    if (values.abs() == float("inf")).any():
        raise DataError(f"{path}: column {column.name!r} has an infinite value")
    return values


def _text_table(path: Path, delimiter: str) -> UserTable:
    rows = text_rows(path, delimiter)
    if not rows.cells:
        raise DataError(f"{path}: cannot be read as {path.suffix.lower()}: the file is empty")
    frame = _frame(path, rows.cells)
    return UserTable(path, frame, list(rows.said), rows.delimiter)


def _excel(path: Path, sheet: str) -> UserTable:
    with pd.ExcelFile(path) as book:
        names = [str(name) for name in book.sheet_names]
        if sheet and sheet not in names:
            raise DataError(f"{path}: has no sheet {sheet!r}; its sheets: {', '.join(names)}")
        said = []
        for name in [sheet] if sheet else names:
            cells = book.parse(name, header=None, dtype=object, keep_default_na=False).to_numpy()
            if cells.size:
                break
        else:
            raise DataError(f"{path}: the table has no rows")
    if len(names) > 1:
        said.append(f"sheet {name!r} of {', '.join(names)} (--sheet)")
    mixed = [_is_mixed([row[k] for row in cells]) for k in range(cells.shape[1])]
    texts = [[_cell(value, mixed[k]) for k, value in enumerate(row)] for row in cells]
    rows, skipped = below_titles(texts)
    if skipped:
        said.append(f"{count_of(skipped, 'title row')} before the header left out")
    frame = _frame(path, rows)
    of_sheet = {_cell(value, False): None for row in cells for value in row if _is_text(value)}
    typed = [n for n in frame.columns if not frame[n].dropna().isin(of_sheet.keys()).any()]
    return UserTable(path, frame, said, "", "", frozenset(typed))


def _parquet(path: Path) -> UserTable:
    frame = pd.read_parquet(path)
    names = _checked([str(name) for name in frame.columns], path)
    frame.columns = pd.Index(names)
    typed = frozenset(name for name in names if pd.api.types.is_numeric_dtype(frame[name].dtype))
    return UserTable(path, frame.apply(lambda c: c.astype(object).map(_text)), [], COMMA, "", typed)


def _of_cell(cell: str) -> str:
    return unguarded(clean(cell))


def _frame(path: Path, rows: list[list[str]]) -> pd.DataFrame:
    """Make a frame from cells, header first; columns without name and values are dropped."""
    header, body = [_of_cell(cell) for cell in rows[0]], rows[1:]
    width = len(header)
    columns: list[list[str | None]] = [
        [(_of_cell(row[k]) or None) if k < len(row) else None for row in body] for k in range(width)
    ]
    kept = [k for k in range(width) if header[k] or any(columns[k])]
    names = [header[k] or f"column {k + 1}" for k in kept]
    _checked(names, path)
    return pd.DataFrame(
        {name: columns[k] for name, k in zip(names, kept, strict=True)}, dtype=object
    )


def _checked(names: list[str], path: Path) -> list[str]:
    names = [clean(name) for name in names]
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(spelling_key(name))
        if other is not None:
            raise DataError(
                f"{path}: two columns have the name {name!r}; rename one"
                if other == name
                else f"{path}: the column names {other!r} and {name!r} differ only in case, "
                "blanks or Unicode form; rename one"
            )
        seen[spelling_key(name)] = name
    return names


def _is_text(value: object) -> bool:
    """Whether a cell of a sheet has text that looks like a number."""
    return isinstance(value, str) and way(value.strip()) is not None


def _is_mixed(values: list[Any]) -> bool:
    """Whether a column of a sheet has both numbers and texts that look like numbers."""
    return any(isinstance(v, float) for v in values) and any(_is_text(v) for v in values)


def _cell(value: object, mixed: bool) -> str:
    text = _text(value) or ""
    # A number of the sheet always has a decimal point; one more 0 distinguishes it from the texts.
    return f"{text}0" if mixed and isinstance(value, float) and "." in text else text


def _text(value: object) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return clean(str(value)) or None


def _have(frame: pd.DataFrame) -> str:
    return ", ".join(repr(name) for name in frame.columns[:30])


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
