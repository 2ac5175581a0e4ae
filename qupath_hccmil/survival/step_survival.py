"""Kaplan-Meier curves of everybody, by risk group, and inside each level of each variable."""

from __future__ import annotations

import pandas as pd

from qupath_hccmil.survival.analysis_cohort import GROUP
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import Stratum, Survival
from qupath_hccmil.survival.statistics.kaplan_meier import (
    at_horizons,
    curves,
    follow_up,
    log_rank,
    medians,
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
    rows = []
    for variable in context.clinical:
        levels, name = _levels_of(frame, variable)
        strata = frame.assign(level__=levels)
        for level, part in strata.groupby("level__", sort=True, observed=True):
            found.strata.append(_stratum(context, name, str(level), part))
        test = log_rank(strata, GROUP, strata="level__")
        rows.append((variable.name, name, test.statistic, test.degrees_of_freedom, test.p))
    names = ["variable", "label", "statistic", "degrees_of_freedom", "p"]
    found.stratified = pd.DataFrame(rows, columns=names)
    return found


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
    """Choose the levels that curves are drawn in: a numeric variable is halved at its median."""
    if variable.levels:
        return frame[variable.name], variable.title
    middle = float(frame[variable.name].median())
    names = [f"≤ {middle:.4g}", f"> {middle:.4g}"]
    values = frame[variable.name].map(
        lambda value: None if pd.isna(value) else names[int(value > middle)]
    )
    levels = values.astype(pd.CategoricalDtype(names, ordered=True))
    return levels, f"{variable.title} (at the median)"
