"""Cox models, the check of their assumption, and restricted means that do not need it."""

from __future__ import annotations

from functools import partial

import pandas as pd

from qupath_hccmil.survival.analysis_cohort import GROUP
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import Effects
from qupath_hccmil.survival.statistics.cox import fit_cox, gain_of, univariable
from qupath_hccmil.survival.statistics.multiple_imputation import ImputedCox, imputed_cox
from qupath_hccmil.survival.statistics.proportional_hazards import (
    log_log,
    scaled_residuals,
    schoenfeld_test,
)
from qupath_hccmil.survival.statistics.rmst import restricted_means
from qupath_hccmil.survival.statistics.survival_outcome import TIME


def effects_step(context: AnalysisContext) -> Effects:
    """Fit every Cox model and check its assumption."""
    fit = partial(fit_cox, context.frame, **context.options())
    found = Effects()
    every = [context.group, context.score, *context.clinical]
    tables = [
        context.attempt(
            f"Univariable Cox, {variable.title}",
            partial(univariable, context.frame, [variable], **context.options()),
        )
        for variable in every
    ]
    present = [table for table in tables if table is not None]
    found.univariable = pd.concat(present, ignore_index=True) if present else None
    found.with_score = context.attempt(
        "Multivariable Cox with the score",
        partial(fit, [context.score, *context.clinical]),
    )
    if len(context.group.levels) > 1:
        found.with_group = context.attempt(
            "Multivariable Cox with the risk group",
            partial(fit, [context.group, *context.clinical]),
        )
    if context.clinical:
        found.gain = context.attempt(
            "Likelihood-ratio test of the score",
            lambda: gain_of(
                context.frame, context.score, context.clinical, penalty=context.settings.penalty
            ),
        )
    _assumption(context, found)
    if context.settings.imputations and context.clinical:
        found.imputed = context.attempt("Multiple imputation", partial(_imputed, context))
    return found


def _assumption(context: AnalysisContext, found: Effects) -> None:
    fit = found.with_score
    if fit is not None:
        found.proportional = context.attempt(
            "Test of proportional hazards",
            lambda: schoenfeld_test(context.frame, fit.variables, fit.coefficients),
        )
        found.residuals = context.attempt(
            "Schoenfeld residuals",
            lambda: scaled_residuals(context.frame, fit.variables, fit.coefficients),
        )
    if len(context.group.levels) > 1:
        found.log_log = log_log(context.frame, GROUP)
        last = context.frame.groupby(GROUP, observed=True)[TIME].max().min()
        fitting = [horizon for horizon in context.horizons if horizon <= last]
        tau = max(fitting) if fitting else float(last)
        found.restricted = context.attempt(
            "Restricted mean survival",
            lambda: restricted_means(context.frame, tau, GROUP, confidence=context.confidence),
        )


def _imputed(context: AnalysisContext) -> ImputedCox:
    return imputed_cox(
        context.frame,
        [context.score, *context.clinical],
        context.settings.imputations,
        seed=context.settings.seed,
        confidence=context.confidence,
        penalty=context.settings.penalty,
    )
