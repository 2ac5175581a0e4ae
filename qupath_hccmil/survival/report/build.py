"""Put the report together from an analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial

from qupath_hccmil import __version__
from qupath_hccmil.survival.attempt import attempt
from qupath_hccmil.survival.findings import SCORE_NAME, Analysis
from qupath_hccmil.survival.report.blocks import Fact, Report, Section, Text
from qupath_hccmil.survival.report.closing_section import (
    checklist_sections,
    limits_section,
    methods_section,
    provenance_section,
)
from qupath_hccmil.survival.report.cohort_section import cohort_section, groups_section
from qupath_hccmil.survival.report.cohorts_section import cohorts_section
from qupath_hccmil.survival.report.competing_section import competing_section
from qupath_hccmil.survival.report.effect_section import (
    assumption_section,
    cox_section,
    survival_section,
)
from qupath_hccmil.survival.report.groups_section import centres_section, subgroups_section
from qupath_hccmil.survival.report.number_format import (
    NOT_REACHED,
    moment,
    number,
    p_value,
    span,
    whole,
)
from qupath_hccmil.survival.report.out_of_fold_sections import (
    folds_section,
    within_folds_section,
)
from qupath_hccmil.survival.report.performance_section import (
    auc_section,
    calibration_section,
    discrimination_section,
    tiles_section,
)
from qupath_hccmil.survival.report.sensitivity_section import sensitivity_section
from qupath_hccmil.survival.statistics.discrimination import SCORE, UNO

RESEARCH = "For research use only: not a medical device, not for decisions about patients."


def build_report(analysis: Analysis) -> Report:
    """Make every section; empty sections are left out, and failures are listed as problems."""
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    analysis = replace(analysis, problems=list(analysis.problems))
    # the closing sections list what the others could not do
    sections = [_attempted(analysis, title, make) for title, make in _SECTIONS]
    found = _found(analysis, [section for section in sections if section is not None])
    sections += [
        limits_section(analysis),
        methods_section(),
        provenance_section(analysis, when),
    ]
    shown = [section for section in sections if section is not None and section.blocks]
    shown += checklist_sections(analysis, shown)
    cohort, settings = analysis.cohort, analysis.settings
    subtitle = f"{len(cohort.frame)} patients, {int(cohort.frame['event'].sum())} events"
    if settings.endpoint:
        subtitle = f"{settings.endpoint}: {subtitle}"
    return Report(
        settings.title,
        subtitle,
        attempt(analysis.problems, "Key figures", partial(_facts, analysis)) or [],
        [
            *found,
            *analysis.cohort.notes,
            *(f"{part}: {reason}." for part, reason in analysis.problems),
        ],
        found,
        shown,
        [RESEARCH, f"Made by qupath-hccmil {__version__}, {when}."],
    )


_SECTIONS: tuple[tuple[str, Callable[[Analysis], Section | None]], ...] = (
    ("Patients and endpoint", cohort_section),
    ("Scores out of fold", folds_section),
    ("Risk groups", groups_section),
    ("Survival", survival_section),
    ("Cox models", cox_section),
    ("Proportional hazards", assumption_section),
    ("Subgroups", subgroups_section),
    ("Centres", centres_section),
    ("Sensitivity", sensitivity_section),
    ("AUC over time", auc_section),
    ("Discrimination", discrimination_section),
    ("Discrimination within folds", within_folds_section),
    ("Calibration", calibration_section),
    ("Competing events", competing_section),
    ("External validation", cohorts_section),
    ("Tiles of interest", tiles_section),
)


def _attempted(
    analysis: Analysis, title: str, make: Callable[[Analysis], Section | None]
) -> Section | None:
    return attempt(analysis.problems, f"Section “{title}”", partial(make, analysis))


def is_reversed(analysis: Analysis) -> str:
    """Warn if a high score goes with a low risk; empty otherwise."""
    table = analysis.effects.univariable
    if table is None:
        return ""
    row = table[table["label"] == SCORE_NAME]
    if not len(row) or not float(row["hazard_ratio"].iloc[0]) < 1:
        return ""
    ratio, low, high = (float(row[name].iloc[0]) for name in ("hazard_ratio", "lower", "upper"))
    told = (
        "A higher score goes with a lower risk in these patients (hazard ratio "
        f"{number(ratio)} per SD, {span(low, high)})"
    )
    if high < 1:
        return (
            f"{told}: the score may be reversed, or it does not work here. “High risk” means the "
            "group with high scores, not that its patients did worse."
        )
    return f"{told}, which may be due to chance alone."


def _found(analysis: Analysis, sections: list[Section]) -> list[str]:
    """What the results warn of: a reversed score, and the warnings of every section."""
    reversed_ = is_reversed(analysis)
    return [
        *([reversed_] if reversed_ else []),
        *(
            f"{section.title}: {block.text}"
            for section in sections
            for block in section.blocks
            if isinstance(block, Text) and block.kind == "warning"
        ),
    ]


def _facts(analysis: Analysis) -> list[Fact]:
    follow, unit = analysis.survival.follow_up, analysis.cohort.unit
    facts = [
        Fact(
            "Median follow-up",
            f"{number(follow['median'], 1)} {unit}".replace("∞", NOT_REACHED),
            span(follow["lower"], follow["upper"], 1).replace("∞", NOT_REACHED),
        )
    ]
    table = analysis.effects.univariable
    if table is not None:
        for label, title in (
            ("Risk group", "HR, high v. low score"),
            (SCORE_NAME, "HR per SD"),
        ):
            rows = table[(table["label"] == label) & ~table["reference"]]
            if len(rows) == 1:
                row = rows.iloc[0]
                told = p_value(row["p"])
                detail = (
                    f"{span(row['lower'], row['upper'])}; p {told if '<' in told else '= ' + told}"
                )
                facts.append(Fact(title, number(row["hazard_ratio"]), detail))
    # Over all patients, like the AUC below it.
    found = analysis.performance.score_alone
    if found is not None:
        rows = found.table[found.table["model"] == SCORE]
        row = rows[rows["statistic"] == UNO].iloc[0]
        facts.append(
            Fact(
                f"Uno's C to {moment(row['tau'], unit)}",
                number(row["estimate"], 3),
                f"{span(row['lower'], row['upper'], 3)}; {whole(row['patients'])} patients",
            )
        )
    within = analysis.performance.within_folds
    if within is not None:
        row = within.table.iloc[0]
        facts.append(
            Fact(
                "C-index within folds",
                number(row["estimate"], 3),
                f"{span(row['lower'], row['upper'], 3)}; {whole(row['patients'])} patients",
            )
        )
    if analysis.performance.auc is not None:
        rows = analysis.performance.auc[analysis.performance.auc["marker"] == SCORE_NAME]
        row = rows.iloc[len(rows) // 2]
        facts.append(
            Fact(
                f"AUC at {moment(row['time'], unit)}",
                number(row["auc"], 3),
                f"{row['note'] or span(row['lower'], row['upper'], 3)}; "
                f"{whole(row['patients'])} patients",
            )
        )
    return facts
