"""Sections on associations with the score: Kaplan-Meier, Cox models and their assumption."""

from __future__ import annotations

import pandas as pd

from qupath_hccmil.plain_words import count_of
from qupath_hccmil.survival.analysis_cohort import GROUP, SCORE
from qupath_hccmil.survival.figures.forest import forest_figure
from qupath_hccmil.survival.figures.performance import residuals_figure
from qupath_hccmil.survival.figures.style import Drawing, group_colours
from qupath_hccmil.survival.figures.survival_curves import kaplan_meier_figure, log_log_figure
from qupath_hccmil.survival.findings import Analysis, Stratum
from qupath_hccmil.survival.interval_level import interval
from qupath_hccmil.survival.report.blocks import Block, Image, Images, Section, Table, Text
from qupath_hccmil.survival.report.group_tests import group_test_blocks
from qupath_hccmil.survival.report.number_format import (
    NONE,
    moment,
    number,
    p_value,
    percent_span,
    time_span,
    whole,
    with_span,
)
from qupath_hccmil.survival.statistics.cox import FIRTH, CoxFit
from qupath_hccmil.survival.statistics.kaplan_meier import LogRank
from qupath_hccmil.survival.statistics.score_test import NO_COMPARISON

NOT_REACHED_TOLD = "NR: not reached."
FIRTH_TOLD = (
    "Firth's penalty was used where a category has no events; its intervals and p-values come "
    "from the profile likelihood."
)


def survival_section(analysis: Analysis) -> Section:
    """Kaplan-Meier curves: overall, by group, and within each level of each variable."""
    found, unit = analysis.survival, analysis.cohort.unit
    around = interval(analysis.settings.confidence)
    endpoint = analysis.settings.endpoint or "Free of the event"
    section = Section("survival", "Survival by risk group")
    images = [
        Image(
            "km_overall",
            f"All patients, with the {around}. Marks show censored patients.",
            Drawing(kaplan_meier_figure(found.overall, unit=unit, endpoint=endpoint)),
            "Kaplan–Meier curve of all patients",
        )
    ]
    if len(found.test.groups) > 1:
        drawn = kaplan_meier_figure(found.groups, unit=unit, endpoint=endpoint, p=found.test.p)
        told = f"By risk group, log-rank {_p(found.test)}."
        images.append(Image("km_groups", told, Drawing(drawn), f"Kaplan–Meier curves. {told}"))
    section.blocks += [Images(images, "medium"), _horizons(analysis), _medians(analysis)]
    section.blocks += group_test_blocks(found.group_tests)
    if found.strata and len(found.test.groups) > 1:
        section.blocks.append(
            Text(
                "Within each category of each prognostic variable (for these figures only, numbers "
                "are split at their median):"
            )
        )
        section.blocks += [
            _strata(analysis, endpoint),
            _strata_table(analysis),
            _stratified(analysis),
        ]
    return section


def cox_section(analysis: Analysis) -> Section:
    """Cox models, univariable and multivariable."""
    found, confidence = analysis.effects, analysis.settings.confidence
    section = Section("cox", "Cox regression")
    if analysis.cohort.folds is not None:
        section.blocks.append(
            Text(
                "The scores are out of fold: every model is stratified by fold (each fold has its "
                "own baseline hazard), and a hazard ratio of the score is per SD within its fold."
            )
        )
    if found.univariable is not None:
        section.blocks.append(_univariable(found.univariable, confidence))
        section.blocks += _forest(
            "forest_univariable", "Univariable", found.univariable, confidence
        )
    for key, title, fit in (
        ("cox_multivariable_score", "Multivariable, score per SD", found.with_score),
        ("cox_multivariable_group", "Multivariable, by risk group", found.with_group),
    ):
        if fit is not None and len(fit.variables) > 1:
            section.blocks.append(_multivariable(key, title, fit, confidence))
            section.blocks += _forest(f"forest_{key}", title, fit.table, confidence)
    if found.gain is not None:
        gain = found.gain
        section.blocks.append(
            Text(
                f"Adding the score to the clinical variables: likelihood-ratio χ² = "
                f"{number(gain.statistic)} on {count_of(gain.degrees_of_freedom, 'degree')} of "
                f"freedom, p {_sign(gain.p)}, in {gain.patients} patients "
                f"with {gain.events} events." + (f" ({gain.note})" if gain.note else "")
            )
        )
    if found.imputed is not None:
        section.blocks.append(_imputed(analysis))
    return section


