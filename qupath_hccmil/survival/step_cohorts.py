"""External validation: the same prediction in the first cohort and in others, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from qupath_hccmil.survival.analysis_cohort import SCORE, Cohort
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import CohortResult, External
from qupath_hccmil.survival.statistics.baseline import Baseline, cross_fitted
from qupath_hccmil.survival.statistics.decision_curve import net_benefit
from qupath_hccmil.survival.statistics.external_validation import (
    pool_cohorts,
    recalibrated,
    validate,
)
from qupath_hccmil.survival.statistics.horizon_calibration import calibration
from qupath_hccmil.survival.statistics.kaplan_meier import follow_up
from qupath_hccmil.survival.statistics.survival_outcome import EVENT
from qupath_hccmil.survival.step_performance import thresholds_of
from qupath_hccmil.tables.units import DAYS

DEVELOPMENT, THIS = "Development", "This cohort"


def cohorts_step(
    context: AnalysisContext, baseline: Baseline | None, others: Mapping[str, Cohort]
) -> External | None:
    """Validate the prediction in every cohort, update it in the others, and pool.

    The baseline is that of the first cohort, whose own patients are predicted by cross-fitting, or
    the one that was given; then the first cohort is another external one.
    """
    if baseline is None:
        needs = "needs predicted risks, which could not be estimated in the first cohort"
        if context.cohort.folds is not None:
            needs = (
                "is not done with scores out of fold, each fold's by another model; score the "
                "cohorts with the model that was trained on all patients"
            )
        context.problems.append(("External validation", needs))
        return None
    given = bool(context.settings.baseline)
    found = External(THIS if given else DEVELOPMENT, given)
    members = {found.first: context.cohort, **others}
    for name, cohort in members.items():
        own = name == found.first and not given
        result = context.attempt(
            f"Validation in {name}", partial(_validated, context, baseline, cohort, own)
        )
        if result is not None:
            found.cohorts[name] = result
    external = {
        name: result.table for name, result in found.cohorts.items() if given or name != found.first
    }
    if len(external) > 1:
        found.pooled = context.attempt(
            "Cohorts pooled by random effects",
            lambda: pool_cohorts(external, confidence=context.confidence),
        )
    for name in external:
        _update(context, found, name, members[name])
    return found


def _validated(
    context: AnalysisContext, baseline: Baseline, cohort: Cohort, own: bool
) -> CohortResult:
    frame, horizons = cohort.frame, list(context.horizons)
    score = frame[SCORE].to_numpy(float)
    if own:
        risks = 1 - cross_fitted(frame, SCORE, horizons, seed=context.settings.seed)
    else:
        scale = DAYS[cohort.unit] / DAYS[baseline.unit]
        risks = np.column_stack([
            1 - baseline.survival(score, at * scale)
            if at * scale <= baseline.last
            else np.full(len(score), np.nan)
            for at in horizons
        ])  # fmt: skip
    risks = np.clip(risks, 1e-9, 1 - 1e-9)
    table = validate(frame, SCORE, risks, horizons, confidence=context.confidence)
    curves, benefits = [], []
    for index, horizon in enumerate(horizons):
        risk = risks[:, index]
        if not np.isfinite(risk).all() or horizon > frame["time"].max():
            continue
        predicted = frame.assign(risk__=risk)
        if (frame[EVENT].astype(bool) & (frame["time"] <= horizon)).any():
            curve = calibration(predicted, "risk__", horizon, repeats=0).curve
            curves.append(curve[["predicted", "observed"]].assign(horizon=horizon))
        benefit = net_benefit(predicted, "risk__", horizon, thresholds_of(predicted["risk__"]))
        benefits.append(benefit.assign(horizon=horizon))
    linear = baseline.coefficient * (score - baseline.centre)
    return CohortResult(
        cohort,
        len(frame),
        int(frame[EVENT].sum()),
        follow_up(frame, confidence=context.confidence),
        float(score.mean()),
        float(score.std(ddof=1)),
        float(linear.mean()),
        float(linear.std(ddof=1)),
        table,
        risks,
        pd.concat(curves, ignore_index=True) if curves else None,
        pd.concat(benefits, ignore_index=True) if benefits else None,
    )


def _update(context: AnalysisContext, found: External, name: str, cohort: Cohort) -> None:
    parts = []
    for index, horizon in enumerate(context.horizons):
        risk = found.cohorts[name].risks[:, index]
        if not np.isfinite(risk).all() or horizon > cohort.frame["time"].max():
            continue
        table = context.attempt(
            f"Recalibration in {name} at {horizon:g} ({cohort.unit})",
            partial(recalibrated, cohort.frame, risk, horizon, seed=context.settings.seed),
        )
        if table is not None:
            parts.append(table.assign(horizon=horizon))
    if parts:
        found.recalibrated[name] = pd.concat(parts, ignore_index=True)
