"""Harrell's and Uno's C of a cohort.

lifelines does not have Uno's C, and scikit-survival weights by ``G(T)`` instead of ``G(T-)`` (see
``ipcw``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.survival.statistics.ipcw import censoring
from qupath_hccmil.survival.statistics.survival_outcome import numbers, outcome


def harrell(frame: pd.DataFrame, score: str) -> float:
    """Harrell's C by :mod:`qupath_hccmil.method.concordance`; NaN without usable pairs."""
    time, event = outcome(frame)
    return concordance(time, event, numbers(frame, score))


def uno(frame: pd.DataFrame, score: str, tau: float) -> float:
    """Uno's C: pairs with the earlier event up to ``tau``, weighted by ``1 / G(T-)²`` (Uno 2011).

    It does not depend on the distribution of censoring. Nothing after ``tau`` is used, so ``tau``
    must be reported. The same as ``survival::concordance(timewt = "n/G2", ymax = tau)``.
    """
    time, event = outcome(frame)
    return concordance(time, event, numbers(frame, score), uno_weight(time, event, tau))


def uno_weight(time: np.ndarray, event: np.ndarray, tau: float) -> np.ndarray:
    """Weight of each patient's pairs in Uno's C.

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
    tau : float

    Returns
    -------
    (n,) float64
        Inverse squared probability of being uncensored; 0 after ``tau``.
    """
    return np.where(time <= tau, censoring(time, event).before(time) ** -2, 0.0)
