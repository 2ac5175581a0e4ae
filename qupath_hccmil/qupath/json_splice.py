"""Changes one value inside a JSON text and leaves every other character unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"

Span = tuple[int, int]


def members(text: str, start: int) -> dict[str, Span]:
    """Find the positions of the values of an object.

    Parameters
    ----------
    text : str
        Valid JSON.
    start : int
        Position of the object's ``{``, or of spaces before it.

    Returns
    -------
    dict of str to (int, int)
        For each key, in order, the start and end (exclusive) of its value.
    """
    return {key: span for key, _, span in _walk(text, start, "{")}


def items(text: str, start: int) -> Iterator[tuple[Any, Span]]:
    """Yield value and position of each item of an array; `start` is the position of its ``[``."""
    return ((value, span) for _, value, span in _walk(text, start, "["))


def _walk(text: str, start: int, opening: str) -> Iterator[tuple[str, Any, Span]]:
    at = _skip(text, start)
    if text[at] != opening:
        raise ValueError(f"{opening} expected at character {at}")
    at = _skip(text, at + 1)
    while text[at] not in "]}":
        key = ""
        if opening == "{":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # after the colon
        value, end = _DECODER.raw_decode(text, at)
        yield key, value, (at, end)
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
