"""Bootstrap samples of patients or slides, and percentile intervals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qupath_hccmil.errors import DataError


def check_repeats(repeats: int) -> None:
    """Refuse a number of bootstrap samples that gives no interval.

    One sample has no spread: its interval would have a width of 0.

    Raises
    ------
    DataError
    """
    if repeats < 0 or repeats == 1:
        raise DataError(
            f"bootstrap samples must be 0 (no intervals), or 2 or more, not {repeats} (--bootstrap)"
        )


def samples(event: np.ndarray, repeats: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the row numbers of bootstrap samples of patients, stratified by event.

    Stratification ensures that no sample is without events (Davison and Hinkley 1997, §3.8).

    Parameters
    ----------
    event : (n,) bool
    repeats : int
    seed : int
    """
    generator = np.random.default_rng(seed)
    parts = [np.flatnonzero(event), np.flatnonzero(~event)]
    for _ in range(repeats):
        drawn = [generator.choice(part, len(part)) for part in parts if len(part)]
        yield np.concatenate(drawn)


def unit_counts(units: int, repeats: int, seed: int) -> np.ndarray:
    """How often each unit is drawn into each bootstrap sample.

    Whole units (slides, patients) are drawn, so that what is alike within one is not taken for
    independent (Davison and Hinkley 1997, §3.8).

    Parameters
    ----------
    units : int
        At least one.
    repeats : int
    seed : int

    Returns
    -------
    (repeats, units) int64
        Each row sums to `units`.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(units, np.full(units, 1 / units), size=repeats)


def percentile_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Percentile interval of bootstrap values; NaN if there are none."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
