"""k-fold cross-validation: every patient is scored by a network that never saw them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.learning.checkpoint import CHECKPOINT
from qupath_hccmil.learning.splits import split_patients, stratified_folds
from qupath_hccmil.method.aggregation import group_name, risk
from qupath_hccmil.mil.bags import Bag
from qupath_hccmil.mil.collapse import collapse_note
from qupath_hccmil.mil.risk_evaluation import (
    BagScore,
    RiskScores,
    judge,
    score_bag,
    torch_tile_predictor,
)
from qupath_hccmil.mil.risk_training import MilSettings, Progress, train
from qupath_hccmil.mil.threshold_and_temperature import Decision, DecisionRule, decide
from qupath_hccmil.mil.tile_network import TileNetwork
from qupath_hccmil.model_store.model_folder import file_sha256
from qupath_hccmil.tables.table_writer import write_rows

FOLDS, PREDICTIONS = "folds", "predictions.csv"
_SCORES = "scores.json"
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class FoldScore:
    """The score of a patient by the network of the fold that held this patient out.

    Attributes
    ----------
    fold : int
        Number of the fold, from 1.
    score : BagScore
        Its logit is S, without a temperature; its risk follows from the fold's decision.
    decision : Decision
        Decision of the fold, from its own training patients.
    """

    fold: int
    score: BagScore
    decision: Decision


@dataclass(frozen=True)
class CrossValidation:
    """The results of all folds.

    Attributes
    ----------
    patients : list of FoldScore
        Every labelled patient once.
    folds : list of RiskScores
        Performance figures of each fold, without intervals.
    pooled : RiskScores
        Performance figures over all patients.
    epochs : list of int
        The epoch that was chosen in each fold.
    notes : list of str
        Notes on folds with a collapsed network.
    """

    patients: list[FoldScore]
    folds: list[RiskScores]
    pooled: RiskScores
    epochs: list[int]
    notes: list[str]

    def figures(self) -> dict[str, object]:
        """Pooled figures and those of each fold, as JSON values for the model's config."""
        each = [fold.as_dict() for fold in self.folds]
        pooled = self.pooled.as_dict()
        for content in (pooled, *each):
            content.pop("bags")
        names = ("auc", "accuracy", "sensitivity", "specificity", "brier")
        return {
            "pooled": pooled,
            "folds": [
                {
                    "good": fold["good"],
                    "poor": fold["poor"],
                    "best_epoch": epoch,
                    **{name: fold[name]["value"] for name in names},
                    "cross_entropy": fold["cross_entropy"],
                }
                for fold, epoch in zip(each, self.epochs, strict=True)
            ],
        }


