"""Sections on the patients: flow, endpoint, Table 1, missing values and risk groups."""

from __future__ import annotations

import pandas as pd

from qupath_hccmil.survival.analysis_cohort import CAUSE, GROUP, SCORE
from qupath_hccmil.survival.figures.performance import score_figure
from qupath_hccmil.survival.figures.style import Drawing
from qupath_hccmil.survival.findings import Analysis
from qupath_hccmil.survival.report.blocks import Image, Images, Section, Table, Text
from qupath_hccmil.survival.report.number_format import number, percent, time_span, whole
from qupath_hccmil.survival.statistics.kaplan_meier import OVERALL, groups_of
from qupath_hccmil.survival.statistics.survival_outcome import EVENT
from qupath_hccmil.survival.statistics.table_one import ENOUGH, MISSING
from qupath_hccmil.tables.endpoint_coding import COMPETING

MOST_LISTED = 60


def cohort_section(analysis: Analysis) -> Section:
    """Describe who was analysed, who was left out and why, and the endpoint."""
    cohort, settings = analysis.cohort, analysis.settings
    section = Section("cohort", "Patients and endpoint")
    section.blocks += [_flow(analysis), left_out_block(analysis.cohort.left_out)]
    follow = analysis.survival.follow_up
    unit = cohort.unit
    events = int(cohort.frame["event"].sum())
    facts = [
        ("Endpoint", settings.endpoint or f"not named (column {settings.event})"),
        ("Time zero", settings.time_zero or "not stated"),
        ("Time", f"{cohort.time_source}, reported in {unit}"),
        ("Event", f"column “{settings.event}”: {cohort.coding.describe()}"),
        ("Score", f"column “{cohort.scores.column}”{fold_told(analysis)}; {cohort.scores.rule}"),
        ("Events", f"{events} in {len(cohort.frame)} patients"),
        (
            "Median follow-up (reverse Kaplan–Meier)",
            f"{time_span(follow['median'], follow['lower'], follow['upper'])} {unit}; "
            f"longest {number(follow['longest'])}",
        ),
    ]
    if cohort.coding.competing:
        count = int((cohort.frame[CAUSE] == COMPETING).sum())
        facts.append(("Competing event", f"{settings.competing_name}: {count} patients"))
    data = pd.DataFrame(facts, columns=["item", "value"])
    section.blocks.append(
        Table("endpoint", "Endpoint and score", ("", ""), facts, data, wide_text=True)
    )
    section.blocks += [*_table_one(analysis), *_missing(analysis), *_power(analysis)]
    return section


def groups_section(analysis: Analysis) -> Section:
    """Describe how patients were divided into risk groups."""
    cohort = analysis.cohort
    section = Section("groups", "Risk groups")
    section.blocks.append(
        Text(
            f"Groups were cut at {cohort.groups.description}; a score above a cut is in the higher "
            "group."
        )
    )
    if cohort.groups.from_data:
        section.blocks.append(
            Text(
                "The cut was chosen on these patients, so every comparison of the groups is "
                "optimistic. A cut chosen on other patients would avoid this.",
                "warning",
            )
        )
    if cohort.frame[GROUP].nunique() < 2:
        section.blocks.append(
            Text(
                "All patients fall into one group, so groups cannot be compared. The score is "
                "still analysed as a continuous variable.",
                "warning",
            )
        )
    label = "Risk score" if cohort.folds is None else "Risk score, SD within its fold"
    drawn = Drawing(
        score_figure(cohort.frame[SCORE], cohort.frame[GROUP], cohort.groups.cuts, label=label)
    )
    counts = cohort.frame.groupby(GROUP, observed=True)["event"].agg(["size", "sum"])
    told = "; ".join(
        f"{name}: {row['size']} patients, {row['sum']} events" for name, row in counts.iterrows()
    )
    where = "" if cohort.folds is None else ", standardised within its fold"
    caption = f"Distribution of the score{where}. {told}."
    section.blocks.append(Images([Image("score", caption, drawn, caption)]))
    return section


def fold_told(analysis: Analysis) -> str:
    """What to add where the report names the score, if it is out of fold."""
    return "" if analysis.cohort.folds is None else ", out of fold, standardised within its fold"


def _flow(analysis: Analysis) -> Table:
    data = analysis.cohort.flow
    rows = [(row["step"], whole(row["patients"])) for _, row in data.iterrows()]
    return Table("flow", "Flow of patients", ("Step", "Patients"), rows, data)


def left_out_block(data: pd.DataFrame) -> Table | Text:
    """Show who was left out and why, by reason.

    Parameters
    ----------
    data : DataFrame
        ``patient, reason``.
    """
    if data.empty:
        return Text("Nobody was left out.", "note")
    rows = []
    for reason, part in data.groupby("reason", sort=False):
        names = [str(name) for name in part["patient"]]
        told = ", ".join(names[:MOST_LISTED])
        if len(names) > MOST_LISTED:
            told += f" … and {len(names) - MOST_LISTED} more (all are in the CSV file)"
        rows.append((str(reason), whole(len(part)), told))
    return Table(
        "left_out",
        "Left out, and why",
        ("Reason", "Patients", "Who"),
        rows,
        data,
        wide_text=True,
    )


