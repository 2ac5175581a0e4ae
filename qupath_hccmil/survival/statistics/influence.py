"""How much each patient moves the coefficients of a Cox model."""

from __future__ import annotations

import numpy as np

from qupath_hccmil.survival.statistics.partial_likelihood import RiskSets


def dfbeta(
    time: np.ndarray,
    event: np.ndarray,
    columns: np.ndarray,
    coefficients: np.ndarray,
    entry: np.ndarray | None = None,
) -> np.ndarray:
    """Approximate change of the coefficients by each patient (Cain and Lange 1984).

    The score residuals, with ties by Efron, times the inverse information, as
    ``residuals(coxph(…), type = "dfbeta")`` of R. A patient with a positive value makes the
    coefficient larger.

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
    columns : (n, p) float64
    coefficients : (p,) float64
        At the maximum of the likelihood.
    entry : (n,) float64, optional
        Time from which each patient is at risk.

    Returns
    -------
    (n, p) float64
    """
    sets = RiskSets(time, event, columns, entry)
    moments = sets.moments(coefficients)
    x = columns - columns.mean(axis=0)
    weight = np.exp(x @ coefficients)[:, None]
    hazards = moments.hazards[:, None]
    means = sets.columns[sets.dead] - moments.residuals
    # Everybody: what is expected from entry to the end of follow-up.
    summed = [np.cumsum(part, axis=0) for part in (hazards, hazards * means)]
    until = np.searchsorted(moments.times, time, side="right")
    since = np.zeros_like(until)
    if entry is not None:
        since = np.searchsorted(moments.times, entry, side="right")
    total, weighted = (
        padded[until] - padded[since]
        for padded in (np.vstack([np.zeros_like(part[:1]), part]) for part in summed)
    )
    residuals = -weight * (x * total - weighted)
    # Those with an event: what is observed. Of the tied, each is in only a part of the risk sets.
    share = sets.fraction[:, None] * hazards
    sums = [
        np.add.reduceat(part, sets.first, axis=0)
        for part in (np.ones_like(hazards), means, share, share * means)
    ]
    own = np.searchsorted(moments.times[sets.first], time[event])
    count, mean, left_out, left_out_mean = (part[own] for part in sums)
    residuals[event] += x[event] - mean / count
    residuals[event] += weight[event] * (x[event] * left_out - left_out_mean)
    return np.asarray(residuals @ np.linalg.inv(moments.variances.sum(axis=0)))
