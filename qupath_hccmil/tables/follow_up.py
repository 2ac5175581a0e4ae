"""The follow-up columns of a clinical table, and the times and events that they hold."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.dates import days_between
from qupath_hccmil.tables.numbers import codes_for_missing
from qupath_hccmil.tables.table_reader import Reading, as_numbers
from qupath_hccmil.tables.units import recognise_unit, refuse_implausible


@dataclass(frozen=True)
class FollowUpColumns:
    """What the user says about a clinical table; empty fields are recognised if possible.

    Attributes
    ----------
    patient : str
        Column of the patient; by default ``patient``, ``case`` or another usual name.
    time, event : str
        Columns of the follow-up time and of the event status.
    start, end : str
        Columns of two dates, in place of a time: the follow-up is the days between them.
    date_order : str
        ``dmy`` or ``mdy`` for dates such as 03/04/2015; by default found in the dates.
    unit : str
        Unit of the time: days, months or years; by default taken from the column's name.
    event_values, censored_values : tuple of str
        Codes in the event column, if they are not 0, 1, yes, no or the like.
    missing : tuple of str
        Texts that mean a missing value, in every column.
    match : str
        Rule of `names.MATCHES` by which names of patients are matched.
    sheet, delimiter, decimal : str
        How the tables are written, see :class:`Reading`.
    """

    patient: str = ""
    time: str = ""
    event: str = ""
    start: str = ""
    end: str = ""
    date_order: str = ""
    unit: str = ""
    event_values: tuple[str, ...] = ()
    censored_values: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    match: str = ""
    sheet: str = ""
    delimiter: str = ""
    decimal: str = ""

    @property
    def reading(self) -> Reading:
        """How the tables are written."""
        return Reading(self.sheet, self.delimiter, self.decimal)

    @property
    def by_dates(self) -> bool:
        """Whether the follow-up is computed from two dates."""
        return bool(self.start or self.end)

    @property
    def time_columns(self) -> tuple[str, ...]:
        """Columns that the follow-up comes from."""
        return (self.start, self.end) if self.by_dates else (self.time,)

    def check_times(self) -> None:
        """Refuse a time and dates together, one date alone, and a unit for dates."""
        if not self.by_dates:
            return
        if not (self.start and self.end):
            raise DataError("give both dates, with --start-date and --end-date")
        if self.time:
            raise DataError("give either --time, or --start-date and --end-date")
        if self.unit:
            raise DataError(f"--unit {self.unit} is for --time; between dates, days are counted")


@dataclass(frozen=True)
class FollowUpTimes:
    """Follow-up of each row of a clinical table.

    Attributes
    ----------
    times : Series
        Float, in `unit`; NaN if missing, negative if the end is before the start.
    unit : str
    source : str
        Where the times come from, in words.
    absent, negative : str
        Reasons for leaving out a patient without a time or with a negative one.
    codes : dict of float to int
        Times that look like codes for a missing value, and how often each occurs.
    said : list of str
        Lines that say how dates were read.
    """

    times: pd.Series
    unit: str
    source: str
    absent: str
    negative: str
    codes: dict[float, int]
    said: list[str]


def follow_up_times(frame: pd.DataFrame, path: object, columns: FollowUpColumns) -> FollowUpTimes:
    """Times of follow-up, from a column of numbers or from two columns of dates.

    Parameters
    ----------
    frame : DataFrame
        Text; the time column with numbers plainly written.
    path : path
        File of the table, for messages.
    columns : FollowUpColumns
        With names of columns as they are in the table.

    Raises
    ------
    DataError
        A time or date cannot be read, its unit is unknown, or a time is implausible.
    """
    columns.check_times()
    if columns.by_dates:
        start, end = columns.start, columns.end
        found = days_between(
            frame[start], frame[end], path, order=columns.date_order, missing=columns.missing
        )
        between = f"from {start!r} to {end!r}"
        return FollowUpTimes(
            found.days,
            "days",
            f"days from the date “{start}” to the date “{end}”",
            f"no time (a date is missing, {between})",
            f"negative time ({end!r} is before {start!r})",
            {},
            found.said,
        )
    name = columns.time
    unit = recognise_unit(name, columns.unit)
    times = as_numbers(frame[name], str(path), columns.missing)
    refuse_implausible(times, unit, name, path)
    return FollowUpTimes(
        times,
        unit,
        f"column “{name}” in {unit}",
        f"no time ({name})",
        f"negative time ({name})",
        codes_for_missing(times),
        [],
    )
