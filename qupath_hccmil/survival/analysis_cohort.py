"""The cohort: scores and follow-up joined by patient, with an account of everybody left out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.published_numbers import THRESHOLD
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.cohort_subgroups import NOBODY, add_subgroups, subgroups_alone
from qupath_hccmil.survival.scores_out_of_fold import Folds, divide_into_folds, fold_notes
from qupath_hccmil.survival.statistics.risk_groups import (
    RiskGroups,
    risk_groups,
)
from qupath_hccmil.survival.statistics.survival_outcome import ENTRY, EVENT, STRATUM, TIME
from qupath_hccmil.survival.statistics.table_one import ENOUGH
from qupath_hccmil.survival.statistics.variables import Variable, VariableRequest, recognise
from qupath_hccmil.tables.endpoint_coding import (
    COMPETING,
    EventCoding,
    code_events,
)
from qupath_hccmil.tables.follow_up import FollowUpTimes, follow_up_times
from qupath_hccmil.tables.names import match_key, near_matches, refuse_two_spellings
from qupath_hccmil.tables.numbers import (
    CODES_FOR_MISSING,
    WORDS_FOR_MISSING,
    as_float,
    codes_for_missing,
)
from qupath_hccmil.tables.score_table import PatientScores, read_scores
from qupath_hccmil.tables.table_reader import find_column, find_patient_column, read_table
from qupath_hccmil.tables.units import in_unit

SCORE = "risk_score__"
GROUP = "risk_group__"
CAUSE = "cause__"
CENTRE = "centre__"
# Usual names of the variables that prognostic studies of HCC report.
PROGNOSTIC = re.compile(
    r"^(age|gender|sex|.*stage|stage.*|bclc|.*grade|edmondson.*|differentiation|"
    r".*vascular_?invasion|mvi|afp.*|alpha_?feto.*|.*tumou?r_?size|size_?cm|"
    r".*tumou?r_?number|multifocal.*|cirrhosis|child.*)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Cohort:
    """The patients of an analysis.

    Attributes
    ----------
    frame : DataFrame
        Indexed by patient: ``time`` (report unit), ``event`` (0/1), the score, its risk group, the
        variables, the cause (0/1/2) if events compete, ``entry_time`` if patients enter late, and
        the centre if one is given.
    variables : tuple of Variable
    subgroups : tuple of Variable
        Variables in whose levels the effect of the score is estimated.
    flow : DataFrame
        ``step, patients``: number of patients left after each step.
    left_out : DataFrame
        ``patient, reason`` for everybody who is in a table but not in the analysis.
    groups : RiskGroups
    scores : PatientScores
    coding : EventCoding
    unit, column_unit : str
        Unit of ``time``, and of the column that it came from.
    time_source : str
        Where ``time`` comes from, in words.
    notes : tuple of str
        Notes for the reader on what was recognised or looks odd.
    hashes : dict
        SHA-256 of each input file, by its name, or by its path where two have one name.
    folds : Folds or None
        If the scores are those of a cross-validation. Then the table has the fold of each patient
        (``stratum__``), and the score is standardised within it.
    """

    frame: pd.DataFrame
    variables: tuple[Variable, ...]
    subgroups: tuple[Variable, ...]
    flow: pd.DataFrame
    left_out: pd.DataFrame
    groups: RiskGroups
    scores: PatientScores
    coding: EventCoding
    unit: str
    column_unit: str
    time_source: str
    notes: tuple[str, ...]
    hashes: dict[str, str]
    folds: Folds | None = None

    @property
    def score_variable(self) -> Variable:
        """The score as a variable, per standard deviation."""
        if self.folds is not None:
            return Variable(SCORE, "numeric", label="Risk score", unit="per SD within its fold")
        spread = float(self.frame[SCORE].std(ddof=1))
        return Variable(SCORE, "numeric", label="Risk score", per=spread, unit="per SD")

    @property
    def group_variable(self) -> Variable:
        """The risk group as a variable, with the lowest group as reference."""
        levels = tuple(str(name) for name in self.frame[GROUP].cat.categories)
        return Variable(GROUP, "categorical", levels, "Risk group")


def read_cohort(scores: str | Path, clinical: str | Path, settings: Settings) -> Cohort:
    """Read both tables, join them by patient, and code outcome, groups and variables.

    Raises
    ------
    DataError
        A column is missing or not understood, two patients have names that differ only in case,
        blanks or Unicode form, no patient is in both tables, or nobody is left.
    """
    settings.check()
    scored = read_scores(
        scores,
        column=settings.score,
        patient=settings.score_patient,
        rule=settings.patient_rule,
        missing=settings.missing,
        reading=settings.reading,
        match=settings.match,
    )
    read = read_table(clinical, settings.reading)
    table = read.frame
    key = find_patient_column(table, clinical, settings.patient)
    settings = _with_columns(table, clinical, settings)
    asked, about_variables = _asked(table, settings)
    alone = subgroups_alone(settings, asked)
    numbers = set() if settings.by_dates else {settings.time, settings.entry} - {""}
    for name in {*numbers, *(request.name for request in (*asked, *alone))}:
        table = table.assign(**{name: read.plain(name)})
    table, requests = _apart_from_outcome(table, (*asked, *alone), settings)
    asked, alone = requests[: len(asked)], requests[len(asked) :]
    written = tuple(table[key].dropna().unique())
    place = f"{clinical}: column {key!r}"
    refuse_two_spellings(((name, place) for name in written), settings.match)
    table = table.assign(**{key: table[key].map(match_key(settings.match), na_action="ignore")})
    follow = _Follow(table, key, scored, settings, clinical, written)
    frame = follow.join()
    frame, coding, found, odd = _outcome(frame, follow, settings, clinical)
    if frame.empty:
        raise DataError(f"{clinical}: no patient is left: {_reasons(follow.left_out)}")
    frame[SCORE] = scored.scores.reindex(frame.index).astype(float)
    if frame[SCORE].nunique() < 2:
        raise DataError(
            f"{scores}: each of the {len(frame)} patients has the score "
            f"{frame[SCORE].iloc[0]:g}, so "
            "there is nothing to analyse"
        )
    folds = None
    if scored.out_of_fold is not None:
        folds, groups = divide_into_folds(frame, SCORE, scored.out_of_fold, settings, scores)
    else:
        threshold = settings.threshold
        if threshold is None:
            threshold = THRESHOLD if scored.threshold is None else scored.threshold
        groups = risk_groups(frame[SCORE], settings.cut, threshold=threshold)
    frame[GROUP] = groups.groups
    variables, notes = _variables(frame, asked, settings)
    subgroups = add_subgroups(frame, variables, alone, settings)
    near = near_matches(written, scored.named, settings.match)
    notes += [
        *([] if folds is None else fold_notes(folds.table)),
        *about_variables,
        *scored.said,
        *read.said,
        *coding.warnings(),
        *odd,
        *([near] if near else []),
    ]
    notes += _notes(frame, scored, settings)
    kept = ["time", "event", SCORE, GROUP, *([CAUSE] if coding.competing else [])]
    kept += [ENTRY] if settings.entry else []
    kept += [] if folds is None else [STRATUM]
    if settings.centre:
        frame[CENTRE] = frame[settings.centre].where(~frame[settings.centre].isin(settings.missing))
        kept.append(CENTRE)
    used = dict.fromkeys(variable.name for variable in (*variables, *subgroups))
    return Cohort(
        frame[[*kept, *used]].copy(),
        variables,
        subgroups,
        follow.flow(),
        follow.left_out.reset_index(drop=True),
        groups,
        scored,
        coding,
        settings.report_unit,
        found.unit,
        found.source,
        tuple(notes),
        _hashes(scores, clinical),
        folds,
    )


class _Follow:
    """The clinical table, with an account of who was left out in each step."""

    def __init__(
        self,
        table: pd.DataFrame,
        key: str,
        scored: PatientScores,
        settings: Settings,
        path: str | Path,
        written: tuple[str, ...],
    ) -> None:
        self.table, self.key, self.scored = table, key, scored
        self.written = written
        self.settings, self.path = settings, path
        self.left_out = pd.DataFrame({"patient": [], "reason": []}, dtype=object)
        self.steps: list[tuple[str, int]] = []

    def join(self) -> pd.DataFrame:
        """Keep the rows with a score, one per patient, without excluded patients."""
        frame = self._one_row_a_patient()
        self.step("Patients in the clinical table", frame)
        unmatched = frame.index.difference(self.scored.scores.index, sort=False)
        silent = set(self.scored.excluded["patient"])
        without = [name for name in unmatched if name in silent]
        self.drop(without, "the scores table has no value for them")
        self.drop([name for name in unmatched if name not in silent], "no row in the scores table")
        unknown = self.scored.scores.index.difference(frame.index, sort=False)
        known = set(self.table[self.key].dropna())
        unknown = [name for name in unknown if name not in known]
        self.drop(unknown, "scored, but not in the clinical table")
        frame = frame.loc[frame.index.isin(self.scored.scores.index)]
        if frame.empty:
            ours, theirs = list(self.scored.scores.index[:2]), list(self.table[self.key][:2])
            near = near_matches(self.written, self.scored.named, self.settings.match)
            raise DataError(
                f"{self.path}: no patient is in both tables: the scores have {ours}, the clinical "
                f"table has {theirs} in column {self.key!r}" + (f"; {near}" if near else "")
            )
        self.step("with a score", frame)
        for column, value in self.settings.exclude:
            hit = frame.index[frame[column].fillna("") == value]
            self.drop(hit, f"excluded: {column} is {value!r}")
            frame = frame.drop(index=hit)
        if self.settings.exclude:
            self.step("not excluded", frame)
        return frame

    def drop(self, patients: Sequence[str] | pd.Index, reason: str) -> None:
        """Record patients as left out."""
        rows = pd.DataFrame({"patient": list(patients), "reason": reason}, dtype=object)
        self.left_out = pd.concat([self.left_out, rows])

    def step(self, name: str, frame: pd.DataFrame) -> None:
        """Record the number of patients that are left."""
        self.steps.append((name, len(frame)))

    def flow(self) -> pd.DataFrame:
        """List the steps as a table."""
        return pd.DataFrame(self.steps, columns=["step", "patients"])

    def _one_row_a_patient(self) -> pd.DataFrame:
        frame = self.table[self.table[self.key].notna()]
        if len(frame) < len(self.table):
            count = len(self.table) - len(frame)
            self.drop(["(no name)"] * count, f"row without a value in column {self.key!r}")
        plain = frame.drop_duplicates()
        twice = plain.loc[plain[self.key].duplicated(keep=False), self.key].unique()
        same = frame.loc[frame.duplicated(), self.key]
        same = same[~same.isin(twice)]
        self.drop(same, "identical row repeated (one is kept)")
        self.drop(twice, "several rows that differ (none is used)")
        plain = plain[~plain[self.key].isin(twice)]
        return plain.set_index(self.key)


def _with_columns(table: pd.DataFrame, path: str | Path, settings: Settings) -> Settings:
    """Return the settings with column names as they are written in the table."""

    def find(name: str, what: str) -> str:
        return find_column(table, path, name, what)

    requests = settings.variables
    if requests is not None:
        requests = tuple(replace(r, name=find(r.name, "variable")) for r in requests)
    dates = settings.by_dates
    return replace(
        settings,
        entry=find(settings.entry, "entry") if settings.entry else "",
        centre=find(settings.centre, "centre") if settings.centre else "",
        subgroups=tuple(
            name if name.lower() == NOBODY else find(name, "subgroup")
            for name in settings.subgroups
        ),
        start=find(settings.start, "start") if dates else "",
        end=find(settings.end, "end") if dates else "",
        time="" if dates else find(settings.time, "time"),
        event=find(settings.event, "event"),
        exclude=tuple((find(name, "exclusion"), value) for name, value in settings.exclude),
        variables=requests,
    )


def _asked(
    table: pd.DataFrame, settings: Settings
) -> tuple[tuple[VariableRequest, ...], list[str]]:
    """Variables that the user named, or those with a usual name of a prognostic variable."""
    taken = {*settings.time_columns, settings.event, settings.entry}
    if settings.variables is None:
        names = [n for n in table.columns if PROGNOSTIC.match(str(n)) and n not in taken]
        return tuple(VariableRequest(str(name)) for name in names), []
    asked: dict[str, VariableRequest] = {}
    notes = []
    for request in settings.variables:
        if request.name in taken:
            notes.append(f"Left out: variable “{request.name}” is the follow-up itself.")
        elif request.name in asked:
            notes.append(f"Variable “{request.name}” is named twice; it is used once.")
        else:
            asked[request.name] = request
    return tuple(asked.values()), notes


def _apart_from_outcome(
    table: pd.DataFrame, asked: tuple[VariableRequest, ...], settings: Settings
) -> tuple[pd.DataFrame, tuple[VariableRequest, ...]]:
    """Rename variables with the names of the outcome: ``time``, ``event``, ``entry_time``."""
    taken = {*settings.time_columns, settings.event, settings.entry}
    new = {name: f"{name} (variable)" for name in (TIME, EVENT, ENTRY) if name not in taken}
    renamed = tuple(
        replace(r, name=new[r.name], label=r.label or r.name) if r.name in new else r for r in asked
    )
    names = {request.name for request in asked}
    return table.rename(columns={old: to for old, to in new.items() if old in names}), renamed


def _looks_missing(level: str) -> bool:
    return bool(WORDS_FOR_MISSING.fullmatch(level)) or as_float(level) in CODES_FOR_MISSING


def _outcome(
    frame: pd.DataFrame, follow: _Follow, settings: Settings, path: str | Path
) -> tuple[pd.DataFrame, EventCoding, FollowUpTimes, list[str]]:
    found = follow_up_times(frame, path, settings)
    time = in_unit(found.times, found.unit, settings.report_unit)
    raw = frame[settings.event].where(~frame[settings.event].isin(settings.missing), None)
    codes, coding = code_events(
        raw,
        events=settings.event_values,
        censored=settings.censored_values,
        competing=settings.competing_values,
    )
    no_time, no_event = frame.index[time.isna()], frame.index[time.notna() & codes.isna()]
    negative = frame.index[(time < 0) & codes.notna()]
    follow.drop(no_time, found.absent)
    follow.drop(no_event, f"no event status ({settings.event})")
    follow.drop(negative, found.negative)
    kept = frame.drop(index=[*no_time, *no_event, *negative])
    kept = kept.assign(time=time.reindex(kept.index), cause__=codes.reindex(kept.index))
    kept[CAUSE] = kept[CAUSE].astype(int)
    kept["event"] = (kept[CAUSE] == 1).astype(int)
    if settings.entry:
        kept = _entered(kept, follow, settings, path)
    if coding.competing and not (kept[CAUSE] == COMPETING).any():
        coding = replace(coding, competing=())
    follow.step("with an outcome: analysed", kept)
    return kept, coding, found, [*found.said, *_codes_told(settings.time, found.codes)]


def _entered(
    kept: pd.DataFrame, follow: _Follow, settings: Settings, path: str | Path
) -> pd.DataFrame:
    """Add the time of entry, in the report's unit, and leave out those who were never at risk."""
    columns = (
        replace(settings, end=settings.entry)
        if settings.by_dates
        else (replace(settings, time=settings.entry))
    )
    found = follow_up_times(kept, path, columns)
    entry = in_unit(found.times, found.unit, settings.report_unit)
    name = settings.entry
    follow.drop(kept.index[entry.isna()], f"no time of entry ({name})")
    follow.drop(kept.index[entry < 0], f"entry before time zero ({name})")
    late = entry >= kept["time"]
    follow.drop(kept.index[late], f"follow-up ends before the entry ({name})")
    return kept.assign(**{ENTRY: entry})[(entry >= 0) & ~late].copy()


