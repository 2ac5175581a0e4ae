"""Table 1 (patients by risk group and overall), and events per variable of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from qupath_hccmil.survival.statistics.kaplan_meier import OVERALL, groups_of
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, need, outcome
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
    meaningless; standardised differences say how far apart they are, whatever their size.

    Parameters
    ----------
    frame : DataFrame
        Columns ``time``, ``event``, ``by`` and the variables.
    variables : sequence of Variable
    by : str, optional

    Returns
    -------
    DataFrame
        ``variable, label, level, group, patients, count, events, share, median, q1, q3,
        standardised_difference``. A category has ``count`` and ``share`` (of patients with a
        value), a numeric variable has quartiles; ``events`` are those among the counted. The level
        "Missing" counts patients without a value. The difference is of the variable between the
        groups (see `standardised_difference`) and the same in each of its rows.
    """
    need(frame, [variable.name for variable in variables])
    _, event = outcome(frame, delayed=True)
    frame = frame.assign(**{EVENT: event})
    rows: list[tuple[object, ...]] = []
    parts = [(OVERALL, frame), *(groups_of(frame, by) if by else [])]
    for variable in variables:
        absent_anywhere = frame[variable.name].isna().any()
        apart = standardised_difference(frame, variable, by) if by else np.nan
        for name, part in parts:
            values = part[variable.name]
            head = (variable.name, variable.title)
            known = values.dropna()
            if variable.levels:
                text = known.astype(str)
                for level in variable.levels:
                    inside = text.index[text == level]
                    count, events = len(inside), int(part.loc[inside, EVENT].sum())
                    share = count / len(known) if len(known) else np.nan
                    counts = (len(part), count, events, share)
                    rows.append((*head, level, name, *counts, *[np.nan] * 3, apart))
            else:
                middle = known.quantile([0.5, 0.25, 0.75]) if len(known) else [np.nan] * 3
                events = int(part.loc[known.index, EVENT].sum())
                counts = (len(part), len(known), events, np.nan)
                rows.append((*head, "", name, *counts, *middle, apart))
            if absent_anywhere:
                count = len(values) - len(known)
                events = int(part.loc[values.isna(), EVENT].sum())
                share = count / len(values) if len(values) else np.nan
                counts = (len(part), count, events, share)
                rows.append((*head, MISSING, name, *counts, *[np.nan] * 3, apart))
    names = [
        "variable", "label", "level", "group", "patients", "count", "events", "share", "median",
        "q1", "q3", "standardised_difference",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def standardised_difference(frame: pd.DataFrame, variable: Variable, by: str) -> float:
    """Difference of a variable between groups in pooled standard deviations (Austin 2009).

    For a number, the difference of the means over the root of the mean variance. For categories,
    the Mahalanobis distance of the shares with their mean multinomial covariance (Yang and Dalton
    2012); for two categories, this is the difference of the shares over its pooled SD. Patients
    without a value are left out. With several groups, the largest difference of two.

    Returns
    -------
    float
        Not negative; NaN if there is one group, or no spread.
    """
    parts = [group[variable.name].dropna() for _, group in groups_of(frame, by)]
    pairs = [_apart(one, other, variable) for one, other in combinations(parts, 2)]
    known = [value for value in pairs if np.isfinite(value)]
    return max(known) if known else float("nan")


def _apart(one: pd.Series, other: pd.Series, variable: Variable) -> float:
    if len(one) < 2 or len(other) < 2:
        return float("nan")
    if not variable.levels:
        spread = float(np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2))
        gap = abs(float(one.mean() - other.mean()))
        return gap / spread if spread > 0 else float("nan")
    shares = [
        np.array([(part.astype(str) == level).mean() for level in variable.levels])
        for part in (one, other)
    ]
    # A level that neither group has adds nothing, and would make the covariance singular.
    present = (shares[0] + shares[1]) > 0
    first, second = (share[present][1:] for share in shares)
    pooled = sum(np.diag(share) - np.outer(share, share) for share in (first, second)) / 2
    gap = first - second
    try:
        return float(np.sqrt(gap @ np.linalg.solve(pooled, gap)))
    except np.linalg.LinAlgError:
        return float("nan")


def events_per_variable(frame: pd.DataFrame, variables: Sequence[Variable]) -> EventsPerVariable:
    """Count events for each coefficient of a model, in the patients who have every variable."""
    rows = frame.dropna(subset=[variable.name for variable in variables])
    _, event = outcome(rows, delayed=True)
    columns, _ = design(rows, present_levels(rows, variables))
    count = columns.shape[1]
    ratio = float(event.sum() / count) if count else float("inf")
    return EventsPerVariable(int(event.sum()), count, ratio, ratio >= ENOUGH)
