"""Read a table as text: CSV, Parquet or Excel, with no value taken for missing unless it is empty.

A vascular invasion of "None" and a histology of "NA" are values; who wants them missing says so.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd

from qupath_hccmil.errors import DataError

CSV = (".csv", ".tsv", ".txt")
PARQUET = ".parquet"
EXCEL = (".xlsx", ".xlsm")
SUFFIXES = (*CSV, PARQUET, *EXCEL)
PATIENT_NAMES = (
    "patient", "patientid", "patientidentifier", "bcrpatientbarcode", "case", "caseid",
    "casesubmitterid", "subject", "subjectid", "participant", "id",
)  # fmt: skip


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table; every value is text without surrounding blanks, an empty one is missing.

    CSV may be separated by comma, semicolon or tab (then decimal commas are read too) and is
    UTF-8; of an Excel file the first sheet is read.

    Raises
    ------
    DataError
        No such file, another format, no rows, or two columns of one name.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    suffix = path.suffix.lower()
    try:
        if suffix == PARQUET:
            frame = pd.read_parquet(path)
        elif suffix in EXCEL:
            frame = pd.read_excel(path, dtype=str, keep_default_na=False, na_values=[""])
        elif suffix in CSV:
            frame = _read_csv(path)
        else:
            raise DataError(f"{path}: {suffix or 'no suffix'} is none of .csv, .parquet, .xlsx")
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}); save it as CSV UTF-8") from error
    except Exception as error:
        # The readers of three libraries raise what they like for a damaged file.
        raise DataError(f"{path}: cannot be read as {suffix}: {_line(error)}") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{path}: two columns are named {twice[0]!r}; rename one")
    if frame.empty:
        raise DataError(f"{path}: the table has no rows")
    return frame.apply(_as_text)


def find_column(frame: pd.DataFrame, path: str | Path, wanted: str, what: str) -> str:
    """Check that a named column is there."""
    if wanted not in frame.columns:
        have = ", ".join(repr(name) for name in frame.columns[:30])
        raise DataError(f"{path}: no column {wanted!r} for the {what}; it has: {have}")
    return wanted


def find_patient_column(frame: pd.DataFrame, path: str | Path, wanted: str = "") -> str:
    """Find the column that names the patient: the wanted one, or one of the usual names."""
    if wanted:
        return find_column(frame, path, wanted, "patient")
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in frame.columns[::-1]}
    for name in PATIENT_NAMES:
        if name in plain:
            return plain[name]
    have = ", ".join(repr(name) for name in frame.columns[:30])
    raise DataError(f"{path}: which column names the patient? Give it by option; it has: {have}")


def as_numbers(column: pd.Series, path: str | Path, missing: tuple[str, ...]) -> pd.Series:
    """Turn a column of text into numbers; values that mean missing become missing.

    Raises
    ------
    DataError
        Another text than a number, named with how often it occurs and what to do.
    """
    column = column.where(~column.isin(missing), None)
    values = pd.to_numeric(column, errors="coerce").astype(float)
    wrong = column[values.isna() & column.notna()]
    if len(wrong):
        first = wrong.iloc[0]
        raise DataError(
            f"{path}: column {column.name!r}: {first!r} is no number ({len(wrong)} row(s)); say "
            f"--missing {first!r} if it means missing"
        )
    if (values.abs() == float("inf")).any():
        raise DataError(f"{path}: column {column.name!r} has an infinite value")
    return values


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
    separator = max(",;\t", key=header.count)
    frame = pd.read_csv(
        path,
        sep=separator,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        encoding="utf-8-sig",
        quoting=csv.QUOTE_MINIMAL,
        index_col=False,
    )
    return frame if separator == "," else frame.apply(_decimal_comma)


def _decimal_comma(column: pd.Series) -> pd.Series:
    present = column.dropna()
    if len(present) and present.str.fullmatch(r"\s*-?\d+(,\d+)?\s*").all():
        return column.str.replace(",", ".", regex=False)
    return column


def _as_text(column: pd.Series) -> pd.Series:
    return column.astype(object).map(_text)


def _text(value: object) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return text or None


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
