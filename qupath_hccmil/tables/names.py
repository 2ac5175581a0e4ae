"""Names of columns and patients, cleaned and compared by a rule that the user chooses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection

UNSEEN = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_BARCODE = re.compile(r"(TCGA-\w{2}-\w{4})(-.*)?", re.IGNORECASE)
_NUMBER = re.compile(r"0*(\d+?)(\.0+)?")


def clean(text: str) -> str:
    """Return text without surrounding blanks and invisible characters, in Unicode form NFC."""
    # Plain ASCII text, as in nearly every cell, has no such characters.
    return (
        text if text.isascii() else unicodedata.normalize("NFC", text.translate(UNSEEN))
    ).strip()


def column_key(name: str) -> str:
    """Key that is equal for column names that differ only in case, blanks or Unicode form."""
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
