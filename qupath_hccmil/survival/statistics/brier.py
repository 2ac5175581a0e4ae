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
from qupath_hccmil.survival.statistics.kaplan_meier import curves
from qupath_hccmil.survival.statistics.survival_outcome import outcome


@dataclass(frozen=True)
class Brier:
    """Squared error of predicted risks.

    Attributes
    ----------
    table : DataFrame
        ``time, brier, lower, upper, null, scaled, scaled_lower, scaled_upper``; ``null`` is the
        error of the same Kaplan-Meier estimate for everybody, ``scaled = 1 − brier / null``.
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
    repeats: int = 0,
    seed: int = 0,
    confidence: float = 0.95,
) -> Brier:
    """Compute the Brier score at horizons, and integrated over a grid of times.

    Graf et al. 1999, Statistics in Medicine 18:2529: patients with an event up to ``t`` are
    weighted by ``1 / G(T-)``, those without by ``1 / G(t)``, and those censored before by 0.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time`` and ``event``.
    risk : (n, times + horizons) float64
        Predicted risk of an event up to each time, then up to each horizon.
    times : sequence of float
        Grid of the integral, ascending.
    horizons : sequence of float
        Times of the rows of the table.
    repeats : int
        Bootstrap samples of patients for the intervals; 0 for none.
    """
    time, event = outcome(frame, at_least=2)
    every = np.array([*times, *horizons], float)
    risk = np.asarray(risk, float)
    if risk.shape != (len(time), len(every)):
        raise DataError(
            f"predicted risks have shape {risk.shape}, but need {(len(time), len(every))}"
        )
    model = _brier(time, event, risk, every)
    null = _null(frame, time, event, every)
    drawn = []
    for sample in samples(event, repeats, seed):
        part = frame.iloc[sample]
        again = _brier(time[sample], event[sample], risk[sample], every)
        drawn.append((again, 1 - again / _null(part, time[sample], event[sample], every)))
    rows = []
    for index in range(len(times), len(every)):
        plain = percentile_interval(np.array([d[0][index] for d in drawn]), confidence)
        gain = percentile_interval(np.array([d[1][index] for d in drawn]), confidence)
        scaled = 1 - model[index] / null[index]
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
        "scaled": 1 - mean / mean_null,
    }


def _brier(time: np.ndarray, event: np.ndarray, risk: np.ndarray, times: np.ndarray) -> np.ndarray:
    free = censoring(time, event)
    before = free.before(time)
    errors = np.full(len(times), np.nan)
    for index, at in enumerate(times):
        staying = free.at(at)
        if at > time.max() or staying <= 0:
            continue
        had, free_of_it = event & (time <= at), time > at
        weight = np.where(had, 1 / before, 0.0) + free_of_it / staying
        errors[index] = float(np.mean(weight * (had - risk[:, index]) ** 2))
    return errors


def _null(
    frame: pd.DataFrame, time: np.ndarray, event: np.ndarray, times: np.ndarray
) -> np.ndarray:
    curve = curves(frame)
    at = np.searchsorted(curve["time"].to_numpy(), times, side="right") - 1
    common = 1 - curve["survival"].to_numpy()[at]
    return _brier(time, event, np.broadcast_to(common, (len(time), len(times))), times)
