"""Multiple imputation of missing covariates, and Rubin's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.cox import CoxFit, fit_cox
from qupath_hccmil.survival.statistics.survival_outcome import (
    EVENT,
    STRATUM,
    TIME,
    need,
    outcome,
)
from qupath_hccmil.survival.statistics.variables import Variable, present_levels

DONORS = 10
CYCLES = 10


@dataclass(frozen=True)
class Pooled:
    """One coefficient pooled by Rubin's rules."""

    estimate: float
    se: float
    degrees_of_freedom: float
    fraction_missing: float


@dataclass(frozen=True)
class ImputedCox:
    """A Cox model pooled over imputed tables.

    Attributes
    ----------
    table : DataFrame
        As ``CoxFit.table``, with ``t`` and ``degrees_of_freedom`` for ``z``, and
        ``fraction_missing``, the fraction of information that is missing.
    imputations : int
    patients, events : int
    tables : tuple of DataFrame
        The imputed tables.
    """

    table: pd.DataFrame
    imputations: int
    patients: int
    events: int
    tables: tuple[pd.DataFrame, ...] = field(repr=False, metadata={"in_results": False})


def count_missing(frame: pd.DataFrame, variables: Sequence[Variable]) -> pd.DataFrame:
    """Count missing values, one row per variable: ``variable, label, missing, share``."""
    need(frame, [variable.name for variable in variables])
    rows = []
    for variable in variables:
        count = int(frame[variable.name].isna().sum())
        rows.append((variable.name, variable.title, count, count / max(len(frame), 1)))
    return pd.DataFrame(rows, columns=["variable", "label", "missing", "share"])


def impute(
    frame: pd.DataFrame, variables: Sequence[Variable], count: int, *, seed: int = 0
) -> list[pd.DataFrame]:
    """Impute tables by chained equations with predictive mean matching (statsmodels).

    Every covariate is predicted from the others, the event and the Nelson-Aalen cumulative hazard
    (White and Royston 2009, Statistics in Medicine 28:1982). Categories are imputed as the rank of
    their level and get an observed level by matching.

    Parameters
    ----------
    count : int
        Number of imputed tables; about as many as the percentage of incomplete patients is
        recommended (White, Royston and Wood 2011).
    """
    from statsmodels.imputation.mice import MICEData

    time, event = outcome(frame, at_least=10, stratified=True)
    table, kept = _coded(frame, variables), present_levels(frame, variables)
    table["event"] = event.astype(float)
    table["hazard"] = _nelson_aalen(time, event)
    try:
        chain = MICEData(table, k_pmm=min(DONORS, len(table) - 1), rng=np.random.default_rng(seed))
        tables = []
        for _ in range(count):
            chain.update_all(CYCLES)
            tables.append(_decoded(frame, chain.data, variables))
    except (ValueError, np.linalg.LinAlgError) as error:
        names = ", ".join(variable.name for variable in kept)
        raise DataError(f"imputation of {names} failed: {error}") from error
    return tables


def imputed_cox(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    count: int,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    penalty: str = "auto",
) -> ImputedCox:
    """Fit a Cox model on every imputed table and pool the coefficients by Rubin's rules."""
    tables = impute(frame, variables, count, seed=seed)
    fits = [fit_cox(table, variables, penalty=penalty) for table in tables]
    first = fits[0]
    if any(fit.variables != first.variables for fit in fits):
        raise DataError("the imputed tables differ in the levels that occur; merge rare levels")
    table = first.table.drop(columns="z").copy()
    for name in ("t", "degrees_of_freedom", "fraction_missing"):
        table[name] = np.nan
    rows = np.flatnonzero(~table["reference"])
    for index, row in enumerate(rows):
        pooled = _pool_terms(fits, index)
        half = float(stats.t.ppf(0.5 + confidence / 2, pooled.degrees_of_freedom)) * pooled.se
        t = pooled.estimate / pooled.se
        values = {
            "coefficient": pooled.estimate,
            "se": pooled.se,
            "hazard_ratio": np.exp(pooled.estimate),
            "lower": np.exp(pooled.estimate - half),
            "upper": np.exp(pooled.estimate + half),
            "p": 2 * float(stats.t.sf(abs(t), pooled.degrees_of_freedom)),
            "t": t,
            "degrees_of_freedom": pooled.degrees_of_freedom,
            "fraction_missing": pooled.fraction_missing,
        }
        for name, value in values.items():
            table.iloc[row, table.columns.get_loc(name)] = value
    # Counts of levels differ between imputations; those of the first one would be misleading.
    table = table.drop(columns=["patients", "events"])
    return ImputedCox(table, count, first.patients, first.events, tuple(tables))


def rubin(estimates: Sequence[float], variances: Sequence[float], complete_df: float) -> Pooled:
    """Pool one estimate by Rubin's rules, degrees of freedom of Barnard and Rubin (1999).

    Parameters
    ----------
    estimates, variances : sequence of float
        From the imputed tables; at least two.
    complete_df : float
        Degrees of freedom with complete data.
    """
    count = len(estimates)
    if count < 2:
        raise DataError("Rubin's rules need at least two imputed tables")
    within, between = float(np.mean(variances)), float(np.var(estimates, ddof=1))
    extra = (1 + 1 / count) * between
    total = within + extra
    share = extra / total
    observed = (complete_df + 1) / (complete_df + 3) * complete_df * (1 - share)
    degrees = observed if share == 0 else 1 / (share**2 / (count - 1) + 1 / observed)
    ratio = extra / within
    fraction = (ratio + 2 / (degrees + 3)) / (ratio + 1)
    return Pooled(float(np.mean(estimates)), float(np.sqrt(total)), degrees, fraction)


def _pool_terms(fits: Sequence[CoxFit], index: int) -> Pooled:
    errors = [fit.table.loc[~fit.table["reference"], "se"].iloc[index] for fit in fits]
    # With censoring, the events carry the information.
    spare = max(fits[0].events - len(fits[0].coefficients), 1)
    return rubin([fit.coefficients[index] for fit in fits], np.square(errors).tolist(), spare)


def _coded(frame: pd.DataFrame, variables: Sequence[Variable]) -> pd.DataFrame:
    table = {}
    for index, variable in enumerate(variables):
        values = frame[variable.name]
        if variable.levels:
            place = {level: float(rank) for rank, level in enumerate(variable.levels)}
            values = values.astype(object).map(place, na_action="ignore")
        column = values.astype(float).to_numpy()
        if np.isnan(column).all():
            raise DataError(f"variable {variable.name!r} has no value to impute from")
        table[f"v{index}"] = column
    return pd.DataFrame(table)


def _decoded(
    frame: pd.DataFrame, data: pd.DataFrame, variables: Sequence[Variable]
) -> pd.DataFrame:
    table = frame[[name for name in (TIME, EVENT, STRATUM) if name in frame]].copy()
    for index, variable in enumerate(variables):
        values: object = data[f"v{index}"].to_numpy()
        if variable.levels:
            names = [variable.levels[int(code)] for code in np.rint(data[f"v{index}"])]
            values = pd.Categorical(names, categories=list(variable.levels), ordered=True)
        table[variable.name] = values
    return table


def _nelson_aalen(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    times, deaths = np.unique(time[event], return_counts=True)
    at_risk = len(time) - np.searchsorted(np.sort(time), times, side="left")
    hazard = np.r_[0.0, np.cumsum(deaths / at_risk)]
    return hazard[np.searchsorted(times, time, side="right")]