def cross_validate(
    network: Callable[[], TileNetwork],
    bags: Mapping[str, Bag],
    labels: Mapping[str, int],
    out: Path,
    settings: MilSettings,
    folds: int,
    *,
    share: float = 0.2,
    rule: DecisionRule | None = None,
    repeats: int = 1000,
    progress: Progress | None = None,
    device: torch.device = _CPU,
    origin: str = "",
) -> CrossValidation:
    """Train a network for each fold on the other patients, and score the fold with it.

    Parameters
    ----------
    network : callable
        Makes the network that each fold starts from.
    bags : mapping of str to Bag
    labels : mapping of str to int
        For each patient 1 (good) or 0 (poor); each patient must have a bag.
    out : Path
        Folder for the trainings ``folds/<k>``. Existing trainings are continued, and completed
        folds are not trained again.
    settings : MilSettings
    folds : int
    share : float
        Share of a fold's training patients that are used to choose its epoch, threshold and
        temperature. The fold itself is not used for any choice, so its figures come from unseen
        patients.
    rule : DecisionRule, optional
    repeats : int
        Bootstrap samples of the pooled figures.
    progress : callable, optional
        As for :func:`train`, with ``fold`` in each row.
    device : torch.device
    origin : str
        As for :func:`train`.

    Raises
    ------
    DataError
        See :func:`stratified_folds` and :func:`train`.
    """
    patients: list[FoldScore] = []
    each, epochs, notes = [], [], []
    for number, held_out in enumerate(stratified_folds(labels, folds, settings.seed), start=1):
        others = {patient: labels[patient] for patient in labels.keys() - set(held_out)}
        training, choosing = split_patients(others, share, settings.seed)
        folder = out / FOLDS / str(number)
        result = train(
            network(),
            [bags[patient] for patient in training],
            [bags[patient] for patient in choosing],
            others,
            folder,
            settings,
            _numbered(progress, number),
            device,
            origin,
        )
        wanted = [bags[patient] for patient in [*choosing, *held_out]]
        scores = _scores(folder, result.network, wanted, settings)
        decision = decide(
            np.array([scores[patient].logit for patient in choosing]),
            np.array([bool(labels[patient]) for patient in choosing]),
            rule or DecisionRule(),
            settings.threshold,
        )
        if decision.collapsed:
            notes.append(
                collapse_note([scores[p] for p in choosing], f"the network of fold {number}")
            )
        own = [
            FoldScore(number, with_temperature(scores[patient], decision), decision)
            for patient in held_out
        ]
        patients += own
        epochs.append(result.epoch)
        each.append(judge([p.score for p in own], labels, decision.threshold, seed=0, repeats=0))
    pooled = judge(
        [patient.score for patient in patients],
        labels,
        [patient.decision.threshold for patient in patients],
        seed=settings.seed,
        repeats=repeats,
    )
    return CrossValidation(patients, each, pooled, epochs, notes)


def with_temperature(score: BagScore, decision: Decision) -> BagScore:
    """Apply the temperature of a decision to a score, which gives its risk."""
    return replace(score, risk=float(risk(score.logit / decision.temperature)))


def write_predictions(
    path: Path,
    patients: list[FoldScore],
    labels: Mapping[str, int],
    follow_up: Mapping[str, tuple[float, int]],
    rule: str,
) -> None:
    """Write out-of-fold predictions as CSV, one row per patient.

    Columns: patient, fold, label (good, poor), time (years) and event if known, tiles, logit (S),
    temperature, r, threshold, group, rule (how the slides of a patient are joined: a bag has all of
    them).
    """
    columns = (
        "patient", "fold", "label", "time", "event", "tiles", "logit", "temperature", "r",
        "threshold", "group", "rule",
    )  # fmt: skip
    rows = []
    for one in sorted(patients, key=lambda p: p.score.patient):
        score, decision = one.score, one.decision
        time, event = follow_up.get(score.patient, (None, None))
        label = {1: "good", 0: "poor"}.get(labels.get(score.patient, -1))
        group = group_name(score.risk, decision.threshold)
        rows.append(
            [score.patient, one.fold, label, time, event, score.tiles, score.logit,
             decision.temperature, score.risk, decision.threshold, group, rule]
        )  # fmt: skip
    write_rows(path, columns, rows)


def _numbered(progress: Progress | None, fold: int) -> Progress | None:
    if progress is None:
        return None
    tell = progress
    return lambda row: tell({"fold": float(fold), **row})


def _scores(
    folder: Path, network: TileNetwork, bags: list[Bag], settings: MilSettings
) -> dict[str, BagScore]:
    """Scores of a completed fold, stored next to its checkpoint for continued trainings."""
    path = folder / _SCORES
    made_by = file_sha256(folder / CHECKPOINT)
    # What is absent, damaged or of another checkpoint is made again.
    with suppress(OSError, ValueError, LookupError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["checkpoint"] == made_by:
            return {values["patient"]: BagScore(**values) for values in kept["scores"]}
    predict = torch_tile_predictor(network)
    scores = [
        score_bag(bag, predict, settings.p, settings.validation_tiles, settings.seed)
        for bag in bags
    ]
    content = {"checkpoint": made_by, "scores": [asdict(score) for score in scores]}
    with atomic_file(path) as beside:
        beside.write_text(json.dumps(content), encoding="utf-8")
    return {score.patient: score for score in scores}
