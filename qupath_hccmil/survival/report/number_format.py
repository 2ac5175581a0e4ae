"""The format of all numbers in the report."""

from __future__ import annotations

import math

DASH = "–"
NONE = "—"
NOT_REACHED = "NR"


def number(value: float, digits: int = 2) -> str:
    """Write a number with fixed digits; a dash if it is absent, ∞ if infinite."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.{digits}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def significant(value: float, digits: int = 3) -> str:
    """Write a number with significant digits."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{value:.{digits}g}".replace("-", "−")


def whole(value: float) -> str:
    """Write a count."""
    return NONE if value is None or math.isnan(value) else f"{int(value):,}"


def percent(value: float, digits: int = 1) -> str:
    """Write a share as a percentage."""
    return NONE if math.isnan(value) else f"{100 * value:.{digits}f} %"


def span(low: float, high: float, digits: int = 2) -> str:
    """Write an interval."""
    if math.isnan(low) and math.isnan(high):
        return NONE
    return f"{number(low, digits)} to {number(high, digits)}"


def with_span(value: float, low: float, high: float, digits: int = 2) -> str:
    """Write an estimate with its interval, if there is one."""
    told = number(value, digits)
    if math.isnan(value) or (math.isnan(low) and math.isnan(high)):
        return told
    return f"{told} ({span(low, high, digits)})"


def time_span(value: float, low: float, high: float) -> str:
    """Write a median time with its interval; NR if the curve, or its limit, does not reach it."""
    told = with_span(value, low, high)
    return told.replace("∞", NOT_REACHED)


def percent_span(value: float, low: float, high: float) -> str:
    """Write a share with its interval."""
    if math.isnan(value):
        return NONE
    told = f"{100 * value:.1f} %"
    if math.isnan(low) or math.isnan(high):
        return told
    return f"{told} ({100 * low:.1f} to {100 * high:.1f})"


def moment(time: float, unit: str) -> str:
    """Write a time with its unit: 1 year, 3 years."""
    return f"{time:g} {unit.removesuffix('s') if time == 1 else unit}"


def p_value(p: float) -> str:
    """Write a p-value, never as 0 and never with too many digits."""
    if math.isnan(p):
        return NONE
    if p < 0.0001:
        return "<\u00a00.0001"
    if p < 0.001:
        return f"{p:.4f}"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
