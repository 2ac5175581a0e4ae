"""Clinical variables of the patients in a user's table, as models and tables take them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis_cohort import PROGNOSTIC
from qupath_hccmil.survival.statistics.variables import Variable, VariableRequest, recognise
from qupath_hccmil.tables.table_reader import UserTable, find_column


def clinical_variables(
    table: UserTable,
    first: pd.DataFrame,
    names: Sequence[str] | None,
    taken: Collection[str],
) -> tuple[tuple[Variable, ...], pd.DataFrame, list[str]]:
    """Recognise clinical variables of patients.

    Parameters
    ----------
    table : UserTable
    first : DataFrame
        One row of the table for each patient, by patient.
    names : sequence of str or None
        Columns; None for those with the usual name of a prognostic variable of HCC.
    taken : collection of str
        Columns that are something else, where names are not given.

    Returns
    -------
    variables : tuple of Variable
    values : DataFrame
        Coded, by patient.
    notes : list of str
        Columns that say nothing, such as one with the same value everywhere.

    Raises
    ------
    DataError
        A column that is named is missing or says nothing.
    """
    asked = names is not None
    if names is None:
        names = [n for n in first.columns if PROGNOSTIC.match(str(n)) and n not in taken]
    else:
        names = [find_column(first, table.path, name, "variable") for name in names]
    chosen, values, notes = [], {}, []
    for name in dict.fromkeys(names):
        try:
            column = table.plain(name).reindex(table.frame.index)
            plain = dict(zip(table.frame[name], column, strict=True))
            variable, coded = recognise(
                first[name].map(lambda v, plain=plain: plain.get(v, v)), VariableRequest(name)
            )
        except DataError as error:
            if asked:
                raise
            notes.append(f"Clinical variable left out: {error}.")
            continue
        chosen.append(variable)
        values[name] = coded
    return tuple(chosen), pd.DataFrame(values, index=first.index), notes
