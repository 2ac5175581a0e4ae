"""Sections on the performance of the score: AUC, C, calibration, Brier, decision curve, tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from qupath_hccmil.survival.figures.performance import (
    auc_figure,
    calibration_figure,
    decision_figure,
)
from qupath_hccmil.survival.figures.style import Drawing
from qupath_hccmil.survival.findings import SCORE_NAME, Analysis
from qupath_hccmil.survival.interval_level import interval, level
from qupath_hccmil.survival.report.blocks import Block, Image, Images, Section, Table, Text
from qupath_hccmil.survival.report.number_format import (
    moment,
    number,
    p_value,
    significant,
    whole,
    with_span,
)
from qupath_hccmil.survival.statistics.brier import Brier
from qupath_hccmil.survival.statistics.discrimination import HARRELL
from qupath_hccmil.survival.statistics.horizon_calibration import Calibration


def auc_section(analysis: Analysis) -> Section:
    """AUC over time of the score and of every other factor."""
    found, unit = analysis.performance, analysis.cohort.unit
    section = Section("auc", "AUC over time")
    confidence = analysis.settings.confidence
    if found.auc_curve is None or found.auc is None:
        return section
    section.blocks.append(
        Text(
            "Cumulative cases against dynamic controls, weighted by the inverse probability of "
            "being uncensored. The score is used as it is. A factor is represented by the linear "
            "predictor of its Cox model on these patients, which slightly favours the factor."
        )
    )
    drawn = Drawing(auc_figure(found.auc_curve, unit=unit))
    told = (
        f"AUC(t). Around “{SCORE_NAME}”: pointwise {interval(confidence)} (dark) and simultaneous "
        f"{level(confidence)} band (light)."
    )
    section.blocks.append(Images([Image("auc", told, drawn, told)], "large"))
    section.blocks.append(auc_table("auc", "AUC at horizons", found.auc, unit, confidence))
    if found.auc_differences is not None:
        section.blocks.append(_auc_differences(found.auc_differences, unit, confidence))
    return section


def auc_table(key: str, caption: str, data: pd.DataFrame, unit: str, confidence: float) -> Table:
    """Show ``TimeAuc.table`` with a column ``patients``."""
    rows = [
        (
            row["marker"],
            f"{row['time']:g}",
            whole(row["patients"]),
            whole(row["cases"]),
            whole(row["controls"]),
            _auc_with_interval(row),
        )
        for _, row in data.iterrows()
    ]
    around = f"AUC ({interval(confidence)})"
    head = ("Marker", f"Time ({unit})", "Patients", "Cases", "Controls", around)
    return Table(key, caption, head, rows, data)


def _auc_with_interval(row: pd.Series) -> str:
    """AUC with its interval, or why there is none of them."""
    if pd.isna(row["auc"]):
        return str(row["note"])
    told = with_span(row["auc"], row["lower"], row["upper"], 3)
    return f"{told} ({row['note']})" if row["note"] else told


def without_interval(differences: pd.DataFrame) -> str:
    """Say of differences that some have no interval, if so."""
    if not (differences["se"] == 0).any():
        return ""
    return "A difference with a standard error of 0 has neither an interval nor a p-value."


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
    around = interval(analysis.settings.confidence)
    corrected = f"Corrected ({around})"
    head = ("Model", f"C ({unit})", "Patients", "Apparent", "Optimism", corrected)
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
        names = ("Models", "C", f"Difference ({around})")
        caption = "Differences in concordance, in the same patients"
        section.blocks.append(
            Table("concordance_differences", caption, names, gaps, found.differences)
        )
    return section


def calibration_section(analysis: Analysis) -> Section:
    """Calibration, Brier score and decision curve."""
    found, unit = analysis.performance, analysis.cohort.unit
    section = Section("calibration", "Predicted risk: calibration, accuracy and usefulness")
    if not found.baseline_told:
        return section
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
    section.blocks += predicted_risk_blocks(
        found.calibrations, found.brier, found.net_benefit, unit, analysis.settings.confidence
    )
    return section


def predicted_risk_blocks(
    calibrations: Sequence[Calibration],
    brier: Brier | None,
    net_benefit: pd.DataFrame | None,
    unit: str,
    confidence: float,
    *,
    competing: bool = False,
) -> list[Block]:
    """Tables and figures of calibration, Brier score and decision curve, those that there are.

    Parameters
    ----------
    calibrations : sequence of Calibration
        One per horizon.
    brier : Brier or None
    net_benefit : DataFrame or None
        Tables of ``decision_curve.net_benefit`` with a column ``horizon``.
    unit : str
        Unit of the horizons.
    confidence : float
        Level of the intervals.
    competing : bool
        Whether they are of the risk with competing events, which has other files and notes.
    """
    kind = _COMPETING if competing else _PLAIN
    blocks: list[Block] = []
    if calibrations:
        blocks += _calibrations(calibrations, unit, kind, confidence)
    if brier is not None:
        blocks.append(_brier(brier, unit, kind, confidence))
    if net_benefit is not None:
        images = []
        for horizon in net_benefit["horizon"].unique().tolist():
            part = net_benefit[net_benefit["horizon"] == horizon]
            title = f"At {moment(horizon, unit)}"
            images.append(
                Image(
                    f"decision_curve{kind.suffix}_{horizon:g}",
                    f"Decision curve{kind.words}, {title[0].lower()}{title[1:]}.",
                    Drawing(decision_figure(part, title=title)),
                    f"Net benefit against threshold{kind.words}, {title.lower()}",
                )
            )
        blocks.append(Images(images, "small"))
    return blocks


@dataclass(frozen=True)
class _Kind:
    """What distinguishes the same tables and figures of two kinds of risk."""

    suffix: str
    words: str
    null: str


_PLAIN = _Kind("", "", "the Kaplan–Meier estimate")
_COMPETING = _Kind("_competing", " with competing events", "the cumulative incidence")


def tiles_section(analysis: Analysis) -> Section | None:
    """Features of tiles of interest, compared by 2×2 tests."""
    data = analysis.tiles
    if data is None:
        return None
    section = Section("tiles", "Tiles of interest")
    section.blocks.append(tiles_table(data, analysis.settings.confidence))
    return section


def tiles_table(data: pd.DataFrame, confidence: float) -> Table:
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
        "Feature", "High-risk tiles", "Low-risk tiles", f"Odds ratio ({interval(confidence)})",
        "Fisher p", "χ² p", "Yates p",
    )  # fmt: skip
    note = (
        "Conditional odds ratio with exact interval. Tiles of one patient are alike, but these "
        "tests count each as independent, so the p-values are too small."
    )
    return Table(
        "tiles_of_interest", "Features of high- and low-risk tiles", head, rows, data, note
    )


def _auc_differences(data: pd.DataFrame, unit: str, confidence: float) -> Table:
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
        "Against", f"Time ({unit})", "Patients", "AUC of the score",
        f"Difference ({interval(confidence)})", "p",
    )  # fmt: skip
    caption = "AUC of the score minus that of each factor, in the patients who have both"
    return Table("auc_differences", caption, head, rows, data, without_interval(data))


def _calibrations(
    calibrations: Sequence[Calibration], unit: str, kind: _Kind, confidence: float
) -> list[Block]:
    data = pd.concat(
        [one.summary.assign(horizon=one.horizon) for one in calibrations], ignore_index=True
    )
    quantities = list(dict.fromkeys(data["quantity"]))
    horizons = [one.horizon for one in calibrations]
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
    blocks: list[Block] = [
        Table(f"calibration{kind.suffix}", f"Calibration{kind.words}", head, rows, data, note)
    ]
    images = []
    for one in calibrations:
        title = f"At {moment(one.horizon, unit)}"
        told = (
            f"Calibration{kind.words} {title[0].lower()}{title[1:]}: smoothed curve and fifths "
            f"of patients, with {interval(confidence)}s."
        )
        drawn = calibration_figure(one.curve, one.groups, one.risks, title=title)
        images.append(
            Image(f"calibration{kind.suffix}_{one.horizon:g}", told, Drawing(drawn), told)
        )
    blocks.append(Images(images, "small"))
    return blocks


def _brier(found: Brier, unit: str, kind: _Kind, confidence: float) -> Table:
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
        f"The null model gives everybody {kind.null}. Scaled is 1 − Brier / null, the share of the "
        "error that the score removes."
    )
    around = interval(confidence)
    head = ("At", f"Brier ({around})", "Null model", f"Scaled ({around})")
    return Table(f"brier{kind.suffix}", f"Brier score{kind.words}", head, rows, data, note)
