"""Sections on the performance of the score: AUC, C, calibration, Brier, decision curve, tiles."""

from __future__ import annotations

import pandas as pd

from qupath_hccmil.survival.figures.performance import (
    auc_figure,
    calibration_figure,
    decision_figure,
)
from qupath_hccmil.survival.figures.style import svg
from qupath_hccmil.survival.figures.survival_curves import incidence_figure
from qupath_hccmil.survival.findings import SCORE_NAME, Analysis
from qupath_hccmil.survival.report.blocks import Block, Image, Images, Section, Table, Text
from qupath_hccmil.survival.report.number_format import (
    moment,
    number,
    p_value,
    percent_span,
    significant,
    whole,
    with_span,
)
from qupath_hccmil.survival.statistics.discrimination import HARRELL


def auc_section(analysis: Analysis) -> Section:
    """AUC over time of the score and of every other factor."""
    found, unit = analysis.performance, analysis.cohort.unit
    section = Section("auc", "AUC over time")
    if found.auc_curve is None or found.auc is None:
        return section
    section.blocks.append(
        Text(
            "Cumulative cases against dynamic controls, weighted by the inverse probability of "
            "being uncensored. The score is used as it is. A factor is represented by the linear "
            "predictor of its Cox model on these patients, which slightly favours the factor."
        )
    )
    drawn = svg(auc_figure(found.auc_curve, unit=unit))
    told = (
        f"AUC(t). Around “{SCORE_NAME}”: pointwise 95 % interval (dark) and simultaneous 95 % band "
        "(light)."
    )
    section.blocks.append(Images([Image("auc", told, drawn, told)], "large"))
    rows = [
        (
            row["marker"],
            f"{row['time']:g}",
            whole(row["patients"]),
            whole(row["cases"]),
            whole(row["controls"]),
            with_span(row["auc"], row["lower"], row["upper"], 3)
            if not row["note"]
            else row["note"],
        )
        for _, row in found.auc.iterrows()
    ]
    head = ("Marker", f"Time ({unit})", "Patients", "Cases", "Controls", "AUC (95 % interval)")
    section.blocks.append(Table("auc", "AUC at horizons", head, rows, found.auc))
    if found.auc_differences is not None:
        section.blocks.append(_auc_differences(found.auc_differences, unit))
    return section


def discrimination_section(analysis: Analysis) -> Section:
    """Harrell's and Uno's C."""
    section = Section("discrimination", "Discrimination")
    found, unit = analysis.performance.discrimination, analysis.cohort.unit
    if found is None:
        return section
    table = found.table
    alone = analysis.performance.score_alone
    if alone is not None and (alone.table["patients"].iloc[0] != table["patients"].iloc[0]):
        everybody = alone.table.assign(model=alone.table["model"] + " (everybody)")
        table = pd.concat([everybody, table], ignore_index=True)
    tau = table["tau"].max()
    rows = [
        (
            row["model"],
            row["statistic"] if row["statistic"] == HARRELL else f"{row['statistic']} to {tau:g}",
            whole(row["patients"]),
            number(row["apparent"], 3),
            number(row["optimism"], 3),
            with_span(row["estimate"], row["lower"], row["upper"], 3),
        )
        for _, row in table.iterrows()
    ]
    how = (
        f"Percentile intervals from {found.repeats} bootstrap samples of patients, in each of "
        "which the models were fitted again; the optimism of a fitted model is subtracted."
        if found.repeats
        else "No bootstrap was requested, so there are no intervals and no correction for optimism."
    )
    compared = whole(found.table["patients"].iloc[0])
    note = f"Models are compared on the {compared} patients who have every variable. {how}"
    head = ("Model", f"C ({unit})", "Patients", "Apparent", "Optimism", "Corrected (95 % interval)")
    section.blocks.append(Table("concordance", "Concordance", head, rows, table, note))
    if len(found.differences):
        gaps = [
            (
                row["comparison"],
                row["statistic"],
                with_span(row["difference"], row["lower"], row["upper"], 3),
            )
            for _, row in found.differences.iterrows()
        ]
        names = ("Models", "C", "Difference (95 % interval)")
        caption = "Differences in concordance, in the same patients"
        section.blocks.append(
            Table("concordance_differences", caption, names, gaps, found.differences)
        )
    return section