def assumption_section(analysis: Analysis) -> Section:
    """Proportional hazards: test, residuals, log-log plot, and means that do not assume them."""
    found, unit = analysis.effects, analysis.cohort.unit
    section = Section("proportional", "Proportional hazards")
    if found.proportional is not None:
        section.blocks += _proportional(analysis, found.proportional)
    images = []
    if found.log_log is not None and len(found.log_log):
        images.append(
            Image(
                "log_log",
                "Parallel curves suggest proportional hazards.",
                Drawing(log_log_figure(found.log_log, unit=unit)),
                "log(−log survival) of the risk groups against time",
            )
        )
    if found.residuals is not None:
        points = found.residuals[found.residuals["variable"] == SCORE]
        if len(points):
            images.append(
                Image(
                    "schoenfeld_score",
                    "Scaled Schoenfeld residuals of the score (per SD) with a running mean, "
                    "which is flat where the effect of the score does not change.",
                    Drawing(residuals_figure(points, title="Risk score", unit=unit)),
                    "Scaled Schoenfeld residuals of the score over time",
                )
            )
    if images:
        section.blocks.append(Images(images, "medium"))
    if found.restricted is not None:
        section.blocks += _restricted(analysis)
    return section


def title_of(analysis: Analysis, name: str) -> str:
    """Title of a column in the report."""
    known = {variable.name: variable.title for variable in analysis.cohort.variables}
    return {SCORE: "Risk score", GROUP: "Risk group", "GLOBAL": "All together", **known}.get(
        name, name
    )


def _p(test: LogRank) -> str:
    return f"p {_sign(test.p)}" if not test.note else f"not defined ({test.note})"


def _sign(p: float) -> str:
    told = p_value(p)
    return told if told.startswith("<") else f"=\u00a0{told}"


def _horizons(analysis: Analysis) -> Table:
    data, unit = analysis.survival.horizons, analysis.cohort.unit
    rows: list[tuple[str, ...]] = [
        (
            row["group"],
            f"{row['time']:g}",
            whole(row["at_risk"]),
            percent_span(row["survival"], row["lower"], row["upper"]),
            row["note"],
        )
        for _, row in data.iterrows()
    ]
    around = interval(analysis.settings.confidence)
    head = ["Group", f"Time ({unit})", "At risk", f"Survival ({around})", ""]
    if not data["note"].any():
        rows, head = [row[:-1] for row in rows], head[:-1]
    return Table("survival_at_horizons", "Survival at horizons", head, rows, data)


def _medians(analysis: Analysis) -> Table:
    data, unit = analysis.survival.medians, analysis.cohort.unit
    around = interval(analysis.settings.confidence)
    rows = [
        (
            row["group"],
            whole(row["patients"]),
            whole(row["events"]),
            time_span(row["median"], row["lower"], row["upper"]),
        )
        for _, row in data.iterrows()
    ]
    test = analysis.survival.test
    degrees = count_of(test.degrees_of_freedom, "degree")
    note = ""
    if not test.note:
        note = f"Log-rank χ² = {number(test.statistic)} on {degrees} of freedom, {_p(test)}. "
    elif len(test.groups) > 1:
        note = f"The log-rank test is {_p(test)}. "
    note = f"{note}{NOT_REACHED_TOLD}" if any("NR" in row[-1] for row in rows) else note.strip()
    head = ("Group", "Patients", "Events", f"Median in {unit} ({around})")
    return Table("medians", "Median survival", head, rows, data, note=note)


