"""Units of follow-up time: found in the name of a column or given, and converted."""

from __future__ import annotations

import re

import pandas as pd

from qupath_hccmil.errors import DataError

DAYS = {"days": 1.0, "months": 365.25 / 12, "years": 365.25}
LONGEST_YEARS = 100.0
_WORDS = {
    "days": "d days day tage tag tagen jours jour",
    "months": "m mo mos month months mon monat monate monaten mois",
    "years": "y yr yrs year years jahr jahre jahren a an ans année années",
}
_BY_WORD = {word: unit for unit, words in _WORDS.items() for word in words.split()}
_SINGLE = {"d", "m", "y", "a"}  # letters that are units only between brackets


def unit_in_name(column: str) -> str:
    """Find the unit in the name of a column, in brackets or as its last word; else empty.

    ``RFS (months)``, ``rfs_days``, ``OS.months``, ``Zeit [Monate]``, ``suivi en mois``.
    """
    low = column.lower()
    for inside in re.findall(r"[(\[{]\s*(?:in |en )?([^)\]}]*?)\.?\s*[)\]}]", low):
        if inside in _BY_WORD:
            return _BY_WORD[inside]
    words = re.findall(r"[^\W\d_]+", low)
    last = words[-1] if words else ""
    return "" if last in _SINGLE else _BY_WORD.get(last, "")


def recognise_unit(column: str, told: str = "") -> str:
    """Find the unit of a column of times, from the user or from the column's name.

    Raises
    ------
    DataError
        Neither gives it, they disagree, or the unit is unknown.
    """
    found = unit_in_name(column)
    if told and told not in DAYS:
        raise DataError(f"unit {told!r} is not one of {', '.join(DAYS)}")
    if told and found and told != found:
        raise DataError(
            f"column {column!r}: its name says {found}, but the given unit is {told}; rename the "
            "column or correct the unit"
        )
    if not (told or found):
        raise DataError(
            f"column {column!r}: its unit is not known; give --unit days, months or years"
        )
    return told or found


def in_unit(times: pd.Series, unit: str, wanted: str) -> pd.Series:
    """Convert times from one unit of `DAYS` to another.

    Times that are already in the wanted unit are unchanged, so that equal times stay equal numbers,
    and a recurrence at exactly 1.6 years is not taken for an earlier one.
    """
    return times if unit == wanted else times * DAYS[unit] / DAYS[wanted]


def refuse_implausible(times: pd.Series, unit: str, column: str, path: object) -> None:
    """Refuse a follow-up of more than 100 years: a wrong unit, or a code for a missing value."""
    longest = times.max()
    if longest * DAYS[unit] > LONGEST_YEARS * DAYS["years"]:
        raise DataError(
            f"{path}: column {column!r} has a follow-up of {longest:g} {unit}; correct the unit, "
            f"or give --missing {longest:g} if it means a missing value"
        )
