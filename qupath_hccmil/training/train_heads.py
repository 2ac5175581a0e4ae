"""The command ``train mil --features`` as a function: a head on features of a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qupath_hccmil.atomic_files import make_folder
from qupath_hccmil.encoders.encoder import load_encoder
from qupath_hccmil.encoders.encoder_folder import ENCODER as ENCODER_JSON
from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.fitted_head import FittedHead
from qupath_hccmil.heads.head import make_head
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.heads.head_training import Progress
from qupath_hccmil.heads.outcomes import LossName
from qupath_hccmil.learning.device import DeviceName, training_device
from qupath_hccmil.learning.splits import split_patients
from qupath_hccmil.method.bootstrap import check_repeats
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.mil.cross_validation import PREDICTIONS, write_predictions
from qupath_hccmil.mil.threshold_and_temperature import Decision, DecisionRule
from qupath_hccmil.model_store.model_config import DataUse, FeatureConfig, ModelConfig, RiskConfig
from qupath_hccmil.model_store.model_folder import (
    ModelFolder,
    check_new_model,
    save_model_folder,
)
from qupath_hccmil.slide_sources.left_out import write_left_out
from qupath_hccmil.training.clinical_table import ClinicalColumns, read_clinical
from qupath_hccmil.training.cohort_table import cohort_table
from qupath_hccmil.training.feature_cache import Prepared, cached, remove_cache
from qupath_hccmil.training.head_figures import HeadFigures
from qupath_hccmil.training.head_model_card import head_model_card
from qupath_hccmil.training.head_patients import (
    HeadChoices,
    follow_up_of,
    head_choices,
    labels_of,
    usable_outcomes,
)
from qupath_hccmil.training.head_splits import (
    Split,
    check_outcomes,
    check_sides,
    cross_validation_splits,
    strata_of,
)
from qupath_hccmil.training.head_study import HeadFolds, HeadStudy
from qupath_hccmil.training.patient_features import FoundFeatures, find_features
from qupath_hccmil.training.prepare_bags import Tiling

MODEL, CACHE, LEFT_OUT = "model", "features_cache", "left_out.csv"
RULE = "pool: the head over the tiles of all slides"
LABELS: Mapping[LossName, str] = {
    "outcome": "1 = good outcome; the risk rises with recurrence",
    "cox": "log hazard ratio of recurrence; the risk rises with recurrence",
    "discrete-time": "log odds of recurrence in each interval; the risk rises with recurrence",
}


@dataclass(frozen=True)
class HeadModel:
    """A trained head.

    Attributes
    ----------
    folder : ModelFolder
    choices : HeadChoices
    held_out : HeadFigures
        Figures for the patients used to choose the epoch, the threshold and the temperature.
    cross_validation : HeadFolds or None
    notes : list of str
        Notes on collapsed heads and on what could not be derived; also stored in the folder.
    """

    folder: ModelFolder
    choices: HeadChoices
    held_out: HeadFigures
    cross_validation: HeadFolds | None
    notes: list[str]


def train_head(
    source: Path,
    clinical: Path,
    out: Path,
    features: Path,
    *,
    columns: ClinicalColumns | None = None,
    tiling: Tiling | None = None,
    encoder: Path | None = None,
    share: float = 0.2,
    folds: int = 0,
    rule: DecisionRule | None = None,
    settings: HeadSettings | None = None,
    device: DeviceName = "auto",
    name: str = "hcc-risk",
    repeats: int = 1000,
    prepared: Prepared | None = None,
    chosen: Callable[[HeadChoices], None] | None = None,
    progress: Progress | None = None,
) -> HeadModel:
    """Train a head on features of a user's slides and the outcomes of patients.

    Parameters
    ----------
    source, features : Path
        Slides and their features; see :func:`find_features`.
    clinical : Path
        Table of labels or follow-up; see :func:`read_clinical`.
    out : Path
        Folder for the checkpoint, ``log.csv``, ``curve.png``, ``left_out.csv`` and the model folder
        ``model``; with folds also for a folder per fold and ``predictions.csv``. During training
        also for a copy of the features, which is removed at the end.
    columns : ClinicalColumns, optional
    tiling : Tiling, optional
        Which images of a project are used, and how it is opened.
    encoder : Path, optional
        Folder of the encoder that the features are from. Its files are copied into the model folder
        if its licence allows that.
    share : float
        Share of patients used to choose the epoch.
    folds : int
        Cross-validate with this many folds before the model itself is trained; 0 for none.
    rule : DecisionRule, optional
        Whether threshold and temperature are derived, from patients with a distinct outcome: with
        folds, from the out-of-fold predictions, otherwise from the patients used to choose the
        epoch. A threshold that is not derived is the published one with the loss ``outcome``, and
        the median risk of these patients with the others, whose logits have no level.
    settings : HeadSettings, optional
    device : {"auto", "cpu", "cuda", "mps"}
    name : str
    repeats : int
        Bootstrap samples of patients for the intervals.
    prepared : callable, optional
        Called for each patient when the features are ready.
    chosen : callable, optional
        Called with the choices before training begins.
    progress : callable, optional

    Raises
    ------
    DataError, ModelError
    """
    settings, rule = settings or HeadSettings(), rule or DecisionRule()
    check_repeats(repeats)
    make_folder(out)
    where = training_device(device)
    table = read_clinical(clinical, columns)
    outcomes = usable_outcomes(table, settings.loss)
    check_outcomes(outcomes, table, settings.loss, folds)
    found = find_features(features, source, table, outcomes.keys(), tiling)
    kept_encoder = None if encoder is None else _encoder_to_keep(encoder, found)
    # Its arguments are checked before features are copied.
    make_head(settings.head, found.shared.width, **settings.head_arguments)
    config = _config(name, source, settings, found.shared)
    check_new_model(out / MODEL, config)
    used = {patient: outcomes[patient] for patient in found.bags}
    check_outcomes(used, table, settings.loss, folds)
    strata = strata_of(used, settings.loss)
    training, choosing = split_patients(strata, share, settings.seed)
    splits = cross_validation_splits(strata, folds, share, settings.seed, settings.loss)
    for one in [Split([], training, choosing), *splits]:
        check_sides(one, used, settings.loss, rule)
    choices = head_choices(table, found, used, settings.loss)
    write_left_out(out / LEFT_OUT, choices.left_out)
    if chosen:
        chosen(choices)
    bags = cached(found.bags, out / CACHE, prepared)
    study = HeadStudy(bags, used, out, settings, rule, where, found.fingerprint, repeats, progress)
    validated = None
    if folds:
        validated = study.cross_validate(splits)
        labels, follow_up = labels_of(used), follow_up_of(used)
        write_predictions(out / PREDICTIONS, validated.patients, labels, follow_up, RULE)
    fitted = study.fit(training, choosing, out, progress)
    plain = [fitted.score(bags[patient]) for patient in choosing]
    decision, notes = study.decision(plain, validated)
    held_out = study.figures(plain, decision)
    config = _trained(config, settings, fitted, decision, rule, notes)
    config = replace(config, metrics=_metrics(held_out, validated))
    card = head_model_card(
        config,
        choices.counts(),
        {"held out": held_out}
        | ({} if validated is None else {f"out of fold, {folds} folds": validated.pooled}),
        cohort_table(table, columns or ClinicalColumns(), used, training, settings.loss),
    )
    weights = {name: tensor.cpu() for name, tensor in fitted.head.state_dict().items()}
    folder = save_model_folder(out / MODEL, config, weights, card, kept_encoder)
    remove_cache(out / CACHE)
    return HeadModel(folder, choices, held_out, validated, notes)


def _encoder_to_keep(path: Path, found: FoundFeatures) -> Path | None:
    """Check that the features are from an encoder; return its folder if it may be copied.

    The tile network of a risk model is not copied, because it needs its nuclei model next to it.
    """
    encoder = load_encoder(path)
    sha256 = found.shared.encoder_sha256
    if sha256 is not None and sha256 != encoder.sha256:
        raise DataError(
            f"{path}: is encoder {encoder.name} ({encoder.sha256[:12]}…), but the features in "
            f"{found.folder} are from {found.shared.encoder} ({sha256[:12]}…)"
        )
    return path if encoder.redistributable and (path / ENCODER_JSON).is_file() else None


def _config(
    name: str, source: Path, settings: HeadSettings, features: FeatureConfig
) -> ModelConfig:
    # The source may be given as "." or "..".
    data = source.resolve().name or str(source)
    geometry = TileGeometry()
    if features.tile_um is not None and features.tile_px is not None:
        geometry = TileGeometry(features.tile_um, features.tile_px)
    # Slides of a patient are pooled by the mean of their tiles, if only their logits are known.
    p = settings.p if settings.head == "published" else 1.0
    return ModelConfig(
        kind="mil",
        name=name,
        version="1",
        architecture={
            "name": settings.head, "width": features.width, **settings.head_arguments
        },
        geometry=geometry,
        data=(DataUse(data, "the user's own", data, "slides and outcomes"),),
        risk=RiskConfig(p, settings.threshold, LABELS[settings.loss], False, None),
        features=features,
    )  # fmt: skip


def _trained(
    config: ModelConfig,
    settings: HeadSettings,
    fitted: FittedHead,
    decision: Decision,
    rule: DecisionRule,
    notes: list[str],
) -> ModelConfig:
    assert config.risk is not None
    risks = replace(config.risk, threshold=decision.threshold, temperature=decision.temperature)
    derived = DecisionRule() if decision.collapsed else rule
    training = {
        **asdict(settings),
        "best_epoch": fitted.epoch,
        "derived": asdict(derived),
        "notes": notes,
    }
    return replace(config, risk=risks, training=training)


def _metrics(held_out: HeadFigures, validated: HeadFolds | None) -> dict[str, Any]:
    metrics: dict[str, Any] = {"held_out": held_out.as_dict()}
    if validated is not None:
        metrics["cross_validation"] = validated.figures()
    return metrics
