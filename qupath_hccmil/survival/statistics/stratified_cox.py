"""Cox regression stratified by a column, or with a robust variance for clusters.

Our own code on the parts of ``partial_likelihood``, because lifelines' Newton steps are not guarded
(see there) and its robust variance has no clusters with strata and delayed entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.influence import score_residuals
from qupath_hccmil.survival.statistics.partial_likelihood import RiskSets
from qupath_hccmil.survival.statistics.strata import Strata, risk_sets
from qupath_hccmil.survival.statistics.survival_outcome import (
    complete,
    entry_of,
    outcome,
    strata_of,
)
from qupath_hccmil.survival.statistics.variables import Variable, design, present_levels


@dataclass(frozen=True)
class StratifiedFit:
    """A Cox model in strata, or with a robust variance.

    Attributes
    ----------
    table : DataFrame
        ``variable, label, level, step, coefficient, se, hazard_ratio, lower, upper, z, p``: one row
        per coefficient.
    patients, events, strata : int
        Of the model; ``strata`` is 1 if it is not stratified.
    log_likelihood, log_likelihood_null : float
        Partial, summed over strata.
    """

    table: pd.DataFrame
    patients: int
    events: int
    strata: int
    log_likelihood: float
    log_likelihood_null: float


def fit_stratified(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    *,
    strata: str | None = None,
    cluster: str | None = None,
    confidence: float = 0.95,
) -> StratifiedFit:
    """Fit one Cox model, ties by Efron, on the rows that have every column.

    Parameters
    ----------
    frame : DataFrame
        ``time``, ``event``, the variables, strata and clusters; ``entry_time`` if patients enter
        late, and ``stratum__`` if each of these has its own baseline hazard, too.
    variables : sequence of Variable
    strata : str, optional
        Each of its values has its own baseline hazard.
    cluster : str, optional
        Patients with the same value are not independent: the variance is the sandwich of the score
        residuals, summed by cluster (Lin and Wei 1989, JASA 84:1074), as ``coxph(cluster = )``.
    confidence : float
        Level of the Wald intervals.

    Raises
    ------
    DataError
        There is no event, no variable varies, there is only one cluster, or the likelihood has no
        maximum.
    """
    needed = [variable.name for variable in variables] + [c for c in (strata, cluster) if c]
    rows = complete(frame, needed)
    time, event = outcome(rows, at_least=2, delayed=True)
    kept = present_levels(rows, variables)
    if not event.any() or not kept:
        raise DataError(f"{len(rows)} complete patients have no event, or no variable varies")
    columns, terms = design(rows, kept)
    layers = _layers(rows, strata)
    sets = risk_sets(time, event, columns.to_numpy(float), entry_of(rows), layers)
    beta = sets.maximise()
    if beta is None:
        raise DataError(
            "the Cox likelihood has no maximum, because a category has no events or a variable "
            "determines the outcomes or the strata"
        )
    best = sets.moments(beta)
    variance = np.linalg.inv(best.variances.sum(axis=0))
    if cluster:
        variance = _robust(sets, beta, rows[cluster].astype(str).to_numpy(), variance)
    return StratifiedFit(
        _table(terms, beta, np.sqrt(np.diag(variance)), confidence),
        len(rows),
        int(event.sum()),
        len(sets.parts) if isinstance(sets, Strata) else 1,
        best.log_likelihood,
        sets.moments(np.zeros_like(beta)).log_likelihood,
    )


def _layers(rows: pd.DataFrame, strata: str | None) -> np.ndarray | None:
    """Stratum of each patient: that of the column, within those that the table has."""
    parts = [strata_of(rows), rows[strata].astype(str).to_numpy() if strata else None]
    known = [part for part in parts if part is not None]
    return rows.groupby(known, sort=False).ngroup().to_numpy() if known else None


def _robust(
    sets: RiskSets, beta: np.ndarray, groups: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    if len(set(groups)) < 2:
        raise DataError("there is only one cluster, so its variance cannot be estimated")
    summed = pd.DataFrame(score_residuals(sets, beta)).groupby(groups).sum().to_numpy()
    return np.asarray(variance @ (summed.T @ summed) @ variance)


def _table(
    terms: Sequence[tuple[Variable, str]], beta: np.ndarray, error: np.ndarray, confidence: float
) -> pd.DataFrame:
    wide = stats.norm.ppf(0.5 + confidence / 2) * error
    with np.errstate(over="ignore"):  # a step that is much too wide gives ∞
        ratios = np.exp([beta, beta - wide, beta + wide])
    return pd.DataFrame(
        {
            "variable": [variable.name for variable, _ in terms],
            "label": [variable.title for variable, _ in terms],
            "level": [level for _, level in terms],
            "step": ["" if level else variable.step for variable, level in terms],
            "coefficient": beta,
            "se": error,
            "hazard_ratio": ratios[0],
            "lower": ratios[1],
            "upper": ratios[2],
            "z": beta / error,
            "p": 2 * stats.norm.sf(np.abs(beta / error)),
        }
    )
