"""Brier score and integrated Brier score, weighted for censoring, against the null model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import integrate

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.bootstrap import percentile_interval, samples
from qupath_hccmil.survival.statistics.ipcw import censoring
from qupath_hccmil.survival.statistics.kaplan_meier import incidences
from qupath_hccmil.survival.statistics.survival_outcome import outcome_by_cause


@dataclass(frozen=True)
class Brier:
    """Squared error of predicted risks.

    Attributes
    ----------
    table : DataFrame
        ``time, brier, lower, upper, null, scaled, scaled_lower, scaled_upper``; ``null`` is the
        error of the same risk for everybody (1 − Kaplan-Meier, or the cumulative incidence if
        events compete), ``scaled = 1 − brier / null``.
    integrated : dict
        ``from, to, brier, null, scaled``: means over time (trapezoidal rule).
    """

    table: pd.DataFrame
    integrated: dict[str, float]


def brier_scores(
    frame: pd.DataFrame,
    risk: np.ndarray,
    times: Sequence[float],
    horizons: Sequence[float] = (),
    *,
    cause: str | None = None,
    repeats: int = 0,
    seed: int = 0,
    confidence: float = 0.95,
) -> Brier:
    """Compute the Brier score at horizons, and integrated over a grid of times.

    Graf et al. 1999, Statistics in Medicine 18:2529: patients with an event up to ``t`` are
    weighted by ``1 / G(T-)``, those without by ``1 / G(t)``, and those censored before by 0. A
    competing event is an outcome that is known from then on: no event (Schoop et al. 2011,
    Biometrical Journal 53:88).

    Parameters
    ----------
    frame : DataFrame
        Columns ``time`` and ``event``, or the cause.
    risk : (n, times + horizons) float64
        Predicted risk of an event up to each time, then up to each horizon.
    times : sequence of float
        Grid of the integral, ascending.
    horizons : sequence of float
        Times of the rows of the table.
    cause : str, optional
        Column of how the follow-up ended if events compete: 0 censored, 1 the event, 2 a competing
        event. It is used instead of ``event``.
    repeats : int
        Bootstrap samples of patients for the intervals; 0 for none.
    """
    data = _Data(*outcome_by_cause(frame, cause, at_least=2))
    time = data.time
    every = np.array([*times, *horizons], float)
    risk = np.asarray(risk, float)
    if risk.shape != (len(time), len(every)):
        raise DataError(
            f"predicted risks have shape {risk.shape}, but need {(len(time), len(every))}"
        )
    model = _brier(data, risk, every)
    null = _null(data, every)
    drawn = []
    for sample in samples(data.event, repeats, seed):
        part = data.take(sample)
        again = _brier(part, risk[sample], every)
        drawn.append((again, _scaled(again, _null(part, every))))
    rows = []
    for index in range(len(times), len(every)):
        plain = percentile_interval(np.array([d[0][index] for d in drawn]), confidence)
        gain = percentile_interval(np.array([d[1][index] for d in drawn]), confidence)
        scaled = _scaled(model[index], null[index])
        rows.append((every[index], model[index], *plain, null[index], scaled, *gain))
    names = ["time", "brier", "lower", "upper", "null", "scaled", "scaled_lower", "scaled_upper"]
    return Brier(pd.DataFrame(rows, columns=names), _integrate(every[: len(times)], model, null))


def _integrate(times: np.ndarray, model: np.ndarray, null: np.ndarray) -> dict[str, float]:
    if len(times) < 2:
        return {}
    span = times[-1] - times[0]
    mean = float(integrate.trapezoid(model[: len(times)], times) / span)
    mean_null = float(integrate.trapezoid(null[: len(times)], times) / span)
    return {
        "from": float(times[0]),
        "to": float(times[-1]),
        "brier": mean,
        "null": mean_null,
        "scaled": float(_scaled(mean, mean_null)),
    }


def _scaled(model: np.ndarray | float, null: np.ndarray | float) -> np.ndarray:
    """Share of the null model's error that is removed; NaN before the first event, without one."""
    model, null = np.asarray(model, float), np.asarray(null, float)
    return 1 - np.divide(model, null, out=np.full_like(model, np.nan), where=null > 0)


@dataclass(frozen=True)
class _Data:
    time: np.ndarray
    event: np.ndarray
    competing: np.ndarray

    def take(self, rows: np.ndarray) -> _Data:
        return _Data(self.time[rows], self.event[rows], self.competing[rows])


def _brier(data: _Data, risk: np.ndarray, times: np.ndarray) -> np.ndarray:
    time, ended = data.time, data.event | data.competing
    free = censoring(time, ended)
    before = free.before(time)
    errors = np.full(len(times), np.nan)
    for index, at in enumerate(times):
        staying = free.at(at)
        if at > time.max() or staying <= 0:
            continue
        known, free_of_it = ended & (time <= at), time > at
        had = data.event & (time <= at)
        weight = np.where(known, 1 / before, 0.0) + free_of_it / staying
        errors[index] = float(np.mean(weight * (had - risk[:, index]) ** 2))
    return errors


def _null(data: _Data, times: np.ndarray) -> np.ndarray:
    common = incidences(data.time, data.event, data.competing, times)
    return _brier(data, np.broadcast_to(common, (len(data.time), len(times))), times)
