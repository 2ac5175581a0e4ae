"""Whether the log hazard is a straight line in a number: restricted cubic splines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.horizon_calibration import KNOTS, spline_basis
from qupath_hccmil.survival.statistics.strata import risk_sets
from qupath_hccmil.survival.statistics.survival_outcome import (
    complete,
    entry_of,
    outcome,
    strata_of,
)
from qupath_hccmil.survival.statistics.variables import (
    Variable,
    design,
    present_levels,
    scaled,
)

POINTS = 80


def nonlinearity_tests(frame: pd.DataFrame, variables: Sequence[Variable]) -> pd.DataFrame:
    """Likelihood-ratio test of each number's spline in the model of all variables.

    The larger model has, instead of the number, a restricted cubic spline with three knots (at the
    10th, 50th and 90th percentiles; Harrell 2015), which is one more column.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event`` and the variables, ``entry_time`` if patients enter late, and
        ``stratum__`` if there are strata; complete rows are used.
    variables : sequence of Variable

    Returns
    -------
    DataFrame
        ``variable, label, statistic, degrees_of_freedom, p, patients, events``; one row per number.
        NaN if the number has too few values for three knots, or a likelihood has no maximum.
    """
    rows = complete(frame, [variable.name for variable in variables])
    data = (*outcome(rows, at_least=2, delayed=True), entry_of(rows), strata_of(rows))
    kept = present_levels(rows, variables)
    columns, _ = design(rows, kept)
    linear = _log_likelihood(columns.to_numpy(float), *data)
    found = []
    for variable in kept:
        if variable.levels:
            continue
        bend = _bend(scaled(rows, variable).to_numpy(float))
        curved = np.nan
        if bend is not None:
            curved = _log_likelihood(np.column_stack([columns, bend]), *data)
        statistic = 2 * (curved - linear)
        p = float(stats.chi2.sf(max(statistic, 0.0), 1)) if np.isfinite(statistic) else np.nan
        size = (len(rows), int(data[1].sum()))
        found.append((variable.name, variable.title, statistic, 1, p, *size))
    names = ["variable", "label", "statistic", "degrees_of_freedom", "p", "patients", "events"]
    return pd.DataFrame(found, columns=names)


def spline_curve(frame: pd.DataFrame, name: str, *, confidence: float = 0.95) -> pd.DataFrame:
    """Hazard ratio against the median of a number, from its spline alone.

    Returns
    -------
    DataFrame
        ``value, hazard_ratio, lower, upper`` from the first to the 99th percentile; the interval
        is pointwise (Wald), and 1 at the median.

    Raises
    ------
    DataError
        The number has too few values for three knots, or the likelihood has no maximum.
    """
    time, event = outcome(frame, at_least=2, delayed=True)
    values = frame[name].to_numpy(float)
    knots = np.unique(np.quantile(values, KNOTS))
    if len(knots) < len(KNOTS):
        raise DataError("there are too few different values for a curve with three knots")
    basis = spline_basis(values, knots)
    sets = risk_sets(time, event, basis, entry_of(frame), strata_of(frame))
    beta = sets.maximise()
    if beta is None:
        raise DataError("the likelihood of the spline has no maximum")
    covariance = np.linalg.inv(sets.moments(beta).variances.sum(axis=0))
    lowest, highest = np.quantile(values, [0.01, 0.99]).tolist()
    grid = np.linspace(lowest, highest, POINTS)
    away = spline_basis(grid, knots) - spline_basis(np.array([np.median(values)]), knots)
    height = away @ beta
    half = stats.norm.ppf(0.5 + confidence / 2) * np.sqrt(
        np.einsum("ni,ij,nj->n", away, covariance, away)
    )
    ratios = {"hazard_ratio": height, "lower": height - half, "upper": height + half}
    return pd.DataFrame({"value": grid, **{key: np.exp(part) for key, part in ratios.items()}})


def _bend(values: np.ndarray) -> np.ndarray | None:
    """Second column of the spline; None with too few different values."""
    knots = np.unique(np.quantile(values, KNOTS))
    return spline_basis(values, knots)[:, 1] if len(knots) == len(KNOTS) else None


def _log_likelihood(
    columns: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    entry: np.ndarray | None,
    strata: np.ndarray | None,
) -> float:
    sets = risk_sets(time, event, columns, entry, strata)
    beta = sets.maximise()
    return float("nan") if beta is None else sets.moments(beta).log_likelihood
