"""Sections on the effect of the score in subgroups and centres."""

from __future__ import annotations

import numpy as np

from qupath_hccmil.plain_words import count_of
from qupath_hccmil.survival.figures.effects import Line, effects_figure
from qupath_hccmil.survival.figures.style import Drawing
from qupath_hccmil.survival.findings import Analysis
from qupath_hccmil.survival.interval_level import interval, level
from qupath_hccmil.survival.report.blocks import Image, Images, Section, Table, Text
from qupath_hccmil.survival.report.number_format import (
    number,
    p_value,
    percent,
    span,
    whole,
    with_span,
)
from qupath_hccmil.survival.statistics.centres import Centres
from qupath_hccmil.survival.statistics.random_effects import Pooled
from qupath_hccmil.survival.statistics.subgroups import Subgroups

RATIO = "Hazard ratio of the score per SD (log scale)"
FEW_CLUSTERS = 20
LEVEL = 0.05


def subgroups_section(analysis: Analysis) -> Section | None:
    """Effect of the score in subgroups, with tests of interaction."""
    found = analysis.groups.subgroups
    if found is None:
        return None
    section = Section("subgroups", "Effect of the score in subgroups")
    confidence = analysis.settings.confidence
    named = bool(analysis.settings.subgroups)
    count = int(found.tests["p"].notna().sum())
    chosen = (
        "The subgroups are those that were named for this analysis."
        if named
        else "The subgroups are the variables of the analysis, and were not named as subgroups."
    )
    tests = "one test of interaction was" if count == 1 else f"{count} tests of interaction were"
    section.blocks += [
        Text(
            f"{chosen} {tests[0].upper()}{tests[1:]} made; if the effect of the score were the "
            f"same everywhere, {number(count * LEVEL, 2)} of them would be expected below "
            f"{LEVEL:g} by chance. The p-values are also given corrected for their number (Holm). "
            "A small p-value in one subgroup and a large one in another are not evidence of a "
            "difference; the test of interaction is."
        ),
        _subgroups_figure(found, confidence),
        _subgroups_table(found, confidence),
        _interactions(found),
    ]
    return section


def centres_section(analysis: Analysis) -> Section | None:
    """Effect of the score across centres."""
    found = analysis.groups.centres
    if found is None:
        return None
    section = Section("centres", "Centres")
    told = (
        f"Test of interaction of the score with the centre: χ² = {number(found.statistic)} on "
        f"{count_of(found.degrees_of_freedom, 'degree')} of freedom, p {_sign(found.p)}."
    )
    missing = int(analysis.cohort.frame["centre__"].isna().sum())
    if missing:
        told += f" Not in this section: {count_of(missing, 'patient')} without a centre."
    confidence = analysis.settings.confidence
    section.blocks += [
        _models(found, confidence),
        Text(told),
        _centres_figure(found, confidence),
        _by_centre(found, confidence),
    ]
    if found.pooled is not None:
        section.blocks.append(Text(pooled_told(found.pooled, np.exp, confidence)))
    section.blocks.append(_left_out(found, confidence))
    return section


def pooled_told(pooled: Pooled, scale: np.ufunc, confidence: float) -> str:
    """A sentence on a pooled estimate; ``scale`` turns it into the scale of the report."""
    told = (
        f"Pooled by random effects: {number(float(scale(pooled.estimate)))} "
        f"({span(float(scale(pooled.lower)), float(scale(pooled.upper)))}; {pooled.count} "
        f"estimates). Heterogeneity: Q = {number(pooled.q)}, p {_sign(pooled.p)}; I² = "
        f"{percent(pooled.i_squared, 0)}; τ = {number(pooled.tau, 3)}."
    )
    if np.isfinite(pooled.prediction_lower):
        low, high = float(scale(pooled.prediction_lower)), float(scale(pooled.prediction_upper))
        told += f" {level(confidence)} prediction interval for a new one: {span(low, high)}."
    return told


def _sign(p: float) -> str:
    told = p_value(p)
    return told if told.startswith("<") else f"=\u00a0{told}"


def _subgroups_figure(found: Subgroups, confidence: float) -> Images:
    tests = found.tests.set_index("variable")
    lines = []
    for name, part in found.table.groupby("variable", sort=False):
        if name:
            p = tests.loc[name, "p"]
            lines.append(Line(part["label"].iloc[0], right=p_value(p), kind="head"))
        for _, row in part.iterrows():
            lines.append(
                Line(
                    str(row["level"] or row["label"]),
                    f"{whole(row['events'])} / {whole(row['patients'])}",
                    row["hazard_ratio"],
                    row["lower"],
                    row["upper"],
                    kind="row" if name else "pooled",
                    note=row["note"],
                )
            )
    drawn = Drawing(
        effects_figure(
            lines, x=RATIO, confidence=confidence, title="Subgroup", right="p, interaction"
        )
    )
    told = "Hazard ratio of the score per SD in subgroups, with tests of interaction."
    return Images([Image("forest_subgroups", told, drawn, told)], "large")


