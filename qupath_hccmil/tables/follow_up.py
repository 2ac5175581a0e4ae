"""The follow-up columns of a clinical table, and the meaning of their values."""

from __future__ import annotations

from dataclasses import dataclass

from qupath_hccmil.tables.table_reader import Reading


@dataclass(frozen=True)
class FollowUpColumns:
    """What the user says about a clinical table; empty fields are recognised if possible.

    Attributes
    ----------
    patient : str
        Column of the patient; by default ``patient``, ``case`` or another usual name.
    time, event : str
        Columns of the follow-up time and of the event status.
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
