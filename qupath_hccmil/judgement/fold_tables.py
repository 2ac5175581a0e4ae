"""The outer folds of a judgement as arrays and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qupath_hccmil.judgement.judged_cohort import CENTRE
from qupath_hccmil.judgement.kept_folds import FoldResult
from qupath_hccmil.method.aggregation import group_name, risk
from qupath_hccmil.mil.metrics import score_ranks
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME
from qupath_hccmil.survival.statistics.within_folds import FoldOutcomes


def outcome_arrays(frame: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Follow-up and event of each patient."""
    return frame[TIME].to_numpy(float), frame[EVENT].to_numpy(bool)


def as_arrays(
    frame: pd.DataFrame, repeats: Sequence[Sequence[FoldResult]]
) -> tuple[FoldOutcomes, NDArray[np.float64]]:
    """Outcomes, and the scores of held-out patients, in the order of a cohort.

    Returns
    -------
    outcomes : FoldOutcomes
    score : (repeats, n) float64
        Rank within the fold. Logits that differ by rounding alone are ties; otherwise a collapsed
        model could have a C-index.
    """
    time, event = outcome_arrays(frame)
    score = np.full((len(repeats), len(frame)), np.nan)
    fold = np.zeros(score.shape, int)
    place = {patient: number for number, patient in enumerate(frame.index)}
    for row, folds in enumerate(repeats):
        for one in folds:
            where = [place[patient] for patient in one.logits]
            score[row, where] = score_ranks(list(one.logits.values()))
            fold[row, where] = one.number
    shape = (len(repeats), 1)
    return FoldOutcomes(np.tile(time, shape), np.tile(event, shape), fold), score


def by_fold(
    frame: pd.DataFrame,
    repeats: Sequence[Sequence[FoldResult]],
    concordances: Sequence[Mapping[int, float]],
) -> pd.DataFrame:
    """One row per outer fold and repeat: what was chosen, and the C-index of the fold."""
    rows = [
        (
            one.repeat, one.name, len(one.logits), int(frame.loc[list(one.logits), EVENT].sum()),
            concordances[place][one.number], one.candidate, one.concordances[one.candidate],
            one.epochs[0], one.threshold, one.temperature, one.note,
        )
        for place, folds in enumerate(repeats) for one in folds
    ]  # fmt: skip
    names = [
        "repeat", "fold", "patients", "events", "c_index", "candidate", "inner_c_index", "epoch",
        "threshold", "temperature", "note",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def fold_predictions(frame: pd.DataFrame, repeats: Sequence[Sequence[FoldResult]]) -> pd.DataFrame:
    """One row per patient and repeat, by the model that never saw this patient."""
    rows = []
    for folds in repeats:
        for one in folds:
            for patient, logit in one.logits.items():
                r = float(risk(logit / one.temperature))
                rows.append((
                    patient, one.repeat, one.name, frame.at[patient, CENTRE],
                    frame.at[patient, TIME], frame.at[patient, EVENT], logit, one.temperature, r,
                    one.threshold, group_name(r, one.threshold),
                ))  # fmt: skip
    names = [
        "patient", "repeat", "fold", "centre", "time", "event", "logit", "temperature", "r",
        "threshold", "group",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)
