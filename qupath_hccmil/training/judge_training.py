"""Judges a training on features: the user's tables and slides become a cohort, and a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qupath_hccmil.features.feature_file import SlideFeatures
from qupath_hccmil.judgement.judge import Judgement, judge
from qupath_hccmil.judgement.judged_cohort import JudgedCohort, judged_cohort, usual_centre
from qupath_hccmil.judgement.learner import Learner
from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.judgement.output_folder import write_judgement
from qupath_hccmil.tables.table_reader import read_table
from qupath_hccmil.training.clinical_table import Clinical, ClinicalColumns
from qupath_hccmil.training.prepare_bags import Tiling
from qupath_hccmil.training.slide_facts import facts_of_features, facts_of_slides

JUDGEMENT = "judgement"


@dataclass(frozen=True)
class JudgementRequest:
    """What the user asks of a judgement.

    Attributes
    ----------
    settings : NestedSettings
        ``by_centre`` follows from `group_column`.
    group_column : str
        Column of the centre for leave-one-centre-out; empty for random folds. Then a column with a
        usual name of a centre is still used for permuting outcomes and for warnings.
    scanner_column : str
        Empty for what the slides say.
    variables : tuple of str or None
        Columns of clinical variables; None for those with the usual name of one.
    command : str
        Command line, for the report.
    """

    settings: NestedSettings = field(default_factory=NestedSettings)
    group_column: str = ""
    scanner_column: str = ""
    variables: tuple[str, ...] | None = None
    command: str = ""


@dataclass(frozen=True)
class JudgedTraining:
    """A judgement and where its report is."""

    judgement: Judgement
    report: Path


def cohort_of_features(
    patients: Mapping[str, Sequence[SlideFeatures]],
    clinical: Clinical,
    columns: ClinicalColumns,
    request: JudgementRequest,
    slides: tuple[Path, Tiling, Path] | None = None,
    progress: Callable[[str], None] | None = None,
) -> JudgedCohort:
    """Make the cohort of a judgement.

    Parameters
    ----------
    patients : mapping of str to sequence of SlideFeatures
        Files of features of each patient that a model may be trained on.
    clinical : Clinical
    columns : ClinicalColumns
        As `clinical` was read with.
    request : JudgementRequest
    slides : (Path, Tiling, Path), optional
        The source of slides, how they are found, and the file in which their colours are kept;
        None if there are only features, so that the mean colour is not known.
    progress : callable, optional
        Called with a line from time to time.

    Raises
    ------
    DataError
        A column is missing, or no patient has follow-up.
    """
    facts = facts_of_features(patients)
    told: list[str] = []
    if slides is not None:
        facts, told = facts_of_slides(facts, *slides, _counting(progress))
    table = read_table(clinical.path, columns.reading)
    return _with_notes(
        judged_cohort(
            table,
            clinical.cohort.follow_up,
            facts,
            patient=columns.patient,
            match=columns.match,
            centre=request.group_column or usual_centre(table.frame),
            scanner=request.scanner_column,
            variables=request.variables,
            missing=columns.missing,
        ),
        told,
    )


def judge_training(
    learner: Learner,
    cohort: JudgedCohort,
    out: Path,
    request: JudgementRequest,
    *,
    told: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> JudgedTraining:
    """Judge a training, and write the report.

    Parameters
    ----------
    learner : Learner
    cohort : JudgedCohort
    out : Path
        Folder of the training: finished folds are kept in it, and the report is in ``judgement``.
    request : JudgementRequest
    told : mapping of str to str, optional
        What is trained, for the report.
    progress : callable, optional

    Raises
    ------
    DataError
        See :func:`~qupath_hccmil.judgement.judge.judge`.
    """
    settings = replace(request.settings, by_centre=bool(request.group_column))
    found = judge(learner, cohort, out / JUDGEMENT / "kept", settings, told=told, progress=progress)
    found.command = request.command
    return JudgedTraining(found, write_judgement(found, out / JUDGEMENT))


def _with_notes(cohort: JudgedCohort, told: Sequence[str]) -> JudgedCohort:
    """Add notes to those of a cohort."""
    return replace(cohort, notes=(*cohort.notes, *told))


def _counting(progress: Callable[[str], None] | None) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    say = progress
    return lambda done, count: (
        say(f"colours of slides: {done} of {count}") if done % 50 == 0 or done == count else None
    )
