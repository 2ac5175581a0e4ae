"""The meaning of codes in an event column, recognised from a list of words or given."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.tables.names import clean
from qupath_hccmil.tables.numbers import WORDS_FOR_MISSING

CENSORED, EVENT, COMPETING = 0, 1, 2
# These do not say which event 1 stands for; the name of the column does.
_BARE = {
    "0": CENSORED, "no": CENSORED, "n": CENSORED, "false": CENSORED, "f": CENSORED,
    "nein": CENSORED, "non": CENSORED, "falsch": CENSORED, "faux": CENSORED,
    "1": EVENT, "yes": EVENT, "y": EVENT, "true": EVENT, "t": EVENT,
    "ja": EVENT, "j": EVENT, "oui": EVENT, "o": EVENT, "wahr": EVENT, "vrai": EVENT,
}  # fmt: skip
_WORDS = {
    **dict.fromkeys(
        (
            "censored", "cens", "alive", "living", "absent", "negative", "free", "event-free",
            "disease-free", "recurrence-free", "relapse-free", "progression-free", "no event",
            "no recurrence", "no relapse", "no progression", "no evidence of disease", "ned",
            "non-recurrent", "not recurred",
            "zensiert", "lebend", "lebt", "am leben", "rezidivfrei", "krankheitsfrei",
            "kein rezidiv", "kein ereignis",
            "censuré", "vivant", "vivante", "en vie", "sans récidive", "pas de récidive",
        ),
        CENSORED,
    ),
    **dict.fromkeys(
        (
            "event", "recurrence", "recurred", "relapse", "relapsed", "recurrent", "progression",
            "progressed", "recurred/progressed", "dead", "died", "death", "deceased", "present",
            "positive",
            "ereignis", "rezidiv", "verstorben", "tot", "gestorben", "progress",
            "événement", "récidive", "rechute", "décédé", "décédée", "décès", "mort",
        ),
        EVENT,
    ),
}  # fmt: skip
_LABELLED = re.compile(r"\d+\s*[:=]\s*(\S.*)")
# Names that suggest the opposite of an event: 1 is then somebody without an event.
_CONTRARY = re.compile(
    r"alive|living|survivor|survived|censor|(event|recurrence|relapse|progression|disease|tumou?r|"
    r"metastas[ie]s)[ _.-]*free|(^|[ _.-])(ned|no|non|without|ohne|kein\w*|sans)([ _.-]|$)|"
    r"lebend|überleb|zensier|(rezidiv|krankheits|ereignis|tumor|progressions)[ _.-]*frei|"
    r"vivant|en[ _.-]vie|survi(e|ant)(?!\w)|survivant|indemne",
    re.IGNORECASE,
)
# "Recurrence-free survival status" is the status of an endpoint and not its opposite.
_OF_ENDPOINT = re.compile(
    r"(surviv\w*|überleben\w*|survie)[ _.-]*(event|status|ereignis|statut)", re.I
)


@dataclass(frozen=True)
class EventCoding:
    """The meaning of each text in the event column, for the report."""

    censored: tuple[str, ...]
    events: tuple[str, ...]
    competing: tuple[str, ...]
    recognised: bool
    missing: tuple[str, ...] = ()

    def describe(self) -> str:
        """Describe the coding in words."""
        parts = [f"{_quoted(self.events)} = event", f"{_quoted(self.censored)} = censored"]
        if self.competing:
            parts.append(f"{_quoted(self.competing)} = competing event")
        if self.missing:
            parts.append(f"{_quoted(self.missing)} = missing")
        how = "recognised from the values" if self.recognised else "as given"
        return f"{', '.join(parts)} ({how})"

    def warnings(self) -> list[str]:
        """Warnings about a coding that may be wrong."""
        if self.events and not self.censored:
            return [
                "Nobody is censored: every patient has an event. Check that the codes of the event "
                "column are given correctly."
            ]
        return []


def code_events(
    column: pd.Series,
    *,
    events: tuple[str, ...] = (),
    censored: tuple[str, ...] = (),
    competing: tuple[str, ...] = (),
) -> tuple[pd.Series, EventCoding]:
    """Code an event column as 0 (censored), 1 (event) and 2 (competing event).

    0/1, yes/no, true/false and words such as "recurrence" or "alive" are recognised in any case, in
    English, German and French, and so is the text after the number in codes such as ``1:DECEASED``.
    1/2 is not recognised, because it means different things to different people. If the user gives
    the meaning of any value, only given values have a meaning. "None", "unknown" and the like are
    missing, never censored.

    Returns
    -------
    codes : Series
        float64, missing if the column has no value.
    coding : EventCoding

    Raises
    ------
    DataError
        A value is neither recognised nor given, or is given twice; or the column has 0/1, yes/no
        or the like, but its name suggests the opposite of an event.
    """
    text = column.map(_plain, na_action="ignore")
    named = _named(events, censored, competing)
    codes: dict[str, int | None] = {}
    for value in sorted(text.dropna().unique()):
        if value in named:
            codes[value] = named[value]
        elif WORDS_FOR_MISSING.fullmatch(value):
            codes[value] = None
        elif not named and (found := recognise_status(value)) is not None:
            codes[value] = found
        else:
            raise DataError(_unknown(column, value, int((text == value).sum()), bool(named)))
    if not named and codes.keys() & _BARE.keys():
        _refuse_contrary(str(column.name), next(v for v in codes if v in _BARE))
    used = {code: tuple(v for v, c in codes.items() if c == code) for code in (0, 1, 2, None)}
    coding = EventCoding(used[0], used[1], used[2], not named, used[None])
    return text.map(codes, na_action="ignore").astype(float), coding


def recognise_status(value: str) -> int | None:
    """Meaning of one text according to the list of words: `CENSORED`, `EVENT`, or None."""
    plain = _plain(value)
    if plain in _BARE:
        return _BARE[plain]
    match = _LABELLED.fullmatch(plain)
    word = re.sub(r"[\s_]+", " ", match[1] if match else plain)
    for form in (word, word.replace(" ", "-"), word.replace("-", " ")):
        if form in _WORDS:
            return _WORDS[form]
    glued = {key.replace("-", "").replace(" ", ""): code for key, code in _WORDS.items()}
    return glued.get(word)


def _named(
    events: tuple[str, ...], censored: tuple[str, ...], competing: tuple[str, ...]
) -> dict[str, int]:
    named: dict[str, int] = {}
    for code, values in ((CENSORED, censored), (EVENT, events), (COMPETING, competing)):
        for value in map(_plain, values):
            if named.setdefault(value, code) != code:
                raise DataError(f"value {value!r} of the event column is given two meanings")
    return named


def _unknown(column: pd.Series, value: str, rows: int, named: bool) -> str:
    why = "is not among the given codes" if named else "is not recognised"
    return (
        f"column {column.name!r}: event code {value!r} {why} ({count_of(rows, 'row')}); for each "
        "value of the column, give --event-value, --censored-value, --competing-value or --missing"
    )


def _refuse_contrary(name: str, value: str) -> None:
    if _CONTRARY.search(name) and not _OF_ENDPOINT.search(name):
        raise DataError(
            f"column {name!r}: its name suggests the opposite of an event, so the meaning of "
            f"{value!r} is unclear; give --event-value and --censored-value"
        )


def _plain(value: object) -> str:
    return clean(str(value)).lower().removesuffix(".0")


def _quoted(values: tuple[str, ...]) -> str:
    return " or ".join(f"“{value}”" for value in values) or "no value"
