"""Nested cross-validation: inner splits choose, and each outer fold is predicted once.

Within an outer fold, every candidate is trained on each inner split; the choosing patients of a
split choose its epoch. The candidate with the highest C-index, averaged over the inner splits, is
kept, and threshold and temperature are derived from its predictions for the choosing patients. The
model that predicts the outer fold is that of the first inner split: it is trained as the model that
the group will use, on most of the patients, with its epoch chosen by the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError
from qupath_hccmil.held_files import remove_folder
from qupath_hccmil.judgement.kept_folds import FoldResult, fold_key, keep_fold, kept_fold
from qupath_hccmil.judgement.learner import Learner, Predictor
from qupath_hccmil.judgement.nested_splits import (
    InnerSplit,
    OuterFold,
    inner_splits,
    outer_folds,
    seed_of,
)
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.method.outcome_label import outcome as outcome_label
from qupath_hccmil.mil.metrics import score_ranks
from qupath_hccmil.mil.threshold_and_temperature import Decision, DecisionRule, decide
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME

Progress = Callable[[str], None]
TRAININGS = "trainings"


@dataclass(frozen=True)
class NestedSettings:
    """How a judgement is made.

    Attributes
    ----------
    folds : int
        Outer folds; not used with leave-one-centre-out.
    inner : int
        Inner splits of each outer fold.
    repeats : int
        Cross-validations with other seeds.
    permutations : int
        Cross-validations with outcomes permuted within centres.
    by_centre : bool
        Leave one centre out.
    seed : int
    bootstrap : int
        Samples for the intervals; at least 20, because what is warned of follows from them.
    confidence : float
    horizons : tuple of float
        Years; by default 1, 3 and 5, those within follow-up.
    """

    folds: int = 5
    inner: int = 4
    repeats: int = 1
    permutations: int = 1
    by_centre: bool = False
    seed: int = 0
    bootstrap: int = 1000
    confidence: float = 0.95
    horizons: tuple[float, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be done.

        Raises
        ------
        DataError
        """
        for name, value, least in (
            ("folds", self.folds, 2), ("inner folds", self.inner, 2), ("repeats", self.repeats, 1),
            ("permutations", self.permutations, 1), ("bootstrap samples", self.bootstrap, 20),
        ):  # fmt: skip
            if value < least:
                raise DataError(f"{name}: {value} is less than {least}")


def plan_folds(
    learner: Learner,
    frame: pd.DataFrame,
    centre: Mapping[str, str],
    settings: NestedSettings,
    repeat: int,
) -> list[OuterFold]:
    """Divide patients into outer folds, each of which can be learned for.

    Parameters
    ----------
    learner : Learner
    frame : DataFrame
        ``time`` (years) and ``event`` by patient, as the learner has them.
    centre : mapping of str to str
        Of each patient; used with leave-one-centre-out.
    settings : NestedSettings
    repeat : int
        From 1.

    Raises
    ------
    DataError
        There are too few events, labels or centres. Inner splits are tried too, so that this is
        said before the first training and not between two.
    """
    folds = outer_folds(
        events_of(frame),
        settings.folds,
        settings.seed,
        repeat,
        centre if settings.by_centre else None,
        learner.labels,
    )
    for fold in folds:
        splits_within(learner, fold, frame, settings)
    return folds


def splits_within(
    learner: Learner, fold: OuterFold, frame: pd.DataFrame, settings: NestedSettings
) -> list[InnerSplit]:
    """Inner splits of an outer fold.

    Raises
    ------
    DataError
        The other patients are too few; see :func:`~.nested_splits.inner_splits`.
    """
    seed = seed_of(settings.seed, fold.repeat, fold.number)
    return inner_splits(fold.others, events_of(frame), settings.inner, seed, learner.labels)


