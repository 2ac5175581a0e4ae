"""AUC over time, concordance, and the predicted risks with their calibration and usefulness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from qupath_hccmil.plain_words import count_of
from qupath_hccmil.survival.analysis_cohort import SCORE
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import (
    CLINICAL_MODEL,
    SCORE_NAME,
    CompetingPerformance,
    Performance,
)
from qupath_hccmil.survival.statistics.auc import auc_over_time, clinical_times
from qupath_hccmil.survival.statistics.baseline import cross_fitted, fit_baseline, read_baseline
from qupath_hccmil.survival.statistics.brier import brier_scores
from qupath_hccmil.survival.statistics.cox import fit_cox
from qupath_hccmil.survival.statistics.decision_curve import net_benefit
from qupath_hccmil.survival.statistics.discrimination import SCORE as SCORE_ALONE
from qupath_hccmil.survival.statistics.discrimination import Discrimination, discrimination
from qupath_hccmil.survival.statistics.horizon_calibration import calibration
from qupath_hccmil.survival.statistics.survival_outcome import (
    ENTRY,
    EVENT,
    TIME,
    complete,
    outcome,
)
from qupath_hccmil.survival.statistics.variables import Variable
from qupath_hccmil.survival.step_within_folds import within_folds_step
from qupath_hccmil.tables.units import DAYS

# Times of an AUC curve, and the number of patients above which it is coarser.
FINE, COARSE, MANY = 25, 12, 20_000


def performance_step(context: AnalysisContext) -> Performance:
    """Measure the discrimination of the score and the calibration of its risks."""
    found = Performance()
    if ENTRY in context.frame.columns:
        context.problems.append((
            "Discrimination and predicted risks",
            "are not estimated with delayed entry, because their weights assume that everybody is "
            "followed from time zero",
        ))  # fmt: skip
        return found
    if context.cohort.folds is not None:
        found.within_folds = within_folds_step(context, _models(context))
        return found
    context.attempt("AUC over time", lambda: _auc(context, found))
    found.discrimination = context.attempt(
        "Discrimination", partial(_discrimination, context, context.clinical)
    )
    found.score_alone = context.attempt(
        "Discrimination of the score", partial(_alone, context, found)
    )
    risks = _risks(context, found)
    if risks is not None:
        grid, predicted = risks
        _calibrate(context, found, grid, predicted)
    return found


def _auc(context: AnalysisContext, found: Performance) -> None:
    last = max(context.horizons)
    points = FINE if len(context.frame) < MANY else COARSE
    grid = clinical_times(context.frame, last, points)
    # A point of the grid very close to a horizon would only look like a kink.
    apart = np.abs(grid[:, None] - np.asarray(context.horizons)).min(axis=1)
    near = (grid[1] - grid[0]) / 2 if last > grid[0] else 0.0
    times = np.union1d(grid[apart > near], context.horizons)
    alone = _markers(
        context, context.frame, {SCORE_NAME: context.frame[SCORE].to_numpy(float)}, times
    )
    tables, gaps = [alone[0]], []
    for name, variables in _models(context):
        rows = complete(context.frame, [variable.name for variable in variables])
        fit = context.attempt(
            f"AUC over time of {name}",
            partial(fit_cox, rows, variables, penalty=context.settings.penalty),
        )
        if fit is None:
            continue
        markers = {
            SCORE_NAME: rows[SCORE].to_numpy(float),
            name: fit.linear_predictor(rows),
        }
        table, gap = _markers(context, rows, markers, times)
        same = table[table["marker"] == SCORE_NAME].set_index("time")
        tables.append(table[table["marker"] == name].assign(patients=len(rows)))
        gaps.append(
            gap.assign(patients=len(rows), score_auc=gap["time"].map(same["auc"]).to_numpy(float))
        )
    tables[0] = tables[0].assign(patients=len(context.frame))
    curve = pd.concat(tables, ignore_index=True)
    found.auc_curve = curve
    found.auc = curve[curve["time"].isin(context.horizons)].reset_index(drop=True)
    if gaps:
        every = pd.concat(gaps, ignore_index=True)
        found.auc_differences = every[every["time"].isin(context.horizons)].reset_index(drop=True)


def _models(context: AnalysisContext) -> list[tuple[str, list[Variable]]]:
    models = [(variable.title, [variable]) for variable in context.clinical]
    if len(context.clinical) > 1:
        models.append((CLINICAL_MODEL, context.clinical))
    return models


def _markers(
    context: AnalysisContext, rows: pd.DataFrame, markers: dict[str, np.ndarray], times: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.DataFrame({TIME: rows[TIME], EVENT: rows[EVENT]}).assign(
        **{f"m{index}": values for index, values in enumerate(markers.values())}
    )
    names = dict(zip((f"m{index}" for index in range(len(markers))), markers, strict=True))
    found = auc_over_time(
        table,
        list(names),
        times.tolist(),
        confidence=context.confidence,
        seed=context.settings.seed,
    )
    gap = found.differences.replace({"marker": names, "reference": names})
    return found.table.replace({"marker": names}), gap


def _alone(context: AnalysisContext, found: Performance) -> Discrimination:
    """C of the score in all patients, including those who lack a clinical variable."""
    compared = found.discrimination
    if compared is not None and int(compared.table["patients"].iloc[0]) == len(context.frame):
        rows = compared.table[compared.table["model"] == SCORE_ALONE]
        return replace(compared, table=rows, differences=compared.differences.iloc[:0])
    return _discrimination(context, [])


def _discrimination(context: AnalysisContext, clinical: list[Variable]) -> Discrimination:
    return discrimination(
        context.frame,
        SCORE,
        clinical,
        max(context.horizons),
        repeats=context.settings.bootstrap,
        seed=context.settings.seed,
        confidence=context.confidence,
    )


def _risks(context: AnalysisContext, found: Performance) -> tuple[np.ndarray, np.ndarray] | None:
    time, event = outcome(context.frame)
    last = max(context.horizons)
    first = min(float(np.quantile(time[event], 0.1)), last / 2)
    grid = np.unique(np.linspace(first, last, 40))
    every = [*grid.tolist(), *context.horizons]
    value = context.frame[SCORE].to_numpy(float)
    if context.settings.baseline:
        found.baseline = read_baseline(context.settings.baseline)
        scale = DAYS[context.cohort.unit] / DAYS[found.baseline.unit]
        given = found.baseline
        found.baseline_told = f"the baseline fitted on “{given.name}” ({given.patients} patients)"
        survival = context.attempt(
            "Predicted risks",
            lambda: np.column_stack(
                [
                    given.survival(value, at * scale)
                    if at * scale <= given.last
                    else np.full(len(value), np.nan)
                    for at in every
                ]
            ),
        )
    else:
        found.baseline = context.attempt(
            "Baseline",
            lambda: fit_baseline(
                context.frame, SCORE, name=_data_name(context), unit=context.cohort.unit
            ),
        )
        found.baseline_told = (
            "a Cox baseline fitted on these patients, each predicted by the baseline of the "
            "other nine tenths (10-fold cross-fitting)"
        )
        survival = context.attempt(
            "Predicted risks",
            lambda: cross_fitted(context.frame, SCORE, every, seed=context.settings.seed),
        )
    if survival is None:
        return None
    return grid, np.clip(1 - survival, 1e-9, 1 - 1e-9)


def _data_name(context: AnalysisContext) -> str:
    files = ", ".join(context.cohort.hashes)
    return f"{len(context.frame)} patients of {files}"


def judge_at_horizons(
    context: AnalysisContext,
    found: Performance | CompetingPerformance,
    risks: Mapping[float, np.ndarray],
    cause: str | None = None,
) -> None:
    """Add calibration and decision curve of predicted risks; a part that fails costs only itself.

    Parameters
    ----------
    context : AnalysisContext
    found : Performance or CompetingPerformance
        Gets the results.
    risks : mapping of float to (n,) float64
        Predicted risk of each patient by horizon.
    cause : str, optional
        Column of how the follow-up ended, if events compete.
    """
    settings = context.settings
    words = " with competing events" if cause else ""
    benefits = []
    for horizon, risk in risks.items():
        when = f"{words} at {horizon:g} ({context.cohort.unit})"
        table = context.frame.assign(risk__=risk)
        one = context.attempt(
            f"Calibration{when}",
            partial(
                calibration,
                table,
                "risk__",
                horizon,
                cause=cause,
                repeats=settings.bootstrap,
                seed=settings.seed,
                confidence=context.confidence,
            ),
        )
        if one is not None:
            found.calibrations.append(one)
        thresholds = thresholds_of(table["risk__"])
        benefit = context.attempt(
            f"Decision curve{when}",
            partial(net_benefit, table, "risk__", horizon, thresholds, cause=cause),
        )
        if benefit is not None:
            benefits.append(benefit.assign(horizon=horizon))
    if benefits:
        found.net_benefit = pd.concat(benefits, ignore_index=True)


def _calibrate(
    context: AnalysisContext, found: Performance, grid: np.ndarray, risks: np.ndarray
) -> None:
    settings = context.settings
    grid, risks, horizons = _where_predicted(context, grid, risks)
    at_horizons = {horizon: risks[:, len(grid) + k] for k, horizon in enumerate(horizons)}
    judge_at_horizons(context, found, at_horizons)
    if not horizons:
        return
    found.brier = context.attempt(
        "Brier score",
        lambda: brier_scores(
            context.frame,
            risks,
            grid.tolist(),
            horizons,
            repeats=settings.bootstrap,
            seed=settings.seed,
            confidence=context.confidence,
        ),
    )


def _where_predicted(
    context: AnalysisContext, grid: np.ndarray, risks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Leave out times at which somebody has no prediction, with a problem for each horizon."""
    known = np.isfinite(risks).all(axis=0)
    horizons = []
    for place, horizon in enumerate(context.horizons, start=len(grid)):
        if known[place]:
            horizons.append(horizon)
            continue
        count = int((~np.isfinite(risks[:, place])).sum())
        context.problems.append(
            (
                f"Predicted risks at {horizon:g} ({context.cohort.unit})",
                f"no prediction for {count_of(count, 'patient')}, because the patients that the "
                "baseline was fitted on were not followed for long enough",
            )
        )
    return grid[known[: len(grid)]], risks[:, known], tuple(horizons)


def thresholds_of(risk: pd.Series) -> list[float]:
    """Thresholds from 0.02 to the highest risk that anybody has."""
    top = min(0.98, float(risk.quantile(0.995)))
    return [round(value, 2) for value in np.arange(0.02, max(top, 0.04) + 0.01, 0.02)]
