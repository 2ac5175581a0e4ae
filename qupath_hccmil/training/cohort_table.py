"""Table 1 of the patients that a model was trained on, for its card."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from qupath_hccmil.heads.outcomes import LossName, Outcome
from qupath_hccmil.judgement.clinical_variables import clinical_variables
from qupath_hccmil.survival.statistics.kaplan_meier import OVERALL
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME
from qupath_hccmil.survival.statistics.table_one import table_one
from qupath_hccmil.survival.statistics.variables import Variable
from qupath_hccmil.tables.names import match_key
from qupath_hccmil.tables.table_reader import find_patient_column, read_table
from qupath_hccmil.training.clinical_table import Clinical, ClinicalColumns

_SIDE = "side__"
_TRAINING, _CHOOSING = "training", "choosing the epoch"


def cohort_table(
    table: Clinical,
    columns: ClinicalColumns,
    outcomes: Mapping[str, Outcome],
    training: Collection[str],
    loss: LossName,
) -> str:
    """Describe the patients of a training as a Markdown table.

    Parameters
    ----------
    table : Clinical
    columns : ClinicalColumns
    outcomes : mapping of str to Outcome
        Of all patients that are used.
    training : collection of str
        Patients that the weights were fitted to; the others chose the epoch.
    loss : {"outcome", "cox", "discrete-time"}
        With ``outcome``, the events are the poor outcomes.

    Returns
    -------
    str
        Patients, events and follow-up, and the clinical variables with a usual name.
    """
    frame = pd.DataFrame(
        {
            # A table of labels has no times; table 1 counts events only.
            TIME: [0.0 if one.time is None else one.time for one in outcomes.values()],
            EVENT: [int(one.poor(loss)) for one in outcomes.values()],
            _SIDE: [_TRAINING if patient in training else _CHOOSING for patient in outcomes],
        },
        index=pd.Index(list(outcomes), name="patient"),
    )
    variables, values = _variables(table, columns, frame.index)
    names = [OVERALL, _TRAINING, _CHOOSING]
    heads = ["", "all", _TRAINING, _CHOOSING]
    parts = [frame, *(frame[frame[_SIDE] == side] for side in names[1:])]
    events = "poor outcomes" if loss == "outcome" else "events"
    rows = [
        ["patients", *(str(len(part)) for part in parts)],
        [events, *(_share(int(part[EVENT].sum()), len(part)) for part in parts)],
    ]
    if any(one.time is not None for one in outcomes.values()):
        rows.append(["years of follow-up, median (quartiles)", *map(_years, parts)])
    if variables:
        found = table_one(frame.join(values), variables, _SIDE)
        for (label, level), group in found.groupby(["label", "level"], sort=False):
            cells = group.set_index("group")
            name = f"{label}: {level}" if level else f"{label}, median (quartiles)"
            name = name.replace("|", "/")
            rows.append([name, *(_cell(cells.loc[side]) for side in names)])
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _variables(
    clinical: Clinical, columns: ClinicalColumns, patients: pd.Index
) -> tuple[tuple[Variable, ...], pd.DataFrame]:
    """Clinical variables that have a usual name, of the patients in this order."""
    table = read_table(clinical.path, columns.reading)
    frame = table.frame
    frame = frame.where(~frame.isin(columns.missing), None) if columns.missing else frame
    key = find_patient_column(frame, clinical.path, columns.patient)
    frame = frame[frame[key].notna()]
    frame = frame.assign(**{key: frame[key].map(match_key(columns.match))})
    first = frame.drop_duplicates(key).set_index(key).reindex(patients)
    taken = {key, columns.time, columns.event, columns.start, columns.end, columns.label}
    # What says nothing, such as the same value in every patient, is not described.
    variables, values, _ = clinical_variables(table, first, None, taken)
    return variables, values


def _cell(row: pd.Series) -> str:
    if np.isfinite(row["median"]):
        return f"{row['median']:.4g} ({row['q1']:.4g}–{row['q3']:.4g})"
    if row["level"] or np.isfinite(row["share"]):
        return f"{int(row['count'])} ({100 * row['share']:.0f} %)" if row["count"] else "0"
    return "–"


def _share(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.0f} %)" if total else "0"


def _years(part: pd.DataFrame) -> str:
    if part.empty:
        return "–"
    middle, low, high = part[TIME].quantile([0.5, 0.25, 0.75])
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"
