"""Fine and Gray's regression of the subdistribution hazard, and the risks that it predicts.

Fine and Gray 1999, Journal of the American Statistical Association 94:496: a Cox model in which
patients with a competing event stay in the risk set, weighted by the probability that they would
still be uncensored. Ties by Breslow and a sandwich variance that includes the estimated weights, as
``crr`` of R's ``cmprsk``. Our own code because lifelines, scikit-survival and statsmodels do not
have the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.baseline import assigned_folds
from qupath_hccmil.survival.statistics.cox import COLUMNS, independent
from qupath_hccmil.survival.statistics.ipcw import censoring
from qupath_hccmil.survival.statistics.survival_outcome import complete, outcome_by_cause
from qupath_hccmil.survival.statistics.variables import (
    Variable,
    design,
    present_levels,
    weighed_sum,
)

METHOD = "Fine–Gray"
OTHER = 2  # code of competing events; 1 is the event of interest
MOST_STEPS = 60
FLAT = 1e-6  # as in ``partial_likelihood``


@dataclass(frozen=True)
class FineGrayFit:
    """One fitted model.

    Attributes
    ----------
    table : DataFrame
        The columns of ``cox.CoxFit.table``; ``hazard_ratio`` is of the subdistribution hazard.
    variables : tuple of Variable
        Variables as fitted, without levels that nobody has.
    coefficients : tuple of float
        In the order of ``design``.
    times, cumulative_hazard : (k,) float64
        Breslow's estimate of the baseline, for a linear predictor of 0; a step at each time.
    last : float
        Longest follow-up; nothing is known after it.
    patients, events, competing : int
    left_out : int
        Number of patients without a value for some variable.
    log_likelihood, log_likelihood_null : float
        Weighted, so twice their difference is not χ² distributed.
    """

    table: pd.DataFrame
    variables: tuple[Variable, ...]
    coefficients: tuple[float, ...]
    times: np.ndarray
    cumulative_hazard: np.ndarray
    last: float
    patients: int
    events: int
    competing: int
    left_out: int
    log_likelihood: float
    log_likelihood_null: float

    def linear_predictor(self, frame: pd.DataFrame) -> np.ndarray:
        """Log relative subdistribution hazard of complete rows, shape (n,), not centred."""
        columns, _ = design(frame, self.variables)
        return weighed_sum(columns.to_numpy(float), self.coefficients)

    def risk(self, frame: pd.DataFrame, time: float) -> np.ndarray:
        """Probability of the event up to ``time`` of complete rows, shape (n,).

        Raises
        ------
        DataError
            The time is after the last follow-up.
        """
        if time > self.last:
            raise DataError(f"follow-up ends at {self.last:.3g}, but {time:g} was requested")
        step = int(np.searchsorted(self.times, time, side="right"))
        hazard = float(self.cumulative_hazard[step - 1]) if step else 0.0
        return -np.expm1(-hazard * np.exp(self.linear_predictor(frame)))


def fit_fine_gray(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    cause: str,
    *,
    confidence: float = 0.95,
) -> FineGrayFit:
    """Fit one model on the rows that have every variable.

    Parameters
    ----------
    frame : DataFrame
        ``time``, the cause and the variables.
    variables : sequence of Variable
    cause : str
        Column of how the follow-up ended: 0 censored, 1 the event, 2 a competing event.
    confidence : float
        Level of the Wald intervals.

    Raises
    ------
    DataError
        There is no event, no variable varies, a category has no event, the variables determine each
        other, or patients enter late.
    """
    rows = complete(frame, [variable.name for variable in variables])
    time, ending = cause_of(rows, cause)
    kept = present_levels(rows, variables)
    if not kept:
        names = ", ".join(variable.name for variable in variables)
        raise DataError(f"Fine–Gray model: {names} does not vary in {len(rows)} complete patients")
    columns, terms = design(rows, kept)
    values = columns.to_numpy(float)
    if np.linalg.matrix_rank(values - values.mean(axis=0)) < values.shape[1]:
        names = ", ".join(variable.name for variable in kept)
        raise DataError(f"Fine–Gray model: the variables determine each other ({names})")
    model = Subdistribution(time, ending, values)
    beta = model.maximise()
    if beta is None:
        raise DataError(
            "Fine–Gray model: the likelihood has no maximum, because a category has no event of "
            "this cause or a variable separates the outcomes completely"
        )
    variance = model.variance(beta)
    hazard = np.cumsum(model.hazards(beta)) * np.exp(-model.centre @ beta)
    zero = np.zeros(len(beta))
    table = _table(rows, ending == 1, kept, terms, beta, np.sqrt(np.diag(variance)), confidence)
    return FineGrayFit(
        table,
        tuple(kept),
        tuple(float(value) for value in beta),
        model.times,
        hazard,
        float(time.max()),
        len(rows),
        int((ending == 1).sum()),
        int((ending == OTHER).sum()),
        len(frame) - len(rows),
        model.log_likelihood(beta),
        model.log_likelihood(zero),
    )


def cross_fitted_risks(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    cause: str,
    times: Sequence[float],
    *,
    folds: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Risk of each patient from a model that was fitted on the other folds.

    Parameters
    ----------
    frame : DataFrame
        Rows with every variable.
    variables : sequence of Variable
    cause : str
        As for ``fit_fine_gray``.
    times : sequence of float
    folds : int
        Balanced by event.
    seed : int

    Returns
    -------
    (n, times) float64
        NaN if the other folds are not followed to the time.
    """
    _, ending = cause_of(frame, cause)
    fold = assigned_folds(ending == 1, seed, folds)
    predicted = np.full((len(frame), len(times)), np.nan)
    for number in np.unique(fold):
        test = fold == number
        fitted = fit_fine_gray(frame[~test], variables, cause)
        for column, time in enumerate(times):
            if time <= fitted.last:
                predicted[test, column] = fitted.risk(frame[test], time)
    return predicted


