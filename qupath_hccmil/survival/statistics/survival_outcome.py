"""The outcome columns of a table, checked once for every analysis."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.plain_words import count_of

TIME = "time"
EVENT = "event"
# A table with this column is left-truncated: a patient is at risk from then, not from time zero.
ENTRY = "entry_time"
# Cox models of a table with this column compare patients of one stratum only. Scores of different
# strata have different levels, as those of the folds of a cross-validation have.
STRATUM = "stratum__"


def outcome(
    frame: pd.DataFrame,
    *,
    at_least: int = 1,
    delayed: bool = False,
    stratified: bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Follow-up and event of each patient.

    Parameters
    ----------
    frame : DataFrame
        One row per patient; ``time`` is not negative, ``event`` is 0 (censored) or 1.
    at_least : int
        Smallest number of patients for the analysis.
    delayed : bool
        Whether the analysis takes delayed entry into account, with ``entry_of``. One that does not
        refuses a table with a column ``entry_time``.
    stratified : bool, optional
        Whether the analysis takes strata into account, with ``strata_of``, or compares no scores.
        One that does neither refuses a table with strata. By default as `delayed`.

    Returns
    -------
    time : (n,) float64
    event : (n,) bool

    Raises
    ------
    DataError
        A column is missing, a value is missing or out of range, there are too few patients, or the
        table has delayed entry or strata and the analysis has no version for it.
    """
    need(frame, [TIME, EVENT])
    if ENTRY in frame.columns and not delayed:
        raise DataError(
            "there is no version of this for patients who enter late; it assumes that everybody "
            "is followed from time zero"
        )
    if STRATUM in frame.columns and not (delayed if stratified is None else stratified):
        raise DataError(
            "there is no version of this for strata; it would compare scores of different strata, "
            "whose levels differ"
        )
    time = pd.to_numeric(frame[TIME], errors="coerce").to_numpy(float)
    event = pd.to_numeric(frame[EVENT], errors="coerce").to_numpy(float)
    if len(time) < at_least:
        raise DataError(
            f"an outcome is known of {count_of(len(time), 'patient')}, but at least {at_least} "
            "are needed"
        )
    if not np.isfinite(time).all() or (time < 0).any():
        raise DataError("column 'time' must have numbers that are not negative; drop other rows")
    if not np.isin(event, (0, 1)).all():
        raise DataError("column 'event' must have only 0 (censored) and 1 (event); recode it first")
    return time, event.astype(bool)


def outcome_by_cause(
    frame: pd.DataFrame, cause: str | None, *, at_least: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow-up, event and competing event of each patient.

    Parameters
    ----------
    frame : DataFrame
        ``time``, and ``event`` or the cause.
    cause : str or None
        Column of how the follow-up ended: 0 censored, 1 the event, 2 a competing event. None if
        nothing competes; then it is the column ``event``.
    at_least : int
        As for ``outcome``.

    Returns
    -------
    time : (n,) float64
    event, competing : (n,) bool
    """
    if cause is None:
        time, event = outcome(frame, at_least=at_least)
        return time, event, np.zeros_like(event)
    ending = numbers(frame, cause)
    if not np.isin(ending, (0, 1, 2)).all():
        raise DataError(
            f"column {cause!r} must have only 0 (censored), 1 (event) and 2 (competing event)"
        )
    time, _ = outcome(frame.assign(**{EVENT: (ending > 0).astype(int)}), at_least=at_least)
    return time, ending == 1, ending == 2


def entry_of(frame: pd.DataFrame) -> np.ndarray | None:
    """Time from which each patient is at risk, shape (n,); None without delayed entry.

    A patient is at risk in ``(entry, time]``, as in ``Surv(entry, time, event)`` of R.

    Raises
    ------
    DataError
        An entry is missing, negative, or not before the end of the follow-up.
    """
    if ENTRY not in frame.columns:
        return None
    entry = pd.to_numeric(frame[ENTRY], errors="coerce").to_numpy(float)
    if not (np.isfinite(entry) & (entry >= 0)).all() or (entry >= frame[TIME]).any():
        raise DataError(
            f"column {ENTRY!r} must have numbers from 0 to before the time of the same row; drop "
            "other rows"
        )
    return entry


def strata_of(frame: pd.DataFrame) -> np.ndarray | None:
    """Stratum of each patient as text, shape (n,); None without strata."""
    if STRATUM not in frame.columns:
        return None
    return np.asarray(frame[STRATUM].astype(str))


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
        raise DataError(f"column {column!r}: missing or no number in {count_of(count, 'row')}")
    return values


def complete(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Keep the rows that have a value in every column."""
    columns = list(columns)
    need(frame, columns)
    return frame.dropna(subset=columns)
