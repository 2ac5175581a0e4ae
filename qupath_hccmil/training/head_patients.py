"""The patients that a head is trained on, and who is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qupath_hccmil.heads.outcomes import LossName, Outcome
from qupath_hccmil.method.outcome_label import LabelledCohort
from qupath_hccmil.model_store.model_config import FeatureConfig
from qupath_hccmil.slide_sources.left_out import LeftOut, counted
from qupath_hccmil.training.clinical_table import DIFFERING, Clinical
from qupath_hccmil.training.patient_features import FoundFeatures


@dataclass(frozen=True)
class HeadChoices:
    """The patients that a head is trained on, and who and what is left out, with the reasons.

    Attributes
    ----------
    loss : {"outcome", "cox", "discrete-time"}
    said : list of str
        Lines that say what was recognised in the table and the files of features.
    cohort : LabelledCohort
        Cohort of the whole table.
    outcomes : dict of str to Outcome
        For each patient used for training, the outcome.
    features : FeatureConfig
    tiles : int
        Number of tiles of these patients.
    left_out : list of LeftOut
    """

    loss: LossName
    said: list[str]
    cohort: LabelledCohort
    outcomes: dict[str, Outcome]
    features: FeatureConfig
    tiles: int
    left_out: list[LeftOut]

    def counts(self) -> str:
        """Count the patients that are used, by outcome."""
        poor = sum(outcome.poor(self.loss) for outcome in self.outcomes.values())
        others = len(self.outcomes) - poor
        if self.loss == "outcome":
            return f"{others} good, {poor} poor"
        return f"{poor} with an event, {others} censored"

    def lines(self) -> list[str]:
        """Describe the choices to the user, with counts for each reason."""
        encoder = self.features.encoder or "an encoder that the files do not name"
        follow_up = self.cohort.follow_up.values()
        table = (
            self.cohort.summary()
            if self.loss == "outcome"
            else f"follow-up of {len(follow_up)} patients, {sum(e for _, e in follow_up)} events"
        )
        return [
            *self.said,
            f"Table: {table}",
            *(f"Left out: {line}" for line in counted(self.left_out)),
            f"Trained on, from features of {encoder}: {self.counts()}; {self.tiles} tiles",
        ]


def head_choices(
    table: Clinical, found: FoundFeatures, used: dict[str, Outcome], loss: LossName
) -> HeadChoices:
    """Say who is used, and why the others are not: outcomes first, then features."""
    unusable = table.patients - usable_outcomes(table, loss).keys()
    excluded = [
        LeftOut("patient", patient, _why_unusable(table, patient, loss))
        for patient in sorted(unusable)
    ]
    said = [*table.said, *found.said]
    tiles = sum(len(bag) for bag in found.bags.values())
    left_out = [*excluded, *found.left_out]
    return HeadChoices(loss, said, table.cohort, used, found.shared, tiles, left_out)


def usable_outcomes(table: Clinical, loss: LossName) -> dict[str, Outcome]:
    """Outcomes of the patients of a table that a loss can use."""
    found = {}
    for patient in sorted(table.patients):
        time, event = table.cohort.follow_up.get(patient, (None, None))
        label = table.cohort.labels.get(patient)
        one = Outcome(time, None if event is None else bool(event), label)
        if one.usable_for(loss):
            found[patient] = one
    return found


def _why_unusable(table: Clinical, patient: str, loss: LossName) -> str:
    reason = table.cohort.excluded.get(patient, "")
    # Reasons against a label, such as a late recurrence, are none against follow-up.
    return reason if loss == "outcome" or reason == DIFFERING else "time or event missing"


def labels_of(outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """Label of each patient with a distinct outcome."""
    return {patient: one.label for patient, one in outcomes.items() if one.label is not None}


def follow_up_of(outcomes: Mapping[str, Outcome]) -> dict[str, tuple[float, int]]:
    """Years and event of each patient for whom both are known."""
    return {
        patient: (one.time, int(one.event))
        for patient, one in outcomes.items()
        if one.time is not None and one.event is not None
    }
