"""Losses of a head: functions of the logits of a batch of patients and of their outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from qupath_hccmil.heads.outcomes import LossName, Outcome
from qupath_hccmil.method.published_numbers import THRESHOLD
from qupath_hccmil.mil.outcome_loss import outcome_loss

_LEAST_HAZARD = 1e-3


def make_loss(
    name: LossName, training: Sequence[Outcome], *, threshold: float = THRESHOLD, bins: int = 8
) -> Loss:
    """Make a loss for the outcomes of the training patients.

    Parameters
    ----------
    name : {"outcome", "cox", "discrete-time"}
    training : sequence of Outcome
        All usable for the loss; ``discrete-time`` takes its intervals from them.
    threshold : float
        t of the published loss, used by ``outcome`` only.
    bins : int
        Largest number of intervals, used by ``discrete-time`` only.
    """
    if name == "outcome":
        return OutcomeLoss(threshold)
    if name == "cox":
        return CoxLoss()
    time, event = follow_up(training)
    return DiscreteTimeLoss.of_events(time, event, bins)


def follow_up(outcomes: Sequence[Outcome]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Years and events ``(n,)`` of patients who all have follow-up."""
    time = np.array([outcome.time for outcome in outcomes], dtype=np.float64)
    return time, np.array([outcome.event for outcome in outcomes], dtype=bool)


class Loss(nn.Module):
    """Maps logits ``(n,)`` and the outcomes of the same patients to a scalar; lower is better."""

    def forward(self, logits: Tensor, outcomes: Sequence[Outcome]) -> Tensor:
        """Mean loss of a batch."""
        raise NotImplementedError


class OutcomeLoss(Loss):
    """The published cross-entropy on p(good outcome), mean over patients.

    Parameters
    ----------
    threshold : float
        t of the published loss.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, logits: Tensor, outcomes: Sequence[Outcome]) -> Tensor:
        """Mean loss of a batch."""
        each = [
            outcome_loss(logit, int(outcome.label == 1), self.threshold)
            for logit, outcome in zip(logits, outcomes, strict=True)
        ]
        return torch.stack(each).mean()


class CoxLoss(Loss):
    """Negative log partial likelihood of Cox (1972) over a batch, per event.

    The logit is the log hazard ratio; risk sets are those within the batch.
    """

    def forward(self, logits: Tensor, outcomes: Sequence[Outcome]) -> Tensor:
        """Mean loss per event; 0, with a gradient of 0, without events."""
        time, event = follow_up(outcomes)
        return cox_loss(logits, time, event)


def cox_loss(logits: Tensor, time: NDArray[np.float64], event: NDArray[np.bool_]) -> Tensor:
    """Negative log partial likelihood per event, with Efron's correction for tied events.

    Parameters
    ----------
    logits : (n,) Tensor
        Log hazard ratios.
    time : (n,) float64
    event : (n,) bool

    Returns
    -------
    Tensor
        Scalar.

    Notes
    -----
    Of d events at one time, the j-th (from 0) has the risk set without ``j/d`` of the d patients
    (Efron 1977). A patient who is censored at the time of an event is still at risk. Computed from
    differences to the largest logit, so that no exponential overflows.
    """
    if not event.any():
        return 0 * logits.sum()
    order = np.lexsort((~event, -time))
    logits = logits[torch.from_numpy(order).to(logits.device)]
    time, event = time[order], event[order]
    # Latest first: everyone up to the last place of a time is at risk at that time.
    at_risk = torch.logcumsumexp(logits, dim=0)
    terms = []
    for moment in np.unique(time[event]):
        of_time = np.flatnonzero(time == moment)
        last, died = int(of_time[-1]), of_time[event[of_time]]
        tied = logits[int(died[0]) : int(died[-1]) + 1]
        whole = at_risk[last]
        if len(died) == 1:
            terms.append(whole - tied[0])
            continue
        share = torch.arange(len(died)).to(logits) / len(died)
        part = torch.exp(torch.logsumexp(tied, dim=0) - whole)
        terms.append((whole + torch.log1p(-share * part) - tied).sum())
    return torch.stack(terms).sum() / int(event.sum())


class DiscreteTimeLoss(Loss):
    """Cross-entropy of an event in each interval that a patient was followed through.

    The hazard of interval k is ``sigmoid(b_k + S)``: the logit S raises the log odds of an event by
    the same amount in every interval (Cox 1972, §6), so S itself is the risk. The baselines b_k are
    fitted together with the head and are not needed to score patients.

    Parameters
    ----------
    edges : (k,) float64
        Ends of the intervals, years, rising.
    hazards : (k,) float64
        Hazards that the baselines start from, in (0, 1).

    Notes
    -----
    Gensheimer and Narasimhan (2019, "nnet-survival"), including their rule that a censored patient
    survived an interval if followed through at least half of it. Time after the last edge counts as
    surviving all intervals.
    """

    def __init__(self, edges: NDArray[np.float64], hazards: NDArray[np.float64]) -> None:
        super().__init__()
        # They follow from the training patients, so that no checkpoint has to keep them.
        self.edges = np.asarray(edges, dtype=np.float64)
        odds = np.log(hazards) - np.log1p(-np.asarray(hazards))
        self.baseline = nn.Parameter(torch.from_numpy(odds).float())

    @classmethod
    def of_events(
        cls, time: NDArray[np.float64], event: NDArray[np.bool_], bins: int
    ) -> DiscreteTimeLoss:
        """Choose intervals with about equally many events, and their hazards in the cohort.

        Parameters
        ----------
        time : (n,) float64
        event : (n,) bool
            At least one event.
        bins : int
            Largest number of intervals; fewer if event times are tied.
        """
        times = time[event]
        edges = np.unique(np.quantile(times, np.arange(1, bins + 1) / bins, method="inverted_cdf"))
        survived, died = _intervals(time, event, edges)
        at_risk = (survived | died).sum(axis=0)
        hazards = died.sum(axis=0) / np.maximum(at_risk, 1)
        return cls(edges, np.clip(hazards, _LEAST_HAZARD, 1 - _LEAST_HAZARD))

    def forward(self, logits: Tensor, outcomes: Sequence[Outcome]) -> Tensor:
        """Mean loss per patient."""
        time, event = follow_up(outcomes)
        survived, died = (
            torch.from_numpy(part).to(logits.device) for part in _intervals(time, event, self.edges)
        )
        odds = self.baseline + logits[:, None]
        # −log(1 − h) = softplus(x) and −log h = softplus(−x) for h = sigmoid(x).
        each = functional.softplus(odds) * survived + functional.softplus(-odds) * died
        return each.sum() / len(logits)


def _intervals(
    time: NDArray[np.float64], event: NDArray[np.bool_], edges: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each patient and interval, whether they survived it, and whether the event came in it."""
    starts = np.concatenate([[0.0], edges[:-1]])
    place = np.searchsorted(edges, time, side="left")
    number = np.arange(len(edges))
    middle = (starts + edges) / 2
    survived = np.where(event[:, None], number < place[:, None], middle <= time[:, None])
    return survived, event[:, None] & (number == place[:, None])
