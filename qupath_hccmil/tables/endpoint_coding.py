"""What the columns of an endpoint mean: units of time and codes of events, recognised and told."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from qupath_hccmil.errors import DataError

DAYS = {"days": 1.0, "months": 365.25 / 12, "years": 365.25}
_UNIT = re.compile(r"(?:^|[^a-z])(days?|months?|mos?|years?|yrs?)$")
_SHORT = {"d": "days", "m": "months", "y": "years"}

CENSORED, EVENT, COMPETING = 0, 1, 2
CENSORED_WORDS = frozenset(
    {
        "0",
        "no",
        "n",
        "false",
        "f",
        "censored",
        "cens",
        "alive",
        "living",
        "none",
        "absent",
        "negative",
        "free",
        "disease-free",
        "diseasefree",
        "recurrence-free",
        "no_recurrence",
        "non-recurrent",
        "0:living",
        "0:censored",
        "0:diseasefree",
    }
)
EVENT_WORDS = frozenset(
    {
        "1",
        "yes",
        "y",
        "true",
        "t",
        "event",
        "recurrence",
        "recurred",
        "relapse",
        "relapsed",
        "recurrent",
        "progression",
        "progressed",
        "dead",
        "died",
        "death",
        "deceased",
        "present",
        "positive",
        "recurred/progressed",
        "1:deceased",
        "1:progression",
        "1:recurred/progressed",
        "1:event",
    }
)


@dataclass(frozen=True)
class EventCoding:
    """Which texts of the event column mean what, for the report to echo."""

    censored: tuple[str, ...]
    events: tuple[str, ...]
    competing: tuple[str, ...]
    recognised: bool

    def describe(self) -> str:
        """Say it in words."""
        parts = [f"{_quoted(self.events)} = event", f"{_quoted(self.censored)} = censored"]
        if self.competing:
            parts.append(f"{_quoted(self.competing)} = competing event")
        how = "recognised from the values" if self.recognised else "as told"
        return f"{', '.join(parts)} ({how})"


def recognise_unit(column: str, told: str = "") -> str:
    """Find the unit of a column of times: what the user says, or the end of its name.

    Raises
    ------
    DataError
        Neither says it, they disagree, or the unit is unknown.
    """
    found = ""
    match = _UNIT.search(column.lower())
    if match:
        found = _SHORT[match.group(1)[0]]
    if told and told not in DAYS:
        raise DataError(f"unit {told!r} is none of {', '.join(DAYS)}")
    if told and found and told != found:
        raise DataError(
            f"column {column!r} says {found} by its name and the unit given is {told}: rename the "
            "column or correct the unit"
        )
    if not (told or found):
        raise DataError(f"column {column!r}: in which unit? Say --unit days, months or years")
    return told or found


def in_unit(times: pd.Series, unit: str, wanted: str) -> pd.Series:
    """Convert times from one unit of `DAYS` to another.

    In one unit nothing is computed, so that equal times stay equal numbers, and a recurrence at
    exactly 1.6 years isn't one before.
    """
    return times if unit == wanted else times * DAYS[unit] / DAYS[wanted]


def code_events(
    column: pd.Series,
    *,
    events: tuple[str, ...] = (),
    censored: tuple[str, ...] = (),
    competing: tuple[str, ...] = (),
) -> tuple[pd.Series, EventCoding]:
    """Code an event column as 0 (censored), 1 (event) and 2 (competing event).

    0/1, yes/no, true/false and words such as "recurrence" or "alive" are recognised in any case.
    1/2 is not: it means different things to different people. Values named by the user go first.

    Returns
    -------
    codes : Series
        float64, missing where the column has no value.
    coding : EventCoding

    Raises
    ------
    DataError
        A value that is neither recognised nor named, or that is named twice.
    """
    text = column.map(_plain, na_action="ignore")
    told = {
        **{_plain(value): CENSORED for value in censored},
        **{_plain(value): EVENT for value in events},
        **{_plain(value): COMPETING for value in competing},
    }
    if len(told) < len({*map(_plain, censored)}) + len({*map(_plain, events)}) + len(
        {*map(_plain, competing)}
    ):
        raise DataError("a value of the event column is named for two meanings")
    codes: dict[str, int] = {}
    for value in sorted(text.dropna().unique()):
        code = told.get(value, _recognise(value))
        if code is None:
            raise DataError(
                f"column {column.name!r}: event code {value!r} is not recognised "
                f"({int((text == value).sum())} row(s)); say --event-value, --censored-value, "
                f"--competing-value or --missing {value!r}"
            )
        codes[value] = code
    used = {code: tuple(v for v, c in codes.items() if c == code) for code in (0, 1, 2)}
    coding = EventCoding(used[0], used[1], used[2], not told)
    return text.map(codes, na_action="ignore").astype(float), coding


def _recognise(value: str) -> int | None:
    if value in CENSORED_WORDS:
        return CENSORED
    return EVENT if value in EVENT_WORDS else None


def _plain(value: object) -> str:
    return str(value).strip().lower().removesuffix(".0")


def _quoted(values: tuple[str, ...]) -> str:
    return " or ".join(f"“{value}”" for value in values) or "no value"
