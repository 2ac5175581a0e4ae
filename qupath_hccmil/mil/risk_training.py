"""Training of the tile network on bags and outcomes: seeded, with limited memory, resumable."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from qupath_hccmil.errors import DataError
from qupath_hccmil.learning.checkpoint import CHECKPOINT
from qupath_hccmil.learning.stepwise_training import StepwiseTraining
from qupath_hccmil.method.published_numbers import (
    HALVE_EVERY,
    LEARNING_RATE,
    POWER,
    THRESHOLD,
    TILES_PER_PATIENT,
    WEIGHT_PENALTY,
)
from qupath_hccmil.mil.bag_gradient import backward_by_chunks
from qupath_hccmil.mil.bags import Bag, chunks, draw
from qupath_hccmil.mil.outcome_loss import Penalised, bag_loss, weight_penalty
from qupath_hccmil.mil.risk_evaluation import evaluate, torch_tile_predictor
from qupath_hccmil.mil.tile_network import TileNetwork

Progress = Callable[[Mapping[str, float]], None]
_CPU = torch.device("cpu")
_AtLeast1 = Annotated[int, Field(ge=1)]
_CURVES = {
    "loss": "training: loss",
    "cross_entropy": "held out: cross-entropy",
    "auc": "held out: AUC",
}


@dataclass(frozen=True)
class MilSettings:
    """Settings for training the tile network; the defaults are the published values, if any.

    Attributes
    ----------
    p, threshold, alpha : float
        Numbers of the aggregation and the loss.
    penalised : {"output layer", "all weights"}
        Weights that are penalised; see `weight_penalty`.
    learning_rate : float
    halve_every : int
        Epochs after which the learning rate is halved.
    clip : float or None
        Largest norm of the gradient of a step; None for no limit.
    epochs : int
        Largest number of epochs.
    patience : int or None
        Stop after this many epochs without improvement; None never stops early.
    chosen_by : {"cross_entropy", "auc"}
        Measure on held-out patients by which epochs are compared.
    tiles : int
        Number of random tiles per bag in each epoch.
    validation_tiles : int or None
        Number of tiles per bag in validation; None for all.
    chunk : int
        Number of tiles with activations in memory at a time (about 80 MB each).
    seed : int
    """

    # Below 1 the gradient of a logit at 0 is infinite.
    p: Annotated[float, Field(ge=1)] = POWER
    threshold: Annotated[float, Field(gt=0, lt=1)] = THRESHOLD
    alpha: Annotated[float, Field(ge=0)] = WEIGHT_PENALTY
    penalised: Penalised = "output layer"
    learning_rate: Annotated[float, Field(gt=0)] = LEARNING_RATE
    halve_every: _AtLeast1 = HALVE_EVERY
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    epochs: _AtLeast1 = 30
    patience: _AtLeast1 | None = 10
    chosen_by: Literal["cross_entropy", "auc"] = "cross_entropy"
    tiles: _AtLeast1 = TILES_PER_PATIENT
    validation_tiles: _AtLeast1 | None = None
    chunk: _AtLeast1 = 16
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class MilTraining:
    """The outcome of a training.

    Attributes
    ----------
    network : TileNetwork
        Network of the best epoch on the validation patients.
    epoch : int
        Number of the best epoch, from 1.
    log : list of dict
        One row per epoch: epoch, loss, cross_entropy, auc, accuracy, learning_rate.
    """

    network: TileNetwork
    epoch: int
    log: list[dict[str, float]]


def train(
    network: TileNetwork,
    training: Sequence[Bag],
    validation: Sequence[Bag],
    labels: Mapping[str, int],
    out: Path,
    settings: MilSettings,
    progress: Progress | None = None,
    device: torch.device = _CPU,
    origin: str = "",
) -> MilTraining:
    """Train a tile network on bags with outcomes.

    Parameters
    ----------
    network : TileNetwork
        Network to start from; it is changed.
    training, validation : sequence of Bag
        Bags of the two sides; no patient may be in both.
    labels : mapping of str to int
        For each patient 1 (good) or 0 (poor).
    out : Path
        Folder for the checkpoint, the log (CSV) and its curves (PNG). Training continues from an
        existing checkpoint.
    settings : MilSettings
    progress : callable, optional
        Called with the log row of each epoch, and for each bag with ``epoch``, ``bag`` and
        ``loss``.
    device : torch.device
        Device to train on, on which the network remains. On CUDA mixed precision is used.
    origin : str
        Describes `network` and its starting weights; a checkpoint with another origin is refused.

    Returns
    -------
    MilTraining

    Raises
    ------
    DataError
        A patient has no label or is on both sides, one side lacks an outcome, `out` has a
        checkpoint of another training, or the training diverges.

    Notes
    -----
    The optimiser is Adam, since the paper does not name one, with one bag per step. The norm of the
    gradient is limited, because the cubic mean is steep where tiles of opposite sign nearly cancel;
    without the limit, the first training of the shipped model collapsed in its fourth epoch.

    Tiles are rotated and mirrored at random. The gradient of a bag is computed chunk by chunk, so
    that memory does not depend on the size of bags. Random choices of a step depend only on the
    seed, the epoch and the number of the step, so a training that was killed and continued ends
    with the same result.
    """
    _check(training, validation, labels)
    fingerprint = _fingerprint(training, validation, labels, settings, origin)
    run = _Run(network, settings, fingerprint, device)
    run.resume(out, _CURVES)
    while run.goes_on:
        loss = run.train_epoch(training, labels, out / CHECKPOINT, progress)
        row = {
            "epoch": float(run.epoch),
            "loss": loss,
            **_validate(network, validation, labels, settings),
            "learning_rate": run.learning_rate(run.epoch - 1),
        }
        higher = settings.chosen_by == "auc"
        run.end_epoch(out, _CURVES, row, settings.chosen_by, higher=higher)
        if progress:
            progress(row)
    network.load_state_dict(run.best)
    return MilTraining(network.eval(), run.best_epoch, run.log)


class _Run(StepwiseTraining[MilSettings]):
    """A training in progress."""

    def __init__(
        self,
        network: TileNetwork,
        settings: MilSettings,
        fingerprint: str,
        device: torch.device,
    ) -> None:
        self.network = network
        # On a CPU, a step takes a quarter less time than with torch's default layout.
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # A model to start from may be calibrated; its weights are trained without the temperature.
        network.temperature.fill_(1)
        optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
        super().__init__({"network": network}, "network", optimizer, settings, fingerprint, device)

    def train_epoch(
        self,
        bags: Sequence[Bag],
        labels: Mapping[str, int],
        checkpoint: Path,
        progress: Progress | None,
    ) -> float:
        """Train one epoch, or the rest of it; returns its mean loss."""
        order = self.random(0).permutation(len(bags))
        self.network.train()

        def step(number: int) -> float:
            bag = bags[int(order[number])]
            return self._step(bag, labels[bag.patient], self.random(number + 1))

        return self.run_steps(len(bags), step, checkpoint, progress, "bag")

    def _step(self, bag: Bag, good: int, rng: np.random.Generator) -> float:
        s = self.settings
        indices = draw(bag, s.tiles, rng)
        turns = rng.integers(8, size=len(indices))
        # Dropout draws from torch: differently for each chunk, but the same in both passes.
        seed = int(rng.integers(2**31))
        scaler = self.precision.scaler

        def forward(part: NDArray[np.int64]) -> Tensor:
            torch.manual_seed(seed + int(part[0]))
            tiles = torch.from_numpy(_turned(bag.read(indices[part]), turns[part]))
            x = tiles.to(self.device).float().div(255)
            with self.precision.autocast():
                logits: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
            return logits.float()

        self.optimizer.zero_grad()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            loss = backward_by_chunks(
                forward,
                list(chunks(np.arange(len(indices)), s.chunk)),
                lambda logits: bag_loss(logits, good, s.p, s.threshold),
                scaler.scale,
            )
        penalty = weight_penalty(self.network, s.alpha, s.penalised)
        scaler.scale(penalty).backward()
        value = float(loss + penalty.detach())
        if not math.isfinite(value):
            raise DataError(
                f"{bag.patient}: the loss is {value} in epoch {self.epoch + 1}, so the training "
                "has diverged; lower --learning-rate or --clip"
            )
        if s.clip is not None:
            scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), s.clip)
        scaler.step(self.optimizer)
        scaler.update()
        return value


def _validate(
    network: TileNetwork, bags: Sequence[Bag], labels: Mapping[str, int], settings: MilSettings
) -> dict[str, float]:
    scores = evaluate(
        bags,
        labels,
        torch_tile_predictor(network),
        settings.p,
        settings.threshold,
        settings.validation_tiles,
        settings.seed,
        repeats=0,
    )
    return {
        "cross_entropy": scores.cross_entropy,
        "auc": scores.auc.value,
        "accuracy": scores.accuracy.value,
    }


def _turned(tiles: NDArray[np.uint8], turns: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Rotate tiles by quarter turns and mirror them, according to numbers from 0 to 7."""
    turned = np.empty_like(tiles)
    for tile, turn, result in zip(tiles, turns.tolist(), turned, strict=True):
        change = np.rot90(tile, turn % 4, axes=(1, 2))
        result[:] = change[:, :, ::-1] if turn >= 4 else change
    return turned


