"""Every setting of an analysis, from options and a small TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.bootstrap import check_repeats
from qupath_hccmil.settings_file import checked, read_toml
from qupath_hccmil.survival.statistics.cox import PENALTIES
from qupath_hccmil.survival.statistics.variables import VariableRequest
from qupath_hccmil.tables.follow_up import FollowUpColumns
from qupath_hccmil.tables.names import MATCHES
from qupath_hccmil.tables.units import DAYS


@dataclass(frozen=True)
class CohortRequest:
    """Another cohort, on which the prediction is validated.

    Attributes
    ----------
    name : str
        What the report calls it.
    scores, clinical : str
        Its tables.
    given : mapping of str to object
        Settings of these tables that differ from those of the analysis, such as columns.
    """

    name: str
    scores: str
    clinical: str
    given: Mapping[str, Any] = field(default_factory=dict)


# What another cohort may have differently: how its tables are written and coded.
COHORT_SETTINGS = {
    *(each.name for each in fields(FollowUpColumns)), "score", "score_patient", "patient_rule",
    "competing_values", "exclude",
}  # fmt: skip


@dataclass(frozen=True)
class Settings(FollowUpColumns):
    """What to analyse and how. Empty settings are recognised from the data and given in the report.

    Of the columns of the clinical table (:class:`FollowUpColumns`), the event and either the time,
    or start and end, are required.

    Attributes
    ----------
    report_unit : str
        Unit of times in the report, and of horizons.
    endpoint, time_zero : str
        Descriptions for the report, such as "Recurrence-free survival" and "resection".
    score_patient, score : str
        Columns of the patient and of the score in the table of scores.
    patient_rule : str
        Rule for several rows of a patient in the scores: pool, max or mean.
    entry : str
        Column of the time from which a patient is at risk (left truncation), counted and written
        like the follow-up time; a date if the follow-up is given by dates.
    competing_values : tuple of str
        Codes of the event column that mean a competing event.
    competing_name : str
        Name of the competing event.
    exclude : tuple of (column, value)
        Patients to leave out.
    variables : tuple of VariableRequest, or None
        None for the prognostic columns that are recognised by name.
    subgroups : tuple of str
        Columns in whose levels the effect of the score is estimated; empty for the variables,
        ``none`` for no subgroups.
    centre : str
        Column of the centre; empty if there is only one.
    cut : str
        How risk groups are made; see ``risk_groups``.
    threshold : float or None
        Threshold of the model; None for that of the scores table, or the published one.
    horizons : tuple of float
        In the report's unit.
    landmarks : tuple of float
        Times at which the landmark analyses start, in the report's unit; by default half a year.
    confidence : float
    bootstrap : int
        Bootstrap samples for the intervals of C, calibration and Brier score; 0 for none.
    seed : int
    penalty : str
        Penalty of the Cox models: auto, none or firth.
    imputations : int
        Number of imputed tables; 0 for complete cases only.
    baseline : str
        The baseline.json of an earlier analysis, for predicting probabilities.
    cohorts : tuple of CohortRequest
        Other cohorts, for external validation.
    tiles : str
        Table of features of high- and low-risk tiles.
    title : str
    """

    report_unit: str = "years"
    endpoint: str = ""
    time_zero: str = ""
    score_patient: str = ""
    score: str = ""
    patient_rule: str = ""
    entry: str = ""
    competing_values: tuple[str, ...] = ()
    competing_name: str = "Death without recurrence"
    exclude: tuple[tuple[str, str], ...] = ()
    variables: tuple[VariableRequest, ...] | None = None
    subgroups: tuple[str, ...] = ()
    centre: str = ""
    cut: str = "model"
    threshold: float | None = None
    horizons: tuple[float, ...] = ()
    landmarks: tuple[float, ...] = ()
    confidence: float = 0.95
    bootstrap: int = 500
    seed: int = 2021
    penalty: str = "auto"
    imputations: int = 0
    baseline: str = ""
    cohorts: tuple[CohortRequest, ...] = ()
    tiles: str = ""
    title: str = "Survival analysis of a risk score"

    def check(self) -> Settings:
        """Refuse values that no analysis can use; returns the settings."""
        self.check_times()
        if not (self.time or self.by_dates) or not self.event:
            raise DataError(
                "give the columns of time and event, with --time (or --start and --end) and --event"
            )
        if self.report_unit not in DAYS:
            raise DataError(f"report unit {self.report_unit!r} is not one of {', '.join(DAYS)}")
        if not 0.5 <= self.confidence < 1:
            raise DataError(f"confidence {self.confidence:g} must lie in [0.5, 1)")
        if self.penalty not in PENALTIES:
            raise DataError(f"penalty {self.penalty!r} is not one of {', '.join(PENALTIES)}")
        if self.match and self.match not in MATCHES:
            raise DataError(f"match {self.match!r} is not one of {', '.join(MATCHES)}")
        if self.decimal not in ("", ".", ","):
            raise DataError(f"decimal {self.decimal!r} is neither . nor ,")
        for name, times in (("horizon", self.horizons), ("landmark", self.landmarks)):
            if any(time <= 0 for time in times):
                raise DataError(f"{name} {min(times):g} must be after time zero")
        check_repeats(self.bootstrap)
        # One imputed table has no spread either.
        if min(self.seed, self.imputations) < 0 or self.imputations == 1:
            raise DataError("the seed must be 0 or more; imputations must be 0, or 2 or more")
        return self


_TEXTS = ("subgroups", "event_values", "censored_values", "competing_values", "missing")


def read_settings(path: str | Path) -> Settings:
    """Read settings from TOML: the fields of ``Settings``, and a table for each variable.

    ``exclude`` is a table with a value or values for each column; ``[variables.NAME]`` has the
    fields of ``VariableRequest`` (``merge`` maps values to the category that they become).

    Raises
    ------
    DataError
        The file is no TOML, or a key or value is not known.
    """
    content = read_toml(Path(path))
    tables = {
        key: _table(content[key], path, key)
        for key in ("exclude", "variables", "cohorts")
        if key in content
    }
    plain = {key: value for key, value in content.items() if key not in tables}
    plain |= {key: _texts(plain[key]) for key in _TEXTS if key in plain}
    plain |= {key: _listed(plain[key]) for key in ("horizons", "landmarks") if key in plain}
    settings = checked(Settings, plain, str(path))
    if "exclude" in tables:
        settings["exclude"] = tuple(
            (column, str(value))
            for column, found in tables["exclude"].items()
            for value in _listed(found)
        )
    if "variables" in tables:
        settings["variables"] = tuple(
            _variable(path, name, tables["variables"]) for name in tables["variables"]
        )
    if "cohorts" in tables:
        settings["cohorts"] = tuple(
            _cohort(path, name, tables["cohorts"]) for name in tables["cohorts"]
        )
    return Settings(**settings)


def _variable(path: str | Path, name: str, tables: dict[str, Any]) -> VariableRequest:
    given = {
        key: _texts(value) if key in ("levels", "missing") else value
        for key, value in _table(tables[name], path, f"variables.{name}").items()
    }
    return VariableRequest(
        **checked(VariableRequest, given, f"{path}: [variables.{name}]", name=name)
    )


def _cohort(path: str | Path, name: str, tables: dict[str, Any]) -> CohortRequest:
    where = f"{path}: [cohorts.{name}]"
    given = dict(_table(tables[name], path, f"cohorts.{name}"))
    scores, clinical = given.pop("scores", None), given.pop("clinical", None)
    if not (isinstance(scores, str) and isinstance(clinical, str)):
        raise DataError(f"{where} needs scores and clinical, the paths of its two tables")
    unknown = sorted(given.keys() - COHORT_SETTINGS)
    if unknown:
        allowed = ", ".join(sorted(COHORT_SETTINGS))
        raise DataError(f"{where}: {unknown[0]!r} is not one of scores, clinical, {allowed}")
    excluded = _table(given.pop("exclude", {}), path, f"cohorts.{name}.exclude")
    given |= {key: _texts(given[key]) for key in _TEXTS if key in given}
    own = checked(Settings, given, where)
    if excluded:
        own["exclude"] = tuple(
            (column, str(value)) for column, found in excluded.items() for value in _listed(found)
        )
    return CohortRequest(name, scores, clinical, own)


def _table(found: Any, path: str | Path, label: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise DataError(f"{path}: {label} must be a table, written [{label}]")
    return found


def _texts(value: Any) -> list[str]:
    """A list, also of a single value; codes that are numbers become text, as a table has them."""
    return [str(each) for each in _listed(value)]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]
