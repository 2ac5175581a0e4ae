"""The test of proportional hazards, and the data for the log-log and residual plots.

The score test of Grambsch and Therneau (1994) as in ``cox.zph`` of R's survival 3, with the
Kaplan-Meier transform of time. lifelines has the approximation of earlier versions, which differs
by several percent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.kaplan_meier import curves
from qupath_hccmil.survival.statistics.partial_likelihood import Moments
from qupath_hccmil.survival.statistics.strata import risk_sets
from qupath_hccmil.survival.statistics.survival_outcome import (
    complete,
    entry_of,
    outcome,
    strata_of,
)
from qupath_hccmil.survival.statistics.variables import Variable, design, present_levels

GLOBAL = "GLOBAL"


def schoenfeld_test(
    frame: pd.DataFrame, variables: Sequence[Variable], coefficients: Sequence[float]
) -> pd.DataFrame:
    """Test that the effect of each variable, and of all together, is constant over time.

    Parameters
    ----------
    frame : DataFrame
        Rows that the model was fitted on.
    variables : sequence of Variable
        Variables of the model.
    coefficients : sequence of float
        Coefficients of the fitted model, in the order of ``design``.

    Returns
    -------
    DataFrame
        ``variable, statistic, degrees_of_freedom, p``; the last row is ``GLOBAL``.

    Raises
    ------
    DataError
        There are too few events.
    """
    frame = complete(frame, [variable.name for variable in variables])
    moments, owners = _moments(frame, variables, coefficients)
    transform = _kaplan_meier_transform(frame, moments.times)
    slope = transform @ moments.residuals
    information = moments.variances.sum(axis=0)
    mixed = np.einsum("d,dij->ij", transform, moments.variances)
    squared = np.einsum("d,dij->ij", transform**2, moments.variances)
    # Information about the slopes that remains after estimating the effects themselves.
    try:
        left = squared - mixed @ np.linalg.solve(information, mixed)
        return _rows(owners, slope, left)
    except np.linalg.LinAlgError as error:
        raise DataError(f"too few events for this test: {len(moments.times)}") from error


def _rows(owners: list[str], slope: np.ndarray, left: np.ndarray) -> pd.DataFrame:
    rows = []
    for name in [*dict.fromkeys(owners), GLOBAL]:
        part = [i for i, owner in enumerate(owners) if name in (owner, GLOBAL)]
        statistic = float(slope[part] @ np.linalg.solve(left[np.ix_(part, part)], slope[part]))
        rows.append((name, statistic, len(part), float(stats.chi2.sf(statistic, len(part)))))
    return pd.DataFrame(rows, columns=["variable", "statistic", "degrees_of_freedom", "p"])


def scaled_residuals(
    frame: pd.DataFrame, variables: Sequence[Variable], coefficients: Sequence[float]
) -> pd.DataFrame:
    """Scaled Schoenfeld residuals, ``beta(t)`` over time, one row per event and model column.

    Returns
    -------
    DataFrame
        ``time, variable, level, beta`` (Grambsch and Therneau 1994, eq. 2.4).
    """
    frame = complete(frame, [variable.name for variable in variables])
    moments, _ = _moments(frame, variables, coefficients)
    _, terms = design(frame, present_levels(frame, variables))
    average = np.linalg.pinv(moments.variances.mean(axis=0))
    beta = moments.residuals @ average + np.asarray(coefficients, float)
    parts = [
        pd.DataFrame(
            {"time": moments.times, "variable": term.name, "level": level, "beta": beta[:, index]}
        )
        for index, (term, level) in enumerate(terms)
    ]
    return pd.concat(parts, ignore_index=True)


def log_log(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """Points of the plot of log(-log S) against log(time), parallel if hazards are proportional.

    Returns
    -------
    DataFrame
        ``group, time, log_time, log_minus_log``, for rows in which both logarithms exist.
    """
    table = curves(frame, by)
    table = table[(table["survival"] > 0) & (table["survival"] < 1) & (table["time"] > 0)]
    return pd.DataFrame(
        {
            "group": table["group"],
            "time": table["time"],
            "log_time": np.log(table["time"]),
            "log_minus_log": np.log(-np.log(table["survival"])),
        }
    ).reset_index(drop=True)


def _moments(
    frame: pd.DataFrame, variables: Sequence[Variable], coefficients: Sequence[float]
) -> tuple[Moments, list[str]]:
    columns, terms = design(frame, present_levels(frame, variables))
    time, event = outcome(frame, delayed=True)
    values = columns.to_numpy(float)
    sets = risk_sets(time, event, values, entry_of(frame), strata_of(frame))
    return sets.moments(np.asarray(coefficients, float)), [term.name for term, _ in terms]


def _kaplan_meier_transform(frame: pd.DataFrame, times: np.ndarray) -> np.ndarray:
    """One minus the Kaplan-Meier estimate just before each time, centred."""
    curve = curves(frame)
    before = np.searchsorted(curve["time"].to_numpy(), times, side="left")
    survival = np.r_[1.0, curve["survival"].to_numpy()][before]
    transform = 1.0 - survival
    return transform - transform.mean()
