"""Calibration of predicted risks at a horizon: in the large, slope, smoothed curve and ICI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.bootstrap import percentile_interval, samples
from qupath_hccmil.survival.statistics.competing_risks import cumulative_incidence, incidence_at
from qupath_hccmil.survival.statistics.cox import CoxFit, fit_cox, refit
from qupath_hccmil.survival.statistics.fine_gray import (
    OTHER,
    FineGrayFit,
    Subdistribution,
    fit_fine_gray,
    refit_fine_gray,
)
from qupath_hccmil.survival.statistics.kaplan_meier import at_horizons, curves
from qupath_hccmil.survival.statistics.partial_likelihood import RiskSets
from qupath_hccmil.survival.statistics.survival_outcome import (
    EVENT,
    TIME,
    numbers,
    outcome_by_cause,
)
from qupath_hccmil.survival.statistics.variables import Variable

KNOTS = (0.1, 0.5, 0.9)  # Harrell 2015, table 2.3, for three knots
GROUPS = 5
GRID = 60
ENDING = "ending"


@dataclass(frozen=True)
class Calibration:
    """Agreement of predicted risks at one horizon with the observed outcomes.

    Attributes
    ----------
    summary : DataFrame
        One row per quantity: ``quantity, estimate, lower, upper``.
    curve : DataFrame
        ``predicted, observed, lower, upper``: the smoothed curve over the range of predictions.
    groups : DataFrame
        ``group, patients, predicted, observed, lower, upper``: fifths by predicted risk.
    horizon : float
    risks : (n,) float64
        The predictions.
    """

    summary: pd.DataFrame
    curve: pd.DataFrame
    groups: pd.DataFrame
    horizon: float
    risks: np.ndarray


def calibration(
    frame: pd.DataFrame,
    predicted: str,
    horizon: float,
    *,
    cause: str | None = None,
    repeats: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Calibration:
    """Assess the calibration of predicted risks of an event up to the horizon.

    In the large: observed (1 − Kaplan-Meier) over mean predicted risk, the interval from
    Greenwood's variance on the log scale. Slope: the coefficient of the complementary log-log of
    the prediction in a Cox model whose follow-up ends at the horizon (McLernon et al. 2023, Annals
    of Internal Medicine 176:105). Curve, ICI, E50, E90 and Emax: a Cox model on restricted cubic
    splines (three knots) of the same, with Efron's baseline (Austin, Harrell and van Klaveren
    2020, Statistics in Medicine 39:2714).

    With competing events, the observed risk is the cumulative incidence, and slope and curve come
    from Fine and Gray's model instead of Cox's (van Geloven et al. 2022, BMJ 377:e069249; Austin et
    al. 2022, Diagnostic and Prognostic Research 6:2).

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event`` (or the cause) and ``predicted``.
    predicted : str
        Column of the risk, strictly between 0 and 1.
    horizon : float
        Within follow-up.
    cause : str, optional
        Column of how the follow-up ended if events compete: 0 censored, 1 the event, 2 a competing
        event. It is used instead of ``event``.
    repeats : int
        Bootstrap samples for the intervals of curve, ICI, E50, E90 and Emax; 0 for none.
    """
    time, event, competing = outcome_by_cause(frame, cause, at_least=2)
    risk = numbers(frame, predicted)
    if ((risk <= 0) | (risk >= 1)).any():
        raise DataError(f"column {predicted!r}: a predicted risk must lie between 0 and 1")
    if horizon > time.max():
        raise DataError(f"horizon {horizon:g} is after the last follow-up ({time.max():.3g})")
    if not (event & (time <= horizon)).any():
        raise DataError(f"there is no event up to the horizon {horizon:g} to calibrate against")
    ended = pd.DataFrame(
        {
            TIME: np.minimum(time, horizon),
            EVENT: (event & (time <= horizon)).astype(int),
            "risk": risk,
            "link": np.log(-np.log1p(-risk)),
        }
    )
    if cause is not None:
        ended[ENDING] = np.where(time <= horizon, event + OTHER * competing, 0)
    observe = partial(_observed_risk, horizon=horizon, cause=cause, confidence=confidence)
    smooth = _smooth(ended, _knots(ended["link"].to_numpy()))
    low, high = np.quantile(risk, [0.01, 0.99])
    grid = np.linspace(low, high, GRID)
    at_grid, gaps = _observed(smooth, grid), _gaps(ended, smooth)
    drawn_curve, drawn_gaps = [], []
    for sample in samples(ended[EVENT].to_numpy(bool), repeats, seed):
        part = ended.iloc[sample]
        again = _smooth(part, smooth.knots)
        drawn_curve.append(_observed(again, grid))
        drawn_gaps.append(_gaps(part, again))
    curve = pd.DataFrame({"predicted": grid, "observed": at_grid})
    bands = [percentile_interval(column, confidence) for column in _columns(drawn_curve, GRID)]
    curve[["lower", "upper"]] = bands
    spans = [percentile_interval(column, confidence) for column in _columns(drawn_gaps, 4)]
    summary = [
        *_in_the_large(observe(frame), float(risk.mean()), confidence),
        *_slope(ended, confidence),
        *((name, gap, *span) for name, gap, span in zip(_GAPS, gaps, spans, strict=True)),
    ]
    return Calibration(
        pd.DataFrame(summary, columns=["quantity", "estimate", "lower", "upper"]),
        curve,
        _by_fifths(frame, risk, observe),
        horizon,
        risk,
    )


def spline_basis(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Restricted cubic spline: the value itself, and one more column per knot beyond two.

    Harrell 2015, eq. 2.25, scaled by the squared range of the knots.

    Returns
    -------
    (n, knots - 1) float64; one column when there are fewer than three knots
    """
    columns = [values]
    if len(knots) >= 3:
        last, before = knots[-1], knots[-2]
        for knot in knots[:-2]:
            column = (
                _cube(values - knot)
                - _cube(values - before) * (last - knot) / (last - before)
                + _cube(values - last) * (before - knot) / (last - before)
            )
            columns.append(column / (last - knots[0]) ** 2)
    return np.column_stack(columns)


