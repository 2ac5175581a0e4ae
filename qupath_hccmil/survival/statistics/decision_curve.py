"""Decision curve: the net benefit of acting on a predicted risk, with censored follow-up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.kaplan_meier import incidences
from qupath_hccmil.survival.statistics.survival_outcome import numbers, outcome_by_cause

THRESHOLDS = tuple(np.round(np.arange(0.01, 0.96, 0.01), 2))


def net_benefit(
    frame: pd.DataFrame,
    predicted: str,
    horizon: float,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    cause: str | None = None,
) -> pd.DataFrame:
    """Net benefit of treating patients with a predicted risk above a threshold.

    With ``x`` for "risk above the threshold p": ``P(x) (1 − S(t|x)) − P(x) S(t|x) p / (1 − p)``,
    S by Kaplan-Meier among them, or 1 − cumulative incidence if events compete (Vickers et al.
    2008, BMC Med Inform Decis Mak 8:53).

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event`` (or the cause) and ``predicted``.
    predicted : str
        Column of the risk of an event up to the horizon, in [0, 1].
    horizon : float
    thresholds : sequence of float
        In (0, 1).
    cause : str, optional
        Column of how the follow-up ended if events compete: 0 censored, 1 the event, 2 a competing
        event. It is used instead of ``event``.

    Returns
    -------
    DataFrame
        ``threshold, treated, model, all, none``; ``model`` is NaN if the patients above the
        threshold are not followed to the horizon.
    """
    risk = numbers(frame, predicted)
    time, event, competing = outcome_by_cause(frame, cause)
    at = np.array([horizon])
    everyone = float(incidences(time, event, competing, at)[0])
    rows = []
    for threshold in thresholds:
        if not 0 < threshold < 1:
            raise DataError(f"threshold {threshold:g} of a decision curve must lie in (0, 1)")
        odds = threshold / (1 - threshold)
        above = risk > threshold
        share, benefit = float(above.mean()), 0.0
        if above.any():
            had = float(incidences(time[above], event[above], competing[above], at)[0])
            benefit = share * had - share * (1 - had) * odds
        rows.append((threshold, share, benefit, everyone - (1 - everyone) * odds, 0.0))
    return pd.DataFrame(rows, columns=["threshold", "treated", "model", "all", "none"])