def judge_fold(
    learner: Learner,
    fold: OuterFold,
    frame: pd.DataFrame,
    settings: NestedSettings,
    folder: Path,
    progress: Progress,
) -> FoldResult:
    """Choose on the other patients, and predict the fold once; or read the kept result.

    Parameters
    ----------
    learner : Learner
    fold : OuterFold
        Without a held-out patient, only the choices are made; see :func:`all_patients`.
    frame : DataFrame
        ``time`` (years) and ``event`` by patient, as the learner has them.
    settings : NestedSettings
    folder : Path
        Of this fold alone.
    progress : callable
        Called with a line before each training.

    Raises
    ------
    DataError
        A predictor gives no finite number for a patient.
    """
    seed = seed_of(settings.seed, fold.repeat, fold.number)
    splits = splits_within(learner, fold, frame, settings)
    key = fold_key(learner, fold, splits, frame, seed)
    kept = kept_fold(folder, key)
    if kept is not None:
        return kept
    first: dict[str, Predictor] = {}
    logits: dict[str, dict[str, float]] = {}
    concordances: dict[str, list[float]] = {}
    epochs: dict[str, list[int]] = {}
    for candidate in learner.candidates:
        logits[candidate], concordances[candidate], epochs[candidate] = {}, [], []
        for number, split in enumerate(splits, start=1):
            progress(_told(fold, candidate, number, len(splits)))
            place = folder / TRAININGS / f"{_plain(candidate)}-{number}"
            predictor = learner.fit(
                split.training, split.choosing, candidate, seed_of(seed, number), place
            )
            found = _predict(predictor, split.choosing)
            logits[candidate].update(zip(split.choosing, found.tolist(), strict=True))
            concordances[candidate].append(_concordance(frame, split, found))
            epochs[candidate].append(predictor.epoch)
            if number == 1:
                first[candidate] = predictor
    means = {name: _mean(values) for name, values in concordances.items()}
    chosen = max(learner.candidates, key=lambda name: means[name])
    decision, note = decide_on(logits[chosen], frame)
    predicted = _predict(first[chosen], fold.held_out) if fold.held_out else np.empty(0)
    result = FoldResult(
        fold.repeat, fold.number, fold.name,
        dict(zip(fold.held_out, predicted.tolist(), strict=True)),
        logits[chosen], chosen, means, epochs[chosen],
        decision.threshold, decision.temperature, note,
    )  # fmt: skip
    keep_fold(folder, key, result)
    with suppress(OSError):
        remove_folder(folder / TRAININGS)
    return result


def fold_folder(root: Path, fold: OuterFold) -> Path:
    """Where a fold is kept."""
    return root / f"repeat-{fold.repeat}" / f"fold-{fold.number}"


def all_patients(frame: pd.DataFrame) -> OuterFold:
    """Everybody to learn from and nobody to judge: the choices for the model that will be used."""
    return OuterFold(0, 0, "all patients", (), tuple(sorted(map(str, frame.index))))


def decide_on(logits: Mapping[str, float], frame: pd.DataFrame) -> tuple[Decision, str]:
    """Derive threshold and temperature from inner predictions of patients with a distinct outcome.

    Returns
    -------
    decision : Decision
        If nothing can be derived, the threshold lies at the median logit, and the temperature is 1.
    note : str
        Why not; empty otherwise.
    """
    labels = dict(zip(logits, distinct_outcomes(frame.loc[list(logits)]), strict=True))
    known = [patient for patient in logits if labels[patient] is not None]
    good = np.array([bool(labels[patient]) for patient in known])
    if good.all() or not good.any():
        every = np.array(list(logits.values()))
        middle = decide(
            every, np.zeros(len(every), bool), DecisionRule(), cut=float(np.median(every))
        )
        return middle, (
            f"of {len(known)} patients with a distinct outcome, {int(good.sum())} have a good one, "
            "so the threshold lies at the median score, and no temperature was fitted"
        )
    decision = decide(np.array([logits[p] for p in known]), good, DecisionRule(True, True))
    return decision, "every patient has the same score" if decision.collapsed else ""


def events_of(frame: pd.DataFrame) -> dict[str, int]:
    """Whether each patient has an event."""
    return dict(zip(map(str, frame.index), map(int, frame[EVENT]), strict=True))


def distinct_outcomes(frame: pd.DataFrame) -> list[int | None]:
    """Label of each patient by the published rule: 1 good, 0 poor, None for neither."""
    pairs = zip(map(float, frame[TIME]), map(int, frame[EVENT]), strict=True)
    return [outcome_label(time, event)[0] for time, event in pairs]


def _predict(predictor: Predictor, patients: Sequence[str]) -> NDArray[np.float64]:
    found = np.asarray(predictor.predict(patients), float)
    if found.shape != (len(patients),) or not np.isfinite(found).all():
        wrong = patients[int(np.argmin(np.isfinite(found)))] if found.shape else patients[0]
        raise DataError(
            f"patient {wrong!r}: the model gives no finite number; check the features of this "
            "patient, or use a smaller learning rate"
        )
    return found


def _concordance(frame: pd.DataFrame, split: InnerSplit, logits: NDArray[np.float64]) -> float:
    rows = frame.loc[list(split.choosing)]
    # Logits that differ by rounding alone are ties, or a collapsed model could be the best one.
    ranks = score_ranks(logits)
    return concordance(rows[TIME].to_numpy(float), rows[EVENT].to_numpy(bool), ranks)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else 0.5


def _told(fold: OuterFold, candidate: str, number: int, count: int) -> str:
    return f"repeat {fold.repeat}, fold {fold.name}: {candidate}, inner split {number} of {count}"


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)
