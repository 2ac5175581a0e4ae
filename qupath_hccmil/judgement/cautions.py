"""Warnings in words: what makes a cross-validation say more, or less, than it seems to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError
from qupath_hccmil.judgement.baselines import COLOUR, SCORE, TILE_COUNT
from qupath_hccmil.judgement.cohort_size import FEW_EVENTS, smallest_shown
from qupath_hccmil.judgement.judged_cohort import CENTRE, SCANNER, UNKNOWN, JudgedCohort
from qupath_hccmil.judgement.nested_cross_validation import distinct_outcomes
from qupath_hccmil.judgement.nested_splits import OuterFold
from qupath_hccmil.survival.report.number_format import number, percent, span
from qupath_hccmil.survival.statistics.cox import fit_cox
from qupath_hccmil.survival.statistics.kaplan_meier import log_rank
from qupath_hccmil.survival.statistics.log_rank_tests import holm
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME
from qupath_hccmil.survival.statistics.variables import Variable
from qupath_hccmil.survival.statistics.within_folds import C_INDEX, Compared

FEWEST = 5
"""Patients that a centre or scanner needs for a statement about its outcomes."""
SURE = 0.001
STRONG = 3.0
FEW_IN_FOLD = 5
MOST_NAMED = 6
_INSIDE = "inside__"


def cautions_on_data(cohort: JudgedCohort, repeats: Sequence[Sequence[OuterFold]]) -> list[str]:
    """Warn of what the data show before any training."""
    return [
        *too_few_events(cohort, repeats),
        *outcome_of_group(cohort.frame, CENTRE, "Centre"),
        *outcome_of_group(cohort.frame, SCANNER, "Scanner"),
        *one_scanner_a_class(cohort.frame),
        *one_scanner_a_centre(cohort.frame),
        *duplicate_slides(cohort, repeats),
        *in_two_centres(cohort),
    ]


def too_few_events(cohort: JudgedCohort, repeats: Sequence[Sequence[OuterFold]]) -> list[str]:
    """Warn of a cohort, or a fold, in which little can be shown."""
    events = int(cohort.frame[EVENT].sum())
    found = []
    if events < FEW_EVENTS:
        found.append(
            f"Too few events: {events}, where {FEW_EVENTS} are the least for a precise judgement. "
            f"A C-index below {number(smallest_shown(events))} can hardly be told from chance "
            "here; the table “What a cohort of this size can show” says more."
        )
    small: dict[str, int] = {}
    for fold in (fold for folds in repeats for fold in folds):
        count = int(cohort.frame.loc[list(fold.held_out), EVENT].sum())
        if count < FEW_IN_FOLD:
            small.setdefault(fold.name, count)
    if small:
        named = [f"{name} ({count})" for name, count in sorted(small.items())]
        found.append(
            f"Folds with fewer than {FEW_IN_FOLD} events say almost nothing by themselves: "
            f"{_some(named)}."
        )
    return found


def outcome_of_group(frame: pd.DataFrame, column: str, what: str) -> list[str]:
    """Name the centres, or scanners, that are their outcome.

    One is named if all or none of its patients have an event where that would be by chance in less
    than 1 of 1,000 cohorts (Fisher's exact test), or if its hazard is at least three times, or at
    most a third of, that of the others, with a log-rank p below 0.001; both after Holm 1979.
    """
    rows = frame[frame[column] != UNKNOWN]
    sizes = rows[column].value_counts()
    names = sorted(str(name) for name, size in sizes.items() if size >= FEWEST)
    if len(sizes) < 2 or not rows[EVENT].any():
        return []
    found = [(name, *_against_others(rows, column, name)) for name in names]
    corrected = holm(np.array([p for _, p, _ in found])) if found else np.empty(0)
    told = []
    for (name, _, ratio), p in zip(found, corrected, strict=True):
        own = rows.loc[rows[column] == name, EVENT]
        other = rows.loc[rows[column] != name, EVENT]
        alike = own.all() or not own.any()
        if p < SURE and (alike or ratio >= STRONG or ratio <= 1 / STRONG):
            told.append(
                f"{what} {name} is its outcome: {int(own.sum())} of {len(own)} patients have an "
                f"event ({percent(own.mean(), 0)}), of the others {int(other.sum())} of "
                f"{len(other)} ({percent(other.mean(), 0)}). A model that recognises the "
                f"{what.lower()} by its stain predicts the outcome without looking at the tumour; "
                "judge by leaving centres out, and do not pool over them."
            )
    return told


def one_scanner_a_class(frame: pd.DataFrame) -> list[str]:
    """Warn if patients with a poor and a good outcome were scanned on different scanners."""
    rows = frame.assign(label=pd.Series(distinct_outcomes(frame), frame.index, dtype=object))
    rows = rows[rows["label"].notna() & (rows[SCANNER] != UNKNOWN)]
    good = set(rows.loc[rows["label"] == 1, SCANNER])
    poor = set(rows.loc[rows["label"] == 0, SCANNER])
    if not good or not poor or good & poor:
        return []
    return [
        f"One scanner a class: all patients with a good outcome were scanned on "
        f"{', '.join(sorted(good))}, all with a poor one on {', '.join(sorted(poor))}. A model can "
        "tell the scanners apart instead of the outcomes, and nothing here can show which it does."
    ]


def one_scanner_a_centre(frame: pd.DataFrame) -> list[str]:
    """Say if each centre has a scanner of its own, so that the two cannot be told apart."""
    rows = frame[(frame[CENTRE] != UNKNOWN) & (frame[SCANNER] != UNKNOWN)]
    pairs = rows[[CENTRE, SCANNER]].drop_duplicates()
    if len(pairs) < 2 or pairs[CENTRE].duplicated().any() or pairs[SCANNER].duplicated().any():
        return []
    return [
        "Each centre has a scanner of its own, so that an effect of the scanner cannot be told "
        "from one of the centre."
    ]


def duplicate_slides(cohort: JudgedCohort, repeats: Sequence[Sequence[OuterFold]]) -> list[str]:
    """Name patients who share a slide by its pixels, and say whether folds divide them."""
    by_pixels: dict[str, dict[str, str]] = {}
    for one in cohort.slides:
        if one.pixels:
            by_pixels.setdefault(one.pixels, {}).setdefault(one.patient, one.slide)
    shared = [owners for owners in by_pixels.values() if len(owners) > 1]
    divided = [owners for owners in shared if _divided(set(owners), repeats)]
    told = []
    for owners, words in (
        (divided, "Duplicate slides across folds"),
        ([one for one in shared if one not in divided], "Duplicate slides"),
    ):
        if not owners:
            continue
        named = [
            " = ".join(f"{patient} ({slide})" for patient, slide in sorted(one.items()))
            for one in owners
        ]
        told.append(
            f"{words}: the same pixels belong to several patients: {_some(named)}. "
            + (
                "A model has learned from one and was judged on the other; correct the table, "
                "and judge again."
                if words.endswith("folds")
                else "They were in the same fold by chance; correct the table, and judge again."
            )
        )
    return told


def in_two_centres(cohort: JudgedCohort) -> list[str]:
    """Name the patients whom the table puts into several centres."""
    if not cohort.in_two_centres:
        return []
    named = [
        f"{patient} ({', '.join(centres)})"
        for patient, centres in sorted(cohort.in_two_centres.items())
    ]
    return [
        f"Patients in two centres: {_some(named)}. They are left out, "
        "because they would be on both sides when a centre is left out; correct the table."
    ]


def cautions_on_results(compared: Compared, permuted: pd.DataFrame) -> list[str]:
    """Warn of what the results show: leakage, and a score that says nothing by itself."""
    told = []
    row = permuted[permuted["statistic"] == C_INDEX].iloc[0]
    if row["lower"] > 0.5:
        told.append(
            "Leakage: with outcomes permuted within centres, the C-index is still "
            f"{number(row['estimate'])} ({span(row['lower'], row['upper'])}). So much of the "
            "score's C-index comes from telling the centres apart, or from patients who are on "
            "both sides."
        )
    table = compared.table[compared.table["statistic"] == C_INDEX].set_index("marker")
    score = table.loc[SCORE]
    if not score["lower"] > 0.5:
        told.append(
            f"The score's C-index is {number(score['estimate'])} "
            f"({span(score['lower'], score['upper'])}), which may be chance alone: these data do "
            "not show that the slides say anything about the outcome."
        )
        return told
    gaps = compared.differences[compared.differences["statistic"] == C_INDEX].set_index("marker")
    for name in (TILE_COUNT, COLOUR):
        if name in gaps.index and not gaps.loc[name, "lower"] > 0:
            told.append(
                f"The score is not shown to be better than the {name.lower()} alone (C-index "
                f"{number(score['estimate'])} against {number(table.loc[name, 'estimate'])}; "
                f"difference {span(gaps.loc[name, 'lower'], gaps.loc[name, 'upper'])})."
            )
    return told


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _against_others(rows: pd.DataFrame, column: str, name: str) -> tuple[float, float]:
    """P-value and hazard ratio of the patients of one group against all others."""
    own = rows[column] == name
    marked = rows[[TIME, EVENT]].assign(**{_INSIDE: np.where(own, "yes", "no")})
    events = rows[EVENT].astype(bool)
    counts = [[(own & events).sum(), (own & ~events).sum()],
              [(~own & events).sum(), (~own & ~events).sum()]]  # fmt: skip
    p = float(stats.fisher_exact(counts)[1])
    tested = log_rank(marked, _INSIDE).p
    p = min(p, tested) if np.isfinite(tested) else p
    try:
        fit = fit_cox(marked, [Variable(_INSIDE, "categorical", ("no", "yes"))])
        return p, float(np.exp(fit.coefficients[0]))
    except DataError:
        return p, 1.0


def _divided(patients: set[str], repeats: Sequence[Sequence[OuterFold]]) -> bool:
    return any(
        0 < len(patients & set(fold.held_out)) < len(patients & {*fold.held_out, *fold.others})
        for folds in repeats
        for fold in folds
    )
