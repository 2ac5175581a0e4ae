"""Cox models, the check of their assumption, and what holds without it."""

from __future__ import annotations

from functools import partial

import pandas as pd

from qupath_hccmil.survival.analysis_cohort import GROUP
from qupath_hccmil.survival.analysis_context import Work
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


def effects_step(work: Work) -> Effects:
    """Fit every Cox model and check what it assumes."""
    fit = partial(fit_cox, work.frame, **work.options())
    found = Effects()
    every = [work.group, work.score, *work.clinical]
    tables = [
        work.attempt(
            f"Univariable Cox, {variable.title}",
            partial(univariable, work.frame, [variable], **work.options()),
        )
        for variable in every
    ]
    present = [table for table in tables if table is not None]
    found.univariable = pd.concat(present, ignore_index=True) if present else None
    found.with_score = work.attempt(
        "Multivariable Cox with the score",
        partial(fit, [work.score, *work.clinical]),
    )
    if len(work.group.levels) > 1:
        found.with_group = work.attempt(
            "Multivariable Cox with the risk group",
            partial(fit, [work.group, *work.clinical]),
        )
    if work.clinical:
        found.gain = work.attempt(
            "Likelihood-ratio test of the score",
            lambda: gain_of(work.frame, work.score, work.clinical, penalty=work.settings.penalty),
        )
    _assumption(work, found)
    if work.settings.imputations and work.clinical:
        found.imputed = work.attempt("Multiple imputation", partial(_imputed, work))
    return found


def _assumption(work: Work, found: Effects) -> None:
    fit = found.with_score
    if fit is not None:
        found.proportional = work.attempt(
            "Test of proportional hazards",
            lambda: schoenfeld_test(work.frame, fit.variables, fit.coefficients),
        )
        found.residuals = work.attempt(
            "Schoenfeld residuals",
            lambda: scaled_residuals(work.frame, fit.variables, fit.coefficients),
        )
    if len(work.group.levels) > 1:
        found.log_log = log_log(work.frame, GROUP)
        last = work.frame.groupby(GROUP, observed=True)[TIME].max().min()
        fitting = [horizon for horizon in work.horizons if horizon <= last]
        tau = max(fitting) if fitting else float(last)
        found.restricted = work.attempt(
            "Restricted mean survival",
            lambda: restricted_means(work.frame, tau, GROUP, confidence=work.confidence),
        )


def _imputed(work: Work) -> ImputedCox:
    return imputed_cox(
        work.frame,
        [work.score, *work.clinical],
        work.settings.imputations,
        seed=work.settings.seed,
        confidence=work.confidence,
        penalty=work.settings.penalty,
    )