def calibration_section(analysis: Analysis) -> Section:
    """Calibration, Brier score and decision curve."""
    found, unit = analysis.performance, analysis.cohort.unit
    section = Section("calibration", "Predicted risk: calibration, accuracy and usefulness")
    section.blocks.append(
        Text(
            "The score is not a probability of survival. It was turned into one by "
            f"{found.baseline_told}. This section is about that prediction, not about the score "
            "itself."
        )
    )
    if not analysis.settings.baseline:
        section.blocks.append(
            Text(
                "Because the baseline comes from the same cohort, this is internal validation. "
                "To assess calibration elsewhere, give the baseline.json of this analysis to the "
                "analysis of another cohort, with --baseline.",
                "note",
            )
        )
    if found.calibrations:
        section.blocks += _calibrations(analysis)
    if found.brier is not None:
        section.blocks.append(_brier(analysis))
    if found.net_benefit is not None:
        images = []
        for horizon in found.net_benefit["horizon"].unique().tolist():
            part = found.net_benefit[found.net_benefit["horizon"] == horizon]
            title = f"At {moment(horizon, unit)}"
            images.append(
                Image(
                    f"decision_curve_{horizon:g}",
                    f"Decision curve, {title[0].lower()}{title[1:]}.",
                    svg(decision_figure(part, title=title)),
                    f"Net benefit against threshold, {title.lower()}",
                )
            )
        section.blocks.append(Images(images, "small"))
    return section


def competing_section(analysis: Analysis) -> Section | None:
    """Cumulative incidence and cause-specific hazards, if events compete."""
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
    images = []
    for index, (cause, part) in enumerate(found.incidence.groupby("cause", sort=False), start=1):
        groups = part[part["group"] != "All patients"]
        drawn = incidence_figure(groups, unit=unit, title=str(cause))
        told = f"Cumulative incidence of {cause} by risk group (Aalen–Johansen)."
        images.append(Image(f"cumulative_incidence_{index}", told, svg(drawn), told))
    section.blocks.append(Images(images, "medium"))
    rows = [
        (
            row["cause"],
            row["group"],
            f"{row['time']:g}",
            whole(row["at_risk"]),
            percent_span(row["incidence"], row["lower"], row["upper"]),
        )
        for _, row in found.horizons.iterrows()
    ]
    head = ("Cause", "Group", f"Time ({unit})", "At risk", "Incidence (95 % interval)")
    caption = "Cumulative incidence at horizons"
    section.blocks.append(Table("cumulative_incidence", caption, head, rows, found.horizons))
    if found.hazards is not None:
        section.blocks.append(_cause_specific(found.hazards))
    return section


def tiles_section(analysis: Analysis) -> Section | None:
    """Features of tiles of interest, compared by 2×2 tests."""
    data = analysis.tiles
    if data is None:
        return None
    section = Section("tiles", "Tiles of interest")
    section.blocks.append(tiles_table(data))
    return section


def tiles_table(data: pd.DataFrame) -> Table:
    """Show a table from ``tiles_of_interest.compare_counts``."""
    rows = [
        (
            row["feature"],
            f"{whole(row['high'])} / {whole(row['high_total'])}",
            f"{whole(row['low'])} / {whole(row['low_total'])}",
            with_span(row["odds_ratio"], row["lower"], row["upper"]),
            significant(row["fisher_p"], 2)
            if row["fisher_p"] < 0.001
            else p_value(row["fisher_p"]),
            p_value(row["chi_square_p"]),
            p_value(row["yates_p"]),
        )
        for _, row in data.iterrows()
    ]
    head = (
        "Feature", "High-risk tiles", "Low-risk tiles", "Odds ratio (95 % interval)", "Fisher p",
        "χ² p", "Yates p",
    )  # fmt: skip
    note = (
        "Conditional odds ratio with exact interval. Tiles of one patient are alike, but these "
        "tests count each as independent, so the p-values are too small."
    )
    return Table(
        "tiles_of_interest", "Features of high- and low-risk tiles", head, rows, data, note
    )


