"""The outcome columns of a table, checked once for every analysis."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError

TIME = "time"
EVENT = "event"


def outcome(frame: pd.DataFrame, *, at_least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Follow-up and event of each patient.

    Parameters
    ----------
    frame : DataFrame
        One row per patient; ``time`` is not negative, ``event`` is 0 (censored) or 1.
    at_least : int
        Smallest number of patients for the analysis.

    Returns
    -------
    time : (n,) float64
    event : (n,) bool

    Raises
    ------
    DataError
        A column is missing, a value is missing or out of range, or there are too few patients.
    """
    need(frame, [TIME, EVENT])
    time = pd.to_numeric(frame[TIME], errors="coerce").to_numpy(float)
    event = pd.to_numeric(frame[EVENT], errors="coerce").to_numpy(float)
    if len(time) < at_least:
        raise DataError(
            f"{len(time)} patient(s) have an outcome, but at least {at_least} are needed"
        )
    if not np.isfinite(time).all() or (time < 0).any():
        raise DataError("column 'time' must have numbers that are not negative; drop other rows")
    if not np.isin(event, (0, 1)).all():
        raise DataError("column 'event' must have only 0 (censored) and 1 (event); recode it first")
    return time, event.astype(bool)


def need(frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Refuse a table that lacks a column."""
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        have = ", ".join(str(name) for name in frame.columns)
        raise DataError(f"the table has no column {absent[0]!r}; its columns: {have}")


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as float64; missing and infinite values are refused."""
    need(frame, [column])
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(float)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise DataError(f"column {column!r}: {count} value(s) are missing or not numbers")
    return values


def complete(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Keep the rows that have a value in every column."""
    columns = list(columns)
    need(frame, columns)
    return frame.dropna(subset=columns)
