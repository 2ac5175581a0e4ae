"""Tables of the variants of the log-rank test."""

from __future__ import annotations

from qupath_hccmil.survival.findings import GroupTests
from qupath_hccmil.survival.report.blocks import Block, Table, Text
from qupath_hccmil.survival.report.number_format import number, p_value, whole
from qupath_hccmil.survival.statistics.score_test import NO_COMPARISON


def group_test_blocks(found: GroupTests) -> list[Block]:
    """Weighted tests, the test for trend, and the pairs of groups, those that there are."""
    blocks: list[Block] = []
    if found.weighted is not None:
        rows = [
            (
                row["test"],
                number(row["statistic"]),
                whole(row["degrees_of_freedom"]),
                p_value(row["p"]),
            )
            for _, row in found.weighted.iterrows()
        ]
        note = (
            "The log-rank test is best where hazards are proportional. The next three give more "
            "weight to early differences, Fleming–Harrington (0, 1) to late and (1, 1) to middle "
            "ones. Choose one before looking: the smallest of several p-values is not a p-value."
        )
        if not found.weighted["p"].notna().all():
            note += f" A test without a result: {NO_COMPARISON}."
        head = ("Test", "χ²", "df", "p")
        caption = "Log-rank tests of the risk groups, weighted over time"
        blocks.append(Table("log_rank_weighted", caption, head, rows, found.weighted, note))
    trend = found.trend
    if trend is not None and trend.note:
        blocks.append(
            Text(f"There is no test for a trend over the risk groups: {trend.note}.", "note")
        )
    if trend is not None and not trend.note:
        told = p_value(trend.p)
        blocks.append(
            Text(
                f"Test for a trend over the {len(trend.groups)} groups: χ² = "
                f"{number(trend.statistic)} on 1 degree of freedom, p "
                + (told if told.startswith("<") else f"=\u00a0{told}")
                + "."
            )
        )
    if found.pairwise is not None:
        rows = [
            (
                f"{row['group']} v. {row['reference']}",
                number(row["statistic"]),
                p_value(row["p"]),
                p_value(row["p_holm"]),
            )
            for _, row in found.pairwise.iterrows()
        ]
        head = ("Groups", "χ²", "p", "p, corrected by Holm")
        caption = "Log-rank tests of pairs of risk groups"
        # A pair may have no event, or none at which both are at risk.
        apart = not found.pairwise["p"].notna().all()
        note = f"A pair without a result: {NO_COMPARISON}." if apart else ""
        blocks.append(Table("log_rank_pairwise", caption, head, rows, found.pairwise, note))
    return blocks