_GAPS = ("ICI", "E50", "E90", "Emax")


@dataclass(frozen=True)
class _Smooth:
    knots: np.ndarray
    coefficients: np.ndarray
    log_hazard: float


def _cube(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0) ** 3


def _knots(link: np.ndarray) -> np.ndarray:
    knots = np.unique(np.quantile(link, KNOTS))
    # With so few different predictions, only a straight line can be fitted.
    return knots if len(knots) == len(KNOTS) else np.empty(0)


def _smooth(ended: pd.DataFrame, knots: np.ndarray) -> _Smooth:
    basis = spline_basis(ended["link"].to_numpy(), knots)
    time, event = ended[TIME].to_numpy(float), ended[EVENT].to_numpy(bool)
    if ENDING in ended.columns:
        model = Subdistribution(time, ended[ENDING].to_numpy(int), basis)
        coefficients = refit_fine_gray(model)
        hazard = float(model.hazards(coefficients).sum())
    else:
        coefficients = refit(time, event, basis)
        hazard = float(RiskSets(time, event, basis).moments(coefficients).hazards.sum())
    centre = float(basis.mean(axis=0) @ coefficients)
    return _Smooth(knots, coefficients, float(np.log(hazard)) - centre)


def _observed(smooth: _Smooth, risk: np.ndarray) -> np.ndarray:
    basis = spline_basis(np.log(-np.log1p(-risk)), smooth.knots)
    return -np.expm1(-np.exp(basis @ smooth.coefficients + smooth.log_hazard))


def _gaps(ended: pd.DataFrame, smooth: _Smooth) -> np.ndarray:
    risk = ended["risk"].to_numpy()
    gap = np.abs(_observed(smooth, risk) - risk)
    return np.array([gap.mean(), np.median(gap), np.quantile(gap, 0.9), gap.max()])


def _columns(drawn: list[np.ndarray], count: int) -> list[np.ndarray]:
    return list(np.array(drawn).T) if drawn else [np.empty(0)] * count


def _observed_risk(
    frame: pd.DataFrame, horizon: float, cause: str | None, confidence: float
) -> tuple[float, float, float, float]:
    """Risk of an event up to the horizon, its standard error and interval."""
    if cause is None:
        at = at_horizons(frame, [horizon], confidence=confidence).iloc[0]
        error = _greenwood(frame, horizon)
        return 1 - at["survival"], error, 1 - at["upper"], 1 - at["lower"]
    coded = frame.assign(**{EVENT: frame[cause]})
    table = cumulative_incidence(coded, {1: "event", OTHER: "other"}, confidence=confidence)
    row = incidence_at(table[table["cause"] == "event"], [horizon]).iloc[0]
    return row["incidence"], row["se"], row["lower"], row["upper"]


def _in_the_large(
    seen: tuple[float, float, float, float], expected: float, confidence: float
) -> list[tuple[str, float, float, float]]:
    observed, error, low, high = seen
    wide = stats.norm.ppf(0.5 + confidence / 2) * error / observed
    ratio = observed / expected
    return [
        ("Observed risk", observed, low, high),
        ("Mean predicted risk", expected, np.nan, np.nan),
        ("Observed / expected", ratio, ratio * np.exp(-wide), ratio * np.exp(wide)),
    ]


def _greenwood(frame: pd.DataFrame, horizon: float) -> float:
    """Find the standard error of the Kaplan-Meier estimate at the horizon."""
    curve = curves(frame)
    curve = curve[curve["time"] <= horizon]
    at_risk, events = curve["at_risk"].to_numpy(float), curve["events"].to_numpy(float)
    left = at_risk - events
    terms = np.divide(events, at_risk * left, out=np.zeros_like(left), where=left > 0)
    return float(curve["survival"].iloc[-1] * np.sqrt(terms.sum()))


def _slope(ended: pd.DataFrame, confidence: float) -> list[tuple[str, float, float, float]]:
    if ended["link"].nunique() < 2:
        return [("Calibration slope", np.nan, np.nan, np.nan)]
    link = [Variable("link", "numeric")]
    fit: CoxFit | FineGrayFit
    if ENDING in ended.columns:
        fit = fit_fine_gray(ended, link, ENDING, confidence=confidence)
    else:
        fit = fit_cox(ended, link, confidence=confidence)
    row = fit.table.iloc[0]
    return [
        (
            "Calibration slope",
            fit.coefficients[0],
            float(np.log(row["lower"])),
            float(np.log(row["upper"])),
        )
    ]


def _by_fifths(
    frame: pd.DataFrame,
    risk: np.ndarray,
    observe: Callable[[pd.DataFrame], tuple[float, float, float, float]],
) -> pd.DataFrame:
    edges = np.unique(np.quantile(risk, np.linspace(0, 1, GROUPS + 1)[1:-1]))
    group = np.searchsorted(edges, risk, side="left")
    rows = []
    for number in np.unique(group):
        inside = group == number
        observed, _, low, high = observe(frame[inside])
        predicted = float(risk[inside].mean())
        rows.append((int(number) + 1, int(inside.sum()), predicted, observed, low, high))
    return pd.DataFrame(
        rows, columns=["group", "patients", "predicted", "observed", "lower", "upper"]
    )
