"""Competing risks: incidence, tests, both kinds of hazard, and predicted risks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from qupath_hccmil.survival.analysis_cohort import CAUSE, GROUP, SCORE
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import (
    CLINICAL_MODEL,
    SCORE_NAME,
    Competing,
    CompetingPerformance,
)
from qupath_hccmil.survival.statistics.auc import TimeAuc, auc_over_time
from qupath_hccmil.survival.statistics.brier import brier_scores
from qupath_hccmil.survival.statistics.competing_risks import (
    cause_specific,
    cumulative_incidence,
    incidence_at,
)
from qupath_hccmil.survival.statistics.fine_gray import cross_fitted_risks, fit_fine_gray
from qupath_hccmil.survival.statistics.gray_test import gray_test
from qupath_hccmil.survival.statistics.survival_outcome import ENTRY, EVENT, complete
from qupath_hccmil.survival.statistics.variables import Variable
from qupath_hccmil.survival.step_performance import judge_at_horizons

GRID = 40  # times of the integrated Brier score


def competing_step(context: AnalysisContext) -> Competing:
    """Estimate incidence and hazards of both causes, and the risks that follow from the score."""
    causes = {1: context.settings.endpoint or "Event", 2: context.settings.competing_name}
    frame = context.frame.assign(**{EVENT: context.frame[CAUSE]})
    table = pd.concat(
        [
            cumulative_incidence(frame, causes, confidence=context.confidence),
            cumulative_incidence(frame, causes, GROUP, confidence=context.confidence),
        ],
        ignore_index=True,
    )
    several = len(context.group.levels) > 1
    variables = [context.group, context.score] if several else [context.score]
    hazards = context.attempt(
        "Cause-specific hazards",
        lambda: cause_specific(frame, causes, variables, confidence=context.confidence),
    )
    found = Competing(table, incidence_at(table, context.horizons), hazards)
    if ENTRY in frame.columns:
        context.problems.append((
            "Gray's test, Fine–Gray models and predicted risks",
            "are not estimated with delayed entry, because their weights assume that everybody is "
            "followed from time zero",
        ))  # fmt: skip
        return found
    if several:
        found.gray = context.attempt("Gray's test", lambda: gray_test(frame, causes, GROUP))
    if context.cohort.folds is not None:
        context.problems.append((
            "Fine–Gray models, and AUC and predicted risks with competing events",
            "are not estimated from scores out of fold, because they have no version that compares "
            "patients within folds only; the cause-specific Cox models have",
        ))  # fmt: skip
        return found
    found.fine_gray = _fine_gray(context, causes, variables)
    found.fine_gray_model = context.attempt(
        "Multivariable Fine–Gray model",
        lambda: fit_fine_gray(
            context.frame,
            [context.score, *context.clinical],
            CAUSE,
            confidence=context.confidence,
        ),
    )
    found.performance = _performance(context)
    return found


def _fine_gray(
    context: AnalysisContext, causes: Mapping[int, str], variables: list[Variable]
) -> pd.DataFrame | None:
    """Univariable models of each cause, as a table with a column ``cause``."""
    parts = []
    for code, name in causes.items():
        # The model's event is coded 1, and the other cause 2.
        coded = context.frame[CAUSE].map({0: 0, code: 1, 3 - code: 2})
        frame = context.frame.assign(**{CAUSE: coded})
        for variable in variables:
            fit = context.attempt(
                f"Fine–Gray model of {variable.title}, {name}",
                partial(fit_fine_gray, frame, [variable], CAUSE, confidence=context.confidence),
            )
            if fit is not None:
                parts.append(fit.table.assign(cause=name))
    return pd.concat(parts, ignore_index=True) if parts else None


def _performance(context: AnalysisContext) -> CompetingPerformance:
    found = CompetingPerformance()
    context.attempt("AUC with competing events", lambda: _auc(context, found))
    ended = context.frame.loc[context.frame[CAUSE] == 1, "time"].to_numpy(float)
    last = max(context.horizons)
    grid = np.unique(np.linspace(min(float(np.quantile(ended, 0.1)), last / 2), last, GRID))
    risks = context.attempt(
        "Risks predicted by Fine–Gray models",
        lambda: cross_fitted_risks(
            context.frame,
            [context.score],
            CAUSE,
            [*grid, *context.horizons],
            seed=context.settings.seed,
        ),
    )
    if risks is not None:
        _risks(context, found, grid, np.clip(risks, 1e-9, 1 - 1e-9))
    return found


def _auc(context: AnalysisContext, found: CompetingPerformance) -> None:
    measure = partial(
        auc_over_time,
        times=context.horizons,
        cause=CAUSE,
        confidence=context.confidence,
        seed=context.settings.seed,
    )
    alone = measure(context.frame.rename(columns={SCORE: SCORE_NAME}), [SCORE_NAME])
    found.auc = alone.table.assign(patients=len(context.frame))
    if context.clinical:
        # Kept above, if the clinical model cannot be fitted.
        context.attempt(
            "AUC of the clinical model with competing events",
            lambda: _clinical_auc(context, found, measure),
        )


def _clinical_auc(
    context: AnalysisContext, found: CompetingPerformance, measure: Callable[..., TimeAuc]
) -> None:
    """Add the AUC of the clinical model, in the patients who have its variables."""
    rows = complete(context.frame, [variable.name for variable in context.clinical])
    fit = fit_fine_gray(rows, context.clinical, CAUSE)
    rows = pd.DataFrame(
        {
            "time": rows["time"],
            CAUSE: rows[CAUSE],
            SCORE_NAME: rows[SCORE],
            CLINICAL_MODEL: fit.linear_predictor(rows),
        }
    )
    both = measure(rows, [SCORE_NAME, CLINICAL_MODEL])
    model = both.table[both.table["marker"] == CLINICAL_MODEL]
    found.auc = pd.concat([found.auc, model.assign(patients=len(rows))], ignore_index=True)
    found.auc_differences = both.differences.assign(patients=len(rows))


def _risks(
    context: AnalysisContext, found: CompetingPerformance, grid: np.ndarray, risks: np.ndarray
) -> None:
    settings = context.settings
    known = np.isfinite(risks).all(axis=0)
    at_horizons = {
        horizon: risks[:, len(grid) + index]
        for index, horizon in enumerate(context.horizons)
        if known[len(grid) + index]
    }
    judge_at_horizons(context, found, at_horizons, CAUSE)
    if not at_horizons:
        return
    inside = known[: len(grid)]
    found.brier = context.attempt(
        "Brier score with competing events",
        lambda: brier_scores(
            context.frame,
            np.column_stack([risks[:, : len(grid)][:, inside], *at_horizons.values()]),
            grid[inside].tolist(),
            list(at_horizons),
            cause=CAUSE,
            repeats=settings.bootstrap,
            seed=settings.seed,
            confidence=context.confidence,
        ),
    )
