"""Risk groups, by the model's threshold or by a cut on the data, which is optimistic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import is_high_risk
from qupath_hccmil.method.published_numbers import THRESHOLD
from qupath_hccmil.tables.numbers import as_float

LOW, HIGH = "Low risk", "High risk"
MODEL = "model"
NAMED = {"median": 2, "tertiles": 3, "quartiles": 4, "quintiles": 5}


@dataclass(frozen=True)
class RiskGroups:
    """Groups of patients by score.

    Attributes
    ----------
    groups : Series
        Ordered categories, lowest risk first, without empty groups.
    cuts : tuple of float
        A score above a cut is in the higher group.
    from_data : bool
        Whether the cuts were chosen on these patients, so that results on them are optimistic.
    description : str
    """

    groups: pd.Series
    cuts: tuple[float, ...]
    from_data: bool
    description: str


def risk_groups(score: pd.Series, cut: str = MODEL, *, threshold: float = THRESHOLD) -> RiskGroups:
    """Cut scores into groups.

    Parameters
    ----------
    score : Series
        One per patient; higher means higher risk.
    cut : str
        ``"model"`` (the model's threshold), ``"median"``, ``"tertiles"``, ``"quartiles"``,
        ``"quintiles"``, ``"quantiles=N"``, or a number.
    threshold : float
        Threshold of the model; used for ``"model"``.

    Raises
    ------
    DataError
        The cut is unknown, a model's threshold is used with scores outside [0, 1], or there are too
        few different scores.
    """
    values = score.to_numpy(float)
    cut = cut.strip().lower()
    if cut == MODEL:
        if (values < 0).any() or (values > 1).any():
            raise DataError(
                f"the model's threshold {threshold:g} is for risks in [0, 1], but these scores "
                f"range from {values.min():g} to {values.max():g}; cut by median, quantiles or a "
                "number"
            )
        return _two(score, threshold, False, f"the model's threshold, {threshold:g}")
    number = _number(cut)
    if number is not None:
        return _two(score, number, False, f"the given value, {number:g}")
    count = _count(cut)
    edges = np.unique(np.quantile(values, np.arange(1, count) / count))
    if count == 2:
        return _two(score, float(edges[0]), True, f"the median of these patients, {edges[0]:.4g}")
    labels = _quantile_labels(len(edges) + 1)
    place = np.searchsorted(edges, values, side="left")
    if len(np.unique(place)) < count:
        raise DataError(f"there are too few different scores for {count} groups; ask for fewer")
    named = pd.Series([labels[group] for group in place], index=score.index)
    groups = named.astype(pd.CategoricalDtype(labels, ordered=True))
    told = ", ".join(f"{edge:.4g}" for edge in edges)
    return RiskGroups(
        groups, tuple(edges.tolist()), True, f"{count} quantiles of these patients, {told}"
    )


def groups_by_fold(
    score: pd.Series, fold: pd.Series, thresholds: Mapping[str, float]
) -> RiskGroups:
    """Cut the scores of a cross-validation, each at the threshold of the model that gave it.

    Patients of all folds are then compared as groups (Simon et al. 2011, Briefings in
    Bioinformatics 12:203), although their scores have different levels.

    Parameters
    ----------
    score : Series
        One risk per patient.
    fold : Series
        Of each patient.
    thresholds : mapping of str to float
        By fold.
    """
    own = fold.map(thresholds).astype(float)
    low, high = own.min(), own.max()
    told = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    found = _two(score - own, 0.0, False, f"the threshold of each patient's own fold, {told}")
    return replace(found, cuts=())


def _two(score: pd.Series, cut: float, from_data: bool, description: str) -> RiskGroups:
    labels = pd.Series(np.where(is_high_risk(score, cut), HIGH, LOW), index=score.index)
    present = [name for name in (LOW, HIGH) if (labels == name).any()]
    groups = labels.astype(pd.CategoricalDtype(present, ordered=True))
    return RiskGroups(groups, (cut,), from_data, description)


def is_number(cut: str) -> bool:
    """Whether a cut is one number for all scores."""
    return _number(cut.strip().lower()) is not None


def _number(cut: str) -> float | None:
    value = as_float(cut.removeprefix("value="))
    if np.isnan(value):
        return None
    if np.isinf(value):
        raise DataError(f"cut {cut!r} is not a finite number")
    return value


def _count(cut: str) -> int:
    match = re.fullmatch(r"quantiles=(\d+)", cut)
    count = int(match.group(1)) if match else NAMED.get(cut, 0)
    if not 2 <= count <= 10:
        raise DataError(
            f"cut {cut!r} is not one of model, median, tertiles, quartiles, quintiles, "
            "quantiles=2…10, or a number"
        )
    return count


def _quantile_labels(count: int) -> list[str]:
    return [
        f"Q{i + 1}" + (" (lowest)" if i == 0 else " (highest)" if i == count - 1 else "")
        for i in range(count)
    ]
