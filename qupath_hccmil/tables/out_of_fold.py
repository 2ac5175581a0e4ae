"""Scores of a cross-validation: each patient's fold, and the threshold of the fold's model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.tables.names import spelling_key
from qupath_hccmil.tables.numbers import as_float
from qupath_hccmil.tables.table_reader import UserTable

FOLD, THRESHOLD, REPEAT = "fold", "threshold", "repeat"


@dataclass(frozen=True)
class OutOfFold:
    """Who was scored by which model of a cross-validation.

    Attributes
    ----------
    fold : Series
        Name of the fold that held each patient out, indexed by patient.
    thresholds : mapping of str to float, or None
        Threshold of each fold's model; None if the table does not give it.
    """

    fold: pd.Series
    thresholds: Mapping[str, float] | None


def read_out_of_fold(read: UserTable, patient: pd.Series) -> OutOfFold | None:
    """Read the folds of a table as ``train mil --folds`` writes it; None if it has none.

    Parameters
    ----------
    read : UserTable
        Recognised by its column ``fold``.
    patient : Series
        Patient of each row that has a score; other rows are left alone.

    Raises
    ------
    DataError
        A patient with a score has no fold or two, a fold is no name or number, or the threshold of
        a fold is missing in some rows, not in [0, 1], or not the same in all its rows.
    """
    column = _column(read, FOLD)
    if column is None:
        return None
    folds = read.frame.loc[patient.index, column].map(_name, na_action="ignore")
    where = f"{read.path}: column {column!r}"
    absent = patient[folds.isna()]
    if len(absent):
        raise DataError(
            f"{where}: no fold for {_who(absent)}; scores out of fold have the fold of every "
            "patient, so keep those of other models in a table of their own"
        )
    wrong = folds[~folds.map(_is_fold)]
    if len(wrong):
        raise DataError(
            f"{where}: {wrong.iloc[0]!r} ({count_of(len(wrong), 'row')}) is not a fold; folds have "
            "names, or whole numbers that are not negative"
        )
    of_patient = pd.DataFrame({"patient": patient, "fold": folds}).drop_duplicates()
    twice = of_patient[of_patient["patient"].duplicated(keep=False)]
    if len(twice):
        name = twice["patient"].iloc[0]
        first, second = twice.loc[twice["patient"] == name, "fold"].iloc[:2]
        repeats = _column(read, REPEAT) is not None
        advice = (
            "the judgement that wrote it has several repeats, and its own report analyses them"
            if repeats
            else "keep the rows of one cross-validation"
        )
        raise DataError(
            f"{where}: patient {name!r} is in fold {first} and in fold {second}; {advice}"
        )
    fold = of_patient.set_index("patient")["fold"]
    return OutOfFold(fold, _thresholds(read, folds))


def _column(read: UserTable, wanted: str) -> str | None:
    key = spelling_key(wanted)
    return next((str(name) for name in read.frame.columns if spelling_key(str(name)) == key), None)


def _name(text: object) -> str:
    """The name of a fold; 1 and 1.0 are the same."""
    name = str(text).strip()
    number = as_float(name)
    return str(int(number)) if number.is_integer() else name


def _is_fold(name: str) -> bool:
    number = as_float(name)
    if math.isnan(number):
        return name.casefold() != "nan"
    return number.is_integer() and number >= 0


def _thresholds(read: UserTable, folds: pd.Series) -> dict[str, float] | None:
    column = _column(read, THRESHOLD)
    if column is None:
        return None
    values = read.numbers(column).reindex(folds.index)
    if values.isna().all():
        return None
    where = f"{read.path}: column {column!r}"
    found: dict[str, float] = {}
    for fold, part in values.groupby(folds, sort=False):
        if part.isna().any():
            rows = count_of(int(part.isna().sum()), "row")
            raise DataError(f"{where}: no threshold in {rows} of fold {fold}; complete them")
        if part.nunique() > 1:
            first, second = part.unique()[:2]
            raise DataError(
                f"{where}: fold {fold} has the thresholds {first:g} and {second:g}, but one model; "
                "keep the rows of one cross-validation"
            )
        threshold = float(part.iloc[0])
        if not 0 <= threshold <= 1:
            raise DataError(
                f"{where}: the threshold {threshold:g} of fold {fold} is not a risk in [0, 1]"
            )
        found[str(fold)] = threshold
    return found


def _who(patients: pd.Series) -> str:
    others = f" and {count_of(len(patients) - 1, 'other row')}" if len(patients) > 1 else ""
    return f"patient {patients.iloc[0]!r}{others}"
