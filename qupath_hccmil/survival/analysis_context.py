"""Data that the steps of an analysis share: the cohort, its horizons, and the problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd

from qupath_hccmil.survival.analysis_cohort import Cohort
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.attempt import Found, attempt
from qupath_hccmil.survival.statistics.survival_outcome import outcome
from qupath_hccmil.tables.units import DAYS

USUAL_HORIZONS = (1.0, 3.0, 5.0)  # years
FEWEST_AT_RISK = 10


class CoxOptions(TypedDict):
    """Options for every Cox model of an analysis."""

    confidence: float
    penalty: str


class AnalysisContext:
    """An analysis in progress."""

    def __init__(self, cohort: Cohort, settings: Settings, progress: Callable[[str], None]) -> None:
        self.cohort, self.settings, self.progress = cohort, settings, progress
        self.frame = cohort.frame
        self.problems: list[tuple[str, str]] = []
        self.horizons, told = choose_horizons(self.frame, settings.horizons, cohort.unit)
        self.problems += told
        self.confidence = settings.confidence
        self.score, self.group = cohort.score_variable, cohort.group_variable
        self.clinical = list(cohort.variables)

    def attempt(self, part: str, task: Callable[[], Found]) -> Found | None:
        """Run one part, or record why it cannot be done; a failure affects only this part."""
        self.progress(part.lower())
        return attempt(self.problems, part, task)

    def options(self) -> CoxOptions:
        """Return the options for every Cox model."""
        return {"confidence": self.confidence, "penalty": self.settings.penalty}


def choose_horizons(
    frame: pd.DataFrame, asked: Sequence[float], unit: str
) -> tuple[tuple[float, ...], list[tuple[str, str]]]:
    """Keep the horizons that are within follow-up, or choose usual ones.

    Returns
    -------
    horizons : tuple of float
        Ascending. If none was requested, those of 1, 3 and 5 years to which at least ten patients
        are followed.
    problems : list of (part, reason)
        Requested horizons that are after the last follow-up.
    """
    time, event = outcome(frame, delayed=True)
    last = float(time.max())
    if asked:
        kept = tuple(sorted({horizon for horizon in asked if horizon <= last}))
        problems = [
            (
                f"Horizon {horizon:g} {unit}",
                f"is after the last follow-up ({last:.2f} {unit}) and was left out",
            )
            for horizon in sorted(set(asked) - set(kept))
        ]
        if kept:
            return kept, problems
    else:
        problems = []
        scale = DAYS["years"] / DAYS[unit]
        kept = tuple(
            round(year * scale, 6)
            for year in USUAL_HORIZONS
            if (time >= year * scale).sum() >= FEWEST_AT_RISK
        )
        if kept:
            return kept, problems
    middle = float(np.median(time[event])) if event.any() else float(np.median(time))
    return (middle,), [
        *problems,
        ("Horizons", f"the median time to an event, {middle:.3g} {unit}, is used"),
    ]