def _strata(analysis: Analysis, endpoint: str) -> Images:
    found, unit = analysis.survival, analysis.cohort.unit
    last = float(found.overall["time"].max())
    names = [str(name) for name in analysis.cohort.frame[GROUP].cat.categories]
    palette = dict(zip(names, group_colours(len(names)), strict=True))
    images = []
    for index, stratum in enumerate(found.strata):
        present = list(dict.fromkeys(stratum.curves["group"]))
        drawn = kaplan_meier_figure(
            stratum.curves,
            unit=unit,
            endpoint=endpoint,
            p=stratum.test.p,
            title=f"{stratum.variable}: {stratum.level}",
            until=last,
            colours=[palette[name] for name in present],
            width=4.2,
        )
        told = _stratum_told(stratum)
        images.append(Image(f"km_stratum_{index + 1}", told, Drawing(drawn), told))
    return Images(images, "small")


def _strata_table(analysis: Analysis) -> Table:
    unit = analysis.cohort.unit
    rows: list[tuple[str, ...]] = []
    parts = []
    width = 4 + len(analysis.horizons)
    around = interval(analysis.settings.confidence)
    for stratum in analysis.survival.strata:
        head = f"{stratum.variable}: {stratum.level} (log-rank {_p(stratum.test)})"
        rows.append((head, *[""] * (width - 1)))
        for _, row in stratum.medians.iterrows():
            at = stratum.horizons[stratum.horizons["group"] == row["group"]]
            survival = [percent_span(*one) for one in at[["survival", "lower", "upper"]].to_numpy()]
            told = time_span(row["median"], row["lower"], row["upper"])
            counts = (whole(row["patients"]), whole(row["events"]))
            rows.append((f"\u2003{row['group']}", *counts, told, *survival))
        wide = stratum.horizons.pivot(index="group", columns="time", values="survival")
        wide.columns = [f"survival_at_{time:g}" for time in wide.columns]
        table = stratum.medians.merge(wide, left_on="group", right_index=True)
        parts.append(
            table.assign(variable=stratum.variable, level=stratum.level, log_rank_p=stratum.test.p)
        )
    head_row = ("", "Patients", "Events", f"Median in {unit}")
    horizons = [f"At {moment(horizon, unit)}" for horizon in analysis.horizons]
    return Table(
        "survival_in_strata",
        f"Survival by risk group within each stratum, with {around}s",
        (*head_row, *horizons),
        rows,
        pd.concat(parts, ignore_index=True),
        NOT_REACHED_TOLD if any("NR" in row[3] for row in rows) else "",
    )


def _stratum_told(stratum: Stratum) -> str:
    return (
        f"{stratum.variable}: {stratum.level}. {stratum.patients} patients, {stratum.events} "
        f"events; log-rank {_p(stratum.test)}."
    )


def _stratified(analysis: Analysis) -> Table:
    data = analysis.survival.stratified
    rows = [
        (
            row["label"],
            number(row["statistic"]),
            whole(row["degrees_of_freedom"]),
            p_value(row["p"]),
        )
        for _, row in data.iterrows()
    ]
    head = ("Stratified by", "χ²", "df", "p")
    caption = "Log-rank tests of the risk groups, stratified by each variable"
    note = "" if data["p"].notna().all() else f"A test without a result: {NO_COMPARISON}."
    return Table("log_rank_stratified", caption, head, rows, data, note)


def _level_rows(data: pd.DataFrame, counts: bool = True) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    width = 6 if counts else 4
    for _, part in data.groupby("variable", sort=False):
        first = part.iloc[0]
        single = not first["level"]
        if not single:
            rows.append((str(first["label"]), *[""] * (width - 1)))
        for _, row in part.iterrows():
            name = f"{row['label']}, {row['step']}" if single else f"\u2003{row['level']}"
            size = (whole(row["patients"]), whole(row["events"])) if counts else ()
            rows.append((name, *size, *_effect(row, with_z=True)))
    return rows


def _effect(row: pd.Series, *, with_z: bool) -> tuple[str, ...]:
    if row["reference"]:
        return ("1 (reference)", *([NONE] if with_z else []), NONE)
    told = with_span(row["hazard_ratio"], row["lower"], row["upper"])
    statistic = row["z"] if "z" in row.index else row["t"]
    return (told, *([number(statistic)] if with_z else []), p_value(row["p"]))


