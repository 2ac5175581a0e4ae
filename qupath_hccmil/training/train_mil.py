"""The command ``train mil`` as a function."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qupath_hccmil.atomic_files import atomic_folder, make_folder
from qupath_hccmil.errors import DataError, ModelError
from qupath_hccmil.learning.device import DeviceName, training_device
from qupath_hccmil.learning.splits import split_patients, stratified_folds
from qupath_hccmil.method.outcome_label import LabelledCohort
from qupath_hccmil.method.patient_score import rule_text
from qupath_hccmil.mil.bags import Bag
from qupath_hccmil.mil.collapse import collapse_note, kept_note
from qupath_hccmil.mil.cross_validation import (
    FOLDS,
    PREDICTIONS,
    CrossValidation,
    cross_validate,
    with_temperature,
    write_predictions,
)
from qupath_hccmil.mil.risk_evaluation import (
    BagScore,
    RiskScores,
    judge,
    score_bag,
    torch_tile_predictor,
)
from qupath_hccmil.mil.risk_training import MilSettings, Progress, train
from qupath_hccmil.mil.threshold_and_temperature import Decision, DecisionRule, decide
from qupath_hccmil.mil.tile_network import TileNetwork, imagenet_network, load_tile_network
from qupath_hccmil.model_store.model_config import DataUse, ModelConfig, RiskConfig
from qupath_hccmil.model_store.model_folder import (
    ModelFolder,
    check_new_model,
    default_model_dir,
    load_model_folder,
    save_model_folder,
    weights_identity,
)
from qupath_hccmil.slide_sources.left_out import LeftOut, counted, write_left_out
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.training.clinical_table import ClinicalColumns, read_clinical
from qupath_hccmil.training.prepare_bags import Prepared, Tiling, find_bags
from qupath_hccmil.training.risk_model_card import model_card

MODEL, BAGS, LEFT_OUT = "model", "bags", "left_out.csv"
LABEL = "1 = good outcome; the risk rises with recurrence"


@dataclass(frozen=True)
class Choices:
    """The patients that are used for training, and who and what is left out, with the reasons.

    Attributes
    ----------
    kind : str
        Kind of source of the tiles.
    said : list of str
        Lines that say what was recognised in the table.
    cohort : LabelledCohort
        Cohort of the whole table.
    used : dict of str to int
        For each patient used for training, the label.
    left_out : list of LeftOut
    """

    kind: str
    said: list[str]
    cohort: LabelledCohort
    used: dict[str, int]
    left_out: list[LeftOut]

    def lines(self) -> list[str]:
        """Describe the choices to the user, with counts for each reason."""
        good = sum(self.used.values())
        return [
            *self.said,
            f"Table: {self.cohort.summary()}",
            *(f"Left out: {line}" for line in counted(self.left_out)),
            f"Trained on, from {self.kind}: {good} good, {len(self.used) - good} poor",
        ]


@dataclass(frozen=True)
class MilModel:
    """A trained risk model.

    Attributes
    ----------
    folder : ModelFolder
    choices : Choices
    held_out : RiskScores
        Figures for the patients used to choose the epoch, the threshold and the temperature.
    cross_validation : CrossValidation or None
    notes : list of str
        Notes on collapsed networks and on what could not be derived; also stored in the folder.
    """

    folder: ModelFolder
    choices: Choices
    held_out: RiskScores
    cross_validation: CrossValidation | None
    notes: list[str]


def train_mil(
    source: Path,
    clinical: Path,
    out: Path,
    *,
    columns: ClinicalColumns | None = None,
    tiling: Tiling | None = None,
    start: Path | None = None,
    nuclei: Path | None = None,
    share: float = 0.2,
    folds: int = 0,
    rule: DecisionRule | None = None,
    settings: MilSettings | None = None,
    device: DeviceName = "auto",
    name: str = "hcc-risk",
    prepared: Prepared | None = None,
    chosen: Callable[[Choices], None] | None = None,
    progress: Progress | None = None,
) -> MilModel:
    """Train a risk model on a user's slides or images and the outcomes of patients.

    Parameters
    ----------
    source : Path
        See :func:`find_bags`.
    clinical : Path
        Table of labels or follow-up; see :func:`read_clinical`.
    out : Path
        Folder for the prepared bags, the checkpoint, ``log.csv``, ``curve.png``, ``left_out.csv``
        and the model folder ``model``; with folds also for a folder per fold and
        ``predictions.csv``. A nuclei model that does not ship is copied there, where scoring looks
        for it.
    columns : ClinicalColumns, optional
    tiling : Tiling, optional
    start : Path, optional
        Starting weights of the tile network: a safetensors file with torchvision's MobileNetV2, or
        a mil model folder. By default the model that ships.
    nuclei : Path, optional
        Nuclei model folder; by default the one that ships.
    share : float
        Share of patients used to choose the epoch.
    folds : int
        Cross-validate with this many folds before the model itself is trained; 0 for none.
    rule : DecisionRule, optional
        Whether threshold and temperature are derived: with folds, from the out-of-fold predictions
        of all networks that have not collapsed, otherwise from the patients used to choose the
        epoch. If all networks have collapsed, both stay unchanged, a note says so, and the model is
        kept.
    settings : MilSettings, optional
    device : {"auto", "cpu", "cuda", "mps"}
    name : str
    prepared : callable, optional
        Called for each patient when the tiles are ready.
    chosen : callable, optional
        Called with the choices before training begins.
    progress : callable, optional

    Returns
    -------
    MilModel

    Raises
    ------
    DataError, ModelError
    """
    settings, rule = settings or MilSettings(), rule or DecisionRule()
    make_folder(out)
    where = training_device(device)
    table = read_clinical(clinical, columns)
    _check_outcomes(table.cohort, folds, clinical)
    nuclei_folder = load_model_folder(nuclei or default_model_dir("nuclei"), "nuclei")
    start = start or default_model_dir("mil")
    network = _starting_network(start, settings.seed)
    config = _config(name, source, settings, nuclei_folder)
    check_new_model(out / MODEL, config)
    origin = weights_identity(start)
    # Before tiles are prepared for hours.
    _keep_nuclei_model(out, nuclei_folder)
    cohort = table.cohort
    found = find_bags(
        source, out / BAGS, table, cohort.labels.keys(), tiling or Tiling(), nuclei_folder, config,
        device=where, progress=prepared,
    )  # fmt: skip
    used = {patient: label for patient, label in cohort.labels.items() if patient in found.bags}
    if not used:
        raise DataError(f"{clinical}: none of its patients is in {source}")
    choices = Choices(found.kind, [*table.said, *found.said], cohort, used, found.left_out)
    excluded = [LeftOut("patient", p, reason) for p, reason in cohort.excluded.items()]
    write_left_out(out / LEFT_OUT, [*excluded, *found.left_out])
    if chosen:
        chosen(choices)
    validated = None
    if folds:
        validated = cross_validate(
            lambda: _starting_network(start, settings.seed),
            found.bags, used, out, settings, folds,
            share=share, rule=rule, progress=progress, device=where, origin=origin,
        )  # fmt: skip
        rule_of_slides = rule_text("pool", settings.p)
        write_predictions(
            out / PREDICTIONS, validated.patients, used, cohort.follow_up, rule_of_slides
        )
    training, choosing = split_patients(used, share, settings.seed)
    result = train(
        network,
        [found.bags[patient] for patient in training],
        [found.bags[patient] for patient in choosing],
        used,
        out,
        settings,
        progress,
        where,
        origin,
    )
    plain = _scores(found.bags, choosing, result.network, settings)
    decision, notes = _decision(plain, validated, used, rule, settings)
    scores = judge([with_temperature(s, decision) for s in plain], used, decision.threshold)
    config = _trained(config, settings, result.epoch, decision, rule)
    config = replace(
        config,
        metrics=_metrics(scores, validated),
        training={**config.training, "start": start.resolve().name, "notes": notes},
    )
    good = sum(used.values())
    card = model_card(config, f"{good} good, {len(used) - good} poor", scores, validated)
    folder = save_model_folder(out / MODEL, config, _weights(result.network), card)
    return MilModel(folder, choices, scores, validated, notes)


def _check_outcomes(cohort: LabelledCohort, folds: int, clinical: Path) -> None:
    """Refuse a table that cannot be split, before tiles are prepared for hours."""
    good = sum(cohort.labels.values())
    if min(good, len(cohort.labels) - good) < 2:
        raise DataError(
            f"{clinical}: {cohort.summary()}; training needs at least 2 patients of each outcome, "
            "one to train on and one to choose the epoch with"
        )
    if folds:
        stratified_folds(cohort.labels, folds, seed=0)


def _config(name: str, source: Path, settings: MilSettings, nuclei: ModelFolder) -> ModelConfig:
    # The source may be given as "." or "..".
    data = source.resolve().name or str(source)
    return ModelConfig(
        kind="mil",
        name=name,
        version="1",
        architecture={"name": "mobilenet_v2"},
        stain_reference=default_reference().to_dict(),
        data=(DataUse(data, "the user's own", data, "slides and outcomes"),),
        risk=RiskConfig(settings.p, settings.threshold, LABEL, False, nuclei.reference),
    )


def _keep_nuclei_model(out: Path, nuclei: ModelFolder) -> None:
    """Copy a nuclei model next to the risk model, unless it ships."""
    name = nuclei.config.name
    try:
        if load_model_folder(default_model_dir(name), "nuclei").reference == nuclei.reference:
            return
    except ModelError:
        pass
    if name in (MODEL, BAGS, FOLDS):
        raise ModelError(
            f"{nuclei.path}: its name is {name!r}, but {out / name} is for results of this "
            "training; train the nuclei model again with another --name"
        )
    kept = out / name
    if not kept.exists():
        with atomic_folder(kept) as new:
            shutil.copytree(nuclei.path, new, dirs_exist_ok=True)
    elif load_model_folder(kept, "nuclei").reference != nuclei.reference:
        raise ModelError(f"{kept}: is another nuclei model of the same name; use another --out")


def _starting_network(start: Path, seed: int) -> TileNetwork:
    if start.is_dir():
        return load_tile_network(load_model_folder(start, "mil"))
    return imagenet_network(start, seed)


def _scores(
    bags: Mapping[str, Bag], patients: list[str], network: TileNetwork, settings: MilSettings
) -> list[BagScore]:
    predict = torch_tile_predictor(network)
    return [
        score_bag(bags[patient], predict, settings.p, settings.validation_tiles, settings.seed)
        for patient in patients
    ]


def _decision(
    choosing: list[BagScore],
    validated: CrossValidation | None,
    labels: Mapping[str, int],
    rule: DecisionRule,
    settings: MilSettings,
) -> tuple[Decision, list[str]]:
    """Decide, with notes on collapsed networks and on what could not be derived."""

    def decided(scores: list[BagScore]) -> Decision:
        return decide(
            np.array([score.logit for score in scores]),
            np.array([bool(labels[score.patient]) for score in scores]),
            rule,
            settings.threshold,
        )

    own = decided(choosing)
    notes = [collapse_note(choosing, "the model's network")] if own.collapsed else []
    source, decision = "those patients", own
    if validated is not None:
        notes = validated.notes + notes
        # Two folds that have collapsed to two different scores would give a random cut.
        apart = [p.score for p in validated.patients if not p.decision.collapsed]
        source = "the patients out of fold"
        decision = decided(apart) if apart else Decision(settings.threshold, collapsed=True)
    if decision.collapsed and rule.asks:
        notes.append(kept_note(rule, decision, source))
    return decision, notes


def _metrics(scores: RiskScores, validated: CrossValidation | None) -> dict[str, Any]:
    held_out = scores.as_dict()
    held_out.pop("bags")
    metrics: dict[str, Any] = {"held_out": held_out}
    if validated is not None:
        metrics["cross_validation"] = validated.figures()
    return metrics


def _trained(
    config: ModelConfig, settings: MilSettings, epoch: int, decision: Decision, rule: DecisionRule
) -> ModelConfig:
    assert config.risk is not None
    risk = replace(config.risk, threshold=decision.threshold, temperature=decision.temperature)
    derived = DecisionRule() if decision.collapsed else rule
    return replace(
        config,
        risk=risk,
        training={**asdict(settings), "best_epoch": epoch, "derived": asdict(derived)},
    )


def _weights(network: TileNetwork) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu() for name, tensor in network.state_dict().items()}
