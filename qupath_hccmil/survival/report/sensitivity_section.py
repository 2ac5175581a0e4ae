"""The section of sensitivity analyses."""

from __future__ import annotations

import pandas as pd

from qupath_hccmil.survival.figures.performance import hazard_curve_figure
from qupath_hccmil.survival.figures.style import Drawing
from qupath_hccmil.survival.findings import IMPUTED, Analysis
from qupath_hccmil.survival.interval_level import interval
from qupath_hccmil.survival.report.blocks import Image, Images, Section, Table, Text
from qupath_hccmil.survival.report.cohort_section import fold_told
from qupath_hccmil.survival.report.number_format import number, p_value, whole, with_span

LISTED = 5


def sensitivity_section(analysis: Analysis) -> Section:
    """Show the effect of the score under other choices."""
    found, confidence = analysis.sensitivity, analysis.settings.confidence
    section = Section("sensitivity", "Sensitivity analyses")
    if found.effects is not None and len(found.effects):
        section.blocks.append(
            _effects(found.effects, confidence, analysis.cohort.folds is not None)
        )
    if found.nonlinearity is not None and len(found.nonlinearity):
        section.blocks.append(_nonlinearity(found.nonlinearity))
        bent = found.nonlinearity.loc[found.nonlinearity["p"] < 0.05, "label"]
        if len(bent):
            section.blocks.append(
                Text(
                    f"The log hazard is not a straight line in: {', '.join(bent)}. One hazard "
                    "ratio per step does not describe it.",
                    "warning",
                )
            )
    if found.curve is not None:
        told = (
            f"Hazard ratio along the score{fold_told(analysis)}, against its median: restricted "
            "cubic spline with three "
            f"knots, pointwise {interval(confidence)}."
        )
        drawn = Drawing(hazard_curve_figure(found.curve, title="Risk score"))
        section.blocks.append(Images([Image("score_curve", told, drawn, told)], "medium"))
    if found.influence is not None and len(found.influence):
        section.blocks.append(_influence(analysis, found.influence))
    return section


def _effects(data: pd.DataFrame, confidence: float, out_of_fold: bool) -> Table:
    head = ("", "Patients", "Events", f"HR per SD ({interval(confidence)})", "p")
    rows: list[tuple[str, ...]] = []
    for name, part in data.groupby("analysis", sort=False):
        rows.append((str(name), *[""] * (len(head) - 1)))
        for _, row in part.iterrows():
            rows.append(
                (
                    f"\u2003{row['model']}",
                    whole(row["patients"]),
                    whole(row["events"]),
                    with_span(row["hazard_ratio"], row["lower"], row["upper"]),
                    p_value(row["p"]),
                )
            )
    note = (
        f"The SD is that of all patients{' of the fold' if out_of_fold else ''}. Landmark: "
        "patients who are still followed without an event then, from that time on. The most "
        "influential patients are those who change the coefficient of the score most in the model "
        "with all variables."
    )
    if (data["analysis"] == IMPUTED).any():
        note += " Imputed tables are pooled by Rubin's rules."
    return Table("sensitivity", "Effect of the score under other choices", head, rows, data, note)


def _nonlinearity(data: pd.DataFrame) -> Table:
    rows = [
        (
            row["label"],
            number(row["statistic"]),
            whole(row["degrees_of_freedom"]),
            p_value(row["p"]),
        )
        for _, row in data.iterrows()
    ]
    note = (
        "Likelihood-ratio test of a restricted cubic spline with three knots (10th, 50th and 90th "
        "percentiles) against the straight line, in the model with all variables."
    )
    head = ("Variable", "χ²", "df", "p")
    return Table("nonlinearity", "Test of linearity", head, rows, data, note)


def _influence(analysis: Analysis, data: pd.DataFrame) -> Table:
    unit = analysis.cohort.unit
    rows = [
        (
            str(row["patient"]),
            number(row["time"]),
            "yes" if row["event"] else "no",
            number(row["score"], 3),
            number(row["change"], 3),
            number(row["in_standard_errors"]),
        )
        for _, row in data.head(LISTED).iterrows()
    ]
    note = (
        "Change of the score's coefficient (log hazard ratio per SD) by the patient (dfbeta); all "
        "patients are in the CSV file."
    )
    head = ("Patient", f"Time ({unit})", "Event", "Score", "Change", "In standard errors")
    return Table("influence", "Most influential patients", head, rows, data, note)
