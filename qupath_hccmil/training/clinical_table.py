"""The clinical table for training: patients, their slides, and labels or follow-up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.outcome_label import LabelledCohort, outcome
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.tables.endpoint_coding import EVENT, code_events
from qupath_hccmil.tables.follow_up import FollowUpColumns, follow_up_times
from qupath_hccmil.tables.names import (
    clean,
    match_key,
    refuse_two_spellings,
    spelling_key,
    two_spellings,
)
from qupath_hccmil.tables.table_reader import find_column, find_patient_column, read_table
from qupath_hccmil.tables.units import in_unit, unit_in_name

_LABELS = {"good": 1, "gut": 1, "bon": 1, "poor": 0, "schlecht": 0, "mauvais": 0}
DIFFERING = "several rows that differ"
_SLIDE_NAMES = ("slides", "slide")


@dataclass(frozen=True)
class ClinicalColumns(FollowUpColumns):
    """The columns of a clinical table; an empty field means the usual name.

    Follow-up (the columns ``time`` and ``event``) is needed if there is no label.

    Attributes
    ----------
    slides : str
        Column of file or image names; several in one cell are separated by ``;``. By default
        ``slides`` or ``slide``, if there is such a column.
    label : str
        Column with the words ``good`` or ``poor``. By default ``label``, if there is one.
    """

    slides: str = ""
    label: str = ""


@dataclass(frozen=True)
class Clinical:
    """The content of a clinical table.

    Attributes
    ----------
    path : Path
    cohort : LabelledCohort
    slides : mapping of str to tuple of str
        For every patient in the table the names of slides; empty without such a column.
    said : list of str
        Lines that say what was recognised, for the user to check.
    named : frozenset of str
        Patients as they are written in the table, whatever the matching rule.
    match : str
        Rule of `names.MATCHES` by which patients are matched.
    """

    path: Path
    cohort: LabelledCohort
    slides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    named: frozenset[str] = frozenset()
    match: str = ""

    @property
    def patients(self) -> set[str]:
        """All patients in the table."""
        return self.cohort.labels.keys() | self.cohort.excluded.keys()

    def meant_by(self, names: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Find the patients of the table who are meant by names elsewhere, as in a project.

        Parameters
        ----------
        names : iterable of (str, str)
            Each name as it is written there, and where it stands, for the message.

        Returns
        -------
        dict of str to str
            For each name of a patient of the table, that patient.

        Raises
        ------
        DataError
            A name differs from that of a patient only in case, blanks or Unicode form: the patient
            would be used without these slides.
        """
        key, patients = match_key(self.match), self.patients
        spelled = {spelling_key(patient): patient for patient in patients}
        spelled |= {spelling_key(key(name)): name for name in sorted(self.named)}
        found = {}
        for name, place in names:
            patient = key(clean(name))
            if patient in patients:
                found[name] = patient
            elif own := spelled.get(spelling_key(patient)):
                raise two_spellings((own, str(self.path)), (name, place), self.match)
        return found


def read_clinical(path: Path, columns: ClinicalColumns | None = None) -> Clinical:
    """Read a clinical table (CSV, Parquet or Excel) with one or more rows per patient.

    Rows of one patient that differ only in the slide count as one. Patients that cannot be used for
    training are excluded with the reason; nobody is dropped silently.

    Raises
    ------
    DataError
        The file or a column is missing, a value is not understood, or two patients have names that
        differ only in case, blanks or Unicode form.
    """
    columns = columns or ClinicalColumns()
    read = read_table(path, columns.reading)
    table = read.frame
    table = table.where(~table.isin(columns.missing), None) if columns.missing else table
    key = find_patient_column(table, path, columns.patient)
    said = read.said  # more lines are added while columns are read
    nameless = int(table[key].isna().sum())
    if nameless:
        said.append(f"left out: {count_of(nameless, 'row')} without a value in column {key!r}")
    table = table[table[key].notna()]
    named = frozenset(table[key])
    place = f"{path}: column {key!r}"
    refuse_two_spellings(((name, place) for name in table[key]), columns.match)
    table = table.assign(**{key: table[key].map(match_key(columns.match))})
    time = _with_times(table, path, columns).time
    if time:
        plain = read.plain(time)
        table = table.assign(**{time: plain.where(table[time].notna(), None)})
    slides = _slides(table, path, key, columns)
    label = _column(table, path, columns.label, "label")
    frame, differing = _one_row_a_patient(table, key, slides)
    times = _follow_up(frame, path, columns, said, needed=label is None)
    labels: dict[str, int] = {}
    excluded: dict[str, str] = dict.fromkeys(differing, DIFFERING)
    told = None if label is None else frame[label].to_dict()
    if label is not None:
        said.append(f"column {label!r}: “good” is a good outcome, “poor” a poor one")
    for patient in frame.index:
        if told is not None:
            found, reason = _label(told[patient], path, patient), "no label"
        else:
            found, reason = outcome(*times[patient])
        if found is None:
            excluded[patient] = reason
        else:
            labels[patient] = found
    follow_up = {p: (t, e) for p, (t, e) in times.items() if t is not None and e is not None}
    cohort = LabelledCohort(labels, excluded, follow_up)
    return Clinical(Path(path), cohort, _by_patient(table, key, slides), said, named, columns.match)


