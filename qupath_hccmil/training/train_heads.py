"""The command ``train mil --features`` as a function: a head on features of a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qupath_hccmil.atomic_files import make_folder
from qupath_hccmil.encoders.encoder import load_encoder
from qupath_hccmil.encoders.encoder_folder import ENCODER as ENCODER_JSON
from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.fitted_head import FittedHead
from qupath_hccmil.heads.head import make_head
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.heads.head_training import Progress, check_events, fit_head
from qupath_hccmil.heads.outcomes import LossName, Outcome
from qupath_hccmil.learning.device import DeviceName, training_device
from qupath_hccmil.learning.splits import split_patients, stratified_folds
from qupath_hccmil.method.outcome_label import LabelledCohort
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.mil.collapse import collapse_note, kept_note
from qupath_hccmil.mil.cross_validation import (
    FOLDS,
    PREDICTIONS,
    FoldScore,
    with_temperature,
    write_predictions,
)
from qupath_hccmil.mil.metrics import Estimate
from qupath_hccmil.mil.risk_evaluation import BagScore, c_index, judge
from qupath_hccmil.mil.threshold_and_temperature import Decision, DecisionRule, decide
from qupath_hccmil.model_store.model_config import DataUse, FeatureConfig, ModelConfig, RiskConfig
from qupath_hccmil.model_store.model_folder import (
    ModelFolder,
    check_new_model,
    save_model_folder,
)
from qupath_hccmil.slide_sources.left_out import LeftOut, counted, write_left_out
from qupath_hccmil.training.clinical_table import Clinical, ClinicalColumns, read_clinical
from qupath_hccmil.training.cohort_table import cohort_table
from qupath_hccmil.training.feature_cache import CachedFeatures, Prepared, cached, remove_cache
from qupath_hccmil.training.head_figures import HeadFigures
from qupath_hccmil.training.head_model_card import head_model_card
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
class HeadChoices:
    """The patients that a head is trained on, and who and what is left out, with the reasons.

    Attributes
    ----------
    loss : {"outcome", "cox", "discrete-time"}
    said : list of str
        Lines that say what was recognised in the table and the files of features.
    cohort : LabelledCohort
        Cohort of the whole table.
    outcomes : dict of str to Outcome
        For each patient used for training, the outcome.
    features : FeatureConfig
    tiles : int
        Number of tiles of these patients.
    left_out : list of LeftOut
    """

    loss: LossName
    said: list[str]
    cohort: LabelledCohort
    outcomes: dict[str, Outcome]
    features: FeatureConfig
    tiles: int
    left_out: list[LeftOut]

    def counts(self) -> str:
        """Count the patients that are used, by outcome."""
        poor = sum(outcome.poor(self.loss) for outcome in self.outcomes.values())
        others = len(self.outcomes) - poor
        if self.loss == "outcome":
            return f"{others} good, {poor} poor"
        return f"{poor} with an event, {others} censored"

    def lines(self) -> list[str]:
        """Describe the choices to the user, with counts for each reason."""
        encoder = self.features.encoder or "an encoder that the files do not name"
        follow_up = self.cohort.follow_up.values()
        table = (
            self.cohort.summary()
            if self.loss == "outcome"
            else f"follow-up of {len(follow_up)} patients, {sum(e for _, e in follow_up)} events"
        )
        return [
            *self.said,
            f"Table: {table}",
            *(f"Left out: {line}" for line in counted(self.left_out)),
            f"Trained on, from features of {encoder}: {self.counts()}; {self.tiles} tiles",
        ]


@dataclass(frozen=True)
class HeadFolds:
    """Results of a cross-validation: each patient is scored by a head that never saw them.

    Attributes
    ----------
    patients : list of FoldScore
    folds : list of HeadFigures
        Figures of each fold, without intervals.
    pooled : HeadFigures
        Over all patients; the C-index is the mean of the folds, because logits of different heads
        are not on one scale.
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


@dataclass(frozen=True)
class Split:
    """Patients that are scored, that weights are fitted to, and that choose the epoch."""

    held_out: list[str]
    training: list[str]
    choosing: list[str]


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
    make_folder(out)
    where = training_device(device)
    table = read_clinical(clinical, columns)
    outcomes = usable_outcomes(table, settings.loss)
    _check_outcomes(outcomes, table, settings.loss, folds)
    found = find_features(features, source, table, outcomes.keys(), tiling)
    kept_encoder = None if encoder is None else _encoder_to_keep(encoder, found)
    # Its arguments are checked before features are copied.
    make_head(settings.head, found.shared.width, **settings.head_arguments)
    config = _config(name, source, settings, found.shared)
    check_new_model(out / MODEL, config)
    used = {patient: outcomes[patient] for patient in found.bags}
    _check_outcomes(used, table, settings.loss, folds)
    strata = _strata(used, settings.loss)
    training, choosing = split_patients(strata, share, settings.seed)
    for one in [Split([], training, choosing), *_splits(strata, folds, share, settings)]:
        _check_sides(one, used, settings.loss, rule)
    choices = _choices(table, found, used, settings.loss)
    write_left_out(out / LEFT_OUT, choices.left_out)
    if chosen:
        chosen(choices)
    bags = cached(found.bags, out / CACHE, prepared)
    study = _Study(bags, used, out, settings, rule, where, found.fingerprint, repeats, progress)
    validated = None
    if folds:
        validated = study.cross_validate(folds, share)
        labels, follow_up = _labels(used), _follow_up(used)
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


