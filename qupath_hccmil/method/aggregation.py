"""From tile logits to a slide's risk, and back to the share of each tile, in numpy float64.

This is the only place for the signed mean and for ``r > t``. The torch versions, which training
differentiates, are in `mil.aggregation_torch` and `mil.outcome_loss`, and tests check that they are
equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qupath_hccmil.method.published_numbers import POWER, THRESHOLD


def slide_logit(tile_logits: ArrayLike, p: float = POWER) -> float:
    """Signed generalised mean of tile logits.

    ``m = mean(sign(s)·|s|^p)``, ``S = sign(m)·|m|^(1/p)``.

    Parameters
    ----------
    tile_logits : (n,) array_like
        At least one logit; all must be finite.
    p : float
        Power; for the published p = 3, ``sign(s)·|s|^p`` is simply ``s³``.

    Returns
    -------
    float
        S.

    Raises
    ------
    ValueError
        There are no tiles, or a logit is not finite.

    Notes
    -----
    Liu et al. 2021 (arXiv 2106.00090).
    """
    return signed_root(contributions(tile_logits, p).sum(), p)


def signed_power(s: ArrayLike, p: float = POWER) -> NDArray[np.float64]:
    """``sign(s)·|s|^p``, the values that the generalised mean averages."""
    x = np.asarray(s, dtype=np.float64)
    return np.asarray(np.sign(x) * np.abs(x) ** p)


def signed_root(m: float, p: float = POWER) -> float:
    """``sign(m)·|m|^(1/p)``, from the mean of signed powers back to a logit."""
    return float(np.sign(m) * np.abs(m) ** (1 / p))


def contributions(tile_logits: ArrayLike, p: float = POWER) -> NDArray[np.float64]:
    """Share of each tile in m: ``sign(s)·|s|^p / n``.

    Their sum over a slide's tiles is m, so that ``S = sign(Σ)·|Σ|^(1/p)``.

    Parameters
    ----------
    tile_logits : (n,) array_like
    p : float

    Returns
    -------
    (n,) float64

    Raises
    ------
    ValueError
        There are no tiles, or a logit is not finite.
    """
    s = np.asarray(tile_logits, dtype=np.float64)
    if s.ndim != 1 or not s.size:
        raise ValueError(f"tile logits must be a non-empty vector, not of shape {s.shape}")
    if not np.isfinite(s).all():
        raise ValueError("tile logits must be finite")
    return signed_power(s, p) / s.size


def risk(logit: ArrayLike) -> NDArray[np.float64]:
    """Sigmoid of a slide logit (or of tile logits), in [0, 1], without overflow."""
    x = np.asarray(logit, dtype=np.float64)
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


def is_high_risk(r: ArrayLike, threshold: float = THRESHOLD) -> NDArray[np.bool_]:
    """Whether a risk is high: ``r > t``."""
    return np.asarray(np.asarray(r, dtype=np.float64) > threshold)


def group_name(r: float, threshold: float = THRESHOLD) -> str:
    """Name of the group of a risk, ``high`` or ``low``, as in all our tables."""
    return "high" if is_high_risk(r, threshold) else "low"


def good_outcome_probability(r: ArrayLike, threshold: float = THRESHOLD) -> NDArray[np.float64]:
    """Probability of a good outcome: 1 at r = 0, 0.5 at r = t, 0 at r = 1, linear in between.

    ``p = ((t − r)/t + 1)·0.5`` if ``r ≤ t``, else ``(1 − (r − t)/(1 − t))·0.5``.

    Parameters
    ----------
    r : array_like
        Risk in [0, 1].
    threshold : float
        t, in (0, 1).

    Notes
    -----
    Liu et al. 2021 (arXiv 2106.00090).
    """
    r = np.asarray(r, dtype=np.float64)
    low = ((threshold - r) / threshold + 1) * 0.5
    high = (1 - (r - threshold) / (1 - threshold)) * 0.5
    return np.asarray(np.where(r <= threshold, low, high))
