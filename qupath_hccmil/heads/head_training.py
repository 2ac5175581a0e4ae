"""Training of a head on features and outcomes: seeded, with limited memory, resumable."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.enough_patients import check_patients, held_out_auc, held_out_c_index
from qupath_hccmil.heads.feature_bag import FeatureBag
from qupath_hccmil.heads.fitted_head import FittedHead, read_features
from qupath_hccmil.heads.head import Head, make_head
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.heads.loss import Loss, make_loss
from qupath_hccmil.heads.outcomes import Outcome
from qupath_hccmil.learning.checkpoint import CHECKPOINT
from qupath_hccmil.learning.stepwise_training import StepwiseTraining
from qupath_hccmil.mil.bag_gradient import backward_by_chunks
from qupath_hccmil.mil.bags import draw

Progress = Callable[[Mapping[str, float]], None]
_CPU = torch.device("cpu")
_FIGURES = {"loss": "held_out_loss", "auc": "auc", "c_index": "c_index"}


def fit_head(
    training: Sequence[FeatureBag],
    choosing: Sequence[FeatureBag],
    outcomes: Mapping[str, Outcome],
    settings: HeadSettings,
    out: Path | None = None,
    *,
    progress: Progress | None = None,
    device: torch.device = _CPU,
    origin: str = "",
) -> FittedHead:
    """Train a head on features of patients with outcomes.

    Parameters
    ----------
    training, choosing : sequence of FeatureBag
        Patients that the weights are fitted to, and those that choose the epoch; no patient may be
        in both.
    outcomes : mapping of str to Outcome
        For each patient an outcome that the loss can use.
    settings : HeadSettings
    out : Path, optional
        Folder for the checkpoint, the log (CSV) and its curves (PNG). Training continues from an
        existing checkpoint. Without a folder nothing is written.
    progress : callable, optional
        Called with the log row of each epoch, and for each step with ``epoch``, ``step`` and
        ``loss``.
    device : torch.device
        Device to train on, on which the head remains. On CUDA mixed precision is used.
    origin : str
        Describes where the features come from; a checkpoint with another origin is refused.

    Returns
    -------
    FittedHead

    Raises
    ------
    DataError
        An outcome is missing, a patient is on both sides, a side has too few events, features
        cannot be used, `out` has a checkpoint of another training, or the training diverges.
    ModelError
        An argument of the head is not one of its own or out of range.

    Notes
    -----
    The optimiser is AdamW. A step sees a batch of patients, in which events are spread evenly, and
    a random subset of each one's tiles, drawn anew in each epoch. Random choices of a step depend
    only on the seed, the epoch and the number of the step, so a training that was killed and
    continued ends with the same bytes.
    """
    check_patients(training, choosing, outcomes, settings)
    fingerprint = _fingerprint(training, choosing, outcomes, settings, origin)
    resumes = out is not None and (out / CHECKPOINT).exists()
    head = _new_head(training, settings, measured=not resumes)
    loss = make_loss(
        settings.loss,
        [outcomes[bag.patient] for bag in training],
        threshold=settings.threshold,
        bins=settings.bins,
    )
    run = _Run(head, loss, settings, fingerprint, device)
    curves = {
        "loss": "training: loss",
        "held_out_loss": "held out: loss",
        **({"auc": "held out: AUC"} if settings.loss == "outcome" else {}),
        **({"c_index": "held out: C-index"} if settings.loss != "outcome" else {}),
    }
    if out is not None:
        run.resume(out, curves)
    while run.goes_on:
        value = run.train_epoch(training, outcomes, out, progress)
        row = {
            "epoch": float(run.epoch),
            "loss": value,
            **_validate(head, loss, choosing, outcomes),
            "learning_rate": run.learning_rate(run.epoch - 1),
        }
        figure, higher = _FIGURES[settings.chosen_by], settings.chosen_by != "loss"
        if out is None:
            run.keep(row, figure, higher=higher)
        else:
            run.end_epoch(out, curves, row, figure, higher=higher)
        if progress:
            progress(row)
    head.load_state_dict(run.best)
    fitted = FittedHead(head.eval(), run.best_epoch, run.log)
    if settings.loss != "outcome":
        # The loss leaves the level open. One level makes trainings comparable: thresholds and risks
        # are derived from the logits of several.
        head.set_level(float(fitted.predict(training).mean()))
    return fitted


class _Run(StepwiseTraining[HeadSettings]):
    """A training in progress."""

    def __init__(
        self,
        head: Head,
        loss: Loss,
        settings: HeadSettings,
        fingerprint: str,
        device: torch.device,
    ) -> None:
        self.head, self.loss = head.to(device), loss.to(device)
        groups: list[dict[str, Any]] = [{"params": list(head.parameters())}]
        if fitted := list(loss.parameters()):
            groups.append({"params": fitted, "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(
            groups, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        networks = {"head": head, "fitted_loss": loss}
        super().__init__(networks, "head", optimizer, settings, fingerprint, device)

    def train_epoch(
        self,
        bags: Sequence[FeatureBag],
        outcomes: Mapping[str, Outcome],
        out: Path | None,
        progress: Progress | None,
    ) -> float:
        """Train one epoch, or the rest of it; returns its mean loss over steps."""
        poor = np.array([outcomes[bag.patient].poor(self.settings.loss) for bag in bags])
        batches = _batches(poor, self.settings, self.random(0))
        self.head.train()

        def step(number: int) -> float:
            batch = [bags[place] for place in batches[number]]
            return self._step(batch, outcomes, self.random(number + 1))

        checkpoint = None if out is None else out / CHECKPOINT
        mean = self.run_steps(len(batches), step, checkpoint, progress, "step")
        self.head.eval()
        return mean

    def _step(
        self,
        bags: Sequence[FeatureBag],
        outcomes: Mapping[str, Outcome],
        rng: np.random.Generator,
    ) -> float:
        s = self.settings
        rows = [draw(bag, s.tiles, rng) for bag in bags]
        # Dropout draws from torch: differently for each patient, but the same in both passes.
        seeds = rng.integers(2**31, size=len(bags)).tolist()
        scaler = self.precision.scaler

        def forward(part: Sequence[int]) -> Tensor:
            logits = []
            for place in part:
                torch.manual_seed(seeds[place])
                features = read_features(bags[place], self.head.width, rows[place])
                with self.precision.autocast():
                    output = self.head(torch.from_numpy(features).to(self.device))
                logits.append(output.logit.float())
            return torch.stack(logits)

        self.optimizer.zero_grad()
        known = [outcomes[bag.patient] for bag in bags]
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            loss = backward_by_chunks(
                forward,
                list(_parts([len(of) for of in rows], s.chunk)),
                lambda logits: self.loss(logits, known),
                scaler.scale,
            )
        value = float(loss)
        if not math.isfinite(value):
            raise DataError(
                f"{bags[0].patient} and others: the loss is {value} in epoch {self.epoch + 1}, so "
                "the training has diverged; lower --learning-rate or --clip"
            )
        if s.clip is not None:
            scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.head.parameters(), s.clip)
        scaler.step(self.optimizer)
        scaler.update()
        return value


def _new_head(training: Sequence[FeatureBag], settings: HeadSettings, *, measured: bool) -> Head:
    """Make a head with seeded weights; a checkpoint replaces what is not measured here."""
    width = training[0].read(np.arange(1)).shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        head = make_head(settings.head, width, **settings.head_arguments)
    if settings.loss != "outcome":
        head.leave_level_open()
    if measured:
        head.standardise(*_mean_and_deviation(training, width, settings))
    return head


def _mean_and_deviation(
    bags: Sequence[FeatureBag], width: int, settings: HeadSettings
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the features; each patient has the same weight."""
    rng = np.random.default_rng([settings.seed, 0])
    means, squares = np.zeros(width), np.zeros(width)
    shift = np.zeros(width)
    for number, bag in enumerate(bags):
        features = read_features(bag, width, draw(bag, settings.tiles, rng)).astype(np.float64)
        if not number:
            # Squares of differences to a typical value lose no digits.
            shift = features.mean(axis=0)
        means += (features - shift).mean(axis=0)
        squares += ((features - shift) ** 2).mean(axis=0)
    mean = means / len(bags)
    deviation = np.sqrt(np.maximum(squares / len(bags) - mean**2, 0))
    return torch.from_numpy(mean + shift), torch.from_numpy(deviation)


