"""Cox regression: univariable, multivariable, and the gain from adding the score.

Ties are handled by Efron's method. If a group has no events, the likelihood has no maximum, and
Firth's penalty is used; the user can also request it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.firth import firth_coefficients, fit_firth
from qupath_hccmil.survival.statistics.partial_likelihood import RiskSets
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
    weighed_sum,
)

EFRON = "Efron"
FIRTH = "Firth"
PENALTIES = ("auto", "none", "firth")
COLUMNS = [
    "variable", "label", "level", "reference", "step", "patients", "events", "coefficient", "se",
    "hazard_ratio", "lower", "upper", "z", "p", "method",
]  # fmt: skip


@dataclass(frozen=True)
class CoxFit:
    """One fitted Cox model.

    Attributes
    ----------
    table : DataFrame
        ``variable, label, level, reference, step, patients, events, coefficient, se,
        hazard_ratio, lower, upper, z, p, method``: one row per level (the reference first, with a
        hazard ratio of 1 and no interval) or numeric variable. With Firth's penalty, the interval
        and p come from the profile likelihood and there is no z.
    variables : tuple of Variable
        Variables as fitted, without levels that nobody has.
    coefficients : tuple of float
        In the order of ``design``.
    patients, events : int
    left_out : int
        Number of patients without a value for some variable.
    log_likelihood, log_likelihood_null : float
        Penalised if Firth's method was used.
    method : str
        ``"Efron"`` or ``"Firth"``.
    """

    table: pd.DataFrame
    variables: tuple[Variable, ...]
    coefficients: tuple[float, ...]
    patients: int
    events: int
    left_out: int
    log_likelihood: float
    log_likelihood_null: float
    method: str

    def linear_predictor(self, frame: pd.DataFrame) -> np.ndarray:
        """Log relative hazard of complete rows, not centred."""
        columns, _ = design(frame, self.variables)
        return weighed_sum(columns.to_numpy(float), self.coefficients)


@dataclass(frozen=True)
class LikelihoodRatio:
    """Twice the gain in log-likelihood of a larger model over a nested one."""

    statistic: float
    degrees_of_freedom: int
    p: float
    patients: int
    events: int
    note: str = ""


def fit_cox(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    *,
    confidence: float = 0.95,
    penalty: str = "auto",
) -> CoxFit:
    """Fit one Cox model on the rows that have every variable.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event`` and the variables; ``entry_time`` if patients enter late, and
        ``stratum__`` if each stratum has its own baseline hazard.
    variables : sequence of Variable
    confidence : float
        Level of the intervals (Wald, or profile likelihood with Firth's penalty).
    penalty : str
        ``"none"``, ``"firth"``, or ``"auto"``: Firth's if the likelihood has no maximum.

    Raises
    ------
    DataError
        There are no events, no variable varies, variables determine each other, or (without a
        penalty) the likelihood has no maximum.
    """
    if penalty not in PENALTIES:
        raise DataError(f"penalty {penalty!r} is not one of {', '.join(PENALTIES)}")
    rows = complete(frame, [variable.name for variable in variables])
    time, event = outcome(rows, at_least=2, delayed=True)
    if not event.any():
        raise DataError(
            f"none of the {len(rows)} patients has an event, so no hazard ratio can be estimated"
        )
    kept = present_levels(rows, variables)
    if not kept:
        names = ", ".join(variable.name for variable in variables)
        raise DataError(f"Cox model: {names} does not vary in the {len(rows)} complete patients")
    columns, terms = design(rows, kept)
    _refuse_dependent(columns, kept)
    if penalty == "auto" and _level_without_events(rows, event, kept):
        penalty = "firth"
    data = _Data(time, event, columns, entry_of(rows), strata_of(rows))
    numbers = _estimate(data, confidence, penalty)
    return CoxFit(
        _table(rows, event, kept, terms, numbers),
        tuple(kept),
        tuple(float(value) for value in numbers.coefficients),
        len(rows),
        int(event.sum()),
        len(frame) - len(rows),
        numbers.log_likelihood,
        numbers.log_likelihood_null,
        numbers.method,
    )


def univariable(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    *,
    confidence: float = 0.95,
    penalty: str = "auto",
) -> pd.DataFrame:
    """Fit one Cox model per variable, each on all patients with a value.

    Returns
    -------
    DataFrame
        The tables of ``fit_cox``, one after the other, with ``left_out`` and the overall
        likelihood-ratio test of the variable, ``variable_p``, in each row.
    """
    parts = []
    for variable in variables:
        fit = fit_cox(frame, [variable], confidence=confidence, penalty=penalty)
        gain = 2 * (fit.log_likelihood - fit.log_likelihood_null)
        p = float(stats.chi2.sf(max(gain, 0.0), len(fit.coefficients)))
        parts.append(fit.table.assign(left_out=fit.left_out, variable_p=p))
    return pd.concat(parts, ignore_index=True)


def gain_of(
    frame: pd.DataFrame,
    added: Variable,
    base: Sequence[Variable],
    *,
    penalty: str = "auto",
) -> LikelihoodRatio:
    """Likelihood-ratio test of adding one variable to a model, both on the same patients."""
    rows = complete(frame, [added.name, *(variable.name for variable in base)])
    larger = fit_cox(rows, [*base, added], penalty=penalty)
    smaller = fit_cox(rows, base, penalty="firth" if larger.method == FIRTH else penalty)
    note = ""
    if smaller.method == FIRTH:
        larger = fit_cox(rows, [*base, added], penalty="firth")
        note = "from penalised likelihoods, because a group has no events; approximate"
    degrees = len(larger.coefficients) - len(smaller.coefficients)
    if degrees < 1:
        return LikelihoodRatio(np.nan, 0, np.nan, len(rows), larger.events, "nothing was added")
    statistic = 2 * (larger.log_likelihood - smaller.log_likelihood)
    p = float(stats.chi2.sf(max(statistic, 0.0), degrees))
    return LikelihoodRatio(statistic, degrees, p, len(rows), larger.events, note)


def refit(time: np.ndarray, event: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return only coefficients, for bootstrap samples; Firth's if the likelihood has no maximum.

    Parameters
    ----------
    time : (n,) float64
    event : (n,) bool
    columns : (n, p) float64
        A column that is constant or depends on others in the sample gets the coefficient 0.

    Returns
    -------
    (p,) float64
    """
    varies = independent(columns)
    beta = np.zeros(columns.shape[1])
    if varies.any():
        found = RiskSets(time, event, columns[:, varies]).maximise()
        if found is None:
            found = firth_coefficients(time, event, columns[:, varies])
        beta[varies] = found
    return beta


def independent(columns: np.ndarray) -> np.ndarray:
    """Columns that do not depend on the others, shape (p,) bool.

    In a bootstrap sample, two rare categories may have the same patients; the linear predictor is
    the same whichever of them is kept.
    """
    spread = columns.std(axis=0)
    # The SD of equal values may be a rounding error above 0; their span is not.
    kept = np.ptp(columns, axis=0) > 0
    if not kept.any():
        return kept
    scaled = (columns[:, kept] - columns[:, kept].mean(axis=0)) / spread[kept]
    triangle, order = linalg.qr(scaled, mode="r", pivoting=True)
    size = np.abs(np.diag(triangle))
    places = np.flatnonzero(kept)[order[: len(size)][size > 1e-9 * size[0]]]
    found = np.zeros_like(kept)
    found[places] = True
    return found


@dataclass(frozen=True)
class _Numbers:
    coefficients: np.ndarray
    se: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    z: np.ndarray
    p: np.ndarray
    log_likelihood: float
    log_likelihood_null: float
    method: str


@dataclass(frozen=True)
class _Data:
    time: np.ndarray
    event: np.ndarray
    columns: pd.DataFrame
    entry: np.ndarray | None
    strata: np.ndarray | None


def _estimate(data: _Data, confidence: float, penalty: str) -> _Numbers:
    if penalty == "firth":
        return _firth(data, confidence)
    found = _efron(data, confidence)
    if found is not None:
        return found
    if penalty == "auto":
        return _firth(data, confidence)
    raise DataError(
        "the Cox likelihood has no maximum, because a group has no events or a variable "
        "separates the outcomes completely; use Firth's penalty (--penalty firth)"
    )


def _level_without_events(
    rows: pd.DataFrame, event: np.ndarray, variables: Sequence[Variable]
) -> bool:
    """Whether a category has patients and no events, so that its hazard ratio has no estimate."""
    return any(
        len(set(rows.loc[event, variable.name].astype(str))) < len(variable.levels)
        for variable in variables
        if variable.levels
    )


def _efron(data: _Data, confidence: float) -> _Numbers | None:
    columns = data.columns.to_numpy(float)
    sets = risk_sets(data.time, data.event, columns, data.entry, data.strata)
    beta = sets.maximise()
    if beta is None:
        return None
    best = sets.moments(beta)
    error = np.sqrt(np.diag(np.linalg.inv(best.variances.sum(axis=0))))
    critical = stats.norm.ppf(0.5 + confidence / 2)
    z = beta / error
    return _Numbers(
        beta,
        error,
        beta - critical * error,
        beta + critical * error,
        z,
        2 * stats.norm.sf(np.abs(z)),
        best.log_likelihood,
        sets.moments(np.zeros_like(beta)).log_likelihood,
        EFRON,
    )


def _firth(data: _Data, confidence: float) -> _Numbers:
    fit = fit_firth(
        data.time,
        data.event,
        data.columns.to_numpy(float),
        entry=data.entry,
        strata=data.strata,
        confidence=confidence,
    )
    return _Numbers(
        fit.coefficients,
        fit.standard_errors,
        fit.lower,
        fit.upper,
        np.full(len(fit.p), np.nan),
        fit.p,
        fit.log_likelihood,
        fit.log_likelihood_null,
        FIRTH,
    )


def _refuse_dependent(columns: pd.DataFrame, variables: Sequence[Variable]) -> None:
    values = columns.to_numpy(float)
    centred = values - values.mean(axis=0)
    if np.linalg.matrix_rank(centred / values.std(axis=0)) < values.shape[1]:
        names = ", ".join(variable.name for variable in variables)
        raise DataError(
            f"Cox model: the variables determine each other ({names}); leave one of them out"
        )


def _table(
    rows: pd.DataFrame,
    event: np.ndarray,
    variables: Sequence[Variable],
    terms: Sequence[tuple[Variable, str]],
    numbers: _Numbers,
) -> pd.DataFrame:
    place = {(term.name, level): index for index, (term, level) in enumerate(terms)}
    found = []
    for variable in variables:
        for level in variable.levels or ("",):
            inside = (
                (rows[variable.name].astype(str) == level).to_numpy()
                if level
                else np.ones(len(rows), bool)
            )
            index = place.get((variable.name, level))
            found.append(
                (
                    variable.name,
                    variable.title,
                    level,
                    index is None,
                    "" if level else variable.step,
                    int(inside.sum()),
                    int((inside & event).sum()),
                    *_row(numbers, index),
                    numbers.method,
                )
            )
    return pd.DataFrame(found, columns=COLUMNS)


def _row(numbers: _Numbers, index: int | None) -> tuple[float, ...]:
    if index is None:
        return 0.0, np.nan, 1.0, np.nan, np.nan, np.nan, np.nan
    with np.errstate(over="ignore"):  # a step that is much too wide gives ∞
        ratio = np.exp([numbers.coefficients[index], numbers.lower[index], numbers.upper[index]])
    return (
        float(numbers.coefficients[index]),
        float(numbers.se[index]),
        *(float(value) for value in ratio),
        float(numbers.z[index]),
        float(numbers.p[index]),
    )
