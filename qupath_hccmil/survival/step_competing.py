"""Cumulative incidence and cause-specific hazards, if events compete."""

from __future__ import annotations

import pandas as pd

from qupath_hccmil.survival.analysis_cohort import CAUSE, GROUP
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import Competing
from qupath_hccmil.survival.statistics.competing_risks import (
    cause_specific,
    cumulative_incidence,
    incidence_at,
)
from qupath_hccmil.survival.statistics.survival_outcome import EVENT


def competing_step(context: AnalysisContext) -> Competing:
    """Estimate incidence and hazards of both causes."""
    causes = {1: context.settings.endpoint or "Event", 2: context.settings.competing_name}
    frame = context.frame.assign(**{EVENT: context.frame[CAUSE]})
    table = pd.concat(
        [
            cumulative_incidence(frame, causes, confidence=context.confidence),
            cumulative_incidence(frame, causes, GROUP, confidence=context.confidence),
        ],
        ignore_index=True,
    )
    variables = [context.group, context.score]
    if len(context.group.levels) < 2:
        variables = [context.score]
    hazards = context.attempt(
        "Cause-specific hazards",
        lambda: cause_specific(frame, causes, variables, confidence=context.confidence),
    )
    return Competing(table, incidence_at(table, context.horizons), hazards)
