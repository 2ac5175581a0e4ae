"""The judgement of ``train mil --features`` as a function: nested cross-validation of heads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from qupath_hccmil.atomic_files import make_folder
from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.heads.outcomes import Outcome
from qupath_hccmil.learning.device import DeviceName, training_device
from qupath_hccmil.training.clinical_table import Clinical, ClinicalColumns, read_clinical
from qupath_hccmil.training.feature_cache import Prepared, cached
from qupath_hccmil.training.head_learner import HeadLearner
from qupath_hccmil.training.judge_training import (
    JUDGEMENT,
    JudgedTraining,
    JudgementRequest,
    cohort_of_features,
    judge_training,
)
from qupath_hccmil.training.patient_features import find_features
from qupath_hccmil.training.prepare_bags import Tiling
from qupath_hccmil.training.train_heads import CACHE

KEPT = "kept/slides.json"


def judge_heads(
    source: Path,
    clinical: Path,
    out: Path,
    features: Path,
    heads: Mapping[str, HeadSettings],
    request: JudgementRequest,
    *,
    columns: ClinicalColumns | None = None,
    tiling: Tiling | None = None,
    device: DeviceName = "auto",
    prepared: Prepared | None = None,
    progress: Callable[[str], None] | None = None,
) -> JudgedTraining:
    """Judge the training of heads on features.

    Parameters
    ----------
    source, features, clinical : Path
        As for :func:`~qupath_hccmil.training.train_heads.train_head`. The mean colour of slides is
        compared if `source` has the slides.
    out : Path
        Folder of the training. Finished folds are kept in it, so that the same command goes on
        after a kill; the report is ``judgement/report.html``.
    heads : mapping of str to HeadSettings
        Candidates by name; the inner folds choose among them.
    request : JudgementRequest
    columns : ClinicalColumns, optional
    tiling : Tiling, optional
    device : {"auto", "cpu", "cuda", "mps"}
    prepared : callable, optional
        Called for each patient when the features are ready.
    progress : callable, optional
        Called with a line before each training.

    Returns
    -------
    JudgedTraining
        ``judgement.chosen`` is the head to train for use.

    Raises
    ------
    DataError
        No patient has both follow-up and features, there are too few events for the folds, or a
        column or a file of features cannot be used.
    """
    columns, tiling = columns or ClinicalColumns(), tiling or Tiling()
    make_folder(out)
    where = training_device(device)
    table = read_clinical(clinical, columns)
    outcomes = followed(table)
    found = find_features(features, source, table, outcomes.keys(), tiling)
    slides = (
        None if source.resolve() == features.resolve() else (source, tiling, out / JUDGEMENT / KEPT)
    )
    patients = {patient: bag.slides for patient, bag in found.bags.items()}
    cohort = cohort_of_features(patients, table, columns, request, slides, progress)
    bags = cached(found.bags, out / CACHE, prepared)
    learner = HeadLearner(
        bags,
        {patient: outcomes[patient] for patient in cohort.frame.index},
        heads,
        hashlib.sha256(found.fingerprint.encode()).hexdigest(),
        where,
    )
    losses = sorted({one.loss for one in heads.values()})
    told = {
        "Heads": ", ".join(heads),
        "Loss": ", ".join(losses),
        "Encoder": found.shared.encoder or "not named by the files",
        "Slides": str(source),
        "Features": str(features),
        "Clinical table": str(clinical),
    }
    return judge_training(learner, cohort, out, request, told=told, progress=progress)


def followed(table: Clinical) -> dict[str, Outcome]:
    """Outcomes of the patients with follow-up, whether or not a loss can use them.

    Raises
    ------
    DataError
        Nobody has follow-up.
    """
    if not table.cohort.follow_up:
        raise DataError(
            f"{table.path}: a judgement needs time and event of the patients, not labels alone; "
            "give their columns (--time or --start-date and --end-date, --event)"
        )
    return {
        patient: Outcome(time, bool(event), table.cohort.labels.get(patient))
        for patient, (time, event) in sorted(table.cohort.follow_up.items())
    }
