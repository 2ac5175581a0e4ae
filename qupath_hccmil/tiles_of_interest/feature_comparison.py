"""Features of high and low tiles compared (table 3 of the paper), and the same by slide.

Fisher's exact test takes each tile for independent. Tiles of one slide are not: they share a
patient, a stain and a scanner, and are often all high or all low, so its p-values are too small.

The test by slide flips signs. Under the null hypothesis that the feature has nothing to do with
the side, each slide's part of the score statistic, ``Σ_j (g_j − ḡ)(y_j − ȳ)`` over its tiles (g:
high, y: has the feature), is as likely positive as negative, however its tiles depend on one
another; slides are independent. So the signs of the slides' parts are flipped, in all ways or at
random, and the sum is compared (Hemerik, Goeman and Finos 2020, J R Stat Soc B 82:841, whose
effective score this is where the only nuisance is the intercept). Permuting tiles within slides was
not chosen: it uses only slides that have tiles on both sides, and few of a cohort's most extreme
tiles are of such. A mixed model was not chosen either: with a handful of slides, and a feature that
one side lacks, it doesn't converge. With k slides that have a part the smallest possible p is
2^(1 − k).

The interval of the odds ratio by slide comes from a bootstrap that draws whole slides; half a tile
is added to each cell, so that an empty one gives no infinite ratio (Haldane 1956).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from qupath_hccmil.method.bootstrap import percentile_interval, unit_counts
from qupath_hccmil.survival.statistics.tiles_of_interest import (
    HIGH,
    LOW,
    compare_counts,
    count_features,
)
from qupath_hccmil.tiles_of_interest.agreement import FEWEST_UNITS, REPEATS

FLIPS = 9_999
"""Random flips where there are more ways than that."""


def compare_features(
    tiles: pd.DataFrame,
    features: Sequence[str],
    *,
    repeats: int = REPEATS,
    seed: int = 0,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare each feature between high and low tiles.

    Parameters
    ----------
    tiles : DataFrame
        A row a tile: ``group`` (high or low), ``unit`` (its slide or patient), and a column for
        each feature with True, False, or None where it wasn't judged.
    features : sequence of str
        Those that were judged on one side alone are left out.
    repeats : int
        Bootstrap samples; 0 gives no interval by slide.
    seed : int
    confidence : float
        In (0, 1).

    Returns
    -------
    DataFrame
        Columns of the table ``feature`` of :mod:`qupath_hccmil.tables.export_columns`; no row
        where there is nothing to compare.
    """
    judged = [name for name in features if _both_sides(tiles, name)]
    if not judged:
        return pd.DataFrame()
    found = compare_counts(count_features(tiles[["group", *judged]]), confidence=confidence)
    found["fisher_p_holm"] = _holm(found["fisher_p"])
    more = [_by_unit(tiles, name, repeats, seed, confidence) for name in found["feature"]]
    found = pd.concat([found, pd.DataFrame(more)], axis=1)
    found["units_p_holm"] = _holm(found["units_p"])
    return found


def _both_sides(tiles: pd.DataFrame, feature: str) -> bool:
    known = tiles.loc[tiles[feature].notna(), "group"]
    return {HIGH, LOW} <= set(known)


def _holm(p: pd.Series) -> NDArray[np.float64]:
    corrected: NDArray[np.float64] = multipletests(p.to_numpy(float), method="holm")[1]
    return corrected


def _by_unit(
    tiles: pd.DataFrame, feature: str, repeats: int, seed: int, confidence: float
) -> dict[str, Any]:
    known = tiles[tiles[feature].notna()]
    high = (known["group"] == HIGH).to_numpy(float)
    has = known[feature].astype(bool).to_numpy(float)
    units = pd.factorize(known["unit"])[0]
    count = int(units.max()) + 1
    lower, upper = _ratio_interval(high, has, units, repeats, seed, confidence)
    return {
        "units": count,
        "units_lower": lower,
        "units_upper": upper,
        "units_p": sign_flip_p(high, has, units, seed),
    }


def sign_flip_p(
    high: NDArray[np.float64], has: NDArray[np.float64], units: NDArray[np.int64], seed: int = 0
) -> float:
    """Two-sided p of the sign-flip test by slide.

    Parameters
    ----------
    high, has : (n,) float64
        1 or 0: whether the tile is high, and whether it has the feature.
    units : (n,) int64
        Slide of each tile, from 0.
    seed : int
        Of random flips, where there are more ways than :data:`FLIPS`.

    Returns
    -------
    float
        In (0, 1]; 1 where nobody or everybody has the feature.
    """
    score = np.bincount(units, weights=(high - high.mean()) * (has - has.mean()))
    score = score[np.abs(score) > 1e-12 * len(high)]
    if len(score) < FEWEST_UNITS:
        return 1.0  # both ways of one slide are as far from zero
    test = stats.permutation_test(
        (score,),
        lambda values, axis: np.sum(values, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        alternative="two-sided",
        random_state=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def _ratio_interval(
    high: NDArray[np.float64],
    has: NDArray[np.float64],
    units: NDArray[np.int64],
    repeats: int,
    seed: int,
    confidence: float,
) -> tuple[float, float]:
    """Percentile interval of the odds ratio over samples of whole units; NaN for one unit."""
    count = int(units.max()) + 1
    if count < FEWEST_UNITS or repeats == 0:
        return float("nan"), float("nan")
    cells = np.stack(
        [
            np.bincount(units, weights=part, minlength=count)
            for part in (high * has, high * (1 - has), (1 - high) * has, (1 - high) * (1 - has))
        ],
        axis=1,
    )
    a, b, c, d = (unit_counts(count, repeats, seed) @ cells + 0.5).T
    return percentile_interval(a * d / (b * c), confidence)
