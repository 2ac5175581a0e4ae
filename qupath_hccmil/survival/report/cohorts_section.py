"""The section on external validation: cohorts side by side, updated, and pooled."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qupath_hccmil.survival.figures.cohorts import cohorts_figure
from qupath_hccmil.survival.figures.estimates import Panel
from qupath_hccmil.survival.figures.style import Drawing
from qupath_hccmil.survival.findings import Analysis, CohortResult, External
from qupath_hccmil.survival.interval_level import interval, level
from qupath_hccmil.survival.report.blocks import Image, Images, Section, Table, Text
from qupath_hccmil.survival.report.number_format import (
    NONE,
    moment,
    number,
    p_value,
    percent,
    span,
    whole,
    with_span,
)
from qupath_hccmil.survival.statistics.auc import NO_INTERVAL
from qupath_hccmil.survival.statistics.external_validation import (
    AUC,
    HARRELL,
    ICI,
    OBSERVED,
    RATIO,
    SCALED,
    SLOPE,
)

PER_HORIZON = (AUC, OBSERVED, RATIO, SLOPE, ICI, SCALED)


def cohorts_section(analysis: Analysis) -> Section | None:
    """External validation, if there are other cohorts."""
    found, unit = analysis.external, analysis.cohort.unit
    if found is None or not found.cohorts:
        return None
    section = Section("cohorts", "External validation")
    source = (
        "the baseline that was given, so every cohort is an external one"
        if found.given
        else f"the baseline of the cohort “{found.first}”, whose own patients are predicted by the "
        "baseline of the other nine tenths (internal validation), and the others by the whole one"
    )
    section.blocks += [
        Text(
            f"The same prediction in every cohort: the score, and the risk from {source}. A "
            "difference in C may come from the case mix: where patients are more alike (a smaller "
            "SD of the linear predictor), C is lower with the same score."
        ),
        _side_by_side(analysis, found),
        _figure(found, analysis.horizons, unit),
    ]
    section.blocks += [
        Text(_account(name, result), "note")
        for name, result in found.cohorts.items()
        if name != found.first
    ]
    if found.pooled is not None and len(found.pooled):
        section.blocks.append(_pooled(found.pooled, unit, analysis.settings.confidence))
    if found.recalibrated:
        section.blocks.append(_recalibrated(found, unit))
    return section


def _account(name: str, result: CohortResult) -> str:
    """Say how another cohort was read, and who is left out of it."""
    cohort = result.cohort
    told = [f"{name}: {', '.join(cohort.hashes)}; {cohort.coding.describe()}."]
    counts = cohort.left_out["reason"].value_counts()
    if len(counts):
        reasons = "; ".join(f"{count} {reason}" for reason, count in counts.items())
        told.append(f"Left out: {reasons}.")
    told += [note for note in cohort.notes if not note.startswith(_NOT_HERE)]
    return " ".join(told)


# Notes on the risk groups and the time zero of the first cohort.
_NOT_HERE = ("The risk groups were cut", "Time zero is not stated")


def _side_by_side(analysis: Analysis, found: External) -> Table:
    unit, results = analysis.cohort.unit, list(found.cohorts.values())
    rows: list[tuple[str, ...]] = [("Case mix", *[""] * len(results))]
    rows += [
        ("\u2003Patients", *(whole(each.patients) for each in results)),
        ("\u2003Events", *(whole(each.events) for each in results)),
        (
            f"\u2003Median follow-up ({unit})",
            *(number(each.follow_up["median"], 1) for each in results),
        ),
        (
            "\u2003Score, mean (SD)",
            *(f"{number(each.score_mean)} ({number(each.score_sd)})" for each in results),
        ),
        (
            "\u2003Linear predictor, mean (SD)",
            *(f"{number(each.linear_mean)} ({number(each.linear_sd)})" for each in results),
        ),
    ]
    mixes = {name: _of_variables(analysis, each) for name, each in found.cohorts.items()}
    for label in dict.fromkeys(label for mix in mixes.values() for label in mix):
        tell = _share_told if ": " in label else _median_told
        rows.append((f"\u2003{label}", *(tell(mix.get(label)) for mix in mixes.values())))
    rows.append(("Performance", *[""] * len(results)))
    rows.append((f"\u2003{HARRELL}", *(_cell(each, HARRELL, np.nan) for each in results)))
    for horizon in analysis.horizons:
        rows.append((f"At {moment(horizon, unit)}", *[""] * len(results)))
        rows += [
            (f"\u2003{quantity}", *(_cell(each, quantity, horizon) for each in results))
            for quantity in PER_HORIZON
        ]
    data = pd.concat(
        [
            pd.concat([_case_mix(each, mixes[name]), each.table], ignore_index=True).assign(
                cohort=name
            )
            for name, each in found.cohorts.items()
        ],
        ignore_index=True,
    )
    caption = f"Cohorts side by side, with {interval(analysis.settings.confidence)}s"
    note = (
        "Observed/expected and slope are 1, and the ICI is 0, when calibration is perfect. The "
        "interval of C comes from the infinitesimal jackknife. Categories: share of patients with "
        "a value; numbers: median."
    )
    if (data["note"] == NO_INTERVAL).any():
        note += " C and AUC have no interval where their standard error is 0."
    return Table("cohorts", caption, ("", *found.cohorts), rows, data, note)


def _case_mix(result: CohortResult, mix: dict[str, float]) -> pd.DataFrame:
    values = {
        "Patients": result.patients,
        "Events": result.events,
        "Median follow-up": result.follow_up["median"],
        "Score, mean": result.score_mean,
        "Score, SD": result.score_sd,
        "Linear predictor, mean": result.linear_mean,
        "Linear predictor, SD": result.linear_sd,
        **mix,
    }
    return pd.DataFrame(
        {"quantity": list(values), "estimate": [float(value) for value in values.values()]}
    )


def _of_variables(analysis: Analysis, result: CohortResult) -> dict[str, float]:
    """Median of each number and share of each level, of the variables that the cohort has.

    A variable is a key with ``, median``, a level one with ``: `` in it.
    """
    found: dict[str, float] = {}
    own = {each.title.casefold(): each for each in result.cohort.variables}
    for variable in analysis.cohort.variables:
        there = own.get(variable.title.casefold())
        if there is None:
            continue
        values = result.cohort.frame[there.name].dropna()
        title = variable.title.replace(": ", ":")
        if not there.levels:
            found[f"{title}, median"] = float(values.median())
            continue
        for name in dict.fromkeys([*variable.levels, *there.levels]):
            found[f"{title}: {name}"] = float((values.astype(str) == name).mean())
    return found


def _median_told(value: float | None) -> str:
    return NONE if value is None else number(value, 1)


def _share_told(value: float | None) -> str:
    return NONE if value is None else percent(value, 0)


def _row(result: CohortResult, quantity: str, horizon: float) -> pd.Series | None:
    table = result.table[result.table["quantity"] == quantity]
    if np.isfinite(horizon):
        table = table[table["horizon"] == horizon]
    return table.iloc[0] if len(table) else None


def _cell(result: CohortResult, quantity: str, horizon: float) -> str:
    row = _row(result, quantity, horizon)
    if row is None or not np.isfinite(row["estimate"]):
        return NONE
    return with_span(row["estimate"], row["lower"], row["upper"])


def _figure(found: External, horizons: tuple[float, ...], unit: str) -> Images:
    # The middle of the horizons, as in the key figures.
    horizon = horizons[len(horizons) // 2]
    when = f"at {moment(horizon, unit)}"
    panels = [
        _panel(found, HARRELL, np.nan, HARRELL, 0.5),
        _panel(found, AUC, horizon, f"AUC {when}", 0.5),
        _panel(found, SLOPE, horizon, f"Calibration slope {when}", 1.0),
        _panel(found, RATIO, horizon, f"Observed / expected {when}", 1.0, log=True),
    ]
    curves: dict[str, pd.DataFrame] = {}
    benefits: dict[str, pd.DataFrame] = {}
    for name, result in found.cohorts.items():
        for source, into in ((result.curve, curves), (result.net_benefit, benefits)):
            if source is not None:
                part = source[source["horizon"] == horizon]
                if len(part):
                    into[name] = part
    drawn = Drawing(cohorts_figure(panels, curves, benefits, title=when))
    told = (
        f"Discrimination, calibration and usefulness in every cohort, {when}. The decision curves "
        "show what the score adds to the better of treating all and none."
    )
    return Images([Image("cohorts", told, drawn, told)], "large")


def _panel(
    found: External,
    quantity: str,
    horizon: float,
    title: str,
    reference: float,
    *,
    log: bool = False,
) -> Panel:
    values = np.full((len(found.cohorts), 3), np.nan)
    for place, result in enumerate(found.cohorts.values()):
        row = _row(result, quantity, horizon)
        if row is not None:
            values[place] = [float(row[key]) for key in ("estimate", "lower", "upper")]
    pooled = None
    if found.pooled is not None:
        rows = found.pooled[found.pooled["quantity"] == quantity]
        if np.isfinite(horizon):
            rows = rows[rows["horizon"] == horizon]
        if len(rows):
            pooled = rows.iloc[0][["estimate", "lower", "upper"]].to_numpy(float)
    return Panel(title, list(found.cohorts), values, pooled, reference, log)


def _pooled(data: pd.DataFrame, unit: str, confidence: float) -> Table:
    rows = [
        (
            row["quantity"]
            + (f" at {moment(row['horizon'], unit)}" if np.isfinite(row["horizon"]) else ""),
            whole(row["cohorts"]),
            with_span(row["estimate"], row["lower"], row["upper"]),
            span(row["prediction_lower"], row["prediction_upper"]),
            number(row["tau"], 3),
            percent(row["i_squared"], 0),
            p_value(row["p"]),
        )
        for _, row in data.iterrows()
    ]
    head = (
        "Quantity", "Cohorts", f"Pooled ({interval(confidence)})",
        f"{level(confidence)} prediction interval", "τ", "I²", "p, heterogeneity",
    )  # fmt: skip
    note = (
        "Random effects over the external cohorts (Paule and Mandel; Hartung and Knapp); C and AUC "
        "on the logit scale, observed/expected on the log scale, on which τ is. The prediction "
        "interval is for a new cohort and needs three."
    )
    return Table("cohorts_pooled", "Pooled performance", head, rows, data, note)


def _recalibrated(found: External, unit: str) -> Table:
    rows: list[tuple[str, ...]] = []
    for name, table in found.recalibrated.items():
        for horizon in table["horizon"].unique().tolist():
            part = table[table["horizon"] == horizon]
            rows.append((f"{name}, {moment(horizon, unit)}", *[""] * 6))
            rows += [
                (
                    f"\u2003{row['version']}",
                    number(row["intercept"]),
                    number(row["slope"]),
                    number(row["ratio"]),
                    number(row["calibration_slope"]),
                    number(row["ici"], 3),
                    number(row["scaled"], 3),
                )
                for _, row in part.iterrows()
            ]
    data = pd.concat(
        [table.assign(cohort=name) for name, table in found.recalibrated.items()],
        ignore_index=True,
    )
    head = (
        "Prediction", "α", "β", "Observed / expected", "Calibration slope", "ICI", "Scaled Brier",
    )  # fmt: skip
    note = (
        "Updated risk: 1 − exp(−exp(α + β log(−log(1 − risk)))). α and β are of all patients of "
        "the cohort; the performance is that of α and β of the other nine tenths (10-fold "
        "cross-fitting), so that it is not optimistic."
    )
    return Table("cohorts_recalibrated", "The prediction updated to each cohort", head, rows, data,
                 note)  # fmt: skip
