"""The command ``evaluate mil`` as a function."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from qupath_hccmil.atomic_files import atomic_file, make_folder
from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.fitted_head import FittedHead
from qupath_hccmil.heads.head import load_head
from qupath_hccmil.held_files import remove
from qupath_hccmil.learning.device import DeviceName, training_device
from qupath_hccmil.method.aggregation import group_name
from qupath_hccmil.method.bootstrap import check_repeats
from qupath_hccmil.method.outcome_label import LabelledCohort
from qupath_hccmil.method.patient_score import PatientRule, rule_text
from qupath_hccmil.method.research_use import SURROGATE
from qupath_hccmil.mil.metrics import Estimate
from qupath_hccmil.mil.outcome_calibration import CalibrationGroup
from qupath_hccmil.mil.risk_evaluation import (
    BagScore,
    RiskScores,
    c_index,
    judge,
    score_bag,
    torch_tile_predictor,
    without_nan,
)
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_config import RiskConfig
from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.tables.names import near_matches
from qupath_hccmil.tables.score_table import read_scores
from qupath_hccmil.tables.table_reader import SUFFIXES
from qupath_hccmil.tables.table_writer import write_rows
from qupath_hccmil.training.calibration_figure import draw_calibration
from qupath_hccmil.training.clinical_table import Clinical, ClinicalColumns, read_clinical
from qupath_hccmil.training.patient_features import check_features, find_features
from qupath_hccmil.training.prepare_bags import Prepared, Tiling, find_bags
from qupath_hccmil.training.train_heads import RULE

C_INDEX = "c_index"
SCORES, CALIBRATION, FIGURE, RECORD = (
    "scores.csv", "calibration.csv", "calibration.png", "evaluation.json",
)  # fmt: skip


FIGURES = (
    "auc", "accuracy", "sensitivity", "specificity", "brier", "calibration_slope",
    "calibration_intercept",
)  # fmt: skip
"""Figures of the patients with a distinct outcome."""

_NO_SCORES: dict[str, Any] = {
    "bags": [], "good": 0, "poor": 0, **dict.fromkeys((*FIGURES, "cross_entropy")),
    "calibration": [],
}  # fmt: skip


@dataclass(frozen=True)
class MilEvaluation:
    """Performance of a risk model on patients that it was not trained on.

    Attributes
    ----------
    patients : list of BagScore
        All patients with a label or follow-up.
    scores : RiskScores or None
        Figures for the patients with a distinct outcome; None if nobody has one.
    c_index : Estimate or None
        Harrell's C over all patients with follow-up; None if none of them had an event.
    followed : int
        Number of patients with follow-up.
    cohort : LabelledCohort
    threshold : float
    rule : str
        How the slides of a patient became one score, in words.
    notes : list of str
        Notes on what could not be used, and what was recognised.
    not_given : dict of str to str
        For each figure that has no value, the reason.
    """

    patients: list[BagScore]
    scores: RiskScores | None
    c_index: Estimate | None
    followed: int
    cohort: LabelledCohort
    threshold: float
    rule: str
    notes: list[str]
    not_given: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """All figures as JSON values; None for absent values."""
        scores = _NO_SCORES if self.scores is None else self.scores.as_dict()
        return {
            **scores,
            "c_index": None if self.c_index is None else without_nan(asdict(self.c_index)),
            "followed": self.followed,
            "threshold": self.threshold,
            "rule": self.rule,
            "excluded": dict(self.cohort.excluded),
            "notes": self.notes,
            "not_given": self.not_given,
        }


def evaluate_mil(
    source: Path,
    clinical: Path,
    *,
    columns: ClinicalColumns | None = None,
    tiling: Tiling | None = None,
    model: Path | None = None,
    features: Path | None = None,
    nuclei: Path | None = None,
    patient_rule: PatientRule | None = None,
    repeats: int = 1000,
    seed: int = 0,
    device: DeviceName = "auto",
    keep: Path | None = None,
    prepared: Prepared | None = None,
) -> MilEvaluation:
    """Compare a risk model with the outcomes of patients that it was not trained on.

    Distinct outcomes give the figures of a classifier, follow-up with events gives the C-index.
    Where one of the two is absent, the figures of the other are given.

    Parameters
    ----------
    source : Path
        As for :func:`train_mil`, or a table of scores: our export at any level, or any table with
        patients and risks.
    clinical : Path
        See :func:`read_clinical`.
    columns : ClinicalColumns, optional
    tiling : Tiling, optional
    model : Path, optional
        By default the model that ships. For a table of scores it gives the threshold, if the table
        does not.
    features : Path, optional
        Features of the slides of `source`, for a head; see :func:`find_features`.
    nuclei : Path, optional
        By default the model that ships; it must be the one that `model` was trained with.
    patient_rule : {"pool", "max", "mean"}, optional
        For several slides of a patient in a table of scores, see
        :mod:`qupath_hccmil.method.patient_score`; ``pool`` by default if the table is an export.
        Bags have the tiles of all slides of a patient and allow only ``pool``.
    repeats, seed : int
        Number of samples and seed of the bootstrap over patients.
    device : {"auto", "cpu", "cuda", "mps"}
    keep : Path, optional
        Folder in which prepared bags are kept for later runs; otherwise they are removed.
    prepared : callable, optional
        Called for each patient when the tiles are ready.

    Raises
    ------
    DataError
        Among others: no patient has a distinct outcome or an event, so there is nothing to measure;
        or there should be one bootstrap sample.
    ModelError
    """
    check_repeats(repeats)
    table = read_clinical(clinical, columns)
    if not table.cohort.labels and not any(event for _, event in table.cohort.follow_up.values()):
        # Slides are not scored for hours, if nothing can be measured on them.
        raise _nothing_to_measure(table, len(table.patients), _c_index_absent(table, []))
    notes = list(table.said)
    if features is not None:
        patients, threshold, rule = _from_features(
            features, source, table, tiling or Tiling(), model, patient_rule, device, notes
        )
    elif source.is_file() and source.suffix.lower() in SUFFIXES:
        patients, threshold, rule = _from_table(
            source, table, model, patient_rule, columns or ClinicalColumns(), notes
        )
    else:
        _only_pooled(source, patient_rule)
        patients, threshold, rule = _from_bags(
            source, table, tiling or Tiling(), model, nuclei, device, keep, prepared, notes
        )
    cohort = table.cohort
    known = {score.patient for score in patients}
    missing = sorted((cohort.labels.keys() | cohort.follow_up.keys()) - known)
    if missing:
        some = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        notes.append(f"patients of the table without a score ({len(missing)}): {some}")
    scores = None
    if known & cohort.labels.keys():
        scores = judge(patients, cohort.labels, threshold, seed=seed, repeats=repeats)
    figure, followed = c_index(patients, cohort.follow_up, seed=seed, repeats=repeats)
    not_given = _not_given(table, patients, scores, figure)
    if len(not_given) > len(FIGURES):
        raise _nothing_to_measure(table, len(patients), not_given[C_INDEX])
    return MilEvaluation(
        patients=patients,
        scores=scores,
        c_index=figure,
        followed=followed,
        cohort=cohort,
        threshold=threshold,
        rule=rule,
        notes=notes,
        not_given=not_given,
    )


def _not_given(
    table: Clinical, patients: list[BagScore], scores: RiskScores | None, figure: Estimate | None
) -> dict[str, str]:
    """Name the figures without a value, each with the reason."""
    if scores is None:
        why = f"none of the {len(patients)} patients with a score has a distinct outcome"
        found = dict.fromkeys(FIGURES, why)
    else:
        reason = "all predictions are equal, or they separate the outcomes without error"
        if not scores.good or not scores.poor:
            lacks = "poor" if scores.good else "good"
            reason = f"no patient with a score has a {lacks} outcome"
        found = {name: reason for name in FIGURES if np.isnan(getattr(scores, name).value)}
    if figure is None or np.isnan(figure.value):
        found[C_INDEX] = _c_index_absent(table, patients)
    return found


def _c_index_absent(table: Clinical, patients: list[BagScore]) -> str:
    follow_up = table.cohort.follow_up
    if not follow_up:
        return "the table has no follow-up (time and event)"
    inside = [follow_up[one.patient] for one in patients if one.patient in follow_up]
    if any(event for _, event in inside):
        return "of no two patients is it known who had the event first"
    counted = count_of(len(inside or follow_up), "patient")
    return f"none of {counted} with follow-up had an event"


def _nothing_to_measure(table: Clinical, count: int, why: str) -> DataError:
    return DataError(
        f"{table.path}: nothing can be measured: none of {count_of(count, 'patient')} has a "
        f"distinct outcome ({table.cohort.summary()}), and {why}"
    )


def write_evaluation(out: Path, evaluation: MilEvaluation) -> None:
    """Write the scores, the calibration table and its picture, and all figures as JSON.

    Without a distinct outcome, the calibration table has no rows, and there is no picture; that of
    an earlier evaluation in the folder is removed.
    """
    make_folder(out)
    cohort, t = evaluation.cohort, evaluation.threshold
    names = {1: "good", 0: "poor"}
    rows = []
    for score in evaluation.patients:
        label = names.get(cohort.labels.get(score.patient, -1), "")
        time, event = cohort.follow_up.get(score.patient, ("", ""))
        group = group_name(score.risk, t)
        rows.append(
            [score.patient, label, time, event, score.tiles, score.risk, group, evaluation.rule]
        )
    head = ["patient", "label", "time", "event", "tiles", "r", "group", "rule"]
    write_rows(out / SCORES, head, rows)
    judged = evaluation.scores
    groups = [] if judged is None else judged.calibration
    head = [field.name for field in fields(CalibrationGroup)]
    write_rows(out / CALIBRATION, head, map(astuple, groups))
    if judged is not None:
        with atomic_file(out / FIGURE) as beside:
            draw_calibration(beside, judged)
    elif (out / RECORD).is_file():
        remove(out / FIGURE, missing_ok=True)
    content = json.dumps(evaluation.as_dict(), indent=2, allow_nan=False) + "\n"
    with atomic_file(out / RECORD) as beside:
        beside.write_text(content, encoding="utf-8")


def _from_bags(
    source: Path,
    table: Clinical,
    tiling: Tiling,
    model: Path | None,
    nuclei: Path | None,
    device: DeviceName,
    keep: Path | None,
    prepared: Prepared | None,
    notes: list[str],
) -> tuple[list[BagScore], float, str]:
    folder = load_model_folder(model or default_model_dir("mil"), "mil")
    nuclei_folder = load_model_folder(nuclei or default_model_dir("nuclei"), "nuclei")
    where = training_device(device)
    risk = _risk(folder.config.risk)
    if risk.surrogate:
        notes.append(f"{folder.config.name}: {SURROGATE}")
    wanted = table.cohort.labels.keys() | table.cohort.follow_up.keys()
    with tempfile.TemporaryDirectory() as beside:
        found = find_bags(
            source, keep or Path(beside), table, wanted, tiling, nuclei_folder, folder.config,
            device=where, progress=prepared,
        )  # fmt: skip
        notes += [*found.said, *(str(one) for one in found.left_out)]
        predict = torch_tile_predictor(load_tile_network(folder).to(where))
        scores = [
            score_bag(bag, predict, risk.p) for name, bag in found.bags.items() if name in wanted
        ]
    if not scores:
        raise DataError(f"{table.path}: none of its patients is in {source}")
    return scores, risk.threshold, rule_text("pool", risk.p)


def _from_features(
    features: Path,
    source: Path,
    table: Clinical,
    tiling: Tiling,
    model: Path | None,
    patient_rule: PatientRule | None,
    device: DeviceName,
    notes: list[str],
) -> tuple[list[BagScore], float, str]:
    _only_pooled(source, patient_rule)
    folder = load_model_folder(model or default_model_dir("mil"), "mil")
    fitted = FittedHead(load_head(folder).to(training_device(device)), 0, [])
    needed, risk = folder.config.features, _risk(folder.config.risk)
    assert needed is not None, "a head has it"
    wanted = table.cohort.labels.keys() | table.cohort.follow_up.keys()
    found = find_features(features, source, table, wanted, tiling)
    check_features(found, needed, folder.config.name)
    notes += [*found.said, *(str(one) for one in found.left_out)]
    # The temperature is in the head already.
    return [fitted.score(bag) for bag in found.bags.values()], risk.threshold, RULE


def _only_pooled(source: Path, patient_rule: PatientRule | None) -> None:
    if patient_rule not in (None, "pool"):
        raise DataError(
            f"{source}: the tiles of all slides of a patient are pooled in a bag; for "
            f"--patient-rule {patient_rule}, score the project and give its export"
        )


def _from_table(
    source: Path,
    table: Clinical,
    model: Path | None,
    rule: PatientRule | None,
    columns: ClinicalColumns,
    notes: list[str],
) -> tuple[list[BagScore], float, str]:
    read = read_scores(
        source, rule=rule or "", missing=columns.missing, reading=columns.reading,
        match=columns.match,
    )  # fmt: skip
    if read.out_of_fold is not None:
        raise DataError(
            f"{source}: its scores are out of fold, each fold's by another model; give them to "
            "'qupath-hccmil survival', and scores of one model to 'evaluate mil'"
        )
    notes += read.said
    near = near_matches(sorted(table.named), read.named, columns.match)
    if near:
        notes.append(near)
    notes.append(f"scores are from column {read.column!r}; {read.rule}")
    wanted = table.cohort.labels.keys() | table.cohort.follow_up.keys()
    scores = []
    for patient, r in read.scores.dropna().items():
        if not 0 <= r <= 1:
            raise DataError(
                f"{source}: patient {patient!r} has the risk {r:g}, which is not in [0, 1]"
            )
        if patient in wanted:
            with np.errstate(divide="ignore"):
                logit = float(np.log(r) - np.log1p(-r))
            scores.append(BagScore(str(patient), 0, logit, float(r)))
    if not scores:
        told = f"; {near}" if near else ""
        raise DataError(f"{source}: none of its patients is in {table.path}{told}")
    if read.threshold is not None and model is None:
        return scores, read.threshold, read.rule
    folder = load_model_folder(model or default_model_dir("mil"), "mil")
    threshold = _risk(folder.config.risk).threshold
    notes.append(f"threshold {threshold:g} of model {folder.config.name}")
    return scores, threshold, read.rule


def _risk(risk: RiskConfig | None) -> RiskConfig:
    assert risk is not None, "the schema asks for it in a mil model"
    return risk
