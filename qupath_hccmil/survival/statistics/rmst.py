"""Restricted mean survival time and its differences, without assuming proportional hazards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.kaplan_meier import curves, groups_of


@dataclass(frozen=True)
class RestrictedMeans:
    """Restricted means and their differences from the first group.

    Attributes
    ----------
    means : DataFrame
        ``group, patients, tau, rmst, se, lower, upper``, in the unit of ``time``.
    differences : DataFrame
        ``group, reference, tau, difference, se, lower, upper, z, p``: this group minus the first.
    """

    means: pd.DataFrame
    differences: pd.DataFrame


def restricted_means(
    frame: pd.DataFrame, tau: float, by: str | None = None, *, confidence: float = 0.95
) -> RestrictedMeans:
    """Mean survival up to ``tau``: the area under each Kaplan-Meier curve.

    The variance is Greenwood's: the sum over event times of the squared area to the right of each,
    times ``d / (n (n - d))`` (Klein and Moeschberger 2003, eq. 4.5.2), as in ``survfit`` of R.

    Raises
    ------
    DataError
        ``tau`` is after the last follow-up of a group, where the area is not known.
    """
    critical = float(stats.norm.ppf(0.5 + confidence / 2))
    rows = []
    for name, group in groups_of(frame, by):
        mean, error = _area(curves(group), tau, name)
        rows.append((name, len(group), tau, mean, error, *_around(mean, error, critical)))
    means = pd.DataFrame(rows, columns=["group", "patients", "tau", "rmst", "se", "lower", "upper"])
    first, compared = means.iloc[0], []
    for _, row in means.iloc[1:].iterrows():
        gap = row["rmst"] - first["rmst"]
        error = float(np.hypot(row["se"], first["se"]))
        z = gap / error if error > 0 else np.nan
        compared.append(
            (
                row["group"],
                first["group"],
                tau,
                gap,
                error,
                *_around(gap, error, critical),
                z,
                2 * float(stats.norm.sf(abs(z))),
            )
        )
    names = ["group", "reference", "tau", "difference", "se", "lower", "upper", "z", "p"]
    return RestrictedMeans(means, pd.DataFrame(compared, columns=names))


def _area(curve: pd.DataFrame, tau: float, name: str) -> tuple[float, float]:
    times = curve["time"].to_numpy()
    if tau > times[-1] and curve["survival"].iloc[-1] > 0:
        raise DataError(
            f"restricted mean to {tau:g}: group {name!r} is followed only to {times[-1]:.3g}; "
            "choose an earlier time"
        )
    inside = times < tau
    edges = np.r_[times[inside], tau]
    pieces = curve["survival"].to_numpy()[inside] * np.diff(edges)
    right = np.cumsum(pieces[::-1])[::-1]
    at_risk = curve["at_risk"].to_numpy(float)[inside]
    events = curve["events"].to_numpy(float)[inside]
    left = at_risk - events
    # If everybody at risk has the event, the curve and the area to the right of it are 0.
    terms = np.divide(events * right**2, at_risk * left, out=np.zeros_like(right), where=left > 0)
    return float(pieces.sum()), float(np.sqrt(terms.sum()))


def _around(value: float, error: float, critical: float) -> tuple[float, float]:
    return value - critical * error, value + critical * error
