"""Prognostic variables: numbers or categories, levels and references, and model columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.survival_outcome import complete, need
from qupath_hccmil.tables.numbers import what_is_wrong

FEW_CODES = 5  # whole numbers with at most this many values are codes of categories
MOST_LEVELS = 12
# These are not categories of a disease, so they are never chosen as the reference.
PLACEHOLDER = re.compile(r"\[|unknown|not |n/?a$|missing|other", re.IGNORECASE)
LOWEST = ("none", "no", "absent", "negative", "normal", "false", "0", "low")


@dataclass(frozen=True)
class Variable:
    """One prognostic variable.

    Attributes
    ----------
    name : str
        Name of the column.
    kind : str
        ``"numeric"`` or ``"categorical"``.
    levels : tuple of str
        Levels of a categorical variable, reference first.
    label : str
        Name in the report.
    per : float
        Step of a numeric variable's hazard ratio, in the unit of the variable.
    unit : str
        Text for a step that is not a plain number, such as ``per SD`` or ``per doubling``.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    label: str = ""
    per: float = 1.0
    unit: str = ""

    @property
    def title(self) -> str:
        """The label, or a readable form of the column name."""
        return self.label or self.name.replace("_", " ")

    @property
    def step(self) -> str:
        """The step of a numeric variable's hazard ratio, such as ``per 10``."""
        return self.unit or f"per {self.per:.3g}"


@dataclass(frozen=True)
class VariableRequest:
    """What the user gives for a variable; the rest is recognised from the values.

    Attributes
    ----------
    name : str
        Its column.
    kind : str
        ``"numeric"``, ``"categorical"`` or empty.
    levels : tuple of str
        All categories in their order, the reference first.
    reference : str
        The reference level only.
    label : str
        What the report calls it.
    per : float
        Step of a numeric variable's hazard ratio; 0 for a round number just below its SD.
    log : bool
        Use the binary logarithm, so that the hazard ratio is per doubling.
    merge : mapping of str to str
        New names of values, so that several can become one category.
    missing : tuple of str
        Values that mean a missing value.
    """

    name: str
    kind: Literal["", "numeric", "categorical"] = ""
    levels: tuple[str, ...] = ()
    reference: str = ""
    label: str = ""
    per: float = 0.0
    log: bool = False
    merge: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def recognise(column: pd.Series, request: VariableRequest) -> tuple[Variable, pd.Series]:
    """Turn a column of text or numbers into a variable and its coded values.

    Numbers with more than five values are numeric; text, and whole numbers with at most five
    values, are categories. Categories are sorted by name, with "none", "no", "absent"… first, and
    the first is the reference, unless the request gives an order.

    Returns
    -------
    variable : Variable
    values : Series
        float64, or an ordered categorical; missing if the column has no value.

    Raises
    ------
    DataError
        There is no value, only one value or too many categories, or a named level does not occur.
    """
    text = column.map(_text).astype(object)
    text = text.where(~text.isin([*request.missing, ""]), None)
    if request.merge:
        text = text.map(lambda value: request.merge.get(value, value) if value else None)
    present = text.dropna()
    if present.empty:
        raise DataError(f"variable {request.name!r} has no value for any patient of the analysis")
    if present.nunique() < 2:
        raise DataError(
            f"variable {request.name!r} is {present.iloc[0]!r} in every patient; leave it out"
        )
    parsed = pd.to_numeric(present, errors="coerce")
    kind = request.kind or _kind(parsed, request)
    if kind == "numeric":
        return _numeric(text, parsed, present, request)
    return _categorical(text, present, parsed, request)


def scaled(frame: pd.DataFrame, variable: Variable) -> pd.Series:
    """Scale a numeric variable to its step (``value / per``)."""
    return frame[variable.name].astype(float) / variable.per


def design(
    frame: pd.DataFrame, variables: Sequence[Variable]
) -> tuple[pd.DataFrame, list[tuple[Variable, str]]]:
    """Make the columns of a Cox model: one per numeric variable, one per level but the reference.

    Parameters
    ----------
    frame : DataFrame
        Complete rows.
    variables : sequence of Variable

    Returns
    -------
    columns : DataFrame
        float64, one column per term, named ``x0, x1, …`` (names from the data do not reach models).
    terms : list of (Variable, level)
        Meaning of each column; the level of a numeric variable is ``""``.
    """
    need(frame, [variable.name for variable in variables])
    columns: dict[str, np.ndarray] = {}
    terms: list[tuple[Variable, str]] = []
    for variable in variables:
        if variable.kind == "numeric":
            columns[f"x{len(terms)}"] = scaled(frame, variable).to_numpy(float)
            terms.append((variable, ""))
            continue
        values = frame[variable.name].astype(str)
        for level in variable.levels[1:]:
            columns[f"x{len(terms)}"] = (values == level).to_numpy(float)
            terms.append((variable, level))
    return pd.DataFrame(columns, index=frame.index), terms