def refit_fine_gray(model: Subdistribution) -> np.ndarray:
    """Return only coefficients, for bootstrap samples; NaN if the likelihood has no maximum.

    Returns
    -------
    (p,) float64
        A column that is constant or depends on others gets the coefficient 0.
    """
    varies = independent(model.columns)
    beta = np.zeros(model.columns.shape[1])
    if varies.any():
        found = model.with_columns(varies).maximise()
        beta[varies] = np.nan if found is None else found
    return beta


def cause_of(frame: pd.DataFrame, cause: str) -> tuple[np.ndarray, np.ndarray]:
    """Follow-up, and how it ended: 0 censored, 1 the event, 2 a competing event.

    Raises
    ------
    DataError
        There is another code, no event, or patients enter late.
    """
    time, event, competing = outcome_by_cause(frame, cause, at_least=2)
    if not event.any():
        raise DataError(f"none of the {len(frame)} patients has an event of this cause")
    return time, event + OTHER * competing


class Subdistribution:
    """Patients sorted once, for the weighted partial likelihood at many coefficients.

    Parameters
    ----------
    time : (n,) float64
    ending : (n,) int64
        0 censored, 1 the event, 2 a competing event.
    columns : (n, p) float64

    Attributes
    ----------
    times : (k,) float64
        Distinct times of events, ascending.
    centre : (p,) float64
        Mean of the columns, which is subtracted.
    """

    def __init__(self, time: np.ndarray, ending: np.ndarray, columns: np.ndarray) -> None:
        self.time, self.ending = time, ending
        self.centre = columns.mean(axis=0)
        self.columns = columns - self.centre
        self.times, self.count = np.unique(time[ending == 1], return_counts=True)
        self.free = censoring(time, ending > 0)
        self.kept = self.free.before(self.times)  # G(t-) at the event times
        # A patient with a competing event at T stays with the weight G(t-) / G(T-).
        self.carried = np.where(ending == OTHER, 1 / self.free.before(time), 0.0)
        self.by_time = np.argsort(time, kind="stable")
        ordered = time[self.by_time]
        self.first = np.searchsorted(ordered, self.times, side="left")

    def with_columns(self, kept: np.ndarray) -> Subdistribution:
        """The same patients with some of the columns; ``kept`` is of shape (p,), bool."""
        return Subdistribution(self.time, self.ending, self.columns[:, kept])

    def sums(self, part: np.ndarray) -> np.ndarray:
        """Weighted sum of a quantity of each patient over each risk set, shape (k, …)."""
        ordered = part[self.by_time]
        weight = self.carried[self.by_time].reshape(-1, *[1] * (part.ndim - 1))
        there = np.cumsum(ordered[::-1], axis=0)[::-1][self.first]
        gone = np.concatenate([np.zeros_like(ordered[:1]), np.cumsum(ordered * weight, axis=0)])
        return there + self.kept.reshape(-1, *[1] * (part.ndim - 1)) * gone[self.first]

    def moments(self, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sum of the weights (k,), mean (k, p) and covariance (k, p, p) of each risk set."""
        x = self.columns
        weight = np.exp(x @ beta)
        first = weight[:, None] * x
        total = self.sums(weight)
        mean = self.sums(first) / total[:, None]
        second = self.sums(first[:, :, None] * x[:, None, :]) / total[:, None, None]
        return total, mean, second - mean[:, :, None] * mean[:, None, :]

    def log_likelihood(self, beta: np.ndarray) -> float:
        """Weighted log partial likelihood."""
        linear = self.columns @ beta
        total = self.sums(np.exp(linear))
        return float(linear[self.ending == 1].sum() - self.count @ np.log(total))

    def hazards(self, beta: np.ndarray) -> np.ndarray:
        """Breslow's increments of the subdistribution hazard, at the mean of the columns; (k,)."""
        return np.asarray(self.count / self.sums(np.exp(self.columns @ beta)))

    def maximise(self) -> np.ndarray | None:
        """Coefficients by Newton's method, shape (p,); None if there is no maximum."""
        ours = self.columns[self.ending == 1].sum(axis=0)
        beta = np.zeros(self.columns.shape[1])
        scale = self.columns.std(axis=0)
        value, null = self.log_likelihood(beta), None
        for _ in range(MOST_STEPS):
            _, mean, covariance = self.moments(beta)
            information = np.einsum("t,tij->ij", self.count.astype(float), covariance)
            null = np.diag(information) if null is None else null
            if (np.diag(information) <= FLAT * null).any():
                return None
            try:
                step = np.linalg.solve(information, ours - self.count @ mean)
            except np.linalg.LinAlgError:
                return None
            # No more than a few standard deviations at once, and never downhill.
            step *= min(1.0, 5.0 / float(np.abs(step * scale).max(initial=1e-300)))
            reached = self.log_likelihood(beta + step)
            while reached < value - 1e-9 and np.abs(step * scale).max() > 1e-9:
                step = step / 2
                reached = self.log_likelihood(beta + step)
            beta, value = beta + step, reached
            if np.abs(step * scale).max() < 1e-9:
                return beta
        return None

    def variance(self, beta: np.ndarray) -> np.ndarray:
        """Sandwich variance of the coefficients, with the estimated weights, shape (p, p)."""
        total, mean, covariance = self.moments(beta)
        information = np.einsum("t,tij->ij", self.count.astype(float), covariance)
        hazard = self.count / total
        bread = np.linalg.inv(information)
        residual = self._score_residuals(beta, mean, hazard) + self._of_weights(beta, mean, hazard)
        return np.asarray(bread @ (residual.T @ residual) @ bread)

    def _score_residuals(
        self, beta: np.ndarray, mean: np.ndarray, hazard: np.ndarray
    ) -> np.ndarray:
        """Contribution of each patient to the score, shape (n, p)."""
        x, relative = self.columns, np.exp(self.columns @ beta)
        upto = np.searchsorted(self.times, self.time, side="right")
        past = np.r_[0.0, np.cumsum(hazard)][upto]
        past_mean = _from_zero(np.cumsum(hazard[:, None] * mean, axis=0))[upto]
        found = -relative[:, None] * (x * past[:, None] - past_mean)
        had = self.ending == 1
        found[had] += x[had] - mean[np.searchsorted(self.times, self.time[had])]
        # Those with a competing event are at risk for ever, with a weight that falls.
        kept = _to_zero(np.cumsum((self.kept * hazard)[::-1])[::-1])[upto]
        lifted = (self.kept * hazard)[:, None] * mean
        kept_mean = _to_zero(np.cumsum(lifted[::-1], axis=0)[::-1])[upto]
        weight = (relative * self.carried)[:, None]
        return np.asarray(found - weight * (x * kept[:, None] - kept_mean))

    def _of_weights(self, beta: np.ndarray, mean: np.ndarray, hazard: np.ndarray) -> np.ndarray:
        """Contribution of each patient through the estimated weights, shape (n, p)."""
        at, number, at_risk = self.free.times, self.free.censored, self.free.at_risk
        if not len(at):
            return np.zeros_like(self.columns)
        weight = self.carried * np.exp(self.columns @ beta)
        ordered = self.time[self.by_time]
        # A competing event at the time of the censoring comes before it, too.
        gone = np.searchsorted(ordered, at, side="right")
        before = np.r_[0.0, np.cumsum(weight[self.by_time])][gone]
        lifted = (weight[:, None] * self.columns)[self.by_time]
        before_x = _from_zero(np.cumsum(lifted, axis=0))[gone]
        # Events after the censoring: at equal times the event comes first.
        after = np.searchsorted(self.times, at, side="right")
        kept = _to_zero(np.cumsum((self.kept * hazard)[::-1])[::-1])[after]
        kept_mean = ((self.kept * hazard)[:, None] * mean)[::-1]
        kept_mean = _to_zero(np.cumsum(kept_mean, axis=0)[::-1])[after]
        change = before_x * kept[:, None] - before[:, None] * kept_mean
        drift = _from_zero(np.cumsum(change * (number / at_risk**2)[:, None], axis=0))
        # A patient with an event at u is no longer at risk for the censorings at u.
        seen = np.where(
            self.ending > 0,
            np.searchsorted(at, self.time, side="left"),
            np.searchsorted(at, self.time, side="right"),
        )
        found = -drift[seen]
        left = self.ending == 0
        found[left] += (change / at_risk[:, None])[np.searchsorted(at, self.time[left])]
        return np.asarray(found)


def _from_zero(total: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(total[:1]), total])


