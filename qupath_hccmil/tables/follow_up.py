"""Which columns of a clinical table hold the follow-up, and what their values mean."""

from __future__ import annotations

from dataclasses import dataclass

from qupath_hccmil.tables.table_reader import Reading


@dataclass(frozen=True)
class FollowUpColumns:
    """What the user says of a clinical table; what is empty is recognised where it can be.

    Attributes
    ----------
    patient : str
        Else ``patient``, ``case`` and other usual names.
    time, event : str
        Follow-up and event status.
    unit : str
        Of the time: days, months or years. Else the end of the column's name.
    event_values, censored_values : tuple of str
        Codes of the event column beside 0, 1, yes, no and the like.
    missing : tuple of str
        Texts that mean missing, in every column.
    match : str
        Rule of `names.MATCHES` by which names are of one patient.
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
