"""Features of the highest and lowest tiles, compared by 2×2 tests (table 3 of the paper)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from qupath_hccmil.errors import DataError

HIGH, LOW = "high", "low"
YES = ("1", "yes", "true", "present", "y")
NO = ("0", "no", "false", "absent", "n")


def compare_counts(counts: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Test the 2×2 table of each feature.

    The odds ratio is the conditional maximum likelihood estimate with the exact interval, as in
    ``fisher.test`` of R.

    Parameters
    ----------
    counts : DataFrame
        ``feature, high, high_total, low, low_total``: tiles with the feature and all tiles.

    Returns
    -------
    DataFrame
        The same columns, and ``odds_ratio, lower, upper, fisher_p, chi_square, chi_square_p,
        yates_p``. The chi-square is NaN if no tile or every tile has the feature.
    """
    rows = []
    for feature, high, high_total, low, low_total in counts[
        ["feature", "high", "high_total", "low", "low_total"]
    ].itertuples(index=False):
        if not (0 <= high <= high_total and 0 <= low <= low_total and high_total and low_total):
            raise DataError(
                f"feature {feature!r}: impossible counts {high}/{high_total} and {low}/{low_total}"
            )
        table = np.array([[high, high_total - high], [low, low_total - low]], int)
        ratio = stats.contingency.odds_ratio(table)
        interval = ratio.confidence_interval(confidence)
        chi, p, yates = _chi_square(table)
        fisher = float(stats.fisher_exact(table).pvalue)
        ends = (ratio.statistic, interval.low, interval.high)
        rows.append((feature, high, high_total, low, low_total, *ends, fisher, chi, p, yates))
    names = [
        "feature", "high", "high_total", "low", "low_total", "odds_ratio", "lower", "upper",
        "fisher_p", "chi_square", "chi_square_p", "yates_p",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def count_features(tiles: pd.DataFrame, group: str = "group") -> pd.DataFrame:
    """Count each recorded feature among the high- and low-risk tiles.

    Parameters
    ----------
    tiles : DataFrame
        One row per tile, with ``group`` (a text with "high" or "low" in it) and one column per
        feature with 1/0, yes/no, true/false or present/absent. Other columns are not features.

    Returns
    -------
    DataFrame
        Input for ``compare_counts``. Tiles for which a feature is not recorded are not counted in
        its totals.
    """
    if group not in tiles.columns:
        raise DataError(f"there is no column {group!r} that says which tiles are high and low risk")
    side = tiles[group].astype(str).str.lower()
    high, low = side.str.contains(HIGH), side.str.contains(LOW)
    if not high.any() or not low.any():
        raise DataError(f"column {group!r} must have both high- and low-risk tiles")
    rows = []
    for name in tiles.columns:
        recorded = _recorded(tiles[name]) if name != group else None
        if recorded is None:
            continue
        has, known = recorded == 1, recorded.notna()
        if (known & high).any() and (known & low).any():
            counts = [
                int(part.sum()) for part in (has & high, known & high, has & low, known & low)
            ]
            rows.append((str(name), *counts))
    if not rows:
        raise DataError(
            "no feature column has the values 1/0, yes/no, true/false or present/absent"
        )
    return pd.DataFrame(rows, columns=["feature", "high", "high_total", "low", "low_total"])


def _recorded(column: pd.Series) -> pd.Series | None:
    text = column.map(
        lambda value: "" if pd.isna(value) else str(value).strip().lower().removesuffix(".0")
    )
    coded = text.map(lambda value: 1.0 if value in YES else 0.0 if value in NO else np.nan)
    return None if (coded.isna() & (text != "")).any() or coded.isna().all() else coded


def _chi_square(table: np.ndarray) -> tuple[float, float, float]:
    if not table.sum(axis=0).all():
        return float("nan"), float("nan"), float("nan")
    plain = stats.chi2_contingency(table, correction=False)
    yates = stats.chi2_contingency(table, correction=True)
    return float(plain.statistic), float(plain.pvalue), float(yates.pvalue)