def _codes_told(column: str, codes: dict[float, int]) -> list[str]:
    return [
        f"“{column}” has the value {code:g} in {count_of(times, 'row')}, which is used as a "
        f"number; if it means a missing value, give --missing {code:g}."
        for code, times in codes.items()
    ]


def _variables(
    frame: pd.DataFrame, asked: tuple[VariableRequest, ...], settings: Settings
) -> tuple[tuple[Variable, ...], list[str]]:
    found, notes = [], []
    if settings.variables is None:
        names = ", ".join(request.name for request in asked) or "none"
        notes.append(
            f"No variables were named, so columns with the usual name of a prognostic variable are "
            f"used: {names}."
        )
    for request in asked:
        request = _with_missing(request, settings)
        try:
            variable, values = recognise(frame[request.name], request)
        except DataError as error:
            if settings.variables is not None:
                raise
            notes.append(f"Left out: {error}.")
            continue
        odd = [
            level
            for level in variable.levels
            if _looks_missing(level) and level not in request.levels
        ]
        if odd:
            notes.append(
                f"Among the values of “{variable.name}” there is "
                f"{', '.join(f'“{v}”' for v in odd)}, which is used as a category; if it means a "
                "missing value, give it to --missing."
            )
        if variable.kind == "numeric" and not request.log:
            notes += _codes_told(variable.name, codes_for_missing(values))
        frame[request.name] = values
        found.append(variable)
    if settings.variables is None and found:
        terms = 1 + sum(max(len(variable.levels) - 1, 1) for variable in found)
        events = int(frame["event"].sum())
        notes.append(
            f"With the score they make {terms} coefficients, which need {ENOUGH * terms} events; "
            f"there are {events}."
            + (" Use fewer variables (--variable)." if events < ENOUGH * terms else "")
        )
    return tuple(found), notes


