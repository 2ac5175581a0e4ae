"""Texts for Word and Excel, which refuse some characters."""

from __future__ import annotations

import re

_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Replace control characters and halves of characters, which XML cannot hold."""
    return _REFUSED.sub("\ufffd", text)
