"""Protects text in CSV files from being run as a formula by a spreadsheet.

A spreadsheet runs a cell that begins like a formula, and names may come from anyone. An apostrophe
in front makes the cell text, in Excel and LibreOffice. Text that already has apostrophes before
such a beginning gets one more, so that reading removes exactly one and every text is restored.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def guarded(text: str) -> str:
    """Return text for a CSV cell.

    Examples
    --------
    >>> guarded("=A1"), guarded("'-3"), guarded("it's")
    ("'=A1", "''-3", "it's")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """Return the text of a CSV cell as it was before :func:`guarded`.

    Examples
    --------
    >>> unguarded("'=A1"), unguarded("-3"), unguarded("'tis")
    ('=A1', '-3', "'tis")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
