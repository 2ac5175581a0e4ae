"""What a cohort with so many events can show, before any model is trained."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import optimize, stats

from qupath_hccmil.method.concordance import concordance

FEW_EVENTS = 100
"""With fewer, a validation is imprecise (Vergouwe et al. 2005; Collins, Ogundimu, Altman 2016)."""
TRUE = (0.55, 0.60, 0.65, 0.70, 0.75)
POWER = 0.8
LEVEL = 0.05
_POINTS = 64


def what_can_be_shown(
    time: np.ndarray, event: np.ndarray, *, draws: int = 300, seed: int = 0
) -> pd.DataFrame:
    """What C-index such a cohort would find for a score with a known one.

    Scores with a normal distribution are drawn for cohorts with as many patients and events. The
    hazard ratio per SD follows from the C-index under proportional hazards without censoring. The
    events needed to tell the score from chance are those of Hsieh and Lavori 2000 (two-sided 5 %,
    power 80 %).

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
    draws : int
        Cohorts that are drawn for each C-index.
    seed : int

    Returns
    -------
    DataFrame
        ``c_index, hazard_ratio, events_needed, enough, low, high, power``: 95 % of such cohorts
        would find a C-index between ``low`` and ``high``; ``power`` is the chance that their
        95 % interval excludes 0.5.
    """
    n, events = len(time), int(np.sum(event))
    rows = []
    for place, c_index in enumerate(TRUE):
        coefficient = coefficient_of(c_index)
        needed = _events_needed(coefficient)
        found = _drawn(n, events, coefficient, draws, seed + place)
        low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (np.nan, np.nan)
        chance = stats.norm.cdf(abs(coefficient) * np.sqrt(events) - stats.norm.ppf(1 - LEVEL / 2))
        rows.append(
            (c_index, float(np.exp(coefficient)), needed, events >= needed, low, high, chance)
        )
    names = ["c_index", "hazard_ratio", "events_needed", "enough", "low", "high", "power"]
    return pd.DataFrame(rows, columns=names)


def smallest_shown(events: int) -> float:
    """Smallest C-index that so many events tell from 0.5 with a power of 80 %; NaN without."""
    if events < 1:
        return float("nan")
    z = stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER)
    return concordance_of(float(z / np.sqrt(events)))


def concordance_of(coefficient: float) -> float:
    """C-index of a standard normal score with this log hazard ratio per SD, without censoring.

    Of two patients, the one with the higher score by ``d`` has the earlier event with probability
    ``sigmoid(coefficient d)``, and ``d`` is half-normal with variance 2.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_POINTS)
    gap = np.abs(nodes) * np.sqrt(2.0)
    return float(weights @ (1 / (1 + np.exp(-coefficient * gap))) / weights.sum())


@lru_cache(maxsize=32)
def coefficient_of(c_index: float) -> float:
    """Log hazard ratio per SD of a score with this C-index; the inverse of `concordance_of`."""
    return float(optimize.brentq(lambda b: concordance_of(b) - c_index, 0.0, 20.0))


def _events_needed(coefficient: float) -> int:
    z = stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER)
    return int(np.ceil((z / coefficient) ** 2))


def _drawn(n: int, events: int, coefficient: float, draws: int, seed: int) -> np.ndarray:
    """C-index in cohorts of the same size, with about as many events."""
    rng = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(draws if events else 0):
        score = rng.normal(size=n)
        waits = rng.exponential(np.exp(-coefficient * score))
        ends = rng.exponential(size=n)
        # The follow-up is scaled so that the expected share of events is that of the cohort.
        ratio = np.sort(waits / ends)
        scale = ratio[min(events, n) - 1]
        time = np.minimum(waits, ends * scale)
        value = concordance(time, waits <= ends * scale, score)
        if np.isfinite(value):
            found.append(value)
    return np.array(found)
