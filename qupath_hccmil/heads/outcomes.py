"""The outcome of a patient, and which patients a loss can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LossName = Literal["outcome", "cox", "discrete-time"]


@dataclass(frozen=True)
class Outcome:
    """Follow-up and label of a patient; None for what is not known.

    Attributes
    ----------
    time : float or None
        Years to recurrence, or of follow-up without it; at least 0.
    event : bool or None
        Whether recurrence was observed.
    label : int or None
        1 for a good outcome, 0 for a poor one, see :mod:`qupath_hccmil.method.outcome_label`.
    """

    time: float | None = None
    event: bool | None = None
    label: int | None = None

    def usable_for(self, loss: LossName) -> bool:
        """Whether a loss can use the patient: ``outcome`` a label, the others follow-up."""
        if loss == "outcome":
            return self.label is not None
        return self.time is not None and self.event is not None

    def poor(self, loss: LossName) -> bool:
        """Whether the patient counts as poor: by the label, or because of an event."""
        return self.label == 0 if loss == "outcome" else bool(self.event)
