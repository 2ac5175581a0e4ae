"""Outcomes permuted within centres, and what the same training still predicts of them: leakage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qupath_hccmil.judgement.fold_tables import as_arrays
from qupath_hccmil.judgement.judged_cohort import JudgedCohort
from qupath_hccmil.judgement.learner import Learner
from qupath_hccmil.judgement.nested_cross_validation import (
    NestedSettings,
    fold_folder,
    judge_fold,
    plan_folds,
)
from qupath_hccmil.judgement.nested_splits import OuterFold, seed_of
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME
from qupath_hccmil.survival.statistics.within_folds import FoldOutcomes


@dataclass(frozen=True)
class PermutedCohort:
    """A cohort whose outcomes were permuted, and its outer folds.

    Attributes
    ----------
    learner : Learner
        With the permuted outcomes.
    frame : DataFrame
        ``time`` and ``event`` by patient, as permuted.
    folds : list of OuterFold
    """

    learner: Learner
    frame: pd.DataFrame
    folds: list[OuterFold]


def permuted_cohorts(
    learner: Learner, cohort: JudgedCohort, settings: NestedSettings
) -> list[PermutedCohort]:
    """Permute outcomes within centres, as often as the settings say.

    Raises
    ------
    DataError
        A permuted cohort cannot be divided; see
        :func:`~qupath_hccmil.judgement.nested_cross_validation.plan_folds`.
    """
    found = []
    for number in range(1, settings.permutations + 1):
        donors = permuted_within(cohort.centre_of, seed_of(settings.seed, number, 1))
        order = [donors[patient] for patient in cohort.frame.index]
        frame = cohort.frame[[TIME, EVENT]].loc[order].set_axis(cohort.frame.index)
        other = learner.with_outcomes_of(donors)
        folds = plan_folds(other, frame, cohort.centre_of, settings, number)
        found.append(PermutedCohort(other, frame, folds))
    return found


def predict_permuted(
    cohorts: Sequence[PermutedCohort],
    out: Path,
    settings: NestedSettings,
    say: Callable[[str], None],
) -> tuple[FoldOutcomes, NDArray[np.float64]]:
    """Cross-validate on cohorts with permuted outcomes, exactly as on the real ones.

    Parameters
    ----------
    cohorts : sequence of PermutedCohort
    out : Path
        Folder for finished folds.
    settings : NestedSettings
    say : callable
        Called with a line before each training.

    Returns
    -------
    outcomes : FoldOutcomes
        As permuted.
    score : (permutations, n) float64
        Of held-out patients; only its order within a fold counts.
    """
    found = []
    for one in cohorts:
        results = [
            judge_fold(
                one.learner, fold, one.frame, settings, fold_folder(out, fold),
                lambda line: say(f"outcomes permuted, {line}"),
            )
            for fold in one.folds
        ]  # fmt: skip
        found.append(as_arrays(one.frame, [results]))
    outcomes = FoldOutcomes(
        np.concatenate([outcomes.time for outcomes, _ in found]),
        np.concatenate([outcomes.event for outcomes, _ in found]),
        np.concatenate([outcomes.fold for outcomes, _ in found]),
    )
    return outcomes, np.concatenate([score for _, score in found])


def permuted_within(centre: Mapping[str, str], seed: int) -> dict[str, str]:
    """Give each patient the outcome of a random patient of the same centre; each is used once.

    Returns
    -------
    dict of str to str
        For each patient, the donor.
    """
    rng = np.random.default_rng(seed)
    donors: dict[str, str] = {}
    for name in sorted(set(centre.values())):
        own = sorted(patient for patient in centre if centre[patient] == name)
        donors.update(zip(own, rng.permutation(own).tolist(), strict=True))
    return donors
