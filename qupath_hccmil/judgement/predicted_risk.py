"""The risk of an event that a score predicts in held-out patients, and whether it is right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from qupath_hccmil.judgement.judged_cohort import UNIT, JudgedCohort
from qupath_hccmil.judgement.kept_folds import FoldResult
from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.survival.attempt import attempt
from qupath_hccmil.survival.statistics.baseline import fit_baseline
from qupath_hccmil.survival.statistics.decision_curve import net_benefit
from qupath_hccmil.survival.statistics.horizon_calibration import Calibration, calibration
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME
from qupath_hccmil.survival.step_performance import thresholds_of

DRAWS = 200
"""Bootstrap samples for what is drawn and not read off: bands, and the curve of calibration."""
_LOGIT, _RISK = "logit__", "risk__"


def calibrate(
    cohort: JudgedCohort,
    repeats: Sequence[Sequence[FoldResult]],
    horizons: Sequence[float],
    settings: NestedSettings,
    problems: list[tuple[str, str]],
) -> tuple[list[Calibration], pd.DataFrame | None]:
    """Compare the predicted risks of held-out patients with their outcomes.

    Parameters
    ----------
    cohort : JudgedCohort
    repeats : sequence of sequence of FoldResult
    horizons : sequence of float
        Years.
    settings : NestedSettings
    problems : list of (part, reason)
        What cannot be computed is added.

    Returns
    -------
    calibrations : list of Calibration
        One for each horizon at which it can be computed.
    net_benefit : DataFrame or None
        Decision curves of these horizons, one after the other; None without any.
    """
    risks = attempt(
        problems, "Predicted risks", partial(predicted_risks, cohort, repeats, horizons)
    )
    calibrations, benefits = [], []
    for at, values in (risks or {}).items():
        if not np.isfinite(values).all():
            problems.append((
                f"Predicted risks at {at:g} {UNIT}",
                "some folds cannot predict them, because the other patients are not followed so "
                "long",
            ))  # fmt: skip
            continue
        table = cohort.frame[[TIME, EVENT]].assign(**{_RISK: values})
        one = attempt(
            problems,
            f"Calibration at {at:g} {UNIT}",
            partial(
                calibration, table, _RISK, at, repeats=min(settings.bootstrap, DRAWS),
                seed=settings.seed, confidence=settings.confidence,
            ),
        )  # fmt: skip
        if one is not None:
            calibrations.append(one)
        benefit = attempt(
            problems,
            f"Decision curve at {at:g} {UNIT}",
            partial(net_benefit, table, _RISK, at, thresholds_of(table[_RISK])),
        )
        if benefit is not None:
            benefits.append(benefit.assign(horizon=at))
    return calibrations, pd.concat(benefits, ignore_index=True) if benefits else None


def predicted_risks(
    cohort: JudgedCohort, repeats: Sequence[Sequence[FoldResult]], horizons: Sequence[float]
) -> dict[float, NDArray[np.float64]]:
    """Risk of an event up to each horizon, averaged over the repeats.

    The Cox baseline of a fold is fitted on the inner predictions of its other patients, so neither
    the model nor the baseline has seen the patients that it is judged on.

    Returns
    -------
    dict of float to (n,) float64
        In the order of the cohort. NaN for a patient whose baseline is not followed so long.

    Raises
    ------
    DataError
        A baseline cannot be fitted.
    """
    frame = cohort.frame
    found = {at: np.full((len(repeats), len(frame)), np.nan) for at in horizons}
    place = {patient: number for number, patient in enumerate(frame.index)}
    for row, folds in enumerate(repeats):
        for fold in folds:
            train = frame.loc[list(fold.inner_logits)].assign(
                **{_LOGIT: pd.Series(fold.inner_logits)}
            )
            baseline = fit_baseline(train, _LOGIT, name=f"fold {fold.name}", unit=UNIT)
            where = [place[patient] for patient in fold.logits]
            logits = np.array(list(fold.logits.values()))
            for at in horizons:
                if at <= baseline.last:
                    found[at][row, where] = 1 - baseline.survival(logits, at)
    return {at: np.clip(values.mean(axis=0), 1e-9, 1 - 1e-9) for at, values in found.items()}
