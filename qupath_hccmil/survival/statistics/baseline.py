"""The Cox baseline that turns a score into a probability of survival.

The sigmoid score is not the probability of an event by a certain time. ``S(t | x) = exp(-H0(t)
exp(b (x - c)))`` is a probability, with ``b`` and Efron's ``H0`` fitted on data that the baseline
names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.cox import refit
from qupath_hccmil.survival.statistics.partial_likelihood import RiskSets
from qupath_hccmil.survival.statistics.survival_outcome import numbers, outcome
from qupath_hccmil.tables.units import DAYS

FORMAT = "qupath-hccmil survival baseline 1"


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline.

    Attributes
    ----------
    name : str
        Name in reports of the data that it was fitted on.
    unit : str
        Unit of ``times``: days, months or years.
    coefficient : float
        Log hazard ratio per unit of the score.
    centre : float
        Score to which ``cumulative_hazard`` applies.
    times, cumulative_hazard : tuple of float
        Efron's estimate (as ``survfit(coxph(...))`` in R), with a step at each time.
    last : float
        Longest follow-up; nothing is known after it.
    patients, events : int
    """

    name: str
    unit: str
    coefficient: float
    centre: float
    times: tuple[float, ...]
    cumulative_hazard: tuple[float, ...]
    last: float
    patients: int
    events: int

    def survival(self, score: np.ndarray, time: float) -> np.ndarray:
        """Probability of no event up to ``time``, for scores of shape (n,)."""
        if time > self.last:
            raise DataError(
                f"baseline {self.name!r} ends at {self.last:.3g} {self.unit}, but "
                f"{time:g} was requested"
            )
        step = int(np.searchsorted(np.asarray(self.times), time, side="right"))
        hazard = self.cumulative_hazard[step - 1] if step else 0.0
        relative = np.exp(self.coefficient * (np.asarray(score, float) - self.centre))
        return np.exp(-hazard * relative)

    def to_json(self) -> str:
        """Return the text of a file that ``read_baseline`` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)


def fit_baseline(frame: pd.DataFrame, score: str, *, name: str, unit: str) -> Baseline:
    """Fit a Cox model with only the score, and Efron's baseline hazard.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event`` and the score.
    score : str
    name : str
        Name of these data in reports.
    unit : str
        Unit of ``time``.
    """
    time, event = outcome(frame, at_least=2)
    value = numbers(frame, score)
    centre, spread = float(value.mean()), float(value.std())
    if not event.any():
        raise DataError(f"none of {len(time)} patients has an event: no baseline can be fitted")
    if spread == 0:
        raise DataError(f"every patient has the score {value[0]:g}: no baseline can be fitted")
    # The score is centred and scaled to a spread of one for the fit, whatever its scale.
    column = ((value - centre) / spread)[:, None]
    beta = refit(time, event, column)
    moments = RiskSets(time, event, column).moments(beta)
    times, first = np.unique(moments.times, return_index=True)
    hazard = np.cumsum(np.add.reduceat(moments.hazards, first))
    return Baseline(
        name,
        unit,
        float(beta[0]) / spread,
        centre,
        tuple(times.tolist()),
        tuple(hazard.tolist()),
        float(time.max()),
        len(time),
        int(event.sum()),
    )


def read_baseline(path: str | Path) -> Baseline:
    """Read a baseline that an earlier analysis wrote."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if values.pop("format", None) != FORMAT:
            raise ValueError("it has another format")
        if values.get("unit") not in DAYS:
            raise ValueError(f"its unit {values.get('unit')!r} is not one of {', '.join(DAYS)}")
        values["times"] = tuple(values["times"])
        values["cumulative_hazard"] = tuple(values["cumulative_hazard"])
        return Baseline(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path}: is not a baseline ({error}); give a baseline.json that an earlier "
            "'qupath-hccmil survival' wrote"
        ) from error


def assigned_folds(event: np.ndarray, seed: int, folds: int = 10) -> np.ndarray:
    """Divide patients at random into folds that are balanced by event.

    Parameters
    ----------
    event : (n,) bool
    seed : int
    folds : int
        Fewer if there are fewer events.

    Returns
    -------
    (n,) int
        From 0.
    """
    folds = min(folds, int(event.sum()), len(event))
    if folds < 2:
        raise DataError("there are fewer than two events, so no baseline can be cross-fitted")
    generator = np.random.default_rng(seed)
    fold = np.empty(len(event), int)
    for rows in (np.flatnonzero(event), np.flatnonzero(~event)):
        fold[generator.permutation(rows)] = np.arange(len(rows)) % folds
    return fold


def cross_fitted(
    frame: pd.DataFrame,
    score: str,
    horizons: list[float],
    *,
    folds: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Probability of survival of each patient from a baseline fitted on the other folds.

    Folds are balanced by event. A baseline that is evaluated on the very patients that it was
    fitted on is calibrated by construction; this one is not.

    Returns
    -------
    (n, horizons) float64
        NaN if the other folds are not followed to the horizon.
    """
    _, event = outcome(frame, at_least=2)
    value = numbers(frame, score)
    fold = assigned_folds(event, seed, folds)
    predicted = np.full((len(event), len(horizons)), np.nan)
    for number in np.unique(fold):
        test = fold == number
        fitted = fit_baseline(frame[~test], score, name="other folds", unit="")
        for column, horizon in enumerate(horizons):
            if horizon <= fitted.last:
                predicted[test, column] = fitted.survival(value[test], horizon)
    return predicted
