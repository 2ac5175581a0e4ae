"""Numbers as people write them, with decimal point or comma and thousands separators."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from qupath_hccmil.plain_words import count_of

POINT, COMMA = ".", ","
_SPACES = " \u00a0\u2009\u202f"
# One pattern for each way of writing; a name with "or" in it has two readings.
_GROUPS = r"[+-]?[1-9]\d{0,2}"
_WAYS = {
    "plain": re.compile(r"[+-]?\d+(e[+-]?\d+)?"),
    "thousands point": re.compile(rf"{_GROUPS}(\.\d{{3}}){{2,}}|{_GROUPS}(\.\d{{3}})+,\d*"),
    "thousands comma": re.compile(rf"{_GROUPS}(,\d{{3}}){{2,}}|{_GROUPS}(,\d{{3}})+\.\d*"),
    "point or thousands": re.compile(rf"{_GROUPS}\.\d{{3}}"),
    "comma or thousands": re.compile(rf"{_GROUPS},\d{{3}}"),
    "point": re.compile(r"[+-]?(\d+\.\d*|\.\d+)(e[+-]?\d+)?"),
    "comma": re.compile(r"[+-]?(\d+,\d*|,\d+)(e[+-]?\d+)?"),
    "thousands mark": re.compile(rf"[+-]?[1-9]\d{{0,2}}(['’{_SPACES}]\d{{3}})+([.,]\d*)?"),
}
_SAYS = {
    "point": POINT, "thousands comma": POINT, "comma": COMMA, "thousands point": COMMA,
}  # fmt: skip
_UNSURE = ("point or thousands", "comma or thousands")
_LIMIT = re.compile(r"[<>≤≥]=?\s*[+-]?\d.*")
_WITH_UNIT = re.compile(r"([+-]?\d[\d.,]*)\s*([a-zµ%°/][\w%°/²³.]*( \w+)?)")
# Words that are often written for a missing value; they are reported, not assumed to be missing.
WORDS_FOR_MISSING = re.compile(
    r"\[.*\]|#?n/?a|nan|null|none|unknown|unk|not (available|evaluated|reported|applicable|known)|"
    r"missing|[?.\-–—/]+|gx|tx|rx|nx|mx|nd|n\.d\.|k\.?a\.?|unbekannt|fehlt|inconnu",
    re.IGNORECASE,
)
CODES_FOR_MISSING = (-9999.0, -999.0, -99.0, -9.0, 999.0, 9999.0, 99999.0, 999999.0)


@dataclass(frozen=True)
class NumberStyle:
    """How numbers are written in a table.

    Attributes
    ----------
    decimal : str
        ``"."`` or ``","``; empty if the columns of the table disagree or do not show it.
    reason : str
        Where this comes from, in words.
    """

    decimal: str
    reason: str


def way(text: str) -> str | None:
    """How a number is written: a name of `_WAYS`, or None for text that is not a number."""
    low = text.lower()
    return next((name for name, pattern in _WAYS.items() if pattern.fullmatch(low)), None)


def number_style(columns: Iterable[pd.Series], delimiter: str, told: str = "") -> NumberStyle:
    """Decide the decimal mark of a table from all its columns.

    Only columns of numbers are considered, which may also have words for missing values and limits
    ("<5").

    Parameters
    ----------
    columns : iterable of Series
        Columns of text.
    delimiter : str
        Delimiter of the file: a table that is separated by commas has no commas in numbers, unless
        a column shows it.
    told : str
        Decimal mark given by the user; empty if none.
    """
    if told:
        return NumberStyle(told, "as given by --decimal")
    shown: dict[str, str] = {}
    unsure = False
    for column in columns:
        ways = column_ways(column)
        for name in ways:
            if name in _SAYS:
                shown.setdefault(_SAYS[name], str(column.name))
        unsure = unsure or bool(ways & set(_UNSURE))
    if len(shown) == 1:
        mark, name = next(iter(shown.items()))
        return NumberStyle(mark, f"as in column {name!r}")
    if len(shown) == 2:
        return NumberStyle("", f"{shown[POINT]!r} has points and {shown[COMMA]!r} commas")
    if delimiter == COMMA or not unsure:
        return NumberStyle(POINT, "as no column says otherwise")
    return NumberStyle("", "no column shows it")


def column_ways(column: pd.Series) -> set[str]:
    """Ways in which the numbers of a column are written; empty if it has other values too."""
    found = set()
    for value in column.dropna().unique():
        name = way(value)
        if name is not None:
            found.add(name)
        elif not (WORDS_FOR_MISSING.fullmatch(value) or _LIMIT.fullmatch(value)):
            return set()
    return found


def decimal_of(column: pd.Series, style: NumberStyle) -> str:
    """Decimal mark of one column, preferably from its own values; empty if it is ambiguous."""
    ways = column_ways(column)
    own = {_SAYS[name] for name in ways if name in _SAYS}
    if len(own) == 1:
        return own.pop()
    if len(own) == 2:
        return ""
    return style.decimal or ("" if ways & set(_UNSURE) else POINT)


def as_plain(text: str, decimal: str) -> str:
    """Write a number with a decimal point and without thousands; other text is unchanged.

    ``decimal`` is used only for numbers that have two readings.
    """
    name = way(text)
    if name is None or name == "plain":
        return text
    found = re.sub(rf"['’{_SPACES}]", "", text)
    mark = _SAYS.get(name, decimal or (COMMA if COMMA in found else POINT))
    thousands = COMMA if mark == POINT else POINT
    return found.replace(thousands, "").replace(mark, POINT)


def as_float(text: str) -> float:
    """Number that a plainly written text is; NaN if it is none."""
    if "_" in text:  # Python's float takes 1_000 for a number, people do not write one so
        return float("nan")
    try:
        return float(text)
    except ValueError:
        return float("nan")


def has_two_readings(text: str) -> bool:
    """Whether a number has different values with a decimal point and with a decimal comma."""
    return way(text) in _UNSURE


def what_is_wrong(text: str, rows: int) -> str:
    """Say why a text is not a number, and what to do."""
    where = count_of(rows, "row")
    if _LIMIT.fullmatch(text):
        return (
            f"{text!r} is a limit, not a number ({where}); write a value for it, or give "
            f"--missing {text!r}"
        )
    if match := _WITH_UNIT.fullmatch(text.lower()):
        return f"{text!r} has its unit {match[2]!r} in the cell ({where}); keep only the number"
    return (
        f"{text!r} is not a number ({where}); give --missing {text!r} if it means a missing value"
    )


def codes_for_missing(values: pd.Series) -> dict[float, int]:
    """Find numbers that look like codes for a missing value, and how often each occurs.

    A code is one of the usual numbers (999, −9, …) that is repeated, or that is far from all other
    values.
    """
    found = {}
    present = values.dropna()
    for code in CODES_FOR_MISSING:
        times = int((present == code).sum())
        rest = present[~present.isin(CODES_FOR_MISSING)]
        if not times or rest.empty:
            continue
        apart = rest.min() >= 0 if code < 0 else code > 3 * rest.abs().max()
        if apart or (code > 0 and times > 1):
            found[code] = times
    return found