def _univariable(data: pd.DataFrame, confidence: float) -> Table:
    note = "Each variable alone, in the patients with a value. Ties handled by Efron's method."
    if (data["method"] == FIRTH).any():
        note += f" {FIRTH_TOLD}"
    head = ("Variable", "Patients", "Events", f"HR ({interval(confidence)})", "z", "p")
    return Table("cox_univariable", "Univariable Cox models", head, _level_rows(data), data, note)


def _multivariable(key: str, title: str, fit: CoxFit, confidence: float) -> Table:
    note = f"One model: {fit.patients} patients, {fit.events} events"
    note += f"; {fit.left_out} patients lack a value." if fit.left_out else "."
    if fit.method == FIRTH:
        note += f" {FIRTH_TOLD}"
    head = ("Variable", "Patients", "Events", f"HR ({interval(confidence)})", "z", "p")
    return Table(key, f"{title}: Cox model", head, _level_rows(fit.table), fit.table, note)


def _forest(key: str, title: str, data: pd.DataFrame, confidence: float) -> list[Block]:
    drawn = Drawing(forest_figure(data, title=title, confidence=confidence))
    return [Images([Image(key, f"Forest plot: {title.lower()}.", drawn, f"Forest plot, {title}")],
                   "large")]  # fmt: skip


def _imputed(analysis: Analysis) -> Table:
    found = analysis.effects.imputed
    assert found is not None
    note = (
        f"{found.imputations} tables imputed by chained equations with predictive mean matching "
        "(event and cumulative hazard among the predictors), pooled by Rubin's rules; "
        f"{found.patients} patients, {found.events} events. z is the t statistic."
    )
    rows = _level_rows(found.table, counts=False)
    head = ("Variable", f"HR ({interval(analysis.settings.confidence)})", "t", "p")
    caption = "Multivariable Cox model after multiple imputation"
    return Table("cox_imputed", caption, head, rows, found.table, note.replace(" z is", " t is"))


def _proportional(analysis: Analysis, data: pd.DataFrame) -> list[Block]:
    rows = [
        (
            title_of(analysis, row["variable"]),
            number(row["statistic"]),
            whole(row["degrees_of_freedom"]),
            p_value(row["p"]),
        )
        for _, row in data.iterrows()
    ]
    note = (
        "Score test on Schoenfeld residuals with the Kaplan–Meier transform of time (cox.zph of "
        "R), in the multivariable model with the score. A small p is evidence against proportional "
        "hazards."
    )
    head = ("Variable", "χ²", "df", "p")
    caption = "Test of proportional hazards"
    blocks: list[Block] = [Table("proportional_hazards", caption, head, rows, data, note)]
    broken = [title_of(analysis, row["variable"]) for _, row in data.iterrows() if row["p"] < 0.05]
    if broken:
        blocks.append(
            Text(
                f"Evidence against proportional hazards (p < 0.05) for: {', '.join(broken)}. "
                "Interpret the hazard "
                "ratio as an average over follow-up, and see the restricted means below.",
                "warning",
            )
        )
    return blocks


def _restricted(analysis: Analysis) -> list[Block]:
    found, unit = analysis.effects.restricted, analysis.cohort.unit
    assert found is not None
    tau = found.means["tau"].iloc[0]
    around = interval(analysis.settings.confidence)
    means = [
        (row["group"], whole(row["patients"]), with_span(row["rmst"], row["lower"], row["upper"]))
        for _, row in found.means.iterrows()
    ]
    head = ("Group", "Patients", f"Mean in {unit} ({around})")
    caption = f"Restricted mean survival up to {moment(tau, unit)}"
    blocks: list[Block] = [Table("restricted_means", caption, head, means, found.means)]
    gaps = [
        (
            f"{row['group']} − {row['reference'][0].lower()}{row['reference'][1:]}",
            with_span(row["difference"], row["lower"], row["upper"]),
            p_value(row["p"]),
        )
        for _, row in found.differences.iterrows()
    ]
    if gaps:
        head = ("Groups", f"Difference in {unit} ({around})", "p")
        blocks.append(
            Table(
                "restricted_mean_differences",
                "Difference of restricted means, without assuming proportional hazards",
                head,
                gaps,
                found.differences,
            )
        )
    return blocks
