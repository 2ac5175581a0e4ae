"""Scores of a cross-validation in the cohort: on one scale, in groups, and what to tell of them.

The scores of two folds come from two models, so that neither their level nor their spread can be
compared. They are therefore centred and scaled within the fold, the groups are cut at the threshold
of the fold, and whatever compares scores does so within folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.statistics.risk_groups import (
    MODEL,
    RiskGroups,
    groups_by_fold,
    is_number,
    risk_groups,
)
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, STRATUM, TIME
from qupath_hccmil.survival.statistics.within_folds import usable_pairs
from qupath_hccmil.tables.out_of_fold import OutOfFold

# Share of their size by which the scores of a network that gives everybody the same score differ.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Folds:
    """The folds of a cross-validation that gave the scores of a cohort.

    Attributes
    ----------
    table : DataFrame
        ``fold, patients, events, pairs, threshold, mean, sd``, one row per fold. Pairs are those
        that the C-index can use; mean and sd are of the score as it was given, sd NaN for one
        patient; the threshold is NaN if the table of scores does not give it.
    score : Series
        As it was given, by patient.
    """

    table: pd.DataFrame
    score: pd.Series


def divide_into_folds(
    frame: pd.DataFrame, name: str, found: OutOfFold, settings: Settings, path: str | Path
) -> tuple[Folds, RiskGroups]:
    """Add each patient's fold (``stratum__``) to a cohort, and standardise the score within it.

    Parameters
    ----------
    frame : DataFrame
        The cohort, which is changed.
    name : str
        Column of the score.
    found : OutOfFold
    settings : Settings
    path : path
        The table of scores, for messages.

    Raises
    ------
    DataError
        The scores differ in no fold, the table has no thresholds or scores that are no risks, or a
        setting is for the scores of one model.
    """
    if settings.baseline:
        raise DataError(
            f"{path}: its scores are out of fold, so --baseline, which was fitted on the scores of "
            "one model, cannot be used with them; leave it out"
        )
    score = frame[name].copy()
    fold = found.fold.reindex(frame.index)
    groups = _groups(score, fold, found.thresholds, settings, path)
    frame[STRATUM], frame[name] = fold, standardised(score, fold)
    if not frame[name].any():
        raise DataError(
            f"{path}: in each fold, all patients have one score, so there is nothing to analyse"
        )
    return Folds(_fold_table(frame, score, found.thresholds or {}), score), groups


def standardised(score: pd.Series, fold: pd.Series) -> pd.Series:
    """Each score minus the mean of its fold, in standard deviations of its fold.

    Parameters
    ----------
    score, fold : Series
        One per patient.

    Returns
    -------
    Series
        0 in a fold of one patient, and in one whose scores differ by rounding alone.
    """
    found = pd.Series(0.0, index=score.index)
    for _, part in score.groupby(fold):
        if differ(part):
            found[part.index] = (part - part.mean()) / part.std(ddof=1)
    return found


def differ(score: pd.Series) -> bool:
    """Whether the scores of a fold differ by more than rounding."""
    spread = float(score.max() - score.min())
    return len(score) > 1 and spread > ROUNDING * float(score.abs().max())


def _groups(
    score: pd.Series,
    fold: pd.Series,
    thresholds: Mapping[str, float] | None,
    settings: Settings,
    path: str | Path,
) -> RiskGroups:
    """Cut the scores into groups, in each fold by itself."""
    cut = settings.cut.strip().lower()
    if settings.threshold is not None or is_number(cut):
        raise DataError(
            f"{path}: its scores are out of fold, and one threshold cannot cut the scores of "
            "several models; leave out --threshold and a number for --cut, so that the threshold "
            "of each fold is used"
        )
    if cut != MODEL:
        groups = risk_groups(standardised(score, fold), cut)
        told = f"{groups.description} (of the score, standardised within its fold)"
        return RiskGroups(groups.groups, groups.cuts, groups.from_data, told)
    if thresholds is None:
        raise DataError(
            f"{path}: its scores are out of fold, but it has no column 'threshold' with the "
            "threshold of each fold; run 'qupath-hccmil train mil --folds' again, which writes it, "
            "or give --cut median"
        )
    outside = score[(score < 0) | (score > 1)]
    if len(outside):
        raise DataError(
            f"{path}: patient {outside.index[0]!r} has the score {outside.iloc[0]:g}, but the "
            "thresholds of the folds are for risks in [0, 1]; correct it, or give --cut median for "
            "scores on another scale"
        )
    return groups_by_fold(score, fold, thresholds)


def _fold_table(
    frame: pd.DataFrame, score: pd.Series, thresholds: Mapping[str, float]
) -> pd.DataFrame:
    rows = []
    for name, part in frame.groupby(STRATUM, sort=False):
        own = score[part.index]
        rows.append(
            (
                str(name),
                len(part),
                int(part[EVENT].sum()),
                usable_pairs(part[TIME].to_numpy(float), part[EVENT].to_numpy(bool)),
                thresholds.get(str(name), np.nan),
                float(own.mean()),
                float(own.std(ddof=1)) if differ(own) else (0.0 if len(own) > 1 else np.nan),
            )
        )
    names = ["fold", "patients", "events", "pairs", "threshold", "mean", "sd"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values("fold", key=_in_order, kind="stable", ignore_index=True)


def fold_notes(table: pd.DataFrame) -> list[str]:
    """Say what the scores are, and which folds add nothing to comparisons within folds."""
    count = count_of(len(table), "fold")
    notes = [
        f"The scores are out of fold ({count}): each patient was scored by the model of the fold "
        "that held this patient out. They are cross-validated scores of models that were trained "
        "on this same cohort, so the results estimate how well such a training does, not how well "
        "one model does that is used afterwards."
    ]
    if len(table) == 1:
        notes.append("There is one fold only, so this is no cross-validation; check the table.")
    alone, quiet = table["patients"] == 1, table["events"] == 0
    for odd, why in (
        (alone, "has one patient, who can be compared with nobody"),
        (quiet & ~alone, "has no event"),
        ((table["pairs"] == 0) & ~alone & ~quiet, "has no two patients whose order is known"),
        ((table["sd"] == 0) & ~alone, "has the same score for all its patients"),
    ):
        for name in table.loc[odd, "fold"]:
            notes.append(
                f"Fold {name} {why}, so it adds nothing to the C-index and to the hazard ratio of "
                "the score; its patients are in the curves."
            )
    return notes


def _in_order(names: pd.Series) -> pd.Series:
    """Numbers by size, then names."""
    return names.map(lambda name: (0, int(name), "") if name.isdigit() else (1, 0, name))
