"""Every setting of an analysis, from options and a small TOML file."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.cox import PENALTIES
from qupath_hccmil.survival.statistics.variables import VariableRequest
from qupath_hccmil.tables.follow_up import FollowUpColumns
from qupath_hccmil.tables.names import MATCHES
from qupath_hccmil.tables.units import DAYS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Settings(FollowUpColumns):
    """What to analyse and how. Empty means recognised from the data, and told in the report.

    Of the clinical table's columns (:class:`FollowUpColumns`) time and event must be named.

    Attributes
    ----------
    report_unit : str
        What times are reported in; horizons are given in it.
    endpoint, time_zero : str
        In words, for the report: "Recurrence-free survival", "resection".
    score_patient, score : str
        Columns of the patient and of the score in the table of scores.
    patient_rule : str
        For several rows of a patient in the scores: pool, max or mean.
    competing_values : tuple of str
        Codes of the event column that mean a competing event.
    competing_name : str
        What the competing event is.
    exclude : tuple of (column, value)
        Patients to leave out.
    variables : tuple of VariableRequest, or None
        None for the prognostic columns that are recognised by name.
    cut : str
        How to make risk groups; see ``risk_groups``.
    threshold : float or None
        The model's; the scores table's own or the published one when None.
    horizons : tuple of float
        In the report's unit.
    confidence : float
    bootstrap : int
        Samples for the intervals of C, calibration and Brier; 0 for none.
    seed : int
    penalty : str
        Of Cox models: auto, none or firth.
    imputations : int
        0 for complete cases alone.
    baseline : str
        A baseline.json of an earlier analysis, to predict probabilities with.
    tiles : str
        A table of features of high- and low-risk tiles.
    title : str
    """

    report_unit: str = "years"
    endpoint: str = ""
    time_zero: str = ""
    score_patient: str = ""
    score: str = ""
    patient_rule: str = ""
    competing_values: tuple[str, ...] = ()
    competing_name: str = "Death without recurrence"
    exclude: tuple[tuple[str, str], ...] = ()
    variables: tuple[VariableRequest, ...] | None = None
    cut: str = "model"
    threshold: float | None = None
    horizons: tuple[float, ...] = ()
    confidence: float = 0.95
    bootstrap: int = 500
    seed: int = 2021
    penalty: str = "auto"
    imputations: int = 0
    baseline: str = ""
    tiles: str = ""
    title: str = "Survival analysis of a risk score"

    def check(self) -> Settings:
        """Refuse values that no analysis can use; returns itself."""
        if not self.time or not self.event:
            raise DataError("give the columns of time and event, with --time and --event")
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
        if any(horizon <= 0 for horizon in self.horizons):
            raise DataError(f"horizon {min(self.horizons):g} must be after time zero")
        if self.bootstrap < 0 or self.imputations < 0 or self.imputations == 1:
            raise DataError(
                "bootstrap samples must be 0 or more; imputations must be 0, or 2 or more"
            )
        return self


_TUPLES = {
    "event_values", "censored_values", "competing_values", "missing", "horizons",
}  # fmt: skip


def read_settings(path: str | Path) -> Settings:
    """Read settings from TOML: the fields of ``Settings``, and a table for each variable.

    ``exclude`` is a table of column to value or values; ``[variables.NAME]`` has the fields of
    ``VariableRequest`` (``merge`` maps values to the category they become).

    Raises
    ------
    DataError
        No TOML, or a key that is not known.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: is not valid TOML: {error}") from error
    known = {field.name for field in fields(Settings)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            raise DataError(f"{path}: unknown key {key!r}; known keys: {', '.join(sorted(known))}")
        values[key] = value
    if "variables" in values:
        values["variables"] = _variables(path, values["variables"])
    if "exclude" in values:
        values["exclude"] = tuple(
            (str(column), str(value))
            for column, found in values["exclude"].items()
            for value in _listed(found)
        )
    for key in _TUPLES & values.keys():
        plain = _listed(values[key])
        values[key] = tuple(float(v) if key == "horizons" else str(v) for v in plain)
    return replace(Settings(), **values)


def _variables(path: str | Path, tables: dict[str, Any]) -> tuple[VariableRequest, ...]:
    known = {field.name for field in fields(VariableRequest)} - {"name"}
    found = []
    table: Any
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise DataError(f"{path}: variables.{name} must be a table, written [variables.{name}]")
        wrong = set(table) - known
        if wrong:
            raise DataError(
                f"{path}: unknown key {sorted(wrong)[0]!r} in [variables.{name}]; known keys: "
                f"{', '.join(sorted(known))}"
            )
        given: dict[str, Any] = {
            key: tuple(map(str, _listed(value))) if key in ("levels", "missing") else value
            for key, value in table.items()
        }
        if given.get("kind", "") not in ("", "numeric", "categorical"):
            raise DataError(f"{path}: kind in [variables.{name}] must be numeric or categorical")
        found.append(VariableRequest(name, **given))
    return tuple(found)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]
