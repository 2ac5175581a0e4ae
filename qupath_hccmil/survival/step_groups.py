"""The effect of the score in subgroups and in centres."""

from __future__ import annotations

from qupath_hccmil.survival.analysis_cohort import CENTRE
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import Groups
from qupath_hccmil.survival.statistics.centres import centre_effects
from qupath_hccmil.survival.statistics.subgroups import subgroup_effects


def groups_step(context: AnalysisContext) -> Groups:
    """Estimate the effect of the score within subgroups, and within and across centres."""
    found = Groups()
    subgroups = context.cohort.subgroups
    if subgroups:
        found.subgroups = context.attempt(
            "Subgroups",
            lambda: subgroup_effects(
                context.frame, context.score, subgroups, confidence=context.confidence
            ),
        )
    if context.settings.centre:
        found.centres = context.attempt(
            "Centres",
            lambda: centre_effects(
                context.frame,
                context.score,
                CENTRE,
                context.clinical,
                confidence=context.confidence,
            ),
        )
    return found
