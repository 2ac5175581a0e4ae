"""The subgroups of a cohort: the variables of the analysis, or columns that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.statistics.variables import Variable, VariableRequest, recognise

NOBODY = "none"


def subgroups_alone(
    settings: Settings, asked: Sequence[VariableRequest]
) -> tuple[VariableRequest, ...]:
    """Return requests for the subgroups that are not variables of the analysis.

    Raises
    ------
    DataError
        A subgroup is a column of the follow-up.
    """
    known = {request.name for request in asked}
    names = [name for name in dict.fromkeys(settings.subgroups) if name.lower() != NOBODY]
    for name in names:
        if name in {*settings.time_columns, settings.event, settings.entry}:
            raise DataError(f"subgroup {name!r} is the follow-up itself; choose another column")
    return tuple(VariableRequest(name) for name in names if name not in known)


def add_subgroups(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    alone: Sequence[VariableRequest],
    settings: Settings,
) -> tuple[Variable, ...]:
    """Recognise the subgroups that are not variables, and add their values to the table.

    Returns
    -------
    tuple of Variable
        All subgroups in the order in which they were given; the variables if none was.

    Raises
    ------
    DataError
        A column has no value, only one, or too many.
    """
    if not settings.subgroups:
        return tuple(variables)
    found = {variable.name: variable for variable in variables}
    for request in alone:
        with_missing = replace(request, missing=settings.missing)
        variable, frame[request.name] = recognise(frame[request.name], with_missing)
        found[request.name] = variable
    # A column with the name of the outcome was renamed, in the same order.
    renamed = {request.label or request.name: request.name for request in alone}
    names = [renamed.get(name, name) for name in dict.fromkeys(settings.subgroups)]
    return tuple(found[name] for name in names if name in found)
