"""How an interval is named, in tables, figures and sentences: by the level that was asked for."""

from __future__ import annotations


def level(confidence: float) -> str:
    """Write a confidence level: 95 %, 97.5 %.

    Parameters
    ----------
    confidence : float
        In [0.5, 1).
    """
    return f"{round(100 * confidence, 10):.12g} %"


def interval(confidence: float) -> str:
    """Name an interval by its level: 95 % interval."""
    return f"{level(confidence)} interval"