def weighed_sum(columns: np.ndarray, coefficients: Sequence[float] | np.ndarray) -> np.ndarray:
    """Linear predictor of each row; equal rows give equal numbers on any processor, in any order.

    A matrix product does not guarantee this: its rounding depends on the position of a row, and
    patients with equal covariates would differ in the last digit.

    Parameters
    ----------
    columns : (n, p) float64
    coefficients : (p,) float64

    Returns
    -------
    (n,) float64
    """
    total = np.zeros(len(columns))
    for column, coefficient in zip(columns.T, coefficients, strict=True):
        total += column * coefficient
    return total


def present_levels(frame: pd.DataFrame, variables: Sequence[Variable]) -> list[Variable]:
    """Return the variables without levels that do not occur in these rows.

    A variable that is constant in these rows is left out.
    """
    kept = []
    frame = complete(frame, [variable.name for variable in variables])
    for variable in variables:
        if variable.kind == "numeric":
            if frame[variable.name].nunique() > 1:
                kept.append(variable)
            continue
        found = set(frame[variable.name].astype(str))
        levels = tuple(level for level in variable.levels if level in found)
        if len(levels) > 1:
            kept.append(_with_levels(variable, levels))
    return kept


def _with_levels(variable: Variable, levels: tuple[str, ...]) -> Variable:
    return replace(variable, levels=levels)


def _text(value: object) -> str | None:
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _kind(parsed: pd.Series, request: VariableRequest) -> str:
    if request.levels or request.reference or request.merge or parsed.isna().any():
        return "categorical"
    whole = (parsed == parsed.round()).all()
    return "categorical" if whole and parsed.nunique() <= FEW_CODES else "numeric"


def _numeric(
    text: pd.Series, parsed: pd.Series, present: pd.Series, request: VariableRequest
) -> tuple[Variable, pd.Series]:
    wrong = present[parsed.isna()]
    if len(wrong):
        raise DataError(
            f"variable {request.name!r}: {what_is_wrong(str(wrong.iloc[0]), len(wrong))}"
        )
    values = pd.to_numeric(text, errors="coerce").astype(float)
    if not np.isfinite(values.dropna()).all():
        raise DataError(f"variable {request.name!r} has an infinite value")
    if request.log:
        if (values <= 0).any():
            raise DataError(
                f"variable {request.name!r}: the logarithm needs values above 0, but "
                f"{values.min():g} occurs"
            )
        doubled = Variable(request.name, "numeric", (), request.label, 1.0, "per doubling")
        return doubled, pd.Series(np.log2(values), index=values.index)
    step = request.per or _round_step(_spread(values))
    return Variable(request.name, "numeric", (), request.label, step), values


def _spread(values: pd.Series) -> float:
    # The middle half of a normal distribution is 1.35 SD wide and is not affected by outliers.
    low, high = values.quantile([0.25, 0.75])
    return float((high - low) / 1.35) or float(values.std(ddof=0))


def _round_step(spread: float) -> float:
    """Find the largest 1, 2 or 5 times a power of ten that is not above the spread."""
    power = 10.0 ** np.floor(np.log10(spread))
    return float(max(step for step in (1, 2, 5) if step * power <= spread) * power)


def _categorical(
    text: pd.Series, present: pd.Series, parsed: pd.Series, request: VariableRequest
) -> tuple[Variable, pd.Series]:
    if parsed.notna().mean() > 0 and parsed.notna().all():
        # 1, 1.0 and 01 are the same code.
        numbered = {value: _text(float(value)) for value in present.unique()}
        text = text.map(lambda value: numbered.get(value) if value else None)
        present = text.dropna()
    levels = _levels(present, request)
    if len(levels) > MOST_LEVELS:
        hint = ""
        if parsed.notna().mean() > 0.5:
            wrong = present[parsed.reindex(present.index).isna()]
            hint = f"; {_some(wrong)} is not a number; give --missing if it means a missing value"
        raise DataError(
            f"variable {request.name!r} has {len(levels)} different values, more than "
            f"{MOST_LEVELS} categories{hint}"
        )
    values = pd.Series(
        pd.Categorical(text, categories=list(levels), ordered=True), index=text.index
    )
    return Variable(request.name, "categorical", levels, request.label), values


def _levels(present: pd.Series, request: VariableRequest) -> tuple[str, ...]:
    found = sorted(present.unique(), key=_natural)
    if request.levels:
        extra = [value for value in found if value not in request.levels]
        if extra:
            raise DataError(
                f"variable {request.name!r}: value {extra[0]!r} is not among the given levels "
                f"({', '.join(request.levels)}); add it, merge it, or mark it as missing"
            )
        found = [level for level in request.levels if level in set(present)]
    if request.reference:
        if request.reference not in found:
            raise DataError(
                f"variable {request.name!r}: reference {request.reference!r} does not occur; "
                f"its values are: {', '.join(found)}"
            )
        found = [request.reference] + [level for level in found if level != request.reference]
    return tuple(found)


def _natural(value: str) -> tuple[int, list[tuple[int, float, str]]]:
    parts = [part for part in re.split(r"(\d+(?:\.\d+)?)", value.lower()) if part]
    key = [(0, float(part), "") if part[0].isdigit() else (1, 0.0, part) for part in parts]
    place = 0 if value.lower() in LOWEST else 2 if PLACEHOLDER.match(value) else 1
    return place, key


def _some(values: pd.Series) -> str:
    return ", ".join(repr(str(value)) for value in values.unique()[:3])
