"""Sensitivity analyses of the score's effect: other patients, another start, a curve, influence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis_cohort import SCORE
from qupath_hccmil.survival.analysis_context import AnalysisContext
from qupath_hccmil.survival.findings import IMPUTED, Effects, Sensitivity
from qupath_hccmil.survival.statistics.cox import EFRON, CoxFit, fit_cox
from qupath_hccmil.survival.statistics.influence import dfbeta
from qupath_hccmil.survival.statistics.nonlinearity import nonlinearity_tests, spline_curve
from qupath_hccmil.survival.statistics.survival_outcome import (
    ENTRY,
    EVENT,
    TIME,
    complete,
    entry_of,
    outcome,
    strata_of,
)
from qupath_hccmil.survival.statistics.variables import Variable, design
from qupath_hccmil.tables.units import DAYS

USUAL_LANDMARK = 0.5  # years
FEWEST_EVENTS = 5
MOST_INFLUENTIAL = 3
ALONE, ADJUSTED = "score alone", "with the clinical variables"
MAIN = "All patients"
_COLUMNS = [
    "analysis", "model", "patients", "events", "coefficient", "se", "hazard_ratio", "lower",
    "upper", "p",
]  # fmt: skip


def sensitivity_step(context: AnalysisContext, effects: Effects) -> Sensitivity:
    """Repeat the Cox models of the score under other choices."""
    context.progress("sensitivity analyses")
    found = Sensitivity()
    if effects.with_score is None:
        return found  # why there is no model is a problem already
    found.influence = context.attempt("Influence of each patient", partial(_influence, context))
    rows: list[tuple[object, ...]] = []
    for name, frame in _cohorts(context, found.influence):
        for model, variables in _models(context):
            fit = context.attempt(
                f"Sensitivity: {name.lower()}, {model}",
                partial(fit_cox, frame, variables, **context.options()),
            )
            if fit is not None:
                rows.append(_row(name, model, fit.table, fit.patients, fit.events))
    if effects.imputed is not None:
        pooled = effects.imputed
        rows.append(_row(IMPUTED, ADJUSTED, pooled.table, pooled.patients, pooled.events))
    found.effects = pd.DataFrame(rows, columns=_COLUMNS)
    found.nonlinearity = context.attempt(
        "Test of linearity",
        lambda: nonlinearity_tests(context.frame, [context.score, *context.clinical]),
    )
    found.curve = context.attempt(
        "Hazard ratio along the score",
        lambda: spline_curve(context.frame, SCORE, confidence=context.confidence),
    )
    return found


def _models(context: AnalysisContext) -> Iterator[tuple[str, list[Variable]]]:
    yield ALONE, [context.score]
    if context.clinical:
        yield ADJUSTED, [context.score, *context.clinical]


def _cohorts(
    context: AnalysisContext, influence: pd.DataFrame | None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the patients of each analysis; those that would change nothing are left out."""
    frame = context.frame
    yield MAIN, frame
    if (frame[TIME] == 0).any():
        yield "Without a follow-up of 0", frame[frame[TIME] > 0]
    whole = complete(frame, [variable.name for variable in context.clinical])
    if len(whole) < len(frame):
        yield "Complete cases", whole
    unit = context.cohort.unit
    asked = context.settings.landmarks
    usual = round(USUAL_LANDMARK * DAYS["years"] / DAYS[unit], 6)
    for at in asked or (usual,):
        later = frame[frame[TIME] > at]
        if int(later[EVENT].sum()) >= FEWEST_EVENTS:
            yield f"Landmark at {at:g} {unit}", _from(later, at)
        elif asked:
            reason = f"fewer than {FEWEST_EVENTS} events are later"
            context.problems.append((f"Landmark at {at:g} {unit}", reason))
    if influence is not None and len(frame) > 10 * MOST_INFLUENTIAL:
        most = influence["patient"].head(MOST_INFLUENTIAL)
        yield f"Without the {MOST_INFLUENTIAL} most influential patients", frame.drop(index=most)


def _from(later: pd.DataFrame, at: float) -> pd.DataFrame:
    """Count the follow-up from a time on; those who enter after it stay late."""
    shifted = later.assign(**{TIME: later[TIME] - at})
    if ENTRY in later:
        shifted[ENTRY] = (later[ENTRY] - at).clip(lower=0)
    return shifted


def _row(
    name: str, model: str, table: pd.DataFrame, patients: int, events: int
) -> tuple[object, ...]:
    of_score = table[table["variable"] == SCORE].iloc[0]
    return (name, model, patients, events, *of_score[_COLUMNS[4:]])


def _influence(context: AnalysisContext) -> pd.DataFrame:
    """Change of the score's coefficient by each patient, largest first, in the model of all."""
    variables = [context.score, *context.clinical]
    fit: CoxFit = fit_cox(context.frame, variables, **context.options())
    if fit.method != EFRON:
        raise DataError("it is not defined for Firth's penalty")
    rows = complete(context.frame, [variable.name for variable in variables])
    time, event = outcome(rows, delayed=True)
    columns, _ = design(rows, fit.variables)
    values, beta = columns.to_numpy(float), np.array(fit.coefficients)
    change = dfbeta(time, event, values, beta, entry_of(rows), strata_of(rows))[:, 0]
    error = float(fit.table.loc[fit.table["variable"] == SCORE, "se"].iloc[0])
    table = pd.DataFrame(
        {
            "patient": rows.index, "time": time, "event": event.astype(int),
            "score": rows[SCORE].to_numpy(float), "change": change,
            "in_standard_errors": change / error,
        }
    )  # fmt: skip
    return table.sort_values(
        "change", key=np.abs, ascending=False, kind="stable", ignore_index=True
    )
