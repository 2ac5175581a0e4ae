"""Text files that users bring: their encoding, and the lines before the table."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from qupath_hccmil.errors import DataError
from qupath_hccmil.plain_words import count_of

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_LOOKED_AT = 500
_SEP = re.compile(r"^\ufeff?\"?sep=(.)\"?\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Rows:
    """Cells of a text table, header first, and lines that say how it was read."""

    cells: list[list[str]]
    delimiter: str
    said: tuple[str, ...]


def decode(data: bytes, path: Path) -> tuple[str, str]:
    """Decode a file: UTF-8 or UTF-16 by its byte order mark, then UTF-8, then Windows-1252.

    Returns
    -------
    text, encoding : str

    Raises
    ------
    DataError
        The text is in none of these encodings.
    """
    for mark, codec, name in _BOMS:
        if data.startswith(mark):
            return _decoded(data, codec, path), name
    if len(data) >= 4 and b"\0" in data[:200]:
        # Without a byte order mark, every second byte of Western text in UTF-16 is 0.
        codec = "utf-16-le" if data[1:200:2].count(0) > data[0:200:2].count(0) else "utf-16-be"
        return _decoded(data, codec, path), "UTF-16"
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        return _decoded(data, "cp1252", path), "Windows-1252"


def text_rows(path: Path, delimiter: str = "") -> Rows:
    """Read the cells of a text table.

    A line ``sep=;``, comment lines (``#``), title lines before the header and lines without a value
    are skipped, and this is reported.

    Parameters
    ----------
    path : Path
    delimiter : str
        Delimiter given by the user; by default detected from all lines.

    Raises
    ------
    DataError
        The encoding is not known, two delimiters fit, or a line has more cells than the header.
    """
    text, encoding = decode(path.read_bytes(), path)
    said = [] if encoding == "UTF-8" else [f"read as {encoding}"]
    first, _, rest = text.partition("\n")
    if match := _SEP.match(first.rstrip("\r")):
        delimiter = delimiter or match[1]
        text = rest
        said.append("the line sep= gives the delimiter")
    text, comments = _without_comments(text)
    if comments:
        said.append(f"{count_of(comments, 'comment line')} (#) left out")
    delimiter = delimiter or _delimiter(text, path)
    cells, skipped = _cells(text, delimiter, path)
    if skipped:
        said.append(f"{count_of(skipped, 'title line')} before the header left out")
    if delimiter != ",":
        said.append(f"separated by {DELIMITERS.get(delimiter, repr(delimiter))}")
    return Rows(cells, delimiter, tuple(said))


def below_titles(rows: list[list[str]]) -> tuple[list[list[str]], int]:
    """Skip title rows: rows with at most one value before a header with two or more.

    Returns
    -------
    rows : list of list of str
        Header first, without empty rows.
    skipped : int
        Number of title rows that were skipped, not counting empty rows.
    """
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    if max(filled, default=0) < 2:
        return rows, 0
    start = next(k for k, count in enumerate(filled) if count > 1)
    return rows[start:], start


def _decoded(data: bytes, codec: str, path: Path) -> str:
    try:
        return data.decode(codec).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: the text is not UTF-8, UTF-16 or Windows-1252 (byte {error.start}); save it "
            "as CSV UTF-8"
        ) from error


def _without_comments(text: str) -> tuple[str, int]:
    lines = text.splitlines(keepends=True)
    count = 0
    while count < len(lines) and lines[count].lstrip('"').startswith("#"):
        count += 1
    # A header that itself begins with # is directly above the rows.
    return ("".join(lines[count:]), count) if count < len(lines) - 1 else (text, 0)


def _delimiter(text: str, path: Path) -> str:
    """Find the delimiter that splits all lines into equally many cells; refuses if two do."""
    head = "".join(text.splitlines(keepends=True)[:_LOOKED_AT])
    shares: dict[str, tuple[float, int]] = {}
    for mark in DELIMITERS:
        if mark not in head:
            continue
        try:
            found = [
                len(row)
                for row in csv.reader(io.StringIO(head, newline=None), delimiter=mark)
                if row
            ]
        except csv.Error:
            continue
        wide = [count for count in found if count > 1]
        if wide:
            count, times = Counter(wide).most_common(1)[0]
            shares[mark] = times / len(found), count
    if not shares:
        return ","
    order = sorted(shares, key=lambda mark: shares[mark], reverse=True)
    best = [mark for mark in order if shares[mark][0] > 0.999]
    if len(best) > 1:
        names = " or ".join(DELIMITERS[mark] for mark in best)
        raise DataError(f"{path}: may be separated by {names}; give --delimiter")
    return order[0]


def _cells(text: str, delimiter: str, path: Path) -> tuple[list[list[str]], int]:
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        rows.extend(reader)
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num} of the table: {error}") from error
    rows, skipped = below_titles(rows)
    for number, row in enumerate(rows[1:], start=2):
        extra = row[len(rows[0]) :]
        if any(cell.strip() for cell in extra):
            raise DataError(
                f"{path}: row {number} has {len(row)} cells, but the header has {len(rows[0])}; "
                "quote cells that contain the delimiter"
            )
    return rows, skipped
