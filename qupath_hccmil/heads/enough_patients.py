"""Whether patients suffice for training a head, and the figures that compare its epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.feature_bag import FeatureBag
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.heads.loss import follow_up
from qupath_hccmil.heads.outcomes import LossName, Outcome
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.mil.metrics import auc, score_ranks

FEWEST_EVENTS = 2


def held_out_auc(logits: NDArray[np.float64], outcomes: Sequence[Outcome]) -> float:
    """AUC of logits over the patients with a label; NaN if one outcome is absent."""
    labelled = np.array([outcome.label is not None for outcome in outcomes])
    poor = np.array([outcome.label == 0 for outcome in outcomes])
    return auc(poor[labelled], score_ranks(logits[labelled]))


def held_out_c_index(logits: NDArray[np.float64], outcomes: Sequence[Outcome]) -> float:
    """Harrell's C of logits over the patients with follow-up; NaN if no pair is usable."""
    known = np.array([outcome.usable_for("cox") for outcome in outcomes])
    time, event = follow_up([one for one, use in zip(outcomes, known, strict=True) if use])
    return concordance(time, event, score_ranks(logits[known]))


def check_events(side: str, outcomes: Sequence[Outcome], loss: LossName) -> None:
    """Refuse patients that are too few for a loss.

    Raises
    ------
    DataError
        For ``outcome``, one outcome is absent; for the others, there are fewer than
        `FEWEST_EVENTS` events, or no patient was followed for longer than one with an event.
    """
    if loss == "outcome":
        if {outcome.label for outcome in outcomes} != {0, 1}:
            raise DataError(
                f"{side} needs patients of both outcomes; it has {len(outcomes)} patients"
            )
        return
    events = sum(outcome.poor(loss) for outcome in outcomes)
    if events < FEWEST_EVENTS:
        raise DataError(
            f"{side} has {events} patients with an event of {len(outcomes)}; --loss {loss} needs "
            f"at least {FEWEST_EVENTS}, and many more for a useful model"
        )
    if math.isnan(held_out_c_index(np.zeros(len(outcomes)), outcomes)):
        raise DataError(
            f"{side} has no two patients of whom one had an event while the other was still "
            f"followed; --loss {loss} needs them"
        )


def check_patients(
    training: Sequence[FeatureBag],
    choosing: Sequence[FeatureBag],
    outcomes: Mapping[str, Outcome],
    settings: HeadSettings,
) -> None:
    """Refuse patients that a training cannot use, or who are too few for it.

    Raises
    ------
    DataError
        An outcome is missing, a patient is on both sides, a side has too few events, or the figure
        that compares epochs has no value for those that choose.
    """
    needed = "a label" if settings.loss == "outcome" else "follow-up"
    for side, bags in {"training": training, "choosing the epoch": choosing}.items():
        for bag in bags:
            if not outcomes.get(bag.patient, Outcome()).usable_for(settings.loss):
                raise DataError(f"patient {bag.patient!r} has not {needed} and cannot be used")
        check_events(side, [outcomes[bag.patient] for bag in bags], settings.loss)
    both = {bag.patient for bag in training} & {bag.patient for bag in choosing}
    if both:
        raise DataError(f"patient {min(both)!r} is in both training and validation")
    known = [outcomes[bag.patient] for bag in choosing]
    logits = np.zeros(len(known))
    figures = {"auc": held_out_auc, "c_index": held_out_c_index}
    figure = figures.get(settings.chosen_by)
    if figure is not None and math.isnan(figure(logits, known)):
        raise DataError(
            f"the patients that choose the epoch have no {settings.chosen_by}: it needs "
            + ("labels of both outcomes" if settings.chosen_by == "auc" else "follow-up and events")
            + "; use --chosen-by loss"
        )
