"""Cumulative incidence and cause-specific hazards, where events compete."""

from __future__ import annotations

import pandas as pd

from qupath_hccmil.survival.analysis_cohort import CAUSE, GROUP
from qupath_hccmil.survival.analysis_context import Work
from qupath_hccmil.survival.findings import Competing
from qupath_hccmil.survival.statistics.competing_risks import (
    cause_specific,
    cumulative_incidence,
    incidence_at,
)
from qupath_hccmil.survival.statistics.survival_outcome import EVENT


def competing_step(work: Work) -> Competing:
    """Estimate incidence and hazards of both causes."""
    causes = {1: work.settings.endpoint or "Event", 2: work.settings.competing_name}
    frame = work.frame.assign(**{EVENT: work.frame[CAUSE]})
    table = pd.concat(
        [
            cumulative_incidence(frame, causes, confidence=work.confidence),
            cumulative_incidence(frame, causes, GROUP, confidence=work.confidence),
        ],
        ignore_index=True,
    )
    variables = [work.group, work.score]
    if len(work.group.levels) < 2:
        variables = [work.score]
    hazards = work.attempt(
        "Cause-specific hazards",
        lambda: cause_specific(frame, causes, variables, confidence=work.confidence),
    )
    return Competing(table, incidence_at(table, work.horizons), hazards)
