"""The section on competing risks."""

from __future__ import annotations

import pandas as pd

from qupath_hccmil.survival.figures.style import Drawing
from qupath_hccmil.survival.figures.survival_curves import incidence_figure
from qupath_hccmil.survival.findings import Analysis, CompetingPerformance
from qupath_hccmil.survival.interval_level import interval
from qupath_hccmil.survival.report.blocks import Block, Image, Images, Section, Table, Text
from qupath_hccmil.survival.report.number_format import (
    number,
    p_value,
    percent_span,
    whole,
    with_span,
)
from qupath_hccmil.survival.report.performance_section import (
    auc_table,
    predicted_risk_blocks,
    without_interval,
)
from qupath_hccmil.survival.statistics.fine_gray import FineGrayFit
from qupath_hccmil.survival.statistics.kaplan_meier import OVERALL


def competing_section(analysis: Analysis) -> Section | None:
    """Incidence, Gray's test, both kinds of hazard, and predicted risks, if events compete."""
    found, unit = analysis.competing, analysis.cohort.unit
    if found is None:
        return None
    section = Section("competing", "Competing risks")
    section.blocks.append(
        Text(
            "The Kaplan–Meier curves and Cox models above treat the competing event as "
            "censoring, so they describe the cause-specific hazard. The cumulative incidence "
            "here is the probability of an event when both causes act."
        )
    )
    confidence = analysis.settings.confidence
    section.blocks += [
        _curves(found.incidence, unit),
        _at_horizons(found.horizons, unit, confidence),
    ]
    if found.gray is not None:
        section.blocks.append(_gray(found.gray))
    if found.hazards is not None:
        caption = "Cause-specific Cox models, univariable"
        section.blocks.append(_by_cause("cause_specific", caption, "HR", found.hazards, confidence))
    if found.fine_gray is not None:
        caption = "Fine–Gray models, univariable"
        note = (
            "The hazard of the subdistribution (sHR) is about the incidence when both causes act; "
            "the cause-specific hazard is about patients who are still free of events."
        )
        section.blocks.append(
            _by_cause("fine_gray", caption, "sHR", found.fine_gray, confidence, note)
        )
    model = found.fine_gray_model
    if model is not None and len(model.variables) > 1:
        section.blocks.append(_model(model, confidence))
    section.blocks += _performance(found.performance, unit, confidence)
    return section


def _curves(data: pd.DataFrame, unit: str) -> Images:
    images = []
    for index, (cause, part) in enumerate(data.groupby("cause", sort=False), start=1):
        groups = part[part["group"] != OVERALL]
        drawn = incidence_figure(groups, unit=unit, title=str(cause))
        told = f"Cumulative incidence of {cause} by risk group (Aalen–Johansen)."
        images.append(Image(f"cumulative_incidence_{index}", told, Drawing(drawn), told))
    return Images(images, "medium")


def _at_horizons(data: pd.DataFrame, unit: str, confidence: float) -> Table:
    rows = [
        (
            row["cause"],
            row["group"],
            f"{row['time']:g}",
            whole(row["at_risk"]),
            percent_span(row["incidence"], row["lower"], row["upper"]),
        )
        for _, row in data.iterrows()
    ]
    head = ("Cause", "Group", f"Time ({unit})", "At risk", f"Incidence ({interval(confidence)})")
    caption = "Cumulative incidence at horizons"
    return Table("cumulative_incidence", caption, head, rows, data)


def _gray(data: pd.DataFrame) -> Table:
    rows = [
        (
            row["cause"],
            number(row["statistic"]),
            whole(row["degrees_of_freedom"]),
            p_value(row["p"]),
        )
        for _, row in data.iterrows()
    ]
    caption = "Gray's test of the cumulative incidence between risk groups"
    return Table("gray_test", caption, ("Cause", "χ²", "df", "p"), rows, data)


def _by_cause(
    key: str, caption: str, ratio: str, data: pd.DataFrame, confidence: float, note: str = ""
) -> Table:
    rows: list[tuple[str, ...]] = []
    for cause, part in data.groupby("cause", sort=False):
        rows.append((str(cause), "", "", ""))
        for _, row in part.iterrows():
            name = f"\u2003{row['label']}, {row['level'] or row['step']}"
            rows.append((name, whole(row["events"]), *_effect(row)))
    head = ("Cause", "Events", f"{ratio} ({interval(confidence)})", "p")
    return Table(key, caption, head, rows, data, note)


def _effect(row: pd.Series) -> tuple[str, str]:
    if row["reference"]:
        return "1 (reference)", ""
    return with_span(row["hazard_ratio"], row["lower"], row["upper"]), p_value(row["p"])


def _model(fit: FineGrayFit, confidence: float) -> Table:
    rows = [
        (
            f"{row['label']}, {row['level'] or row['step']}",
            whole(row["patients"]),
            whole(row["events"]),
            *_effect(row),
        )
        for _, row in fit.table.iterrows()
    ]
    note = (
        f"One model: {fit.patients} patients, {fit.events} events, {fit.competing} competing events"
    )
    note += f"; {fit.left_out} patients lack a value." if fit.left_out else "."
    head = ("Variable", "Patients", "Events", f"sHR ({interval(confidence)})", "p")
    return Table("fine_gray_multivariable", "Multivariable Fine–Gray model", head, rows, fit.table,
                 note)  # fmt: skip


def _performance(found: CompetingPerformance, unit: str, confidence: float) -> list[Block]:
    blocks: list[Block] = []
    if found.auc is not None:
        blocks += [
            Text(
                "AUC(t) with competing events: patients with the event up to t against all others, "
                "those who had a competing event among them. The clinical model is the linear "
                "predictor of a Fine–Gray model that was fitted on these patients."
            ),
            auc_table("auc_competing", "AUC with competing events", found.auc, unit, confidence),
        ]
    if found.auc_differences is not None:
        rows = [
            (
                row["marker"],
                f"{row['time']:g}",
                whole(row["patients"]),
                with_span(row["difference"], row["lower"], row["upper"], 3),
                p_value(row["p"]),
            )
            for _, row in found.auc_differences.iterrows()
        ]
        head = (
            "Against",
            f"Time ({unit})",
            "Patients",
            f"Difference ({interval(confidence)})",
            "p",
        )
        caption = "AUC of the score minus that of the clinical model, with competing events"
        blocks.append(
            Table(
                "auc_competing_differences",
                caption,
                head,
                rows,
                found.auc_differences,
                without_interval(found.auc_differences),
            )
        )
    if found.calibrations or found.brier is not None:
        blocks.append(
            Text(
                "The predicted risk is that of a Fine–Gray model with the score alone, fitted on "
                "these patients; each is predicted by the model of the other nine tenths (10-fold "
                "cross-fitting)."
            )
        )
    return blocks + predicted_risk_blocks(
        found.calibrations, found.brier, found.net_benefit, unit, confidence, competing=True
    )