def _with_missing(request: VariableRequest, settings: Settings) -> VariableRequest:
    return replace(request, missing=(*request.missing, *settings.missing))


def _notes(frame: pd.DataFrame, scored: PatientScores, settings: Settings) -> list[str]:
    notes = []
    if settings.entry:
        late = int((frame[ENTRY] > 0).sum())
        notes.append(
            f"Left truncation: patients are at risk from “{settings.entry}”, {late} of "
            f"{len(frame)} from after time zero."
        )
    zero = int((frame["time"] == 0).sum())
    if zero:
        notes.append(f"Patients with a follow-up of 0 are kept ({zero}).")
    if len(scored.models) > 1:
        notes.append(
            f"The scores come from {len(scored.models)} models ({'; '.join(scored.models)}) and "
            "may not be comparable."
        )
    if scored.stale:
        notes.append(
            f"Stale scores, in {count_of(scored.stale, 'row')}: the outlines were edited after "
            "they were scored."
        )
    if frame["event"].sum() < 10:
        notes.append(
            f"Only {count_of(int(frame['event'].sum()), 'event')}: every estimate is uncertain."
        )
    if not settings.time_zero:
        notes.append("Time zero is not stated; give it with --time-zero, for example “resection”.")
    return notes


def _reasons(left_out: pd.DataFrame) -> str:
    counts = left_out["reason"].value_counts()
    return "; ".join(f"{count} {reason}" for reason, count in counts.items()) or "no rows"


def _hashes(*paths: str | Path) -> dict[str, str]:
    """SHA-256 of each file by its name, or by its path where two have one name."""
    files = {Path(path).resolve(): Path(path) for path in paths}
    names = [path.name for path in files.values()]
    return {
        path.name if names.count(path.name) == 1 else str(path): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in files.values()
    }
