"""Trainings of a head on one set of features and outcomes, and what follows from their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from qupath_hccmil.heads.fitted_head import FittedHead
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.heads.head_training import Progress, fit_head
from qupath_hccmil.heads.outcomes import Outcome
from qupath_hccmil.mil.collapse import collapse_note, kept_note
from qupath_hccmil.mil.cross_validation import FOLDS, FoldScore, with_temperature
from qupath_hccmil.mil.metrics import Estimate, score_ranks
from qupath_hccmil.mil.risk_evaluation import BagScore, c_index, judge
from qupath_hccmil.mil.threshold_and_temperature import Decision, DecisionRule, decide
from qupath_hccmil.survival.statistics.within_folds import FoldOutcomes, compare_within_folds
from qupath_hccmil.training.feature_cache import CachedFeatures
from qupath_hccmil.training.head_figures import HeadFigures
from qupath_hccmil.training.head_patients import follow_up_of, labels_of
from qupath_hccmil.training.head_splits import Split


@dataclass(frozen=True)
class HeadFolds:
    """Results of a cross-validation: each patient is scored by a head that never saw them.

    Attributes
    ----------
    patients : list of FoldScore
    folds : list of HeadFigures
        Figures of each fold, without intervals.
    pooled : HeadFigures
        Over all patients; the C-index compares patients of one fold only, as in a judgement,
        because logits of different heads are not on one scale.
    epochs : list of int
        The epoch that was chosen in each fold.
    notes : list of str
        Notes on folds with a collapsed head.
    """

    patients: list[FoldScore]
    folds: list[HeadFigures]
    pooled: HeadFigures
    epochs: list[int]
    notes: list[str]

    def figures(self) -> dict[str, object]:
        """Pooled figures and those of each fold, as JSON values for the model's config."""
        each = zip(self.folds, self.epochs, strict=True)
        return {
            "pooled": self.pooled.as_dict(),
            "folds": [{"best_epoch": epoch, **fold.as_dict()} for fold, epoch in each],
        }


class HeadStudy:
    """Trainings on one set of features and outcomes."""

    def __init__(
        self,
        bags: Mapping[str, CachedFeatures],
        outcomes: Mapping[str, Outcome],
        out: Path,
        settings: HeadSettings,
        rule: DecisionRule,
        device: torch.device,
        origin: str,
        repeats: int,
        progress: Progress | None,
    ) -> None:
        self._repeats = repeats
        self._bags, self._outcomes, self._out = bags, outcomes, out
        self._settings, self._rule = settings, rule
        self._device, self._origin, self._progress = device, origin, progress

    def fit(
        self,
        training: Sequence[str],
        choosing: Sequence[str],
        folder: Path,
        progress: Progress | None,
    ) -> FittedHead:
        """Train a head on some patients, with the epoch chosen by others."""
        return fit_head(
            [self._bags[patient] for patient in training],
            [self._bags[patient] for patient in choosing],
            self._outcomes,
            self._settings,
            folder,
            progress=progress,
            device=self._device,
            origin=self._origin,
        )

    def cross_validate(self, splits: Sequence[Split]) -> HeadFolds:
        """Train a head for each fold on the other patients, and score the fold with it."""
        patients: list[FoldScore] = []
        each, epochs, notes = [], [], []
        for number, split in enumerate(splits, start=1):
            folder, progress = self._out / FOLDS / str(number), self._numbered(number)
            fitted = self.fit(split.training, split.choosing, folder, progress)
            plain = [fitted.score(self._bags[patient]) for patient in split.choosing]
            decision = self._decide(plain)
            if decision.collapsed:
                notes.append(collapse_note(plain, f"the head of fold {number}"))
            scores = [fitted.score(self._bags[patient]) for patient in split.held_out]
            own = [with_temperature(score, decision) for score in scores]
            patients += [FoldScore(number, score, decision) for score in own]
            epochs.append(fitted.epoch)
            each.append(self._figures(own, [decision.threshold] * len(own), 0))
        thresholds = [patient.decision.threshold for patient in patients]
        pooled = self._figures([patient.score for patient in patients], thresholds, self._repeats)
        within = self._concordance_within(patients)
        return HeadFolds(patients, each, replace(pooled, c_index=within), epochs, notes)

    def _concordance_within(self, patients: Sequence[FoldScore]) -> Estimate | None:
        """C-index within folds; None if nobody with follow-up had an event."""
        follow_up = follow_up_of(self._outcomes)
        known = [one for one in patients if one.score.patient in follow_up]
        time, event = (
            np.array([[follow_up[one.score.patient][place] for one in known]], float)
            for place in (0, 1)
        )
        if not event.any():
            return None
        fold = np.array([[one.fold for one in known]])
        score = np.zeros(fold.shape)
        for number in np.unique(fold):
            inside = fold == number
            score[inside] = score_ranks([p.score.logit for p in known if p.fold == number])
        row = compare_within_folds(
            FoldOutcomes(time, event.astype(bool), fold), {"score": score}, [],
            repeats=self._repeats, seed=self._settings.seed,
        ).table.iloc[0]  # fmt: skip
        return Estimate(float(row["estimate"]), float(row["lower"]), float(row["upper"]))

    def decision(
        self, choosing: list[BagScore], validated: HeadFolds | None
    ) -> tuple[Decision, list[str]]:
        """Decide, with notes on collapsed heads and on what could not be derived."""
        decision, source = self._decide(choosing), "those patients"
        notes = [collapse_note(choosing, "the model's head")] if decision.collapsed else []
        if validated is not None:
            notes = validated.notes + notes
            # Two folds that have collapsed to two different scores would give a random cut.
            apart = [p.score for p in validated.patients if not p.decision.collapsed]
            source = "the patients out of fold"
            fixed = Decision(self._settings.threshold, collapsed=True)
            decision = self._decide(apart) if apart else fixed
        if decision.collapsed and self._rule.asks:
            notes.append(kept_note(self._rule, decision, source))
        return decision, notes

    def figures(self, plain: Sequence[BagScore], decision: Decision) -> HeadFigures:
        """Figures of scores under a decision, with intervals."""
        scores = [with_temperature(score, decision) for score in plain]
        return self._figures(scores, [decision.threshold] * len(scores), self._repeats)

    def _figures(
        self, scores: list[BagScore], thresholds: list[float], repeats: int
    ) -> HeadFigures:
        labels, seed = labels_of(self._outcomes), self._settings.seed
        labelled = any(score.patient in labels for score in scores)
        risks = judge(scores, labels, thresholds, seed=seed, repeats=repeats) if labelled else None
        c, _ = c_index(scores, follow_up_of(self._outcomes), seed=seed, repeats=repeats)
        return HeadFigures(len(scores), risks, c)

    def _decide(self, scores: Sequence[BagScore]) -> Decision:
        """Derive threshold and temperature from patients with a distinct outcome.

        Without a derived threshold, t lies at the published risk or at the median logit.
        """
        cut = None
        if self._settings.loss != "outcome":
            cut = float(np.median([score.logit for score in scores]))
        labels = labels_of(self._outcomes)
        known = [s for s in scores if s.patient in labels] if self._rule.asks else list(scores)
        return decide(
            np.array([score.logit for score in known]),
            np.array([labels.get(score.patient) == 1 for score in known]),
            self._rule,
            self._settings.threshold,
            cut,
        )

    def _numbered(self, fold: int) -> Progress | None:
        if self._progress is None:
            return None
        tell = self._progress
        return lambda row: tell({"fold": float(fold), **row})
