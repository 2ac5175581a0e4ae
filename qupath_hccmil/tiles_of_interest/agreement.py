"""How well reviewers agree: Cohen's kappa of pairs, Fleiss' kappa of all, with intervals.

Tiles of one slide are alike, so intervals come from a bootstrap that draws whole slides (or
patients), not tiles: an interval that takes tiles for independent is too narrow. The kappas are
statsmodels'. References: Cohen 1960, Educ Psychol Meas 20:37; Fleiss 1971, Psychol Bull 76:378.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

from qupath_hccmil.method.bootstrap import percentile_interval, unit_counts

FEWEST_UNITS = 2
"""Slides below which nothing can be drawn."""

REPEATS = 1000


def agreement(
    answers: pd.DataFrame,
    questions: Sequence[str],
    *,
    repeats: int = REPEATS,
    seed: int = 0,
    confidence: float = 0.95,
    unit_name: str = "slides",
) -> pd.DataFrame:
    """Kappa of each question, for each pair of reviewers and for all together.

    Parameters
    ----------
    answers : DataFrame
        A row a review: ``tile, unit, reviewer`` and a column for each question; an answer is any
        value, none is None or NaN. A reviewer has one row a tile.
    questions : sequence of str
    repeats : int
        Bootstrap samples; 0 gives no intervals.
    seed : int
    confidence : float
        In (0, 1).
    unit_name : str
        What is drawn, for the column ``interval``.

    Returns
    -------
    DataFrame
        ``question, statistic, reviewers, compared_tiles, units, observed_agreement, kappa, lower,
        upper, interval``. Fleiss' kappa is given for three reviewers or more. Tiles that not all
        of the reviewers answered are left out. Kappa is NaN where all answers are one.
    """
    rows = []
    for question in questions:
        for raters, table, units in _tables(answers, question):
            kappa = kappa_of_samples(table, units)
            lower, upper, how = _interval(kappa, units, repeats, seed, confidence, unit_name)
            rows.append({
                "question": question,
                "statistic": "Cohen's kappa" if len(raters) == 2 else "Fleiss' kappa",
                "reviewers": ", ".join(raters),
                "compared_tiles": len(table),
                "units": len(np.unique(units)),
                "observed_agreement": _observed(table),
                "kappa": kappa(np.ones(int(units.max()) + 1, np.int64)),
                "lower": lower,
                "upper": upper,
                "interval": how,
            })  # fmt: skip
    names = [
        "question", "statistic", "reviewers", "compared_tiles", "units", "observed_agreement",
        "kappa", "lower", "upper", "interval",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _tables(
    answers: pd.DataFrame, question: str
) -> Iterator[tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]]:
    """Reviewers, answers as numbers (tile, reviewer), and the unit of each tile."""
    known = answers[answers[question].notna()]
    codes = known.assign(code=pd.factorize(known[question], sort=True)[0])
    wide = codes.pivot(index="tile", columns="reviewer", values="code")
    unit_of = known.drop_duplicates("tile").set_index("tile")["unit"]
    raters = sorted(wide.columns)
    sets: list[tuple[str, ...]] = list(combinations(raters, 2))
    if len(raters) > 2:
        sets.append(tuple(raters))
    for chosen in sets:
        table = wide[list(chosen)].dropna()
        if len(table):
            units = pd.factorize(unit_of.loc[table.index])[0]
            yield chosen, table.to_numpy(np.int64), units


Kappa = Callable[[NDArray[np.int64]], float]
"""From how often each unit is drawn to kappa; NaN where all answers are one."""


def kappa_of_samples(table: NDArray[np.int64], units: NDArray[np.int64]) -> Kappa:
    """Prepare kappa for samples of units, so that answers are counted once and not for each.

    Parameters
    ----------
    table : (n, raters) int64
        Answers from 0; Cohen's kappa of two raters, Fleiss' of more.
    units : (n,) int64
        Unit of each tile, from 0.
    """
    k = int(table.max()) + 1
    if table.shape[1] == 2:
        squares = np.zeros((int(units.max()) + 1, k, k), np.int64)
        np.add.at(squares, (units, table[:, 0], table[:, 1]), 1)
        return lambda drawn: _cohen(np.tensordot(drawn, squares, axes=1))
    counts = np.stack([(table == answer).sum(axis=1) for answer in range(k)], axis=1)
    return lambda drawn: _fleiss(np.repeat(counts, drawn[units], axis=0))


def _cohen(square: NDArray[np.int64]) -> float:
    if _one_answer(square.sum(axis=0) + square.sum(axis=1)):
        return float("nan")
    return float(cohens_kappa(square, return_results=False))


def _fleiss(counts: NDArray[np.int64]) -> float:
    if _one_answer(counts.sum(axis=0)):
        return float("nan")
    return float(fleiss_kappa(counts, method="fleiss"))


def _one_answer(totals: NDArray[np.int64]) -> bool:
    return np.count_nonzero(totals) == 1


def _observed(table: NDArray[np.int64]) -> float:
    pairs = combinations(range(table.shape[1]), 2)
    return float(np.mean([(table[:, a] == table[:, b]).mean() for a, b in pairs]))


def _interval(
    kappa: Kappa,
    units: NDArray[np.int64],
    repeats: int,
    seed: int,
    confidence: float,
    unit_name: str,
) -> tuple[float, float, str]:
    nan = float("nan")
    count = int(units.max()) + 1
    if repeats == 0:
        return nan, nan, "not asked for"
    if count < FEWEST_UNITS:
        return nan, nan, f"none: all tiles are of one of the {unit_name}"
    values = np.array([kappa(drawn) for drawn in unit_counts(count, repeats, seed)])
    lower, upper = percentile_interval(values, confidence)
    return lower, upper, f"bootstrap over {count} {unit_name}, {repeats} samples"


def consensus(answers: Sequence[Any]) -> Any:
    """Answer of most reviewers; None where there is none or two are as frequent."""
    known = [answer for answer in answers if answer is not None]
    counts = sorted(((known.count(one), str(one), one) for one in set(known)), reverse=True)
    if not counts or (len(counts) > 1 and counts[0][0] == counts[1][0]):
        return None
    return counts[0][2]