def _subgroups_table(found: Subgroups, confidence: float) -> Table:
    rows: list[tuple[str, ...]] = []
    for name, part in found.table.groupby("variable", sort=False):
        if name:
            rows.append((str(part["label"].iloc[0]), "", "", "", ""))
        for _, row in part.iterrows():
            told = with_span(row["hazard_ratio"], row["lower"], row["upper"])
            rows.append(
                (
                    f"\u2003{row['level']}" if name else str(row["label"]),
                    whole(row["patients"]),
                    whole(row["events"]),
                    row["note"] or told,
                    p_value(row["p"]),
                )
            )
    head = ("Subgroup", "Patients", "Events", f"HR per SD ({interval(confidence)})", "p")
    caption = "Effect of the score in subgroups"
    note = "Each from its own Cox model with the score alone. Numbers are split at their median."
    return Table("subgroups", caption, head, rows, found.table, note)


def _interactions(found: Subgroups) -> Table:
    rows = [
        (
            row["label"],
            "as a number" if row["how"] == "linear" else "between its levels",
            number(row["statistic"]),
            whole(row["degrees_of_freedom"]),
            p_value(row["p"]),
            p_value(row["p_holm"]),
        )
        for _, row in found.tests.iterrows()
    ]
    head = ("Score by", "Tested", "χ²", "df", "p", "p, corrected by Holm")
    note = "Likelihood-ratio tests: one effect per level against a common one, or the product."
    caption = "Tests of interaction with the score"
    return Table("interactions", caption, head, rows, found.tests, note)


def _models(found: Centres, confidence: float) -> Table:
    rows: list[tuple[str, ...]] = []
    for adjusted, part in found.models.groupby("adjusted", sort=False):
        rows.append(("Adjusted for the variables" if adjusted else "Score alone", "", "", "", ""))
        rows += [
            (
                f"\u2003{row['model']}",
                whole(row["patients"]),
                whole(row["events"]),
                with_span(row["hazard_ratio"], row["lower"], row["upper"]),
                p_value(row["p"]),
            )
            for _, row in part.iterrows()
        ]
    count = len(found.by_centre)
    note = "Stratified: each centre has its own baseline hazard. Clustered: robust variance."
    if count < FEW_CLUSTERS:
        note += (
            f" With {count} centres the robust variance is too small; it is trustworthy with "
            f"{FEW_CLUSTERS} or more."
        )
    head = ("Model", "Patients", "Events", f"HR per SD ({interval(confidence)})", "p")
    caption = "Effect of the score with centres taken into account"
    return Table("centre_models", caption, head, rows, found.models, note)


def _centres_figure(found: Centres, confidence: float) -> Images:
    lines = [
        Line(
            str(row["centre"]),
            f"{whole(row['events'])} / {whole(row['patients'])}",
            row["hazard_ratio"],
            row["lower"],
            row["upper"],
            p_value(row["p"]),
            note=row["note"],
        )
        for _, row in found.by_centre.iterrows()
    ]
    pooled = found.pooled
    if pooled is not None:
        ends = (pooled.estimate, pooled.lower, pooled.upper)
        mean, low, high = (float(np.exp(value)) for value in ends)
        lines.append(Line("Random effects", "", mean, low, high, kind="pooled"))
    drawn = Drawing(
        effects_figure(lines, x=RATIO, confidence=confidence, title="Centre", right="p")
    )
    told = "Hazard ratio of the score per SD in each centre, pooled by random effects."
    return Images([Image("forest_centres", told, drawn, told)], "large")


def _by_centre(found: Centres, confidence: float) -> Table:
    rows = [
        (
            row["centre"],
            whole(row["patients"]),
            whole(row["events"]),
            row["note"] or with_span(row["hazard_ratio"], row["lower"], row["upper"]),
            p_value(row["p"]),
        )
        for _, row in found.by_centre.iterrows()
    ]
    head = ("Centre", "Patients", "Events", f"HR per SD ({interval(confidence)})", "p")
    return Table("effect_by_centre", "Effect of the score by centre", head, rows, found.by_centre)


def _left_out(found: Centres, confidence: float) -> Table:
    rows = [
        (
            row["centre"],
            whole(row["patients"]),
            whole(row["events"]),
            with_span(row["hazard_ratio"], row["lower"], row["upper"]),
            p_value(row["p"]),
        )
        for _, row in found.left_out.iterrows()
    ]
    head = ("Without", "Patients", "Events", f"HR per SD ({interval(confidence)})", "p")
    caption = "Effect of the score without each centre, stratified by the others"
    return Table("leave_one_centre_out", caption, head, rows, found.left_out)
