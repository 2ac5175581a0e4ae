"""Harrell's and Uno's C of the score and of the clinical model, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qupath_hccmil.method.bootstrap import percentile_interval, samples
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.survival.statistics.c_index import uno_weight
from qupath_hccmil.survival.statistics.cox import refit
from qupath_hccmil.survival.statistics.survival_outcome import complete, numbers, outcome
from qupath_hccmil.survival.statistics.variables import (
    Variable,
    design,
    present_levels,
    weighed_sum,
)

SCORE = "Score"
CLINICAL = "Clinical model"
COMBINED = "Clinical model + score"
HARRELL = "Harrell's C"
UNO = "Uno's C"


@dataclass(frozen=True)
class Discrimination:
    """Concordance of the score and of models that are fitted on the same patients.

    Attributes
    ----------
    table : DataFrame
        ``model, statistic, tau, patients, events, apparent, optimism, estimate, lower, upper``.
        The apparent performance of a fitted model is optimistic; ``estimate`` is ``apparent`` minus
        the ``optimism`` from the bootstrap (Harrell, Lee and Mark 1996), with its interval shifted
        by the same amount (Noma et al. 2021). The score is not fitted here, so its optimism is 0.
    differences : DataFrame
        ``comparison, statistic, tau, difference, lower, upper`` for the corrected estimates.
    repeats : int
        Number of bootstrap samples.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    repeats: int


def discrimination(
    frame: pd.DataFrame,
    score: str,
    clinical: Sequence[Variable],
    tau: float,
    *,
    repeats: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Discrimination:
    """Concordance of the score alone, of the clinical model, and of both together.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event``, the score and the clinical variables. Patients without a value
        are left out of all three, so that they are compared on the same patients.
    score : str
        Column of the score; higher means higher risk.
    clinical : sequence of Variable
        Variables of the clinical model; empty for the score alone.
    tau : float
        Uno's C uses events up to this time.
    repeats : int
        Bootstrap samples of patients; 0 for no intervals and no correction.
    """
    rows = complete(frame, [score, *(variable.name for variable in clinical)])
    models = _Models(rows, score, clinical, tau)
    apparent = models.concordances()
    drawn = np.full((repeats, *apparent.shape), np.nan)
    optimism = np.zeros((repeats, *apparent.shape))
    for index, sample in enumerate(samples(models.event, repeats, seed)):
        drawn[index], optimism[index] = models.resampled(sample)
    bias = optimism.mean(axis=0) if repeats else np.zeros_like(apparent)
    return Discrimination(
        _table(models, apparent, bias, drawn, confidence),
        _differences(models, apparent - bias, drawn - bias, confidence),
        repeats,
    )


class _Models:
    def __init__(
        self,
        rows: pd.DataFrame,
        score: str,
        clinical: Sequence[Variable],
        tau: float,
    ) -> None:
        self.tau = tau
        self.time, self.event = outcome(rows, at_least=2)
        self.score = numbers(rows, score)
        # The columns of each model; the score by itself is not fitted.
        self.models: list[tuple[str, np.ndarray | None]] = [(SCORE, None)]
        columns, _ = design(rows, present_levels(rows, clinical))
        if columns.shape[1]:
            values = _standardised(columns.to_numpy(float))
            both = np.column_stack([values, _standardised(self.score[:, None])])
            self.models += [(CLINICAL, values), (COMBINED, both)]

    def concordances(self) -> np.ndarray:
        """Harrell's and Uno's C of each model in all patients, shape (models, 2)."""
        everyone = np.arange(len(self.time))
        fits = [self._predict(everyone, columns) for _, columns in self.models]
        return np.array([self._both(self.time, self.event, predict) for predict in fits])

    def resampled(self, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute C in a sample, and how much better it is there than in all patients."""
        inside, outside = [], []
        for _, columns in self.models:
            predicted = self._predict(sample, columns)
            inside.append(self._both(self.time[sample], self.event[sample], predicted[sample]))
            outside.append(self._both(self.time, self.event, predicted))
        gain = np.array(inside) - np.array(outside)
        gain[0] = 0.0
        return np.array(inside), gain

    def _predict(self, sample: np.ndarray, columns: np.ndarray | None) -> np.ndarray:
        if columns is None:
            return self.score
        return weighed_sum(columns, refit(self.time[sample], self.event[sample], columns[sample]))

    def _both(
        self, time: np.ndarray, event: np.ndarray, predicted: np.ndarray
    ) -> tuple[float, float]:
        return (
            concordance(time, event, predicted),
            concordance(time, event, predicted, uno_weight(time, event, self.tau)),
        )


def _standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / np.where(values.std(axis=0) > 0, values.std(axis=0), 1)


def _table(
    models: _Models,
    apparent: np.ndarray,
    bias: np.ndarray,
    drawn: np.ndarray,
    confidence: float,
) -> pd.DataFrame:
    rows = []
    for index, (name, _) in enumerate(models.models):
        for column, statistic in enumerate((HARRELL, UNO)):
            low, high = percentile_interval(drawn[:, index, column], confidence)
            shift = bias[index, column]
            rows.append(
                (
                    name,
                    statistic,
                    models.tau if column else np.nan,
                    len(models.time),
                    int(models.event.sum()),
                    apparent[index, column],
                    shift,
                    apparent[index, column] - shift,
                    low - shift,
                    high - shift,
                )
            )
    names = [
        "model", "statistic", "tau", "patients", "events", "apparent", "optimism", "estimate",
        "lower", "upper",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _differences(
    models: _Models, corrected: np.ndarray, drawn: np.ndarray, confidence: float
) -> pd.DataFrame:
    rows = []
    pairs = [(0, 1), (2, 1)] if len(models.models) > 1 else []
    for first, second in pairs:
        name = f"{models.models[first][0]} − {models.models[second][0].lower()}"
        for column, statistic in enumerate((HARRELL, UNO)):
            gap = corrected[first, column] - corrected[second, column]
            low, high = percentile_interval(
                drawn[:, first, column] - drawn[:, second, column], confidence
            )
            tau = models.tau if column else np.nan
            rows.append((name, statistic, tau, gap, low, high))
    return pd.DataFrame(
        rows, columns=["comparison", "statistic", "tau", "difference", "lower", "upper"]
    )
