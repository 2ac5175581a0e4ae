"""How much each patient moves the coefficients of a Cox model."""

from __future__ import annotations

import numpy as np

from qupath_hccmil.survival.statistics.partial_likelihood import RiskSets


def dfbeta(
    time: np.ndarray, event: np.ndarray, columns: np.ndarray, coefficients: np.ndarray
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

    Returns
    -------
    (n, p) float64
    """
    sets = RiskSets(time, event, columns)
    moments = sets.moments(coefficients)
    x = columns - columns.mean(axis=0)
    weight = np.exp(x @ coefficients)[:, None]
    hazards = moments.hazards[:, None]
    means = sets.columns[sets.dead] - moments.residuals
    # Everybody: what is expected up to the end of follow-up.
    before = np.searchsorted(moments.times, time, side="right")
    total = np.vstack([np.zeros(1), np.cumsum(hazards, axis=0)])[before]
    weighted = np.vstack([np.zeros(x.shape[1]), np.cumsum(hazards * means, axis=0)])[before]
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
