"""Numbers with their nouns, for messages."""

from __future__ import annotations


def count_of(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 image`` or ``2 images``.

    Parameters
    ----------
    number : int
    noun : str
        Of one.
    plural : str
        Of several, where it does not just end in s.
    """
    return f"{number:d} {noun if number == 1 else plural or noun + 's'}"
