"""How much each patient moves the coefficients of a Cox model."""

from __future__ import annotations

import numpy as np

from qupath_hccmil.survival.statistics.partial_likelihood import RiskSets
from qupath_hccmil.survival.statistics.strata import Strata, risk_sets


def dfbeta(
    time: np.ndarray,
    event: np.ndarray,
    columns: np.ndarray,
    coefficients: np.ndarray,
    entry: np.ndarray | None = None,
    strata: np.ndarray | None = None,
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
    strata : (n,) array, optional
        Each of its values has its own baseline hazard.

    Returns
    -------
    (n, p) float64
    """
    sets = risk_sets(time, event, columns, entry, strata)
    information = sets.moments(coefficients).variances.sum(axis=0)
    return np.asarray(score_residuals(sets, coefficients) @ np.linalg.inv(information))


def score_residuals(sets: RiskSets, beta: np.ndarray) -> np.ndarray:
    """Contribution of each patient to the score, in the order of the rows given, shape (n, p).

    Therneau and Grambsch 2000, Modeling Survival Data, §7.2, with Efron's ties.
    """
    if isinstance(sets, Strata):
        every = np.zeros((sets.patients, len(beta)))
        for layer, rows in zip(sets.parts, sets.rows, strict=True):
            every[rows] = score_residuals(layer, beta)
        return every
    moments = sets.moments(beta)
    x, relative = sets.columns, np.exp(sets.columns @ beta)
    mean = x[sets.dead] - moments.residuals
    hazard = moments.hazards
    whole = np.r_[0.0, np.cumsum(hazard)]
    lifted = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(hazard[:, None] * mean, axis=0)])

    def up_to(time: np.ndarray) -> np.ndarray:
        past = np.searchsorted(sets.times, time, side="right")
        return np.asarray(x * whole[past][:, None] - lifted[past])

    found = -relative[:, None] * up_to(sets.time)
    if sets.entry is not None:
        found += relative[:, None] * up_to(sets.entry)
    # At its own time, the l-th of d tied events is at risk for the others by 1 - l / d only.
    share = sets.fraction * hazard
    start, sizes = sets.first, np.diff(np.r_[sets.first, len(sets.dead)])
    part = np.add.reduceat(share, start)[sets.group]
    part_mean = np.add.reduceat(share[:, None] * mean, start, axis=0)[sets.group]
    average = (np.add.reduceat(mean, start, axis=0) / sizes[:, None])[sets.group]
    dead = x[sets.dead]
    found[sets.dead] += dead - average
    found[sets.dead] += relative[sets.dead, None] * (dead * part[:, None] - part_mean)
    back = np.empty_like(found)
    back[sets.order] = found
    return back