def _check(training: Sequence[Bag], validation: Sequence[Bag], labels: Mapping[str, int]) -> None:
    sides = {"training": training, "validation": validation}
    for side, bags in sides.items():
        if unlabelled := [bag.patient for bag in bags if bag.patient not in labels]:
            raise DataError(f"patient {unlabelled[0]!r} has no label and cannot be used for {side}")
        if {labels[bag.patient] for bag in bags} != {0, 1}:
            raise DataError(f"{side} needs patients of both outcomes; it has {len(bags)} patients")
    both = {bag.patient for bag in training} & {bag.patient for bag in validation}
    if both:
        raise DataError(f"patient {min(both)!r} is in both training and validation")


def _identity(bag: Bag) -> tuple[str, int, str]:
    """Patient, number of tiles, and a hash of three tiles, which other tiles do not have.

    Nearly all bags have the same number of tiles. Bags that are prepared anew (another resolution,
    outline or nuclei model) differ in every tile; to read all of them would take minutes.
    """
    some = np.unique([0, len(bag) // 2, len(bag) - 1])
    tiles = np.ascontiguousarray(bag.read(some))
    return bag.patient, len(bag), hashlib.sha256(tiles.tobytes()).hexdigest()


def _fingerprint(
    training: Sequence[Bag],
    validation: Sequence[Bag],
    labels: Mapping[str, int],
    settings: MilSettings,
    origin: str,
) -> str:
    # Epochs and patience may be increased for a continued training: the past does not depend on
    # them.
    fixed: dict[str, Any] = asdict(settings)
    del fixed["epochs"], fixed["patience"]
    content: dict[str, Any] = {
        "settings": fixed,
        "training": [(*_identity(bag), labels[bag.patient]) for bag in training],
        "validation": [(*_identity(bag), labels[bag.patient]) for bag in validation],
    }
    if origin:
        content["origin"] = origin
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