def _batches(
    poor: NDArray[np.bool_], settings: HeadSettings, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Deal patients into batches of about equal size, poor outcomes evenly.

    With a loss on follow-up there are no more batches than events, so that each has one.
    """
    count = -(-len(poor) // settings.batch)
    if settings.loss != "outcome":
        count = min(count, int(poor.sum()))
    order = np.concatenate([rng.permutation(np.flatnonzero(of)) for of in (poor, ~poor)])
    return [order[start::count] for start in rng.permutation(count)]


def _parts(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Group places so that each group has at most so many tiles, or one patient."""
    part: list[int] = []
    total = 0
    for place, size in enumerate(sizes):
        if part and total + size > most:
            yield part
            part, total = [], 0
        part.append(place)
        total += size
    yield part


def _validate(
    head: Head, loss: Loss, bags: Sequence[FeatureBag], outcomes: Mapping[str, Outcome]
) -> dict[str, float]:
    logits = FittedHead(head, 0, []).predict(bags)
    known = [outcomes[bag.patient] for bag in bags]
    with torch.inference_mode():
        value = float(loss(torch.from_numpy(logits).float().to(head.mean.device), known))
    return {
        "held_out_loss": value,
        "auc": held_out_auc(logits, known),
        "c_index": held_out_c_index(logits, known),
    }


def _fingerprint(
    training: Sequence[FeatureBag],
    choosing: Sequence[FeatureBag],
    outcomes: Mapping[str, Outcome],
    settings: HeadSettings,
    origin: str,
) -> str:
    # Epochs and patience may be increased for a continued training: the past does not depend on
    # them.
    fixed: dict[str, Any] = asdict(settings)
    del fixed["epochs"], fixed["patience"]
    sides = {
        side: [(bag.patient, len(bag), astuple(outcomes[bag.patient])) for bag in bags]
        for side, bags in (("training", training), ("choosing", choosing))
    }
    content = {"settings": fixed, **sides, "origin": origin}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