def usable_outcomes(table: Clinical, loss: LossName) -> dict[str, Outcome]:
    """Outcomes of the patients of a table that a loss can use."""
    found = {}
    for patient in sorted(table.patients):
        time, event = table.cohort.follow_up.get(patient, (None, None))
        label = table.cohort.labels.get(patient)
        one = Outcome(time, None if event is None else bool(event), label)
        if one.usable_for(loss):
            found[patient] = one
    return found


class _Study:
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

    def cross_validate(self, folds: int, share: float) -> HeadFolds:
        """Train a head for each fold on the other patients, and score the fold with it."""
        strata = _strata(self._outcomes, self._settings.loss)
        patients: list[FoldScore] = []
        each, epochs, notes = [], [], []
        for number, split in enumerate(_splits(strata, folds, share, self._settings), start=1):
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
        known = [fold.c_index.value for fold in each if fold.c_index is not None]
        mean = Estimate(float(np.mean(known)), np.nan, np.nan) if known else None
        return HeadFolds(patients, each, replace(pooled, c_index=mean), epochs, notes)

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
        labels, seed = _labels(self._outcomes), self._settings.seed
        labelled = any(score.patient in labels for score in scores)
        risks = judge(scores, labels, thresholds, seed=seed, repeats=repeats) if labelled else None
        c, _ = c_index(scores, _follow_up(self._outcomes), seed=seed, repeats=repeats)
        return HeadFigures(len(scores), risks, c)

    def _decide(self, scores: Sequence[BagScore]) -> Decision:
        """Derive threshold and temperature from patients with a distinct outcome.

        Without a derived threshold, t lies at the published risk or at the median logit.
        """
        cut = None
        if self._settings.loss != "outcome":
            cut = float(np.median([score.logit for score in scores]))
        labels = _labels(self._outcomes)
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


_NAMES: Mapping[LossName, tuple[str, str]] = {
    "outcome": ("a poor outcome", "a good outcome"),
    "cox": ("an event", "no event"),
    "discrete-time": ("an event", "no event"),
}


def _strata(outcomes: Mapping[str, Outcome], loss: LossName) -> dict[str, int]:
    """1 or 0 for each patient, as labels: 0 for a poor outcome or an event."""
    return {patient: int(not one.poor(loss)) for patient, one in outcomes.items()}


def _labels(outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    return {patient: one.label for patient, one in outcomes.items() if one.label is not None}


def _follow_up(outcomes: Mapping[str, Outcome]) -> dict[str, tuple[float, int]]:
    return {
        patient: (one.time, int(one.event))
        for patient, one in outcomes.items()
        if one.time is not None and one.event is not None
    }


def _check_outcomes(
    outcomes: Mapping[str, Outcome], table: Clinical, loss: LossName, folds: int
) -> None:
    """Refuse patients that cannot be split, before features are copied."""
    if loss != "outcome" and not table.cohort.follow_up:
        raise DataError(
            f"{table.path}: --loss {loss} needs time and event of the patients; give their columns "
            "(--time or --start-date and --end-date, --event), or use --loss outcome"
        )
    strata = _strata(outcomes, loss)
    for label, name in enumerate(_NAMES[loss]):
        count = sum(value == label for value in strata.values())
        # Everybody may have an event, but two are needed on each side.
        least = 0 if loss != "outcome" and label else 2 if loss == "outcome" else 4
        if count < least:
            raise DataError(
                f"{table.path}: {count} of {len(strata)} patients have {name}; training needs at "
                f"least {least}, half of them to choose the epoch with"
            )
    if folds:
        stratified_folds(strata, folds, 0, _NAMES[loss])


def _splits(
    strata: Mapping[str, int], folds: int, share: float, settings: HeadSettings
) -> list[Split]:
    """Splits of a cross-validation; none without folds."""
    if not folds:
        return []
    found = []
    for held_out in stratified_folds(strata, folds, settings.seed, _NAMES[settings.loss]):
        others = {patient: strata[patient] for patient in strata.keys() - set(held_out)}
        found.append(Split(held_out, *split_patients(others, share, settings.seed)))
    return found


def _check_sides(
    split: Split, outcomes: Mapping[str, Outcome], loss: LossName, rule: DecisionRule
) -> None:
    for side, patients in (("training", split.training), ("choosing the epoch", split.choosing)):
        check_events(side, [outcomes[patient] for patient in patients], loss)
    labels = {outcomes[patient].label for patient in split.choosing}
    if rule.asks and not {0, 1} <= labels:
        raise DataError(
            "--derive-threshold and --fit-temperature need patients with a good and with a poor "
            f"outcome among the {len(split.choosing)} that choose the epoch; give a larger "
            "--held-out"
        )


def _choices(
    table: Clinical, found: FoundFeatures, used: dict[str, Outcome], loss: LossName
) -> HeadChoices:
    reasons = dict(table.cohort.excluded) if loss == "outcome" else {}
    unusable = table.patients - usable_outcomes(table, loss).keys()
    excluded = [
        LeftOut("patient", patient, reasons.get(patient, "time or event missing"))
        for patient in sorted(unusable)
    ]
    said = [*table.said, *found.said]
    tiles = sum(len(bag) for bag in found.bags.values())
    left_out = [*excluded, *found.left_out]
    return HeadChoices(loss, said, table.cohort, used, found.shared, tiles, left_out)


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
