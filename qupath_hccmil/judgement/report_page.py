"""The report of a judgement, made of the same parts as that of a survival analysis."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial

import numpy as np
import pandas as pd

from qupath_hccmil import __version__
from qupath_hccmil.judgement.baselines import CLINICAL, COMBINED, SCORE
from qupath_hccmil.judgement.cohort_size import POWER
from qupath_hccmil.judgement.judge import PERMUTED, Judgement
from qupath_hccmil.judgement.judged_cohort import CENTRE, UNIT, UNKNOWN
from qupath_hccmil.judgement.methods_section import methods_section
from qupath_hccmil.survival.attempt import attempt
from qupath_hccmil.survival.figures.estimates import Panel, estimates_figure
from qupath_hccmil.survival.figures.performance import auc_figure
from qupath_hccmil.survival.figures.style import Drawing
from qupath_hccmil.survival.figures.survival_curves import kaplan_meier_figure
from qupath_hccmil.survival.interval_level import interval
from qupath_hccmil.survival.report.blocks import (
    Block,
    Fact,
    Image,
    Images,
    Report,
    Section,
    Table,
    Text,
)
from qupath_hccmil.survival.report.build import RESEARCH
from qupath_hccmil.survival.report.closing_section import versions
from qupath_hccmil.survival.report.cohort_section import left_out_block, table_one_block
from qupath_hccmil.survival.report.number_format import (
    NONE,
    moment,
    number,
    percent,
    span,
    whole,
    with_span,
)
from qupath_hccmil.survival.report.performance_section import predicted_risk_blocks
from qupath_hccmil.survival.statistics.kaplan_meier import curves, log_rank
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME
from qupath_hccmil.survival.statistics.table_one import table_one
from qupath_hccmil.survival.statistics.within_folds import AUC, C_INDEX

TITLE = "Judgement of the group's own model"
MOST_CENTRES = 8
GROUP = "group"


def build_report(found: Judgement) -> Report:
    """Make every section; a part that fails is listed as a problem and costs only itself."""
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    problems = list(found.problems)
    sections = [
        attempt(problems, f"Section “{title}”", partial(make, found)) for title, make in _SECTIONS
    ]
    sections += [methods_section(found.settings), _provenance(found, when)]
    frame = found.cohort.frame
    settings = found.settings
    how = "leave one centre out" if settings.by_centre else f"{settings.folds} outer folds"
    subtitle = (
        f"{len(frame)} patients, {int(frame[EVENT].sum())} events; nested cross-validation, {how}, "
        f"{settings.repeats} {'repeat' if settings.repeats == 1 else 'repeats'}"
    )
    return Report(
        TITLE,
        subtitle,
        attempt(problems, "Key figures", partial(_facts, found)) or [],
        [
            *found.cautions,
            *found.cohort.notes,
            *(f"{part}: {reason}." for part, reason in problems),
        ],
        found.cautions,
        [section for section in sections if section is not None and section.blocks],
        [RESEARCH, f"Made by qupath-hccmil {__version__}, {when}."],
    )


def _facts(found: Judgement) -> list[Fact]:
    facts = []
    for label, marker in (
        ("C-index of the slides", SCORE),
        ("C-index, clinical alone", CLINICAL),
        ("C-index, outcomes permuted", PERMUTED),
    ):
        if marker == CLINICAL and not found.cohort.variables:
            continue
        value, low, high = found.concordance(marker)
        facts.append(Fact(label, number(value, 3), span(low, high, 3)))
    if len(found.added):
        row = found.added.iloc[0]  # the C-index
        told = number(row["difference"], 3)
        facts.append(
            Fact("Added to clinical by the slides", told, span(row["lower"], row["upper"], 3))
        )
    auc = found.compared.table
    auc = auc[(auc["marker"] == SCORE) & (auc["statistic"] == AUC)]
    if len(auc):
        row = auc.iloc[len(auc) // 2]
        facts.append(
            Fact(
                f"AUC at {moment(row['time'], UNIT)}",
                number(row["estimate"], 3),
                span(row["lower"], row["upper"], 3),
            )
        )
    return facts


def _comparisons(found: Judgement) -> Section:
    section = Section("comparisons", "Do the slides say anything?")
    section.blocks.append(
        Text(
            "Every number here is from outer folds, which nothing was chosen or fitted on. The "
            "score is worth something if it is above what needs no network: clinical variables, "
            "the number of tiles, and the mean colour of the slides. With outcomes permuted within "
            "centres, the same training should find nothing, so a C-index above 0.5 there is "
            "leakage."
        )
    )
    data = pd.concat([found.compared.table, found.permuted], ignore_index=True)
    concordances = data[data["statistic"] == C_INDEX].reset_index(drop=True)
    panel = Panel(
        "C-index in the outer folds",
        concordances["marker"].tolist(),
        concordances[["estimate", "lower", "upper"]].to_numpy(float),
        None,
        0.5,
        letters=40,
    )
    around = interval(found.settings.confidence)
    told = f"C-index of the score and of each comparison, with {around}s."
    section.blocks.append(
        Images([Image("comparisons", told, Drawing(estimates_figure(panel)), told)], "large")
    )
    gaps = found.compared.differences
    gaps = gaps[gaps["statistic"] == C_INDEX].set_index("marker")
    told_gaps = {
        str(name): with_span(row["difference"], row["lower"], row["upper"], 3)
        for name, row in gaps.iterrows()
    }
    rows = [
        (row["marker"], _estimate(row), told_gaps.get(row["marker"], ""))
        for _, row in concordances.iterrows()
    ]
    section.blocks.append(
        Table(
            "comparisons",
            "C-index of the score and of the comparisons",
            ("Model", f"C-index ({around})", f"Score minus this ({around})"),
            rows,
            concordances,
            "All models are judged on the same patients, in the same outer folds. The comparisons "
            "are Cox models fitted on the other patients of each fold.",
        )
    )
    if not found.cohort.has_colour:
        section.blocks.append(
            Text(
                "The mean colour of the slides is not known from these features, so it is not "
                "compared.",
                "note",
            )
        )
    if not found.cohort.centre_column:
        section.blocks.append(
            Text(
                "The centre is not known, so outcomes were permuted in the whole cohort, and an "
                "effect of the centre would not be seen.",
                "note",
            )
        )
    section.blocks += _added(found)
    return section


def _estimate(row: pd.Series) -> str:
    return with_span(row["estimate"], row["lower"], row["upper"], 3)


def _added(found: Judgement) -> list[Block]:
    if found.added.empty:
        return [
            Text(
                "There are no clinical variables, so it cannot be said whether the slides add "
                "anything to them; name their columns with --variable.",
                "warning",
            )
        ]
    rows = [
        (
            C_INDEX if np.isnan(row["time"]) else f"AUC at {moment(row['time'], UNIT)}",
            with_span(row["difference"], row["lower"], row["upper"], 3),
        )
        for _, row in found.added.iterrows()
    ]
    head = ("Statistic", f"Difference ({interval(found.settings.confidence)})")
    caption = f"{COMBINED} minus {CLINICAL[0].lower()}{CLINICAL[1:]} alone"
    return [Table("added", caption, head, rows, found.added)]


def _auc(found: Judgement) -> Section:
    section = Section("auc", "AUC over time")
    around = interval(found.settings.confidence)
    data = pd.concat([found.compared.table, found.permuted], ignore_index=True)
    data = data[data["statistic"] == AUC].reset_index(drop=True)
    if found.curve is not None:
        told = (
            f"AUC over time within the outer folds; for the score, with the {around} (dark) "
            "and a band for all times at once (light)."
        )
        drawn = Drawing(auc_figure(found.curve, unit=UNIT))
        section.blocks.append(Images([Image("auc", told, drawn, told)], "large"))
    horizons = sorted(data["time"].unique())
    rows = []
    for name in dict.fromkeys(data["marker"]):
        part = data[data["marker"] == name].sort_values("time")
        rows.append((name, *(_estimate(row) for _, row in part.iterrows())))
    head = ("Model", *(f"At {moment(at, UNIT)}" for at in horizons))
    section.blocks.append(Table("auc", f"AUC at horizons ({around})", head, rows, data))
    return section


def _calibration(found: Judgement) -> Section:
    section = Section("calibration", "Predicted risk: calibration and usefulness")
    if not found.calibrations and found.net_benefit is None:
        return section
    section.blocks.append(
        Text(
            "The score of a held-out patient was turned into a risk by a Cox baseline that was "
            "fitted on the other patients of the fold, on scores by models that had not been "
            "fitted to them. So neither the model nor the baseline has seen the patients below."
        )
    )
    section.blocks += predicted_risk_blocks(
        found.calibrations, None, found.net_benefit, UNIT, found.settings.confidence
    )
    return section


def _groups(found: Judgement) -> Section:
    section = Section("groups", "Risk groups by the thresholds of the folds")
    first = found.predictions[found.predictions["repeat"] == 1]
    rows = first[[TIME, EVENT, GROUP]].reset_index(drop=True)
    section.blocks.append(
        Text(
            "In each outer fold, the threshold and the temperature come from the inner splits. "
            "The groups below are those of held-out patients in the first repeat."
        )
    )
    if rows[GROUP].nunique() < 2:
        section.blocks.append(Text("All patients fall into one group.", "warning"))
        return section
    order = sorted(rows[GROUP].unique(), key=lambda name: name != "low")
    rows[GROUP] = pd.Categorical(rows[GROUP], categories=order, ordered=True)
    test = log_rank(rows, GROUP)
    drawn = kaplan_meier_figure(
        curves(rows, GROUP, confidence=found.settings.confidence),
        unit=UNIT,
        endpoint="Free of the event",
        p=test.p,
    )
    told = f"Held-out patients by risk group, with {interval(found.settings.confidence)}s."
    section.blocks.append(
        Images([Image("groups", told, Drawing(drawn), f"Kaplan–Meier curves. {told}")], "medium")
    )
    counts = rows.groupby(GROUP, observed=True)[EVENT].agg(["size", "sum"])
    shown = [(str(name), whole(row["size"]), whole(row["sum"])) for name, row in counts.iterrows()]
    data = counts.reset_index().rename(columns={"size": "patients", "sum": "events"})
    section.blocks.append(
        Table("groups", "Patients by risk group", ("Group", "Patients", "Events"), shown, data)
    )
    return section


def _folds(found: Judgement) -> Section:
    section = Section("folds", "Fold by fold")
    data = found.by_fold
    rows = []
    for repeat, part in data.groupby("repeat", sort=True):
        if found.settings.repeats > 1:
            rows.append((f"Repeat {repeat}", *[""] * 8))
        indent = "\u2003" if found.settings.repeats > 1 else ""
        for _, row in part.iterrows():
            rows.append(
                (
                    f"{indent}{row['fold']}", row["candidate"], whole(row["patients"]),
                    whole(row["events"]), number(row["c_index"], 3),
                    number(row["inner_c_index"], 3), whole(row["epoch"]),
                    number(row["threshold"], 3), number(row["temperature"]),
                )
            )  # fmt: skip
    first = "Centre" if found.settings.by_centre else "Fold"
    head = (
        first, "Chosen", "Patients", "Events", "C-index", "C-index inside", "Epoch", "Threshold",
        "Temperature",
    )  # fmt: skip
    spread = data["c_index"].std(ddof=1)
    note = (
        f"The C-index of a fold varies with a standard deviation of {number(spread, 3)}; folds "
        "with few events vary by chance alone. “C-index inside” is that of the chosen candidate in "
        "the inner splits, which also chose its epoch, and so is optimistic."
    )
    section.blocks.append(Table("folds", "Outer folds and what was chosen", head, rows, data, note))
    if len(found.repeats[0][0].concordances) > 1:
        section.blocks.append(
            Text(
                f"For the model itself, the inner splits of all patients chose “{found.chosen}”, "
                "in the same way."
            )
        )
    told = sorted({str(note) for note in data["note"] if note})
    section.blocks += [Text(f"{line[0].upper()}{line[1:]}.", "note") for line in told]
    return section


def _can_show(found: Judgement) -> Section:
    section = Section("size", "What a cohort of this size can show")
    data = found.can_show
    events = int(found.cohort.frame[EVENT].sum())
    rows = [
        (
            number(row["c_index"]), "yes" if row["enough"] else "no", number(row["hazard_ratio"]),
            whole(row["events_needed"]), percent(row["power"], 0),
            span(row["low"], row["high"]),
        )
        for _, row in data.iterrows()
    ]  # fmt: skip
    head = (
        "True C-index", f"Are {events} events enough?", "HR per SD", "Events needed", "Power",
        "Would be found",
    )  # fmt: skip
    note = (
        f"Events needed to tell such a score from chance, two-sided 5 %, power {percent(POWER, 0)} "
        "(Hsieh and Lavori 2000). “Would be found”: 95 % of drawn cohorts with as many patients "
        "and events find a C-index in this range, for a score that is fixed; a trained one varies "
        "more."
    )
    section.blocks.append(Table("size", section.title, head, rows, data, note))
    return section


def _patients(found: Judgement) -> Section:
    cohort = found.cohort
    section = Section("patients", "Patients")
    frame = cohort.frame
    if cohort.variables and cohort.has_centres and frame[CENTRE].nunique() <= MOST_CENTRES:
        data = table_one(frame, cohort.variables, CENTRE)
        section.blocks.append(
            table_one_block(frame, CENTRE, data, "Patients by centre (“Table 1”)", "centres")
        )
    elif frame[CENTRE].nunique() > 1 or frame[CENTRE].iloc[0] != UNKNOWN:
        counts = frame.groupby(CENTRE)[EVENT].agg(["size", "sum"]).reset_index()
        counts.columns = pd.Index(["centre", "patients", "events"])
        rows = [
            (row["centre"], whole(row["patients"]), whole(row["events"]),
             percent(row["events"] / row["patients"], 0))
            for _, row in counts.iterrows()
        ]  # fmt: skip
        head = ("Centre", "Patients", "Events", "Share")
        section.blocks.append(Table("centres", "Patients by centre", head, rows, counts))
    if cohort.left_out:
        data = pd.DataFrame(
            sorted(cohort.left_out.items(), key=lambda pair: (pair[1], pair[0])),
            columns=["patient", "reason"],
        )
        section.blocks.append(left_out_block(data))
    return section


def _provenance(found: Judgement, when: str) -> Section:
    settings = found.settings
    rows = [
        *([("Command", found.command)] if found.command else []),
        *found.learner.items(),
        ("Outer folds", "one centre each" if settings.by_centre else str(settings.folds)),
        ("Column of the centre", found.cohort.centre_column or NONE),
        ("Inner splits", str(settings.inner)),
        ("Repeats", str(settings.repeats)),
        ("Runs with permuted outcomes", str(settings.permutations)),
        ("Bootstrap samples", str(settings.bootstrap)),
        ("Seed", str(settings.seed)),
        *versions().items(),
        ("Made", when),
    ]
    data = pd.DataFrame(rows, columns=["what", "value"])
    title = "Settings and versions"
    return Section(
        "provenance",
        title,
        [Table("provenance", title, ("What", "Value"), rows, data, wide_text=True)],
    )


_SECTIONS: tuple[tuple[str, Callable[[Judgement], Section]], ...] = (
    ("Do the slides say anything?", _comparisons),
    ("AUC over time", _auc),
    ("Calibration", _calibration),
    ("Risk groups", _groups),
    ("Fold by fold", _folds),
    ("What a cohort of this size can show", _can_show),
    ("Patients", _patients),
)