def _table_one(analysis: Analysis) -> list[Table]:
    if analysis.table_one is None:
        return []
    caption = "Patients by risk group (“Table 1”)"
    return [
        table_one_block(analysis.cohort.frame, GROUP, analysis.table_one, caption, "risk groups")
    ]


def table_one_block(
    frame: pd.DataFrame, by: str, data: pd.DataFrame, caption: str, groups_told: str
) -> Table:
    """Show a table from ``table_one.table_one`` with a column for each group.

    Parameters
    ----------
    frame : DataFrame
        The patients, with their event and group.
    by : str
        Column of the group.
    data : DataFrame
    caption : str
    groups_told : str
        What the note calls the groups.
    """
    parts = dict(groups_of(frame, by))
    if isinstance(frame[by].dtype, pd.CategoricalDtype):
        # A group without patients has a column, too.
        empty = frame.iloc[:0]
        parts = {str(name): parts.get(str(name), empty) for name in frame[by].cat.categories}
    groups = list(parts)
    sizes = {OVERALL: len(frame), **{name: len(part) for name, part in parts.items()}}
    shown = [OVERALL, *groups]
    events = {OVERALL: int(frame[EVENT].sum())}
    events.update({name: int(part[EVENT].sum()) for name, part in parts.items()})
    rows: list[tuple[str, ...]] = [
        ("Patients", *_around_events([whole(sizes[n]) for n in shown], ""), ""),
        ("Events", *_around_events([_counted(events[n], sizes[n]) for n in shown], ""), ""),
    ]
    for _, part in data.groupby("variable", sort=False):
        label = str(part["label"].iloc[0])
        levels = list(dict.fromkeys(part["level"]))
        apart = number(part["standardised_difference"].iloc[0])
        if levels[0] == "":
            rows.append((f"{label}, median (quartiles)", *_cells(part, "", shown), apart))
        else:
            rows.append((label, *[""] * (len(shown) + 1), apart))
        for level in levels:
            if level:
                rows.append((f"\u2003{level}", *_cells(part, level, shown), ""))
    head = ("", *_around_events(shown, "Events"), "Std. difference")
    note = (
        "Events: those among all patients of the row. Standardised difference: of the variable "
        f"between the {groups_told}, in pooled standard deviations, without missing values"
        + ("; the largest of two groups." if len(groups) > 2 else ".")
    )
    return Table("table_1", caption, head, rows, data, note)


def _around_events(cells: list[str], events: str) -> tuple[str, ...]:
    """Put the events behind the cell of all patients."""
    return cells[0], events, *cells[1:]


def _counted(count: float, total: float) -> str:
    return f"{whole(count)} ({percent(count / total, 0)})" if total else whole(count)


def _cells(part: pd.DataFrame, level: str, shown: list[str]) -> tuple[str, ...]:
    found = part[part["level"] == level].set_index("group")
    cells = []
    for name in shown:
        row = found.loc[name]
        if level == "":
            middle, low, high = (_short(row[key]) for key in ("median", "q1", "q3"))
            cells.append(f"{middle} ({low} to {high})")
        else:
            cells.append(f"{whole(row['count'])} ({percent(row['share'], 0)})")
    return _around_events(cells, whole(found.loc[OVERALL, "events"]))


def _short(value: float) -> str:
    return number(value, 0 if abs(value) >= 20 else 1 if abs(value) >= 2 else 2)


def _missing(analysis: Analysis) -> list[Table | Text]:
    data = analysis.missing
    if data is None:
        return []
    if data.empty or not data["missing"].any():
        return [Text("No variable has a missing value.", "note")] if len(data) else []
    rows = [
        (row["label"], whole(row["missing"]), percent(row["share"]))
        for _, row in data.iterrows()
        if row["missing"]
    ]
    how = (
        f"Models use complete cases; next to them, {analysis.settings.imputations} imputed "
        "tables are pooled."
        if analysis.settings.imputations
        else "Models use complete cases; each gives its number of patients. Multiple imputation "
        "is available with --imputations."
    )
    head = ("Variable", MISSING, "Share")
    return [Table("missing", "Missing values", head, rows, data, note=how)]


def _power(analysis: Analysis) -> list[Text]:
    found = analysis.events_per_variable
    if found is None or not found.coefficients:
        return []
    told = (
        f"The multivariable model has {found.events} events for {found.coefficients} coefficients: "
        f"{found.ratio:.1f} events per coefficient."
    )
    if found.enough:
        return [Text(told)]
    return [
        Text(
            f"{told} Fewer than {ENOUGH} are too few: the estimates are unstable and make the "
            "model look better than it is. Use fewer variables or merge levels.",
            "warning",
        )
    ]
