"""Figures of a head on patients that no weight was fitted to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qupath_hccmil.mil.metrics import Estimate
from qupath_hccmil.mil.risk_evaluation import RiskScores, without_nan


@dataclass(frozen=True)
class HeadFigures:
    """How well risks predict outcomes of patients that no weight was fitted to.

    Attributes
    ----------
    patients : int
    scores : RiskScores or None
        Figures for the patients with a distinct outcome; None if there are none.
    c_index : Estimate or None
        Harrell's C over the patients with follow-up; None if nobody with follow-up had an event.
    """

    patients: int
    scores: RiskScores | None
    c_index: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """All figures as JSON values, without those of single patients."""
        content = {} if self.scores is None else self.scores.as_dict()
        content.pop("bags", None)
        c = None if self.c_index is None else without_nan(asdict(self.c_index))
        return {"patients": self.patients, **content, "c_index": c}
