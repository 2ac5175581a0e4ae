"""The other cohorts of an external validation, read like the first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis_cohort import Cohort, read_cohort
from qupath_hccmil.survival.analysis_settings import CohortRequest, Settings
from qupath_hccmil.survival.statistics.variables import Variable, VariableRequest
from qupath_hccmil.tables.table_reader import find_column, read_table


def read_others(settings: Settings, variables: Sequence[Variable]) -> dict[str, Cohort]:
    """Read every other cohort, by its name.

    Settings that a cohort does not give are those of the analysis. Of the variables of the
    analysis, a cohort has those that are in its table.

    Parameters
    ----------
    settings : Settings
    variables : sequence of Variable
        Of the first cohort.

    Raises
    ------
    DataError
        Two cohorts have one name, or a table cannot be read; the message names the cohort.
    """
    found: dict[str, Cohort] = {}
    for request in settings.cohorts:
        if request.name in found:
            raise DataError(f"two cohorts are named {request.name!r}; give each its own name")
        try:
            found[request.name] = _read(request, settings, variables)
        except DataError as error:
            raise DataError(f"cohort {request.name!r}: {error}") from error
    return found


def _read(request: CohortRequest, settings: Settings, variables: Sequence[Variable]) -> Cohort:
    given = dict(request.given)
    # A time and dates exclude each other.
    if "time" in given:
        given = {"start": "", "end": "", **given}
    elif "start" in given or "end" in given:
        given = {"time": "", "unit": "", **given}
    own = replace(
        settings,
        **given,
        cohorts=(),
        entry="",
        centre="",
        subgroups=("none",),
        cut="median",
    )
    table = read_table(request.clinical, own.reading).frame
    requests = {each.name: each for each in settings.variables or ()}
    present = []
    for variable in variables:
        asked = requests.get(variable.name, VariableRequest(variable.name))
        try:
            find_column(table, request.clinical, variable.name, "variable")
        except DataError:
            continue
        kind: Literal["categorical", "numeric"] = "categorical" if variable.levels else "numeric"
        # Its own levels, since another cohort may have others.
        present.append(replace(asked, kind=kind, levels=(), reference=""))
    cohort = read_cohort(request.scores, request.clinical, replace(own, variables=tuple(present)))
    if cohort.folds is not None:
        raise DataError(
            f"{request.scores}: its scores are out of fold, each fold's by another model; a "
            "prediction is validated with scores of one model"
        )
    return cohort
