"""Judge a way to train: nested cross-validation, comparisons, permuted outcomes, warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.judgement.baselines import CLINICAL, COMBINED, SCORE, cox_models
from qupath_hccmil.judgement.cautions import cautions_on_data, cautions_on_results
from qupath_hccmil.judgement.cohort_size import what_can_be_shown
from qupath_hccmil.judgement.fold_tables import (
    as_arrays,
    by_fold,
    fold_predictions,
    outcome_arrays,
)
from qupath_hccmil.judgement.judged_cohort import UNIT, JudgedCohort
from qupath_hccmil.judgement.kept_folds import FoldResult
from qupath_hccmil.judgement.learner import Learner
from qupath_hccmil.judgement.nested_cross_validation import (
    NestedSettings,
    all_patients,
    fold_folder,
    judge_fold,
    plan_folds,
    splits_within,
)
from qupath_hccmil.judgement.permuted_outcomes import permuted_cohorts, predict_permuted
from qupath_hccmil.judgement.predicted_risk import DRAWS, calibrate
from qupath_hccmil.survival.analysis_context import choose_horizons
from qupath_hccmil.survival.attempt import attempt
from qupath_hccmil.survival.statistics.auc import clinical_times
from qupath_hccmil.survival.statistics.horizon_calibration import Calibration
from qupath_hccmil.survival.statistics.within_folds import (
    C_INDEX,
    Compared,
    auc_curve,
    compare_within_folds,
    concordance_by_fold,
)

PERMUTED = "Outcomes permuted within centres"
FOLDS, PERMUTATIONS = "folds", "permutations"
_POINTS = 12


@dataclass
class Judgement:
    """Everything that was found.

    Attributes
    ----------
    cohort : JudgedCohort
    settings : NestedSettings
    learner : mapping of str to str
        What was trained, in words, for the report.
    horizons : tuple of float
        Years.
    repeats : list of list of FoldResult
        Outer folds of each repeat.
    compared : Compared
        The score and its comparisons within folds.
    added : DataFrame
        The clinical variables with the score minus those alone, as ``Compared.differences``; empty
        without clinical variables.
    permuted : DataFrame
        As ``Compared.table``, for the permuted outcomes.
    by_fold : DataFrame
        One row per outer fold and repeat.
    predictions : DataFrame
        One row per patient and repeat.
    can_show : DataFrame
        From ``cohort_size.what_can_be_shown``.
    cautions : list of str
    problems : list of (part, reason)
    chosen : str
        Candidate for the model that will be used: chosen in inner splits of all patients, as in
        each outer fold.
    curve, net_benefit : DataFrame or None
    calibrations : list of Calibration
    command : str
    """

    cohort: JudgedCohort
    settings: NestedSettings
    learner: Mapping[str, str]
    horizons: tuple[float, ...]
    repeats: list[list[FoldResult]]
    compared: Compared
    added: pd.DataFrame
    permuted: pd.DataFrame
    by_fold: pd.DataFrame
    predictions: pd.DataFrame
    can_show: pd.DataFrame
    cautions: list[str]
    problems: list[tuple[str, str]]
    chosen: str
    curve: pd.DataFrame | None = None
    calibrations: list[Calibration] = field(default_factory=list)
    net_benefit: pd.DataFrame | None = None
    command: str = ""

    def concordance(self, marker: str = SCORE) -> tuple[float, float, float]:
        """C-index of a marker within folds, and its interval."""
        table = self.permuted if marker == PERMUTED else self.compared.table
        rows = table[(table["marker"] == marker) & (table["statistic"] == C_INDEX)]
        row = rows.iloc[0]
        return float(row["estimate"]), float(row["lower"]), float(row["upper"])


def judge(
    learner: Learner,
    cohort: JudgedCohort,
    out: Path,
    settings: NestedSettings | None = None,
    *,
    told: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Judgement:
    """Judge a way to train on a cohort.

    Parameters
    ----------
    learner : Learner
    cohort : JudgedCohort
        Every patient must be known to the learner.
    out : Path
        Folder for finished folds; those of an earlier, interrupted run with the same data and
        settings are read instead of computed.
    settings : NestedSettings, optional
    told : mapping of str to str, optional
        What is trained, in words, for the report.
    progress : callable, optional
        Called with a line before each training.

    Raises
    ------
    DataError
        There are too few events, labels or centres, which is said before the first training; or a
        model gives no finite number.
    """
    settings = settings or NestedSettings()
    settings.check()
    say = progress or _silent
    frame = cohort.frame
    if not learner.candidates:
        raise DataError("there is no candidate to train; name at least one head")
    plans = [
        plan_folds(learner, frame, cohort.centre_of, settings, number)
        for number in range(1, settings.repeats + 1)
    ]
    shuffled = permuted_cohorts(learner, cohort, settings)
    everybody = all_patients(frame) if len(learner.candidates) > 1 else None
    if everybody is not None:
        splits_within(learner, everybody, frame, settings)
    cautions = cautions_on_data(cohort, plans)
    repeats = [
        [
            judge_fold(learner, fold, frame, settings, fold_folder(out / FOLDS, fold), say)
            for fold in folds
        ]
        for folds in plans
    ]
    chosen = learner.candidates[0]
    if everybody is not None:
        folder = fold_folder(out / FOLDS, everybody)
        chosen = judge_fold(learner, everybody, frame, settings, folder, say).candidate
    permuted, permuted_score = predict_permuted(shuffled, out / PERMUTATIONS, settings, say)
    outcomes, score = as_arrays(frame, repeats)
    problems: list[tuple[str, str]] = []
    horizons, odd = choose_horizons(frame, settings.horizons, UNIT)
    problems += odd
    models = cox_models(cohort, repeats)
    problems += models.problems
    markers = {SCORE: score, **models.markers}
    compare = partial(
        compare_within_folds,
        times=horizons,
        repeats=settings.bootstrap,
        seed=settings.seed,
        confidence=settings.confidence,
    )
    compared = compare(outcomes, markers)
    null = compare(permuted, {PERMUTED: permuted_score}).table
    found = Judgement(
        cohort, settings, told or {}, horizons, repeats, compared,
        compared.gap(CLINICAL, COMBINED) if cohort.variables else pd.DataFrame(), null,
        by_fold(frame, repeats, concordance_by_fold(outcomes, score)),
        fold_predictions(frame, repeats),
        what_can_be_shown(*outcome_arrays(frame), seed=settings.seed),
        [*cautions, *cautions_on_results(compared, null)], problems, chosen,
    )  # fmt: skip
    shown = {name: markers[name] for name in (SCORE, CLINICAL, COMBINED) if name in markers}
    found.curve = attempt(
        problems,
        "AUC over time",
        lambda: auc_curve(
            outcomes, shown, clinical_times(frame, max(horizons), _POINTS).tolist(),
            repeats=min(settings.bootstrap, DRAWS), seed=settings.seed,
            confidence=settings.confidence,
        ),
    )  # fmt: skip
    found.calibrations, found.net_benefit = calibrate(cohort, repeats, horizons, settings, problems)
    return found


def _silent(line: str) -> None:
    del line
