"""Concordance and AUC(t) of scores out of fold, from pairs of patients of one fold only."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis_cohort import SCORE
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import SCORE_NAME, WithinFolds
from qupath_hccmil.survival.statistics.auc import clinical_times
from qupath_hccmil.survival.statistics.cox import fit_cox
from qupath_hccmil.survival.statistics.survival_outcome import STRATUM, complete, outcome
from qupath_hccmil.survival.statistics.variables import Variable
from qupath_hccmil.survival.statistics.within_folds import (
    FoldOutcomes,
    auc_curve,
    compare_within_folds,
    concordance_by_fold,
)

POINTS = 20
"""Times of the curve of AUC(t)."""


def within_folds_step(
    context: AnalysisContext, models: list[tuple[str, list[Variable]]]
) -> WithinFolds | None:
    """Compare the score, and each model of clinical variables, within folds.

    Parameters
    ----------
    context : AnalysisContext
        Of a cohort whose scores are out of fold.
    models : list of (str, list of Variable)
        Each is fitted on all patients who have its variables, with a baseline hazard for each fold.
    """
    context.problems.append((
        "Predicted risks (calibration, Brier score, decision curve)",
        "are not estimated from scores out of fold: a probability needs, for each fold, a baseline "
        "fitted on the scores that the fold's model gave to other patients, which the table does "
        "not have; 'train mil --judge' makes and judges them",
    ))  # fmt: skip
    found = context.attempt("Concordance within folds", partial(_compared, context, models))
    if found is not None:
        found.curve = context.attempt("AUC over time within folds", partial(_curve, context))
    return found


def fold_outcomes(rows: pd.DataFrame) -> FoldOutcomes:
    """Outcomes and folds of patients as arrays of one repeat."""
    time, event = outcome(rows, delayed=True)
    fold = pd.factorize(rows[STRATUM], sort=True)[0]
    return FoldOutcomes(time[None], event[None], fold[None])


def _compared(context: AnalysisContext, models: list[tuple[str, list[Variable]]]) -> WithinFolds:
    frame, folds = context.frame, context.cohort.folds
    if folds is not None and not folds.table["pairs"].any():
        raise DataError("in no fold are there two patients whose order is known")
    alone = _statistics(context, frame, {SCORE_NAME: frame[SCORE].to_numpy(float)})
    tables, gaps = [alone[0]], []
    for name, variables in models:
        rows = complete(frame, [variable.name for variable in variables])
        fit = context.attempt(
            f"Concordance within folds of {name}",
            partial(fit_cox, rows, variables, penalty=context.settings.penalty),
        )
        if fit is None:
            continue
        markers = {SCORE_NAME: rows[SCORE].to_numpy(float), name: fit.linear_predictor(rows)}
        table, gap = _statistics(context, rows, markers)
        tables.append(table[table["marker"] == name])
        gaps.append(gap)
    each = concordance_by_fold(fold_outcomes(frame), frame[SCORE].to_numpy(float)[None])[0]
    names = sorted(frame[STRATUM].unique())
    by_name = {name: each[number] for number, name in enumerate(names)}
    return WithinFolds(
        pd.concat(tables, ignore_index=True),
        pd.concat(gaps, ignore_index=True) if gaps else None,
        by_name,
    )


def _statistics(
    context: AnalysisContext, rows: pd.DataFrame, markers: dict[str, np.ndarray]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    settings = context.settings
    found = compare_within_folds(
        fold_outcomes(rows),
        {name: values[None] for name, values in markers.items()},
        context.horizons,
        repeats=settings.bootstrap,
        seed=settings.seed,
        confidence=context.confidence,
    )
    return found.table, found.differences.assign(patients=len(rows))


def _curve(context: AnalysisContext) -> pd.DataFrame:
    frame, settings = context.frame, context.settings
    times = np.union1d(
        clinical_times(frame.drop(columns=STRATUM), max(context.horizons), POINTS), context.horizons
    )
    return auc_curve(
        fold_outcomes(frame),
        {SCORE_NAME: frame[SCORE].to_numpy(float)[None]},
        times.tolist(),
        repeats=settings.bootstrap,
        seed=settings.seed,
        confidence=context.confidence,
    )
