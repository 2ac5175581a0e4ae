"""The effect of one variable across centres: in each, pooled, and with each left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.random_effects import Pooled, pool
from qupath_hccmil.survival.statistics.stratified_cox import StratifiedFit, fit_stratified
from qupath_hccmil.survival.statistics.subgroups import subgroup_effects
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, complete
from qupath_hccmil.survival.statistics.variables import Variable

PLAIN = "Centres ignored"
CLUSTERED = "Clustered by centre"
STRATIFIED = "Stratified by centre"


@dataclass(frozen=True)
class Centres:
    """An effect across centres.

    Attributes
    ----------
    models : DataFrame
        ``model, adjusted, patients, events, centres, coefficient, se, hazard_ratio, lower, upper,
        p``: the effect, alone and adjusted, in models that treat centres differently.
    by_centre : DataFrame
        ``centre, patients, events, coefficient, se, hazard_ratio, lower, upper, p, note``.
    pooled : Pooled or None
        Of the log hazard ratios; None if fewer than two centres have an estimate.
    statistic, degrees_of_freedom, p : float, int, float
        Likelihood-ratio test of the interaction of the effect with the centre.
    left_out : DataFrame
        ``centre, patients, events, hazard_ratio, lower, upper, p``: the stratified model without
        each centre.
    """

    models: pd.DataFrame
    by_centre: pd.DataFrame
    pooled: Pooled | None
    statistic: float
    degrees_of_freedom: int
    p: float
    left_out: pd.DataFrame


def centre_effects(
    frame: pd.DataFrame,
    effect: Variable,
    centre: str,
    adjusted: Sequence[Variable] = (),
    *,
    confidence: float = 0.95,
) -> Centres:
    """Estimate an effect in models with centres, in each centre, and without each centre.

    Parameters
    ----------
    frame : DataFrame
        ``time``, ``event``, the variables and the centre; ``entry_time`` if patients enter late.
    effect : Variable
        Numeric.
    centre : str
        Column of the centre; rows without one are left out.
    adjusted : sequence of Variable
        Other variables of the adjusted models.
    confidence : float

    Raises
    ------
    DataError
        There is only one centre.
    """
    rows = complete(frame, [centre, effect.name])
    names = sorted(rows[centre].astype(str).unique())
    if len(names) < 2:
        raise DataError("there is only one centre")
    rows = rows.assign(centre__=rows[centre].astype(str))
    levels = Variable("centre__", "categorical", tuple(names), "Centre")
    apart = subgroup_effects(rows, effect, [levels], confidence=confidence)
    by_centre = apart.table.iloc[1:].rename(columns={"level": "centre"})
    by_centre = by_centre.drop(columns=["variable", "label"]).reset_index(drop=True)
    known = by_centre["se"].notna().sum()
    pooled = None
    if known > 1:
        pooled = pool(
            by_centre["coefficient"].to_numpy(float),
            by_centre["se"].to_numpy(float),
            confidence=confidence,
        )
    test = apart.tests.iloc[0]
    return Centres(
        _models(rows, effect, adjusted, confidence),
        by_centre,
        pooled,
        float(test["statistic"]),
        int(test["degrees_of_freedom"]),
        float(test["p"]),
        _leaving_out(rows, effect, names, confidence),
    )


def _models(
    rows: pd.DataFrame, effect: Variable, adjusted: Sequence[Variable], confidence: float
) -> pd.DataFrame:
    found = []
    for others in ([], list(adjusted)) if adjusted else ([],):
        for name, strata, cluster in (
            (PLAIN, None, None),
            (CLUSTERED, None, "centre__"),
            (STRATIFIED, "centre__", None),
        ):
            try:
                fit = fit_stratified(
                    rows, [effect, *others], strata=strata, cluster=cluster, confidence=confidence
                )
            except DataError:
                found.append((name, bool(others), 0, 0, *[np.nan] * 6))
                continue
            found.append((name, bool(others), fit.patients, fit.events, *_effect(fit, effect)))
    names = ["model", "adjusted", "patients", "events", "coefficient", "se", "hazard_ratio",
             "lower", "upper", "p"]  # fmt: skip
    return pd.DataFrame(found, columns=names)


def _leaving_out(
    rows: pd.DataFrame, effect: Variable, names: Sequence[str], confidence: float
) -> pd.DataFrame:
    found = []
    for name in names:
        rest = rows[rows["centre__"] != name]
        head = (name, len(rest), int(rest[EVENT].sum()))
        try:
            fit = fit_stratified(rest, [effect], strata="centre__", confidence=confidence)
        except DataError:
            found.append((*head, *[np.nan] * 6))
            continue
        found.append((*head, *_effect(fit, effect)))
    names_of = ["centre", "patients", "events", "coefficient", "se", "hazard_ratio", "lower",
                "upper", "p"]  # fmt: skip
    return pd.DataFrame(found, columns=names_of)


def _effect(fit: StratifiedFit, effect: Variable) -> tuple[float, ...]:
    row = fit.table[fit.table["variable"] == effect.name].iloc[0]
    shown = ("coefficient", "se", "hazard_ratio", "lower", "upper", "p")
    return tuple(float(row[key]) for key in shown)