def _to_zero(total: np.ndarray) -> np.ndarray:
    return np.concatenate([total, np.zeros_like(total[:1])])


def _table(
    rows: pd.DataFrame,
    event: np.ndarray,
    variables: Sequence[Variable],
    terms: Sequence[tuple[Variable, str]],
    beta: np.ndarray,
    error: np.ndarray,
    confidence: float,
) -> pd.DataFrame:
    place = {(term.name, level): index for index, (term, level) in enumerate(terms)}
    critical = stats.norm.ppf(0.5 + confidence / 2)
    found = []
    for variable in variables:
        for level in variable.levels or ("",):
            inside = np.ones(len(rows), bool)
            if level:
                inside = (rows[variable.name].astype(str) == level).to_numpy()
            index = place.get((variable.name, level))
            numbers: tuple[float, ...] = (0.0, np.nan, 1.0, np.nan, np.nan, np.nan, np.nan)
            if index is not None:
                b, se = float(beta[index]), float(error[index])
                ends = (b, b - critical * se, b + critical * se)
                ratios = (float(np.exp(value)) for value in ends)
                numbers = (b, se, *ratios, b / se, 2 * float(stats.norm.sf(abs(b / se))))
            found.append(
                (
                    variable.name,
                    variable.title,
                    level,
                    index is None,
                    "" if level else variable.step,
                    int(inside.sum()),
                    int((inside & event).sum()),
                    *numbers,
                    METHOD,
                )
            )
    return pd.DataFrame(found, columns=COLUMNS)
