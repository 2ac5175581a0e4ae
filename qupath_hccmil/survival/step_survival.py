"""Kaplan-Meier curves: overall, by risk group, and within each level of each variable."""

from __future__ import annotations

from functools import partial

import pandas as pd

from qupath_hccmil.survival.analysis_cohort import GROUP
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import GroupTests, Stratum, Survival
from qupath_hccmil.survival.statistics.kaplan_meier import (
    at_horizons,
    curves,
    follow_up,
    log_rank,
    medians,
)
from qupath_hccmil.survival.statistics.log_rank_tests import (
    pairwise_tests,
    trend_test,
    weighted_tests,
)
from qupath_hccmil.survival.statistics.survival_outcome import EVENT
from qupath_hccmil.survival.statistics.variables import Variable


def survival_step(context: AnalysisContext) -> Survival:
    """Estimate and compare survival, overall and in strata."""
    context.progress("Kaplan-Meier")
    frame, confidence = context.frame, context.confidence
    everyone = at_horizons(frame, context.horizons, confidence=confidence)
    groups = at_horizons(frame, context.horizons, GROUP, confidence=confidence)
    found = Survival(
        follow_up(frame, confidence=confidence),
        curves(frame, confidence=confidence),
        curves(frame, GROUP, confidence=confidence),
        pd.concat([everyone, groups], ignore_index=True),
        pd.concat(
            [
                medians(frame, confidence=confidence),
                medians(frame, GROUP, confidence=confidence),
            ],
            ignore_index=True,
        ),
        log_rank(frame, GROUP),
    )
    tests = []
    for variable in context.clinical:
        within = context.attempt(
            f"Kaplan-Meier by {variable.title}", partial(_within_levels, context, variable)
        )
        if within is not None:
            strata, test = within
            found.strata += strata
            tests.append(test)
    names = ["variable", "label", "statistic", "degrees_of_freedom", "p"]
    found.stratified = pd.DataFrame(tests, columns=names)
    if len(found.test.groups) > 1:
        found.group_tests = _group_tests(context)
    return found


def _group_tests(context: AnalysisContext) -> GroupTests:
    """Weighted log-rank tests; for three groups or more also the trend and all pairs."""
    frame = context.frame
    found = GroupTests(
        context.attempt("Weighted log-rank tests", lambda: weighted_tests(frame, GROUP))
    )
    if len(context.group.levels) > 2:
        found.trend = context.attempt("Test for trend", lambda: trend_test(frame, GROUP))
        found.pairwise = context.attempt("Pairwise tests", lambda: pairwise_tests(frame, GROUP))
    return found


def _within_levels(
    context: AnalysisContext, variable: Variable
) -> tuple[list[Stratum], tuple[str, str, float, int, float]]:
    """Curves inside each level of a variable, and the log-rank test stratified by it."""
    levels, name = _levels_of(context.frame, variable)
    strata = context.frame.assign(level__=levels)
    found = [
        _stratum(context, name, str(level), part)
        for level, part in strata.groupby("level__", sort=True, observed=True)
    ]
    test = log_rank(strata, GROUP, strata="level__")
    return found, (variable.name, name, test.statistic, test.degrees_of_freedom, test.p)


def _stratum(context: AnalysisContext, name: str, level: str, part: pd.DataFrame) -> Stratum:
    return Stratum(
        name,
        level,
        curves(part, GROUP, confidence=context.confidence),
        at_horizons(part, context.horizons, GROUP, confidence=context.confidence),
        medians(part, GROUP, confidence=context.confidence),
        log_rank(part, GROUP),
        len(part),
        int(part[EVENT].sum()),
    )


def _levels_of(frame: pd.DataFrame, variable: Variable) -> tuple[pd.Series, str]:
    """Choose the levels for separate curves; a numeric variable is split at its median."""
    if variable.levels:
        return frame[variable.name], variable.title
    middle = float(frame[variable.name].median())
    names = [f"≤ {middle:.4g}", f"> {middle:.4g}"]
    values = frame[variable.name].map(
        lambda value: None if pd.isna(value) else names[int(value > middle)]
    )
    levels = values.astype(pd.CategoricalDtype(names, ordered=True))
    return levels, f"{variable.title} (at the median)"
