"""Dates as people write them, and the days between two of them.

ISO, German, US, British and French dates, names of months, spreadsheet cells and their serial
numbers are read. "03/04/2015" has two readings; the other dates of both columns decide, or the
user is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.plain_words import count_of

DAY_FIRST, MONTH_FIRST = "dmy", "mdy"
ORDERS = (DAY_FIRST, MONTH_FIRST)
POINT = "."
EARLIEST = date(1900, 1, 1)
LONGEST_DAYS = 36525  # 100 years
# Excel counts from here, since it takes 1900 for a leap year.
_SERIAL_ZERO = date(1899, 12, 30)
_WORDS = {DAY_FIRST: "day first", MONTH_FIRST: "month first"}
_CLOCK = re.compile(
    r"[t ]\s*\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s*[ap]m)?\s*(z|utc|[+-]\d{2}:?\d{2})?$"
)
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])\s*(\d{1,2})\2\s*(\d{4}|\d{2})")
_SERIAL = re.compile(r"([1-7]\d{4})(\.\d+)?")
_NAMED = re.compile(r"(\d{1,2})(?:st|nd|rd|th|er)?[\s.-]*([^\W\d_]+)[\s.,-]*(\d{4}|\d{2})")
_NAME_FIRST = re.compile(r"([^\W\d_]+)[\s.-]*(\d{1,2})(?:st|nd|rd|th)?[\s,-]+(\d{4}|\d{2})")
_NAMES = (
    "january januar jänner janvier", "february februar feber février fevrier",
    "march märz maerz mars", "april avril avr", "may mai", "june juni juin",
    "july juli juillet juil", "august août aout", "september septembre sept",
    "october oktober octobre okt", "november novembre", "december dezember décembre dez déc",
)  # fmt: skip


@dataclass(frozen=True)
class DaysBetween:
    """Follow-up computed from two columns of dates.

    Attributes
    ----------
    days : Series
        Float; NaN if one of the dates is missing, negative if the end is before the start.
    said : list of str
        Lines that say how the dates were read, for the user to check.
    """

    days: pd.Series
    said: list[str]


def days_between(
    start: pd.Series,
    end: pd.Series,
    path: object,
    *,
    order: str = "",
    missing: tuple[str, ...] = (),
    today: date | None = None,
) -> DaysBetween:
    """Read two columns of dates and count the days from the first to the second.

    Parameters
    ----------
    start, end : Series
        Text, named after their columns.
    path : path
        File of the table, for messages.
    order : str
        `DAY_FIRST` or `MONTH_FIRST` for dates with two readings; empty to find it in the columns.
    missing : tuple of str
        Texts that mean a missing date.
    today : date, optional
        Later dates are refused; by default the day of the run.

    Raises
    ------
    DataError
        A text is not a date, is not in the calendar or lies in the future, it is not clear
        whether day or month come first, or a follow-up is longer than 100 years.
    """
    today = today or datetime.now(timezone.utc).date()
    columns = [column.where(~column.isin(missing), None) for column in (start, end)]
    found = [_read(column, path, today) for column in columns]
    if order and order not in ORDERS:
        raise DataError(f"date order {order!r} is not one of {', '.join(ORDERS)}")
    every = [one for read in found for one in read.values()]
    orders = {mark: _order_of(mark, every, order, path) for mark in {one.mark for one in every}}
    dates = [
        column.map({text: _chosen(one, orders, path, today) for text, one in read.items()})
        for column, read in zip(columns, found, strict=True)
    ]
    days = pd.Series(
        [
            float((b - a).days) if isinstance(a, date) and isinstance(b, date) else float("nan")
            for a, b in zip(*dates, strict=True)
        ],
        index=start.index,
    )
    _refuse_a_century(days, columns, path)
    return DaysBetween(days, list(_said(found, orders, path, today)))


@dataclass(frozen=True)
class _Date:
    """One text with its readings: the order of day and month, and the date or None."""

    text: str
    column: str
    rows: int
    readings: dict[str, date | None]
    mark: str = ""
    short_year: bool = False
    serial: bool = False

    @property
    def unsure(self) -> str:
        """What the user should check about the reading, in words; empty if nothing."""
        if self.serial:
            return "the spreadsheet number"
        return "the date" if self.ambiguous or self.short_year else ""

    @property
    def ambiguous(self) -> bool:
        return len({*self.readings.values()} - {None}) > 1

    @property
    def shows(self) -> str:
        """The only order in which this is a date; empty if both are possible or none matters."""
        possible = [order for order, day in self.readings.items() if day is not None]
        return possible[0] if len(possible) == 1 and len(self.readings) > 1 else ""


def _read(column: pd.Series, path: object, today: date) -> dict[str, _Date]:
    counts = column.dropna().value_counts()
    found = {}
    for text in column.dropna().unique():
        one = _parse(str(text), str(column.name), int(counts[text]), today)
        if one is None:
            raise DataError(_wrong(path, str(column.name), str(text), int(counts[text]), ""))
        if not any(one.readings.values()):
            raise DataError(_impossible(one, path))
        found[text] = one
    return found


def _parse(text: str, column: str, rows: int, today: date) -> _Date | None:
    """Find every reading of a text; None if it has not the form of a date."""
    low = _CLOCK.sub("", text.strip().lower()).strip()
    if match := _YEAR_FIRST.fullmatch(low):
        year, month, day = int(match[1]), int(match[3]), int(match[4])
        if match[2] or len(low) == 8:
            return _Date(text, column, rows, {"": _day(year, month, day)})
    if match := _YEAR_LAST.fullmatch(low):
        first, second, short = int(match[1]), int(match[3]), len(match[4]) == 2
        year = _year(match[4], today)
        readings = {
            DAY_FIRST: _day(year, second, first),
            MONTH_FIRST: _day(year, first, second),
        }
        return _Date(text, column, rows, readings, match[2], short)
    if match := _SERIAL.fullmatch(low):
        day_ = _SERIAL_ZERO + timedelta(days=int(match[1]))
        return _Date(text, column, rows, {"": day_}, serial=True)
    for pattern, places in ((_NAMED, (1, 2, 3)), (_NAME_FIRST, (2, 1, 3))):
        if match := pattern.fullmatch(low):
            of_month, name, of_year = (match[place] for place in places)
            if number := _month(name):
                read = _day(_year(of_year, today), number, int(of_month))
                return _Date(text, column, rows, {"": read}, short_year=len(of_year) == 2)
    return None


def _month(name: str) -> int:
    """Number of a month from its name or an abbreviation of three letters or more; 0 if none."""
    for number, names in enumerate(_NAMES, start=1):
        if any(
            name == full or (len(name) >= 3 and full.startswith(name)) for full in names.split()
        ):
            return number
    return 0


def _year(digits: str, today: date) -> int:
    """A year of two digits is of this century, unless it would lie in the future."""
    if len(digits) == 4:
        return int(digits)
    year = 2000 + int(digits)
    return year if year <= today.year else year - 100


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _order_of(mark: str, every: list[_Date], told: str, path: object) -> str:
    """Order of day and month in the dates with one mark between their numbers."""
    same = [one for one in every if one.mark == mark]
    shown: dict[str, _Date] = {}
    for one in same:
        if one.shows:
            shown.setdefault(one.shows, one)
    if len(shown) == 2:
        first, second = (shown[order] for order in ORDERS)
        raise DataError(
            f"{path}: {first.text!r} in column {first.column!r} has the day first, but "
            f"{second.text!r} in column {second.column!r} the month; write the dates in one way"
        )
    if told and mark != POINT:
        return told
    if shown:
        return next(iter(shown))
    unsure = next((one for one in same if one.ambiguous), None)
    if unsure is not None and mark != POINT:
        day, month = (unsure.readings[order] for order in ORDERS)
        raise DataError(
            f"{path}: column {unsure.column!r}: {unsure.text!r} is {day} with the day first, but "
            f"{month} with the month first, and no date shows which is meant; give --date-order "
            f"{DAY_FIRST} or {MONTH_FIRST}"
        )
    # With points the day comes first wherever this is written.
    return DAY_FIRST


def _chosen(one: _Date, orders: Mapping[str, str], path: object, today: date) -> date:
    order = orders[one.mark] if one.mark else ""
    day = one.readings[order]
    if day is None:
        raise DataError(_impossible(one, path, order))
    if not EARLIEST <= day <= today:
        why = f"lies in the future (today is {today})" if day > today else "is before 1900"
        raise DataError(_wrong(path, one.column, one.text, one.rows, why))
    return day


def _impossible(one: _Date, path: object, order: str = "") -> str:
    how = f" with the {_WORDS[order]} (--date-order)" if order else ""
    return _wrong(path, one.column, one.text, one.rows, f"is no day of the calendar{how}")


def _wrong(path: object, column: str, text: str, rows: int, why: str) -> str:
    why = why or "is not a date of day, month and year"
    return (
        f"{path}: column {column!r}: {text!r} {why} ({count_of(rows, 'row')}); correct it, or give "
        f"--missing {text!r} if it means a missing value"
    )


def _refuse_a_century(days: pd.Series, columns: list[pd.Series], path: object) -> None:
    far = (days.abs() > LONGEST_DAYS).to_numpy()
    if not far.any():
        return
    start, end = columns
    first, last = (column.to_numpy()[far][0] for column in columns)
    raise DataError(
        f"{path}: from {first!r} ({start.name!r}) to {last!r} ({end.name!r}) are more "
        "than 100 years; correct them, or give --missing with the one that means a missing value"
    )


def _said(
    found: list[dict[str, _Date]], orders: Mapping[str, str], path: object, today: date
) -> Iterator[str]:
    for read in found:
        told: set[str] = set()
        for one in read.values():
            kind = one.unsure
            if kind and kind not in told:
                told.add(kind)
                how = f" ({_WORDS[orders[one.mark]]})" if one.ambiguous else ""
                day = _chosen(one, orders, path, today)
                yield f"column {one.column!r}: {kind} “{one.text}” is read as {day}{how}"
