"""JSON from outside: whatever is in it, it is a value or one kind of error."""

from __future__ import annotations

import json
from typing import Any

# slides and counts are far below; more would not fit QuPath's own fields
_LARGEST = (1 << 31) - 1


def parse_json(content: bytes | str) -> Any:
    """Return what JSON says.

    Raises
    ------
    ValueError
        It is no JSON, no UTF-8, nested too deep, or has a number of too many digits.
    """
    try:
        return json.loads(content.decode("utf-8-sig") if isinstance(content, bytes) else content)
    except RecursionError:
        raise ValueError("nested too deep") from None


def sound_text(value: Any) -> str:
    """Return the text of a value; half a surrogate pair becomes a replacement character.

    JSON can hold one, as an escape, and no file or screen can.
    """
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def bounded_int(value: Any) -> int:
    """Return a whole number of 32 bits.

    Raises
    ------
    ValueError
        It is none.
    TypeError
        It is no number at all.
    """
    try:
        number = int(value)
    except OverflowError:
        raise ValueError("a number is infinite") from None
    if abs(number) > _LARGEST:
        raise ValueError("a number does not fit into 32 bits")
    return number
