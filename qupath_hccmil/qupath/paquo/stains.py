"""Keeps stain vectors exactly as they are in the user's file.

QuPath normalises them again each time it saves, and 0.5 keeps eight digits. The result is close,
but a newer QuPath then takes them for changed stains and adds a step to the image's history. They
are one text near the start of a data file, and nothing after it depends on it.
"""

from __future__ import annotations

import re
from pathlib import Path

# the class, its version, and the text with its length
_STAINS = re.compile(
    rb"qupath\.lib\.color\.ColorDeconvolutionStains.{11}xpw\x04\x00\x00\x00\x01t(..)", re.DOTALL
)
# header, server and locale are before it, the objects after
_HEAD = 1 << 20


def keep_stains(before: Path, after: Path) -> None:
    """Copy the stains of a data file into another one that QuPath made from it.

    Parameters
    ----------
    before : Path
        The user's file.
    after : Path
        The file that QuPath's classes wrote; changed only if the texts differ.
    """
    with before.open("rb") as file:
        wanted = _place(file.read(_HEAD))
    with after.open("rb") as file:
        head = file.read(_HEAD)
    found = _place(head)
    if wanted is None or found is None or wanted[1] == found[1]:
        return
    at, text = found
    content = after.read_bytes()
    after.write_bytes(content[:at] + wanted[1] + content[at + len(text) :])


def _place(head: bytes) -> tuple[int, bytes] | None:
    """Position of the text, and the text with its length; None if there are no stains."""
    match = _STAINS.search(head)
    if match is None:
        return None
    at = match.start(1)
    return at, head[at : at + 2 + int.from_bytes(match[1], "big")]
