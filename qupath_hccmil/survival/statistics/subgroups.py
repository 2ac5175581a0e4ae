"""The effect of one variable within subgroups, with tests of interaction.

The model is stratified by the subgroup, so that each has its own baseline hazard and the estimates
within subgroups are those of separate models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.survival.statistics.cox import fit_cox
from qupath_hccmil.survival.statistics.log_rank_tests import holm
from qupath_hccmil.survival.statistics.stratified_cox import fit_stratified
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, complete, numbers
from qupath_hccmil.survival.statistics.variables import Variable, scaled

EVERYBODY = "All patients"
FEWEST_EVENTS = 2


@dataclass(frozen=True)
class Subgroups:
    """Effects within subgroups.

    Attributes
    ----------
    table : DataFrame
        ``variable, label, level, patients, events, coefficient, se, hazard_ratio, lower, upper, p,
        note``: all patients first, then each level of each variable. An effect that cannot be
        estimated is NaN, and the note says why.
    tests : DataFrame
        ``variable, label, how, statistic, degrees_of_freedom, p, p_holm``: a test of interaction
        for each variable; ``how`` is "levels" or "linear".
    """

    table: pd.DataFrame
    tests: pd.DataFrame


def subgroup_effects(
    frame: pd.DataFrame,
    effect: Variable,
    subgroups: Sequence[Variable],
    *,
    confidence: float = 0.95,
) -> Subgroups:
    """Estimate the effect of a numeric variable in each level of other variables.

    The test of interaction of a category is the likelihood-ratio test of one effect per level
    against one common effect, in a Cox model stratified by the levels. A number is shown in two
    halves, but tested as a number, by its product with the effect (dichotomising loses power:
    Royston and Sauerbrei 2004, Statistics in Medicine 23:2509). The p-values are also given
    corrected for the number of tests, by Holm's method.

    Parameters
    ----------
    frame : DataFrame
        ``time``, ``event`` and the variables; ``entry_time`` if patients enter late.
    effect : Variable
        Numeric.
    subgroups : sequence of Variable
    confidence : float
    """
    rows = [_row("", EVERYBODY, "", frame, effect, confidence)]
    tests = []
    for variable in subgroups:
        part = complete(frame, [variable.name, effect.name])
        levels = halves(part, variable)
        for level, inside in part.groupby(levels, sort=True, observed=True):
            rows.append(_row(variable.name, variable.title, str(level), inside, effect, confidence))
        tests.append(_interaction(part, effect, variable, levels))
    names = [
        "variable", "label", "level", "patients", "events", "coefficient", "se", "hazard_ratio",
        "lower", "upper", "p", "note",
    ]  # fmt: skip
    found = pd.DataFrame(
        tests, columns=["variable", "label", "how", "statistic", "degrees_of_freedom", "p"]
    )
    corrected = holm(found["p"].to_numpy(float))
    return Subgroups(pd.DataFrame(rows, columns=names), found.assign(p_holm=corrected))


def halves(frame: pd.DataFrame, variable: Variable) -> pd.Series:
    """Levels of a variable as an ordered categorical; a number is split at its median."""
    if variable.levels:
        kind = pd.CategoricalDtype(list(variable.levels), ordered=True)
        return frame[variable.name].astype(str).astype(kind)
    values = frame[variable.name].astype(float)
    middle = float(values.median())
    names = [f"≤ {middle:.4g}", f"> {middle:.4g}"]
    kind = pd.CategoricalDtype(names, ordered=True)
    return pd.Series(np.where(values > middle, names[1], names[0]), index=frame.index).astype(kind)


def _row(
    name: str, label: str, level: str, rows: pd.DataFrame, effect: Variable, confidence: float
) -> tuple[object, ...]:
    events = int(rows[EVENT].sum())
    head = (name, label, level, len(rows), events)
    if events < FEWEST_EVENTS:
        return (*head, *[np.nan] * 6, count_of(events, "event"))
    try:
        row = fit_cox(rows, [effect], confidence=confidence).table.iloc[0]
    except DataError as error:
        return (*head, *[np.nan] * 6, str(error))
    shown = ("coefficient", "se", "hazard_ratio", "lower", "upper", "p")
    return (*head, *(float(row[key]) for key in shown), "")


def _interaction(
    rows: pd.DataFrame, effect: Variable, variable: Variable, levels: pd.Series
) -> tuple[object, ...]:
    how = "levels" if variable.levels else "linear"
    head = (variable.name, variable.title, how)
    try:
        statistic, degrees = (
            _by_levels(rows, effect, levels) if variable.levels else _linear(rows, effect, variable)
        )
    except DataError:
        return (*head, np.nan, 0, np.nan)
    p = float(stats.chi2.sf(max(statistic, 0.0), degrees)) if degrees else np.nan
    return (*head, statistic if degrees else np.nan, degrees, p)


def _by_levels(rows: pd.DataFrame, effect: Variable, levels: pd.Series) -> tuple[float, int]:
    """Twice the gain of one effect per level over a common effect, and its degrees of freedom."""
    coded = rows.assign(level__=levels.astype(str))
    common = fit_stratified(coded, [effect], strata="level__")
    apart, informative = 0.0, 0
    for _, inside in coded.groupby("level__"):
        # A level in which nothing can be estimated adds nothing to either likelihood.
        if inside[EVENT].any() and inside[effect.name].nunique() > 1:
            fit = fit_stratified(inside, [effect])
            apart += fit.log_likelihood
            informative += 1
    return 2 * (apart - common.log_likelihood), max(informative - 1, 0)


def _linear(rows: pd.DataFrame, effect: Variable, variable: Variable) -> tuple[float, int]:
    first, second = numbers(rows, effect.name), scaled(rows, variable).to_numpy(float)
    product = (first - first.mean()) * (second - second.mean())
    both = [effect, variable]
    coded = rows.assign(product__=product)
    smaller = fit_stratified(coded, both)
    larger = fit_stratified(coded, [*both, Variable("product__", "numeric")])
    return 2 * (larger.log_likelihood - smaller.log_likelihood), 1