def _auc_differences(data: pd.DataFrame, unit: str) -> Table:
    rows = [
        (
            row["marker"],
            f"{row['time']:g}",
            whole(row["patients"]),
            number(row["score_auc"], 3),
            with_span(row["difference"], row["lower"], row["upper"], 3),
            p_value(row["p"]),
        )
        for _, row in data.iterrows()
    ]
    head = (
        "Against", f"Time ({unit})", "Patients", "AUC of the score", "Difference (95 % interval)",
        "p",
    )  # fmt: skip
    caption = "AUC of the score minus that of each factor, in the patients who have both"
    return Table("auc_differences", caption, head, rows, data)


def _calibrations(analysis: Analysis) -> list[Block]:
    found, unit = analysis.performance, analysis.cohort.unit
    data = pd.concat(
        [one.summary.assign(horizon=one.horizon) for one in found.calibrations], ignore_index=True
    )
    quantities = list(dict.fromkeys(data["quantity"]))
    horizons = [one.horizon for one in found.calibrations]
    rows = []
    for quantity in quantities:
        cells = []
        for horizon in horizons:
            row = data[(data["quantity"] == quantity) & (data["horizon"] == horizon)].iloc[0]
            cells.append(with_span(row["estimate"], row["lower"], row["upper"], 3))
        rows.append((quantity, *cells))
    note = (
        "Observed/expected and slope are 1, and ICI, E50, E90 and Emax (mean, median, 90th "
        "percentile and largest difference between predicted and smoothed observed risk) are 0 "
        "when calibration is perfect."
    )
    head = ("", *(f"At {moment(horizon, unit)}" for horizon in horizons))
    blocks: list[Block] = [Table("calibration", "Calibration", head, rows, data, note)]
    images = []
    for one in found.calibrations:
        title = f"At {moment(one.horizon, unit)}"
        told = (
            f"Calibration {title[0].lower()}{title[1:]}: smoothed curve and fifths of patients, "
            "with 95 % intervals."
        )
        drawn = calibration_figure(one.curve, one.groups, one.risks, title=title)
        images.append(Image(f"calibration_{one.horizon:g}", told, svg(drawn), told))
    blocks.append(Images(images, "small"))
    return blocks


def _brier(analysis: Analysis) -> Table:
    found, unit = analysis.performance.brier, analysis.cohort.unit
    assert found is not None
    rows = [
        (
            f"{moment(row['time'], unit)}",
            with_span(row["brier"], row["lower"], row["upper"], 3),
            number(row["null"], 3),
            with_span(row["scaled"], row["scaled_lower"], row["scaled_upper"], 3),
        )
        for _, row in found.table.iterrows()
    ]
    data = found.table
    if found.integrated:
        whole_span = found.integrated
        rows.append(
            (
                f"integrated, {number(whole_span['from'])} to {number(whole_span['to'])} {unit}",
                number(whole_span["brier"], 3),
                number(whole_span["null"], 3),
                number(whole_span["scaled"], 3),
            )
        )
        extra = {key: whole_span[key] for key in ("brier", "null", "scaled")}
        data = pd.concat([data, pd.DataFrame([{"time": "integrated", **extra}])], ignore_index=True)
    note = (
        "The null model gives everybody the Kaplan–Meier estimate. Scaled is 1 − Brier / null, the "
        "share of the error that the score removes."
    )
    head = ("At", "Brier (95 % interval)", "Null model", "Scaled (95 % interval)")
    return Table("brier", "Brier score", head, rows, data, note)


def _cause_specific(data: pd.DataFrame) -> Table:
    rows = []
    for cause, part in data.groupby("cause", sort=False):
        rows.append((str(cause), "", "", ""))
        for _, row in part.iterrows():
            name = f"\u2003{row['label']}, {row['level'] or row['step']}"
            told = (
                "1 (reference)"
                if row["reference"]
                else with_span(row["hazard_ratio"], row["lower"], row["upper"])
            )
            rows.append((name, whole(row["events"]), told, p_value(row["p"])))
    head = ("Cause", "Events", "HR (95 % interval)", "p")
    caption = "Cause-specific Cox models, univariable"
    return Table("cause_specific", caption, head, rows, data)
