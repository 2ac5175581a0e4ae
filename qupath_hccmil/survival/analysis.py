"""The whole analysis of a cohort: runs every part in order and collects the results.

A part that cannot run on these data (one risk group, no events at a horizon, …) is left out; the
report gives the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis_cohort import GROUP, Cohort
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.findings import Analysis
from qupath_hccmil.survival.other_cohorts import read_others
from qupath_hccmil.survival.statistics.multiple_imputation import count_missing
from qupath_hccmil.survival.statistics.survival_outcome import outcome
from qupath_hccmil.survival.statistics.table_one import events_per_variable, table_one
from qupath_hccmil.survival.statistics.tiles_of_interest import compare_counts, count_features
from qupath_hccmil.survival.step_cohorts import cohorts_step
from qupath_hccmil.survival.step_competing import competing_step
from qupath_hccmil.survival.step_effects import effects_step
from qupath_hccmil.survival.step_groups import groups_step
from qupath_hccmil.survival.step_performance import performance_step
from qupath_hccmil.survival.step_sensitivity import sensitivity_step
from qupath_hccmil.survival.step_survival import survival_step
from qupath_hccmil.tables.table_reader import read_table


def analyse(
    cohort: Cohort, settings: Settings, progress: Callable[[str], None] | None = None
) -> Analysis:
    """Run every part of the analysis.

    Parameters
    ----------
    cohort : Cohort
    settings : Settings
    progress : callable
        Called with the name of each part before it starts.

    Raises
    ------
    DataError
        There is no event, or the baseline or tiles file cannot be used. Failures of single parts
        are listed in ``problems``.
    """
    progress = progress or _silent
    frame = cohort.frame
    _, event = outcome(frame, at_least=2, delayed=True)
    if not event.any():
        raise DataError(
            f"none of the {len(frame)} patients has an event (column {settings.event!r}), so "
            "nothing can be estimated; check the coding of events"
        )
    context = AnalysisContext(cohort, settings, progress)
    model = [*cohort.variables, cohort.score_variable]
    progress("tiles of interest")
    tiles = None
    if settings.tiles:
        tiles = compare_counts(
            count_features(read_table(settings.tiles, settings.reading).frame),
            confidence=settings.confidence,
        )
    others = read_others(settings, cohort.variables)
    survival = survival_step(context)
    effects = effects_step(context)
    groups = groups_step(context)
    sensitivity = sensitivity_step(context, effects)
    performance = performance_step(context)
    return Analysis(
        cohort,
        settings,
        context.horizons,
        context.attempt("Table 1", partial(table_one, frame, model, GROUP)),
        context.attempt("Missing values", partial(count_missing, frame, cohort.variables)),
        context.attempt("Events per variable", partial(events_per_variable, frame, model)),
        survival,
        effects,
        groups,
        performance,
        context.attempt("Competing risks", partial(competing_step, context))
        if cohort.coding.competing
        else None,
        cohorts_step(context, performance.baseline, others) if others else None,
        tiles,
        context.problems,
        sensitivity=sensitivity,
    )


def _silent(step: str) -> None:
    """Report nothing."""
    del step
