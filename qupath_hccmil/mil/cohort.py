"""From a clinical table to the labels of training: distinct outcomes only."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qupath_hccmil.errors import DataError

GOOD_FOLLOW_UP_YEARS = 4.0
POOR_RECURRENCE_YEARS = 1.6
_DAYS, _MONTHS = 365.25, 12.0
TIME_UNITS = {"years": 1.0, "months": _MONTHS, "days": _DAYS}


@dataclass(frozen=True)
class Cohort:
    """Labels of the patients that can be trained on, and why the others can't.

    Attributes
    ----------
    labels : mapping of str to int
        Patient to 1 (good outcome) or 0 (poor).
    excluded : mapping of str to str
        Patient to the reason.
    """

    labels: Mapping[str, int]
    excluded: Mapping[str, str]

    def summary(self) -> str:
        """How many are good, poor and excluded, by reason: one line."""
        good = sum(self.labels.values())
        line = f"{good} good, {len(self.labels) - good} poor, {len(self.excluded)} excluded"
        reasons = Counter(self.excluded.values()).most_common()
        return line + (f" ({'; '.join(f'{n} {r}' for r, n in reasons)})" if reasons else "")


def outcome(time: float | None, event: int | None) -> tuple[int | None, str]:
    """Label of one patient by the published rule.

    Parameters
    ----------
    time : float or None
        Years to recurrence, or of follow-up without it.
    event : int or None
        1 recurrence, 0 none.

    Returns
    -------
    label : int or None
        1 where followed for at least 4 years without recurrence; 0 where recurrence came within
        1.6 years (1.6 excluded).
    reason : str
        Of None.

    Notes
    -----
    Liu et al. 2021 (arXiv 2106.00090).
    """
    if time is None or event is None:
        return None, "time or event missing"
    if event and time < POOR_RECURRENCE_YEARS:
        return 0, ""
    if event:
        return None, f"recurrence at {POOR_RECURRENCE_YEARS} years or later"
    if time >= GOOD_FOLLOW_UP_YEARS:
        return 1, ""
    return None, f"followed for less than {GOOD_FOLLOW_UP_YEARS:g} years"


def read_cohort(path: Path, time_unit: str = "years") -> Cohort:
    """Read labels from a CSV table.

    Parameters
    ----------
    path : Path
        Either columns ``patient, label`` (``good`` or 1, ``poor`` or 0) or
        ``patient, time, event`` (1 recurrence, 0 none).
    time_unit : {"years", "months", "days"}

    Returns
    -------
    Cohort

    Raises
    ------
    DataError
        The file or a column is absent, a patient is there twice, or a value isn't understood.
    """
    if time_unit not in TIME_UNITS:
        raise DataError(f"{path}: time unit {time_unit!r}; use {', '.join(TIME_UNITS)}")
    rows, columns = _rows(path)
    labelled = "label" in columns
    for column in ("patient",) if labelled else ("patient", "time", "event"):
        if column not in columns:
            raise DataError(
                f"{path}: no column {column!r}; give patient and label, or patient, time and event"
            )
    labels: dict[str, int] = {}
    excluded: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        patient, where = row["patient"], f"{path}, line {line}"
        if not patient:
            raise DataError(f"{where}: no patient")
        if patient in labels or patient in excluded:
            raise DataError(f"{where}: patient {patient!r} a second time")
        if labelled:
            label, reason = _label(row["label"], where), "label missing"
        else:
            time, event = _number(row["time"], where, "time"), _event(row["event"], where)
            label, reason = outcome(None if time is None else time / TIME_UNITS[time_unit], event)
        if label is None:
            excluded[patient] = reason
        else:
            labels[patient] = label
    return Cohort(labels, excluded)


def _rows(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such table")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            rows = [{k: (row[k] or "").strip() for k in columns} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not readable as a CSV table ({error})") from error
    return rows, columns


def _label(text: str, where: str) -> int | None:
    known = {"": None, "good": 1, "1": 1, "poor": 0, "0": 0}
    if text.lower() not in known:
        raise DataError(f"{where}: label {text!r}; use good (1) or poor (0)")
    return known[text.lower()]


def _event(text: str, where: str) -> int | None:
    value = _number(text, where, "event")
    if value not in (None, 0, 1):
        raise DataError(f"{where}: event {text!r}; use 1 (recurrence) or 0 (none)")
    return None if value is None else int(value)


def _number(text: str, where: str, column: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise DataError(f"{where}: {column} {text!r} isn't a number of 0 or more")
    return value
