"""Names of columns and patients, cleaned and compared by a rule that the user chooses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable

from qupath_hccmil.errors import DataError

UNSEEN = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_BARCODE = re.compile(r"(TCGA-\w{2}-\w{4})(-.*)?", re.IGNORECASE)
_NUMBER = re.compile(r"0*(\d+?)(\.0+)?")


def clean(text: str) -> str:
    """Return text without surrounding blanks and invisible characters, in Unicode form NFC."""
    # Plain ASCII text, as in nearly every cell, has no such characters.
    return (
        text if text.isascii() else unicodedata.normalize("NFC", text.translate(UNSEEN))
    ).strip()


def spelling_key(name: str) -> str:
    """Key that is equal for names that differ only in case, blanks or Unicode form."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", clean(name))).casefold()


def _barcode(name: str) -> str:
    match = _BARCODE.fullmatch(name)
    return match[1].upper() if match else name


def _zeros(name: str) -> str:
    match = _NUMBER.fullmatch(name)
    return match[1] if match else name


MATCHES: dict[str, tuple[Callable[[str], str], str]] = {
    "exact": (lambda name: name, "as written"),
    "case": (lambda name: re.sub(r"\s+", " ", name).casefold(), "ignoring case"),
    "zeros": (_zeros, "ignoring leading zeros and .0"),
    "tcga": (_barcode, "by the patient in a TCGA barcode of a slide or sample"),
}


def match_key(rule: str) -> Callable[[str], str]:
    """Return the function that gives all names of one patient the same key, by a rule."""
    return MATCHES[rule or "exact"][0]


def refuse_two_spellings(names: Iterable[tuple[str, str]], rule: str | None = "") -> None:
    """Refuse patients whose names differ only in case, blanks or Unicode form.

    They are very probably one patient, who would count twice, and whom a split could put on both
    sides.

    Parameters
    ----------
    names : iterable of (str, str)
        Each name as it is written, and where it stands, for the message.
    rule : str or None
        Rule by which names are matched: those that it matches are one patient. None where names are
        never matched.

    Raises
    ------
    DataError
        It names the first two spellings and where they stand.
    """
    key = match_key(rule or "")
    seen: dict[str, tuple[str, str, str]] = {}
    for name, place in dict.fromkeys(names):
        patient = key(clean(name))
        first, written, there = seen.setdefault(spelling_key(patient), (patient, name, place))
        if first != patient:
            raise two_spellings((written, there), (name, place), rule)


def two_spellings(one: tuple[str, str], other: tuple[str, str], rule: str | None = "") -> DataError:
    """Make the error for two spellings of what is probably one patient.

    Parameters
    ----------
    one, other : (str, str)
        The name as it is written, and where it stands.
    rule : str or None
        See :func:`refuse_two_spellings`.
    """
    (first, there), (second, place) = one, other
    ignoring_case = match_key("case")
    would_match = rule is not None and ignoring_case(clean(first)) == ignoring_case(clean(second))
    names = (
        f"{place}: patients {first!r} and {second!r}"
        if place == there
        else f"{place}: patient {second!r}, and {there}: patient {first!r},"
    )
    return DataError(
        f"{names} differ only in case, blanks or Unicode form, and are probably one patient; write "
        f"the name in one way{' (or give --match case)' if would_match else ''}, or give one of "
        "them another name if they are two"
    )


def near_matches(ones: Collection[str], others: Collection[str], rule: str = "") -> str:
    """Say how many more names would match by another rule; empty if none would.

    Parameters
    ----------
    ones, others : collection of str
        Names of patients in two tables, as they are written.
    rule : str
        Rule by which they are matched now.
    """
    key = match_key(rule)
    now = len({key(name) for name in ones} & {key(name) for name in others})
    told = []
    for name, (other, words) in MATCHES.items():
        count = len({other(one) for one in ones} & {other(one) for one in others})
        if count > now:
            told.append(f"{count} {words} (--match {name})")
    are = "patient is" if now == 1 else "patients are"
    return f"{now} {are} in both tables; there would be {' or '.join(told)}" if told else ""