def _column(table: pd.DataFrame, path: Path, told: str, usual: str) -> str | None:
    """Find a column by the given name, or else by its usual one."""
    if told:
        return find_column(table, path, told, usual)
    return next((name for name in table.columns if spelling_key(name) == usual), None)


def _time_column(table: pd.DataFrame, path: Path, told: str) -> str | None:
    """Find the given column, or else ``time``, with or without a unit in its name."""
    found = _column(table, path, told, "time")
    if found is None:
        named = (name for name in table.columns if spelling_key(name).startswith("time"))
        found = next((name for name in named if unit_in_name(name)), None)
    return found


def _with_times(table: pd.DataFrame, path: Path, columns: ClinicalColumns) -> ClinicalColumns:
    """Return the columns with those of the follow-up as they are written in the table."""
    columns.check_times()
    if columns.by_dates:
        start, end = (
            find_column(table, path, name, what)
            for name, what in ((columns.start, "start"), (columns.end, "end"))
        )
        return replace(columns, start=start, end=end)
    return replace(columns, time=_time_column(table, path, columns.time) or "")


def _slides(table: pd.DataFrame, path: Path, key: str, columns: ClinicalColumns) -> str | None:
    if columns.slides:
        return find_column(table, path, columns.slides, "slides")
    found = [name for name in table.columns if name.lower() in _SLIDE_NAMES and name != key]
    return found[0] if found else None


def _by_patient(table: pd.DataFrame, key: str, slides: str | None) -> dict[str, tuple[str, ...]]:
    if slides is None:
        return {}
    names: dict[str, dict[str, None]] = {patient: {} for patient in table[key]}
    for patient, cell in zip(table[key], table[slides], strict=True):
        for name in (cell or "").split(";"):
            if name.strip():
                names[patient][name.strip()] = None
    return {patient: tuple(found) for patient, found in names.items()}


def _one_row_a_patient(
    table: pd.DataFrame, key: str, slides: str | None
) -> tuple[pd.DataFrame, list[str]]:
    plain = table.drop(columns=[slides] if slides else []).drop_duplicates()
    twice = plain.loc[plain[key].duplicated(keep=False), key].unique()
    return plain[~plain[key].isin(twice)].set_index(key), [str(name) for name in twice]


def _follow_up(
    frame: pd.DataFrame, path: Path, columns: ClinicalColumns, said: list[str], *, needed: bool
) -> dict[str, tuple[float | None, int | None]]:
    """Years and event of each patient; empty if they are neither needed nor present."""
    columns = _with_times(frame, path, columns)
    event = _column(frame, path, columns.event, "event")
    if not (columns.time or columns.by_dates) or event is None:
        if not needed:
            return {}
        have = ", ".join(repr(name) for name in frame.columns[:30])
        raise DataError(
            f"{path}: has no column {'event' if event is None else 'time'!r}; give the columns of "
            "time and event, or of a label (--time, or --start-date and --end-date; --event; "
            f"--label); its columns: {have}"
        )
    found = follow_up_times(frame, path, columns)
    said += [
        f"column {columns.time!r}: {code:g} in {count_of(count, 'row')} may mean a missing value "
        f"(--missing {code:g})"
        for code, count in found.codes.items()
    ]
    said += found.said
    years = in_unit(found.times, found.unit, "years")
    codes, coding = code_events(
        frame[event], events=columns.event_values, censored=columns.censored_values
    )
    said.append(f"time: {found.source}; {event!r}: {coding.describe()}")
    said += coding.warnings()
    return {
        str(patient): (_time(years[patient]), _event(codes[patient])) for patient in frame.index
    }


def _time(years: float) -> float | None:
    return float(years) if np.isfinite(years) and years >= 0 else None


def _event(code: float) -> int | None:
    return int(code == EVENT) if np.isfinite(code) else None


def _label(value: str | None, path: Path, patient: str) -> int | None:
    if value is None:
        return None
    if value.lower() not in _LABELS:
        raise DataError(
            f"{path}: patient {patient!r}: label {value!r} may mean either outcome; write good or "
            "poor"
        )
    return _LABELS[value.lower()]
