"""Judge a way to train: nested cross-validation, comparisons, permuted outcomes, warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError
from qupath_hccmil.judgement.baselines import (
    CLINICAL,
    COMBINED,
    SCORE,
    cox_models,
    predicted_risks,
)
from qupath_hccmil.judgement.cautions import cautions_on_data, cautions_on_results
from qupath_hccmil.judgement.cohort_size import what_can_be_shown
from qupath_hccmil.judgement.judged_cohort import CENTRE, JudgedCohort
from qupath_hccmil.judgement.kept_folds import FoldResult
from qupath_hccmil.judgement.learner import Learner
from qupath_hccmil.judgement.nested_cross_validation import (
    NestedSettings,
    all_patients,
    events_of,
    judge_fold,
    permuted_within,
)
from qupath_hccmil.judgement.nested_splits import OuterFold, outer_folds, seed_of
from qupath_hccmil.judgement.within_folds import (
    C_INDEX,
    Compared,
    FoldOutcomes,
    auc_curve,
    compare_within_folds,
    concordance_by_fold,
)
from qupath_hccmil.method.aggregation import group_name, risk
from qupath_hccmil.survival.analysis_context import choose_horizons
from qupath_hccmil.survival.attempt import attempt
from qupath_hccmil.survival.statistics.auc import clinical_times
from qupath_hccmil.survival.statistics.decision_curve import net_benefit
from qupath_hccmil.survival.statistics.horizon_calibration import Calibration, calibration
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME
from qupath_hccmil.survival.step_performance import thresholds_of

PERMUTED = "Outcomes permuted within centres"
UNIT = "years"
FOLDS, PERMUTATIONS = "folds", "permutations"
_RISK = "risk__"
_POINTS = 12
DRAWS = 200  # for what is drawn and not read off: bands, and the curve of calibration


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
        There are too few events or centres, or a model gives no finite number.
    """
    settings = settings or NestedSettings()
    settings.check()
    say = progress or _silent
    frame = cohort.frame
    if not learner.candidates:
        raise DataError("there is no candidate to train; name at least one head")
    plans = [_outer(cohort, frame, settings, n) for n in range(1, settings.repeats + 1)]
    cautions = cautions_on_data(cohort, plans)
    repeats = [
        [
            judge_fold(learner, fold, frame, settings, _folder(out / FOLDS, fold), say)
            for fold in folds
        ]
        for folds in plans
    ]
    chosen = learner.candidates[0]
    if len(learner.candidates) > 1:
        everybody = all_patients(frame)
        chosen = judge_fold(
            learner, everybody, frame, settings, _folder(out / FOLDS, everybody), say
        ).candidate
    permuted = predict_permuted(learner, cohort, out, settings, say)
    outcomes, score = _as_arrays(frame, repeats)
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
    null = compare(permuted[0], {PERMUTED: permuted[1]}).table
    found = Judgement(
        cohort, settings, told or {}, horizons, repeats, compared,
        compared.gap(CLINICAL, COMBINED) if cohort.variables else pd.DataFrame(), null,
        _by_fold(frame, repeats, concordance_by_fold(outcomes, score)),
        _predictions(frame, repeats), what_can_be_shown(*outcome_arrays(frame), seed=settings.seed),
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
    _calibrate(found)
    return found


def outcome_arrays(frame: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Follow-up and event of each patient."""
    return frame[TIME].to_numpy(float), frame[EVENT].to_numpy(bool)


def _outer(
    cohort: JudgedCohort, frame: pd.DataFrame, settings: NestedSettings, repeat: int
) -> list[OuterFold]:
    centre = {str(p): str(c) for p, c in cohort.frame[CENTRE].items()}
    return outer_folds(
        events_of(frame),
        settings.folds,
        settings.seed,
        repeat,
        centre if settings.by_centre else None,
    )


def predict_permuted(
    learner: Learner,
    cohort: JudgedCohort,
    out: Path,
    settings: NestedSettings,
    say: Callable[[str], None],
) -> tuple[FoldOutcomes, NDArray[np.float64]]:
    """Cross-validate with outcomes permuted within centres, as often as the settings say.

    Returns
    -------
    outcomes : FoldOutcomes
        As permuted.
    logits : (permutations, n) float64
        Of held-out patients.
    """
    centre = {str(p): str(c) for p, c in cohort.frame[CENTRE].items()}
    time, event, fold, logits = [], [], [], []
    for number in range(1, settings.permutations + 1):
        donors = permuted_within(centre, seed_of(settings.seed, number, 1))
        order = [donors[patient] for patient in cohort.frame.index]
        frame = cohort.frame[[TIME, EVENT]].loc[order].set_axis(cohort.frame.index)
        other = learner.with_outcomes_of(donors)
        results = [
            judge_fold(
                other, one, frame, settings, _folder(out / PERMUTATIONS, one),
                lambda line: say(f"outcomes permuted, {line}"),
            )
            for one in _outer(cohort, frame, settings, number)
        ]  # fmt: skip
        outcomes, score = _as_arrays(frame, [results])
        time.append(outcomes.time[0])
        event.append(outcomes.event[0])
        fold.append(outcomes.fold[0])
        logits.append(score[0])
    return FoldOutcomes(np.array(time), np.array(event), np.array(fold)), np.array(logits)


def _as_arrays(
    frame: pd.DataFrame, repeats: Sequence[Sequence[FoldResult]]
) -> tuple[FoldOutcomes, NDArray[np.float64]]:
    time, event = outcome_arrays(frame)
    score = np.full((len(repeats), len(frame)), np.nan)
    fold = np.zeros(score.shape, int)
    place = {patient: number for number, patient in enumerate(frame.index)}
    for row, folds in enumerate(repeats):
        for one in folds:
            where = [place[patient] for patient in one.logits]
            score[row, where] = list(one.logits.values())
            fold[row, where] = one.number
    shape = (len(repeats), 1)
    return FoldOutcomes(np.tile(time, shape), np.tile(event, shape), fold), score


def _folder(root: Path, fold: OuterFold) -> Path:
    return root / f"repeat-{fold.repeat}" / f"fold-{fold.number}"


def _by_fold(
    frame: pd.DataFrame,
    repeats: Sequence[Sequence[FoldResult]],
    concordances: Sequence[Mapping[int, float]],
) -> pd.DataFrame:
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


def _predictions(frame: pd.DataFrame, repeats: Sequence[Sequence[FoldResult]]) -> pd.DataFrame:
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


def _calibrate(found: Judgement) -> None:
    frame, settings = found.cohort.frame, found.settings
    risks = attempt(
        found.problems,
        "Predicted risks",
        partial(predicted_risks, found.cohort, found.repeats, found.horizons),
    )
    benefits = []
    for at, values in (risks or {}).items():
        if not np.isfinite(values).all():
            found.problems.append((
                f"Predicted risks at {at:g} {UNIT}",
                "some folds cannot predict them, because the other patients are not followed so "
                "long",
            ))  # fmt: skip
            continue
        table = frame[[TIME, EVENT]].assign(**{_RISK: values})
        one = attempt(
            found.problems,
            f"Calibration at {at:g} {UNIT}",
            partial(
                calibration, table, _RISK, at, repeats=min(settings.bootstrap, DRAWS),
                seed=settings.seed, confidence=settings.confidence,
            ),
        )  # fmt: skip
        if one is not None:
            found.calibrations.append(one)
        benefit = attempt(
            found.problems,
            f"Decision curve at {at:g} {UNIT}",
            partial(net_benefit, table, _RISK, at, thresholds_of(table[_RISK])),
        )
        if benefit is not None:
            benefits.append(benefit.assign(horizon=at))
    if benefits:
        found.net_benefit = pd.concat(benefits, ignore_index=True)


def _silent(line: str) -> None:
    del line
