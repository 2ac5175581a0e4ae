"""``analysis.R``: the settings of one analysis, and the parts of the script that are the same."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from qupath_hccmil import __version__
from qupath_hccmil.survival.analysis_cohort import GROUP
from qupath_hccmil.survival.findings import Analysis
from qupath_hccmil.survival.r_script.analysis_data import (
    analysis_table,
    column_names,
    subgroup_columns,
)
from qupath_hccmil.survival.statistics.risk_groups import MODEL
from qupath_hccmil.survival.statistics.variables import Variable
from qupath_hccmil.tables.units import DAYS

HEADER = """\
# Computes the numbers of the report again, in R, from analysis.csv, and compares them with the
# tables of the report (folder tables).
#
#   Rscript analysis.R                  prints what agrees
#   Rscript analysis.R compared.csv     also writes every pair of numbers
#
# It needs R 4 and the packages survival, riskRegression and cmprsk (with prodlim, which these two
# use), and metafor if there are several centres; a part whose package is not installed is left out,
# and the last lines say so. In an interactive session, set the working directory to this folder and
# use source("analysis.R").
#
# Written by qupath-hccmil {version}. For research use only.
"""


def r_script(analysis: Analysis) -> str:
    """Write the script for one analysis; ASCII, so that every R in every locale reads it."""
    parts = files("qupath_hccmil.survival.r_script") / "parts"
    names = sorted(part.name for part in parts.iterdir() if part.name.endswith(".R"))
    texts = [(parts / name).read_text(encoding="utf-8") for name in names]
    return "\n".join([HEADER.format(version=__version__), _settings(analysis), *texts])


def _settings(analysis: Analysis) -> str:
    cohort, settings = analysis.cohort, analysis.settings
    names = column_names(analysis)
    variables = ",\n".join(
        f"  {names[variable.name]} = {_variable(variable)}" for variable in cohort.variables
    )
    alone = subgroup_columns(analysis)
    subgroups = ",\n".join(
        f"  {({**names, **alone})[variable.name]} = {_variable(variable)}"
        for variable in cohort.subgroups
    )
    groups = [str(name) for name in cohort.frame[GROUP].cat.categories]
    values = {
        "columns": _vector(map(_text, analysis_table(analysis).columns)),
        "horizons": _vector(map(repr, analysis.horizons)),
        "confidence": repr(settings.confidence),
        "bootstrap": str(settings.bootstrap),
        "seed": str(settings.seed),
        "penalty": _text(settings.penalty),
        "group_levels": _vector(map(_text, groups)),
        "variables": f"list(\n{variables}\n)" if variables else "list()",
        "subgroups": f"list(\n{subgroups}\n)" if subgroups else "list()",
        "first_cohort": _text(analysis.external.first if analysis.external else ""),
        "late": "TRUE" if settings.entry else "FALSE",
        "out_of_fold": "FALSE" if cohort.folds is None else "TRUE",
        "cut_at_thresholds": "TRUE" if settings.cut.strip().lower() == MODEL else "FALSE",
        "baseline": _baseline(analysis),
    }
    unit = f"# Times are in {cohort.unit}."
    lines = [f"{name} <- {value}" for name, value in values.items()]
    return "\n".join(["# ---- Settings of this analysis " + "-" * 65, "", unit, *lines, ""])


def _variable(variable: Variable) -> str:
    parts = {
        "name": _text(variable.name),
        "title": _text(variable.title),
        "levels": _vector(map(_text, variable.levels)) if variable.levels else "NULL",
        "per": repr(float(variable.per)),
    }
    return f"list({', '.join(f'{key} = {value}' for key, value in parts.items())})"


def _baseline(analysis: Analysis) -> str:
    given = analysis.performance.baseline
    if not analysis.settings.baseline or given is None:
        return "NULL"
    parts = {
        "scale": repr(DAYS[analysis.cohort.unit] / DAYS[given.unit]),
        "coefficient": repr(given.coefficient),
        "centre": repr(given.centre),
        "last": repr(given.last),
        "times": _vector(map(repr, given.times)),
        "cumulative_hazard": _vector(map(repr, given.cumulative_hazard)),
    }
    return "list(\n" + ",\n".join(f"  {key} = {value}" for key, value in parts.items()) + "\n)"


def _vector(values: Iterable[str], width: int = 80) -> str:
    """Write ``c(…)`` in lines of at most `width` characters, where the values allow it."""
    lines, line = [], "c("
    for place, value in enumerate(values):
        piece = value if not place else f", {value}"
        if place and len(line) + len(piece) > width:
            lines.append(line + ",")
            line = f"  {value}"
        else:
            line += piece
    return "\n".join([*lines, line + ")"])


def _text(text: str) -> str:
    """Write a text as an R string in ASCII."""
    return '"' + "".join(_character(character) for character in text) + '"'


def _character(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return "\\" + character
    if 32 <= code < 127:
        return character
    if 0xD800 <= code < 0xE000:  # no character; R has none either
        return "?"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
