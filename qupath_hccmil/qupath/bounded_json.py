"""JSON from outside, parsed to a value or refused with one kind of error."""

from __future__ import annotations

import json
from typing import Any

# Slides and counts are far smaller; larger numbers would not fit into QuPath's own fields.
_LARGEST = (1 << 31) - 1


def parse_json(content: bytes | str) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        The content is not JSON or not UTF-8, is nested too deep, or has a number with too many
        digits.
    """
    try:
        return json.loads(content.decode("utf-8-sig") if isinstance(content, bytes) else content)
    except RecursionError:
        raise ValueError("nested too deep") from None


def sound_text(value: Any) -> str:
    """Return the text of a value; half a surrogate pair becomes a replacement character.

    JSON can have half a surrogate pair as an escape, but no file or screen can show it.
    """
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def bounded_int(value: Any) -> int:
    """Return a value as a 32-bit integer.

    Raises
    ------
    ValueError
        The value does not fit into 32 bits.
    TypeError
        The value is not a number.
    """
    try:
        number = int(value)
    except OverflowError:
        raise ValueError("a number is infinite") from None
    if abs(number) > _LARGEST:
        raise ValueError("a number does not fit into 32 bits")
    return number
