"""Sections on scores out of fold: what they are, and their discrimination within folds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qupath_hccmil.survival.figures.performance import auc_figure
from qupath_hccmil.survival.figures.style import Drawing
from qupath_hccmil.survival.findings import SCORE_NAME, Analysis, WithinFolds
from qupath_hccmil.survival.interval_level import interval, level
from qupath_hccmil.survival.report.blocks import Image, Images, Section, Table, Text
from qupath_hccmil.survival.report.number_format import moment, number, whole, with_span
from qupath_hccmil.survival.statistics.within_folds import C_INDEX


def folds_section(analysis: Analysis) -> Section | None:
    """Say that the scores are cross-validated, how they are used, and what each fold has."""
    folds = analysis.cohort.folds
    if folds is None:
        return None
    section = Section("folds", "Scores out of fold")
    section.blocks += [
        Text(
            "The scores are out of fold: each patient was scored by the model of the fold that "
            "held this patient out. They are cross-validated scores of models that were trained on "
            "this same cohort. The results estimate how well this way of training does in patients "
            "like these; they are not those of one model that could be used afterwards, and do not "
            "replace a validation of that model in another cohort."
        ),
        Text(
            "Scores of two folds come from two models, whose levels and spreads differ, so they "
            "are never compared. The score is standardised within its fold, Cox models have a "
            "baseline hazard for each fold, and concordance and AUC count pairs of patients of one "
            "fold only. The risk group of a patient is by the threshold of the own fold's model, "
            "and the groups are compared over all folds."
        ),
        Text(
            "The training sets of the folds overlap, so patients of different folds are not quite "
            "independent. The intervals of concordance and AUC are widened for that; p-values and "
            "the intervals of hazard ratios and survival curves are not, and are too optimistic. "
            "A test that holds permutes the outcomes and trains again (train mil --judge).",
            "note",
        ),
        _folds(analysis, folds.table),
    ]
    return section


def within_folds_section(analysis: Analysis) -> Section | None:
    """Concordance and AUC(t) within folds."""
    found = analysis.performance.within_folds
    if found is None:
        return None
    unit, confidence = analysis.cohort.unit, analysis.settings.confidence
    section = Section("discrimination", "Discrimination within folds")
    section.blocks.append(
        Text(
            "Harrell's C, and AUC(t) of cumulative cases against dynamic controls, over all pairs "
            "of patients of one fold. A factor is represented by the linear predictor of its Cox "
            "model on these patients, which slightly favours the factor."
        )
    )
    if found.curve is not None:
        told = (
            f"AUC(t) within folds: pointwise {interval(confidence)} (dark) and simultaneous "
            f"{level(confidence)} band (light)."
        )
        drawn = Drawing(auc_figure(found.curve, unit=unit))
        section.blocks.append(Images([Image("auc", told, drawn, told)], "large"))
    section.blocks.append(_statistics(analysis, found))
    if found.differences is not None:
        section.blocks.append(_differences(found.differences, unit, confidence))
    return section


def _folds(analysis: Analysis, data: pd.DataFrame) -> Table:
    found = analysis.performance.within_folds
    by_fold = {} if found is None else found.by_fold
    data = data.assign(c_index=data["fold"].map(by_fold).astype(float))
    rows = [
        (
            str(row["fold"]),
            whole(row["patients"]),
            whole(row["events"]),
            number(row["threshold"], 3),
            f"{number(row['mean'], 3)} ± {number(row['sd'], 3)}",
            whole(row["pairs"]),
            number(row["c_index"], 3),
        )
        for _, row in data.iterrows()
    ]
    head = ("Fold", "Patients", "Events", "Threshold", "Score, mean ± SD", "Pairs", "C-index")
    note = "Pairs: those whose order is known, which the C-index counts."
    return Table("folds", "Folds", head, rows, data, note)


def _statistics(analysis: Analysis, found: WithinFolds) -> Table:
    unit = analysis.cohort.unit
    data = found.table
    rows = [
        (
            row["marker"],
            _statistic(row, unit),
            whole(row["patients"]),
            whole(row["events"]),
            with_span(row["estimate"], row["lower"], row["upper"], 3),
        )
        for _, row in data.iterrows()
    ]
    note = (
        f"Percentile intervals from {analysis.settings.bootstrap} bootstrap samples of patients, "
        "widened for the overlap of the training sets (Nadeau and Bengio 2003)."
        if analysis.settings.bootstrap
        else "No bootstrap was requested, so there are no intervals."
    )
    head = ("Marker", "Statistic", "Patients", "Events",
            f"Within folds ({interval(analysis.settings.confidence)})")  # fmt: skip
    return Table("within_folds", "Concordance and AUC within folds", head, rows, data, note)


def _differences(data: pd.DataFrame, unit: str, confidence: float) -> Table:
    rows = [
        (
            row["marker"],
            _statistic(row, unit),
            whole(row["patients"]),
            with_span(row["difference"], row["lower"], row["upper"], 3),
        )
        for _, row in data.iterrows()
    ]
    head = ("Against", "Statistic", "Patients", f"Difference ({interval(confidence)})")
    caption = f"{SCORE_NAME} minus each factor, in the patients who have both"
    return Table("within_folds_differences", caption, head, rows, data)


def _statistic(row: pd.Series, unit: str) -> str:
    return C_INDEX if np.isnan(row["time"]) else f"AUC at {moment(row['time'], unit)}"
