"""The tables that the R script reads next to those of the report."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import numpy as np
import pandas as pd

from qupath_hccmil.survival.analysis_cohort import CAUSE, CENTRE, GROUP, SCORE
from qupath_hccmil.survival.findings import (
    Analysis,
    CompetingPerformance,
    External,
    Performance,
)
from qupath_hccmil.survival.statistics.baseline import assigned_folds
from qupath_hccmil.survival.statistics.multiple_imputation import ImputedCox
from qupath_hccmil.survival.statistics.survival_outcome import ENTRY, EVENT, STRATUM, TIME
from qupath_hccmil.survival.statistics.variables import Variable

FIXED = (
    "patient", TIME, EVENT, "cause", "risk_score", "risk_group", "fold", "centre", ENTRY,
    "model_fold", "score_as_given",
)  # fmt: skip


def column_names(analysis: Analysis) -> dict[str, str]:
    """Name of each variable in ``analysis.csv``: ASCII, unique, and a name in R, too.

    Returns
    -------
    dict of str to str
        By the name of the variable in the clinical table, in their order.
    """
    return _named(analysis.cohort.variables, ())


def subgroup_columns(analysis: Analysis) -> dict[str, str]:
    """Names as by `column_names`, of the subgroups that are not variables of the analysis."""
    known = column_names(analysis)
    alone = [variable for variable in analysis.cohort.subgroups if variable.name not in known]
    return _named(alone, known.values())


def _named(variables: Iterable[Variable], used: Iterable[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    used = {*FIXED, *used}
    for variable in variables:
        plain = unicodedata.normalize("NFKD", variable.name.casefold())
        plain = plain.encode("ascii", "ignore").decode()
        name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
        name = name if name[:1].isalpha() else f"v_{name}".rstrip("_")
        taken = {*used, *names.values()}
        number = 2
        unique = name
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        names[variable.name] = unique
    return names


def analysis_table(analysis: Analysis) -> pd.DataFrame:
    """Every patient as analysed, in full precision.

    Returns
    -------
    DataFrame
        ``patient``, ``time`` (unit of the report), ``event`` (0 censored, 1 event), ``cause`` if
        events compete (2 is the competing event), ``risk_score``, ``risk_group``, ``fold`` if risks
        are predicted by a model of the other folds, ``model_fold`` and ``score_as_given`` if the
        scores are out of fold and ``risk_score`` is standardised, and the variables by
        `column_names`; merged, and with the binary logarithm taken, as in the models. Then other
        subgroups, ``centre`` and ``entry_time``, if there are any.
    """
    cohort = analysis.cohort
    frame = cohort.frame
    columns: dict[str, object] = {
        "patient": frame.index.to_numpy(),
        TIME: frame[TIME].to_numpy(float),
        EVENT: frame[EVENT].to_numpy(int),
    }
    if cohort.coding.competing:
        columns["cause"] = frame[CAUSE].to_numpy(int)
    columns["risk_score"] = frame[SCORE].to_numpy(float)
    columns["risk_group"] = frame[GROUP].astype(object).to_numpy()
    if cohort.folds is not None:
        columns["model_fold"] = frame[STRATUM].to_numpy()
        columns["score_as_given"] = cohort.folds.score.reindex(frame.index).to_numpy(float)
    elif cross_validated(analysis) or analysis.competing is not None:
        event = frame[EVENT].to_numpy(bool)
        columns["fold"] = assigned_folds(event, analysis.settings.seed) + 1
    named = {**column_names(analysis), **subgroup_columns(analysis)}
    further = {CENTRE: "centre", ENTRY: ENTRY}
    named |= {name: column for name, column in further.items() if name in frame}
    for name, column in named.items():
        columns[column] = frame[name].astype(object).to_numpy()
    return pd.DataFrame(columns)


def cross_validated(analysis: Analysis) -> bool:
    """Whether risks are predicted by a baseline of the other folds of these patients."""
    return not analysis.settings.baseline and analysis.performance.baseline is not None


def imputed_table(analysis: Analysis, imputed: ImputedCox) -> pd.DataFrame:
    """Imputed tables, one below the other, with their number in ``imputation``."""
    folds = {} if analysis.cohort.folds is None else {STRATUM: "model_fold"}
    names = {SCORE: "risk_score", **folds, **column_names(analysis)}
    parts = []
    for number, table in enumerate(imputed.tables, start=1):
        one = table[[TIME, EVENT, *names]].rename(columns=names)
        one.insert(0, "imputation", number)
        parts.append(one.astype(object))
    return pd.concat(parts, ignore_index=True)


def cohorts_table(analysis: Analysis, external: External) -> pd.DataFrame:
    """The patients of the other cohorts, one cohort below the other.

    Returns
    -------
    DataFrame
        ``cohort, time, event, risk_score, fold`` (of the recalibration), and the variables by
        `column_names`, without values where a cohort does not have them. The first cohort is there
        too, if it is external.
    """
    parts = []
    for name, result in external.cohorts.items():
        if name == external.first and not external.given:
            continue
        frame = result.cohort.frame
        folds = assigned_folds(frame[EVENT].to_numpy(bool), analysis.settings.seed) + 1
        part = pd.DataFrame(
            {
                "cohort": name,
                TIME: frame[TIME].to_numpy(float),
                EVENT: frame[EVENT].to_numpy(int),
                "risk_score": frame[SCORE].to_numpy(float),
                "fold": folds,
            }
        )
        own = {each.title.casefold(): each.name for each in result.cohort.variables}
        for variable, column in zip(
            analysis.cohort.variables, column_names(analysis).values(), strict=True
        ):
            there = own.get(variable.title.casefold())
            part[column] = None if there is None else frame[there].astype(object).to_numpy()
        parts.append(part.astype(object))
    return pd.concat(parts, ignore_index=True)


def further_numbers(analysis: Analysis) -> dict[str, pd.DataFrame]:
    """Numbers of the report that none of its tables has.

    Returns
    -------
    dict of str to DataFrame
        ``numbers_in_text`` (``item, quantity, value``), and the data of the curve of the score,
        the decision curve and the fifths of the calibration figures, if there are any, also with
        competing events.
    """
    tables = {"numbers_in_text": pd.DataFrame(_in_text(analysis), columns=list(_IN_TEXT))}
    if analysis.sensitivity.curve is not None:
        tables["score_curve"] = analysis.sensitivity.curve
    kinds: list[tuple[str, Performance | CompetingPerformance]] = [("", analysis.performance)]
    if analysis.competing is not None:
        kinds.append(("_competing", analysis.competing.performance))
    for suffix, performance in kinds:
        if performance.net_benefit is not None:
            tables[f"decision_curve{suffix}"] = performance.net_benefit
        if performance.calibrations:
            tables[f"calibration_groups{suffix}"] = pd.concat(
                [one.groups.assign(horizon=one.horizon) for one in performance.calibrations],
                ignore_index=True,
            )
    return tables


_POOLED = (
    "estimate", "se", "lower", "upper", "prediction_lower", "prediction_upper", "tau", "q", "p",
    "i_squared",
)  # fmt: skip
_IN_TEXT = ("item", "quantity", "value")


def _in_text(analysis: Analysis) -> Iterable[tuple[str, str, float]]:
    test, gain = analysis.survival.test, analysis.effects.gain
    power = analysis.events_per_variable
    items: dict[str, dict[str, float]] = {"follow-up": dict(analysis.survival.follow_up)}
    if not test.note:
        items["log-rank test"] = _picked(test, "statistic", "degrees_of_freedom", "p")
    if gain is not None:
        items["gain from the score"] = _picked(
            gain, "statistic", "degrees_of_freedom", "p", "patients", "events"
        )
    if power is not None and power.coefficients:
        items["events per coefficient"] = _picked(power, "events", "coefficients", "ratio")
    trend, centres = analysis.survival.group_tests.trend, analysis.groups.centres
    if trend is not None and not trend.note:
        items["trend"] = _picked(trend, "statistic", "p")
    if centres is not None:
        items["score by centre"] = _picked(centres, "statistic", "degrees_of_freedom", "p")
        if centres.pooled is not None:
            items["pooled over centres"] = _picked(centres.pooled, *_POOLED)
    for item, quantities in items.items():
        for quantity, value in quantities.items():
            yield item, quantity, float(value) if np.isfinite(value) else value


def _picked(source: object, *names: str) -> dict[str, float]:
    return {name: float(getattr(source, name)) for name in names}
