"""Cox models on what needs no network, fitted on the other folds and judged on the outer ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError
from qupath_hccmil.judgement.judged_cohort import COLOURS, TILES, JudgedCohort
from qupath_hccmil.judgement.kept_folds import FoldResult
from qupath_hccmil.survival.statistics.cox import fit_cox
from qupath_hccmil.survival.statistics.variables import Variable, present_levels

SCORE = "Score of the slides"
CLINICAL = "Clinical variables"
COMBINED = "Clinical variables and score"
TILE_COUNT = "Number of tiles"
COLOUR = "Mean colour"
_LOGIT = "logit__"


@dataclass(frozen=True)
class FoldModels:
    """Predictions of Cox models in the outer folds.

    Attributes
    ----------
    markers : mapping of str to (repeats, n) float64
        In the order of the cohort. Where a model cannot be fitted, it predicts the same for all.
    problems : list of (part, reason)
    """

    markers: Mapping[str, NDArray[np.float64]]
    problems: list[tuple[str, str]]


def cox_models(cohort: JudgedCohort, repeats: Sequence[Sequence[FoldResult]]) -> FoldModels:
    """Fit every comparison on the other patients of each outer fold, and predict the fold.

    The clinical variables alone; the same with the score, which for the patients that are learned
    from is that of the inner splits; the logarithm of the number of tiles; and the mean colour.
    Missing clinical values are replaced by the median, or the most frequent category, of the
    patients that are learned from. A variable that none of them has is left out in that fold.

    Parameters
    ----------
    cohort : JudgedCohort
    repeats : sequence of sequence of FoldResult
    """
    frame = cohort.frame.assign(**{TILES: np.log1p(cohort.frame[TILES].astype(float))})
    models = _models(cohort)
    markers = {name: np.zeros((len(repeats), len(frame))) for name in models}
    problems: list[tuple[str, str]] = []
    place = {patient: number for number, patient in enumerate(frame.index)}
    for row, folds in enumerate(repeats):
        for fold in folds:
            train = frame.loc[list(fold.inner_logits)].assign(
                **{_LOGIT: pd.Series(fold.inner_logits)}
            )
            test = frame.loc[list(fold.logits)].assign(**{_LOGIT: pd.Series(fold.logits)})
            where = [place[patient] for patient in fold.logits]
            for name, variables in models.items():
                part = f"{name}, repeat {fold.repeat}, fold {fold.name}"
                known = [one for one in variables if train[one.name].notna().any()]
                absent = [one.title for one in variables if one not in known]
                if absent:
                    told = f"without {', '.join(absent)}, which no patient of the other folds has"
                    problems.append((part, told))
                try:
                    markers[name][row, where] = _fitted(train, test, known)
                except (DataError, np.linalg.LinAlgError) as error:
                    problems.append((part, str(error)))
    return FoldModels(markers, problems)


def _models(cohort: JudgedCohort) -> dict[str, list[Variable]]:
    logit = Variable(_LOGIT, "numeric", label=SCORE)
    models: dict[str, list[Variable]] = {}
    if cohort.variables:
        models[CLINICAL] = list(cohort.variables)
        models[COMBINED] = [*cohort.variables, logit]
    models[TILE_COUNT] = [Variable(TILES, "numeric", label=TILE_COUNT)]
    if cohort.has_colour:
        models[COLOUR] = [Variable(name, "numeric", per=10.0) for name in COLOURS]
    return models


def _fitted(
    train: pd.DataFrame, test: pd.DataFrame, variables: Sequence[Variable]
) -> NDArray[np.float64]:
    """Linear predictor of the tested patients by a Cox model of the others.

    Each variable has a value in one of the others.
    """
    if not variables:
        raise DataError("no variable is left")
    train, test = train.copy(), test.copy()
    scaled = []
    for variable in variables:
        _fill(train, test, variable)
        if variable.kind == "numeric":
            # A spread of one keeps the fit stable, whatever the unit.
            spread = float(train[variable.name].astype(float).std()) or 1.0
            variable = replace(variable, per=spread)
        scaled.append(variable)
    kept = present_levels(train, scaled)
    for variable in kept:
        if variable.levels:
            known = test[variable.name].astype(str).isin(variable.levels)
            test.loc[~known, variable.name] = _most_frequent(train[variable.name])
    fit = fit_cox(train, kept)
    return np.asarray(fit.linear_predictor(test))


def _fill(train: pd.DataFrame, test: pd.DataFrame, variable: Variable) -> None:
    values = train[variable.name]
    filled = _most_frequent(values) if variable.levels else float(values.astype(float).median())
    for part in (train, test):
        part[variable.name] = part[variable.name].fillna(filled)


def _most_frequent(values: pd.Series) -> str:
    counts = values.dropna().astype(str).value_counts()
    return str(min(counts.index[counts == counts.max()]))
