"""Table 1 (patients by risk group and overall), and events per variable of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qupath_hccmil.survival.statistics.kaplan_meier import OVERALL, groups_of
from qupath_hccmil.survival.statistics.survival_outcome import need, outcome
from qupath_hccmil.survival.statistics.variables import Variable, design, present_levels

ENOUGH = 10
MISSING = "Missing"


@dataclass(frozen=True)
class EventsPerVariable:
    """Events per coefficient of a model; with fewer than 10 the model is too large."""

    events: int
    coefficients: int
    ratio: float
    enough: bool


def table_one(
    frame: pd.DataFrame, variables: Sequence[Variable], by: str | None = None
) -> pd.DataFrame:
    """Describe the patients, with one row per variable, level and group.

    There are no p-values, because risk groups are not randomised and a test of balance would be
    meaningless.

    Parameters
    ----------
    frame : DataFrame
        Columns ``by`` and the variables.
    variables : sequence of Variable
    by : str, optional

    Returns
    -------
    DataFrame
        ``variable, label, level, group, patients, count, share, median, q1, q3``. A category has
        ``count`` and ``share`` (of patients with a value), a numeric variable has quartiles; the
        level "Missing" counts patients without a value.
    """
    need(frame, [variable.name for variable in variables])
    rows: list[tuple[object, ...]] = []
    parts = [(OVERALL, frame), *(groups_of(frame, by) if by else [])]
    for variable in variables:
        absent_anywhere = frame[variable.name].isna().any()
        for name, part in parts:
            values = part[variable.name]
            head = (variable.name, variable.title)
            known = values.dropna()
            if variable.levels:
                text = known.astype(str)
                for level in variable.levels:
                    count = int((text == level).sum())
                    share = count / len(known) if len(known) else np.nan
                    rows.append((*head, level, name, len(part), count, share, *[np.nan] * 3))
            else:
                middle = known.quantile([0.5, 0.25, 0.75]) if len(known) else [np.nan] * 3
                rows.append((*head, "", name, len(part), len(known), np.nan, *middle))
            if absent_anywhere:
                count = len(values) - len(known)
                share = count / len(values) if len(values) else np.nan
                rows.append((*head, MISSING, name, len(part), count, share, *[np.nan] * 3))
    names = [
        "variable", "label", "level", "group", "patients", "count", "share", "median", "q1", "q3",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def events_per_variable(frame: pd.DataFrame, variables: Sequence[Variable]) -> EventsPerVariable:
    """Count events for each coefficient of a model, in the patients who have every variable."""
    rows = frame.dropna(subset=[variable.name for variable in variables])
    _, event = outcome(rows, delayed=True)
    columns, _ = design(rows, present_levels(rows, variables))
    count = columns.shape[1]
    ratio = float(event.sum() / count) if count else float("inf")
    return EventsPerVariable(int(event.sum()), count, ratio, ratio >= ENOUGH)
