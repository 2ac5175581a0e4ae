"""Text that a spreadsheet takes for text: guarded when it is written, as it was when it is read.

A spreadsheet runs a cell that begins like a formula, and a name may come from anyone. An apostrophe
in front makes it text, in Excel and LibreOffice. What has apostrophes before such a beginning gets
one more, so that reading takes exactly one away and every text comes back as it was.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def guarded(text: str) -> str:
    """Text for a cell of CSV.

    Examples
    --------
    >>> guarded("=A1"), guarded("'-3"), guarded("it's")
    ("'=A1", "''-3", "it's")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """Text of a cell of CSV, as it was before :func:`guarded`.

    Examples
    --------
    >>> unguarded("'=A1"), unguarded("-3"), unguarded("'tis")
    ('=A1', '-3', "'tis")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
