"""Training of the tile network from bags and their outcomes: seeded, bounded and resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.checkpoint import checkpoint

from qupath_hccmil.checkpoint import TrainingState
from qupath_hccmil.errors import DataError
from qupath_hccmil.mil.aggregation import POWER, THRESHOLD
from qupath_hccmil.mil.bags import Bag, chunks, draw
from qupath_hccmil.mil.evaluate import evaluate, torch_tile_predictor
from qupath_hccmil.mil.loss import ALPHA, bag_loss, weight_penalty
from qupath_hccmil.mil.network import TileNetwork
from qupath_hccmil.training_log import write_log

Progress = Callable[[Mapping[str, float]], None]
CHECKPOINT = "checkpoint.safetensors"
_CURVES = {
    "loss": "training: loss",
    "cross_entropy": "held out: cross-entropy",
    "auc": "held out: AUC",
}


@dataclass(frozen=True)
class MilSettings:
    """Settings of a training of the tile network; the defaults are published where they can be.

    Attributes
    ----------
    p, threshold, alpha : float
        Of aggregation and loss.
    learning_rate : float
    halve_every : int
        Epochs after which the learning rate is halved.
    clip : float
        Largest norm of a step's gradient.
    epochs : int
    tiles : int
        Random tiles of a bag in each epoch.
    validation_tiles : int or None
        Of a bag in validation; None for all.
    chunk : int
        Tiles whose activations are in memory at a time (about 80 MB each).
    seed : int
    """

    p: float = POWER
    threshold: float = THRESHOLD
    alpha: float = ALPHA
    learning_rate: float = 1e-4
    halve_every: int = 10
    clip: float = 1.0
    epochs: int = 30
    tiles: int = 100
    validation_tiles: int | None = None
    chunk: int = 16
    seed: int = 0


@dataclass(frozen=True)
class MilTraining:
    """The outcome of a training.

    Attributes
    ----------
    network : TileNetwork
        Of the epoch with the lowest cross-entropy on the validation patients.
    epoch : int
        That epoch, from 1.
    log : list of dict
        A row an epoch: epoch, loss, cross_entropy, auc, accuracy, learning_rate.
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
) -> MilTraining:
    """Train a tile network from the outcomes of bags.

    Parameters
    ----------
    network : TileNetwork
        Where to start from; it is changed.
    training, validation : sequence of Bag
        No patient may be in both.
    labels : mapping of str to int
        Patient to 1 (good) or 0 (poor).
    out : Path
        Folder for the checkpoint, the log (CSV) and its curves (PNG). A checkpoint that is there
        is gone on from.
    settings : MilSettings
    progress : callable, optional
        Given each epoch's row of the log, and for each bag ``epoch``, ``bag`` and ``loss``.

    Returns
    -------
    MilTraining

    Raises
    ------
    DataError
        A patient has no label, or is on both sides; one side lacks an outcome; `out` holds a
        checkpoint of another training.

    Notes
    -----
    Adam: the paper doesn't name its optimiser. One bag a step. The gradient's norm is bounded,
    since the cubic mean is steep where tiles of opposite sign nearly cancel; without the bound
    the first training of the shipped model collapsed at its fourth epoch.

    Tiles are turned and mirrored at random. A bag's gradient is computed chunk by chunk, each
    forward pass repeated, so that memory doesn't depend on the size of bags.
    """
    _check(training, validation, labels)
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(network, settings, _fingerprint(training, validation, labels, settings))
    if (out / CHECKPOINT).exists():
        run.load(out / CHECKPOINT)
    while run.epoch < settings.epochs:
        loss = run.train_epoch(training, labels, progress)
        row = {
            "epoch": float(run.epoch),
            "loss": loss,
            **_validate(network, validation, labels, settings),
            "learning_rate": settings.learning_rate * _halvings(settings, run.epoch - 1),
        }
        run.keep(row, "cross_entropy", higher=False)
        run.save(out / CHECKPOINT)
        write_log(out, run.log, _CURVES)
        if progress:
            progress(row)
    network.load_state_dict(run.best)
    return MilTraining(network.eval(), run.best_epoch, run.log)


def split_patients(
    labels: Mapping[str, int], share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Split patients into training and validation, each outcome in the same proportion.

    Parameters
    ----------
    labels : mapping of str to int
    share : float
        Of the patients that validate, in (0, 1); at least one of each outcome.
    seed : int
    """
    rng = np.random.default_rng(seed)
    validation: set[str] = set()
    for label in (0, 1):
        patients = sorted(patient for patient, value in labels.items() if value == label)
        count = max(1, round(share * len(patients)))
        validation.update(rng.permutation(patients)[:count].tolist() if patients else [])
    return sorted(labels.keys() - validation), sorted(validation)


class _Run(TrainingState):
    """A training under way."""

    def __init__(self, network: TileNetwork, settings: MilSettings, fingerprint: str) -> None:
        self.network, self.settings = network, settings
        optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
        networks = {"network": network}
        super().__init__(networks, "network", optimizer, asdict(settings), fingerprint)

    def train_epoch(
        self, bags: Sequence[Bag], labels: Mapping[str, int], progress: Progress | None
    ) -> float:
        """One epoch; returns its mean loss."""
        rng = np.random.default_rng([self.settings.seed, self.epoch])
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * _halvings(self.settings, self.epoch)
        losses = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**31)))
            self.network.train()
            for number, index in enumerate(rng.permutation(len(bags)), start=1):
                bag = bags[int(index)]
                losses.append(self._step(bag, labels[bag.patient], rng))
                if progress:
                    progress({"epoch": self.epoch + 1, "bag": number, "loss": losses[-1]})
        self.epoch += 1
        return float(np.mean(losses))

    def _step(self, bag: Bag, good: int, rng: np.random.Generator) -> float:
        s = self.settings
        parts = list(chunks(draw(bag, s.tiles, rng), s.chunk))
        logits = []
        for part in parts:
            x = torch.from_numpy(_turned(bag.read(part), rng)).float().div(255)
            if len(parts) == 1:
                logits.append(self.network(x))
            else:
                logits.append(checkpoint(self.network, x, use_reentrant=False))
        loss = bag_loss(torch.cat(logits), good, s.p, s.threshold)
        loss = loss + weight_penalty(self.network, s.alpha)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), s.clip)
        self.optimizer.step()
        return float(loss.detach())


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
    )
    return {
        "cross_entropy": scores.cross_entropy,
        "auc": scores.auc.value,
        "accuracy": scores.accuracy.value,
    }


def _halvings(settings: MilSettings, epoch: int) -> float:
    return float(0.5 ** (epoch // settings.halve_every))


def _turned(tiles: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    turned = np.empty_like(tiles)
    for tile, result in zip(tiles, turned, strict=True):
        change = np.rot90(tile, int(rng.integers(4)), axes=(1, 2))
        result[:] = change[:, :, ::-1] if rng.random() < 0.5 else change
    return turned


def _check(training: Sequence[Bag], validation: Sequence[Bag], labels: Mapping[str, int]) -> None:
    sides = {"training": training, "validation": validation}
    for side, bags in sides.items():
        if unlabelled := [bag.patient for bag in bags if bag.patient not in labels]:
            raise DataError(f"patient {unlabelled[0]!r} has no label and can't be in {side}")
        if {labels[bag.patient] for bag in bags} != {0, 1}:
            raise DataError(f"{side} needs patients of both outcomes; it has {len(bags)} patients")
    both = {bag.patient for bag in training} & {bag.patient for bag in validation}
    if both:
        raise DataError(f"patient {min(both)!r} is in both training and validation")


def _fingerprint(
    training: Sequence[Bag],
    validation: Sequence[Bag],
    labels: Mapping[str, int],
    settings: MilSettings,
) -> str:
    # More epochs go on from fewer: nothing that came before depends on their number.
    content = {
        "settings": {k: v for k, v in asdict(settings).items() if k != "epochs"},
        "training": [(bag.patient, len(bag), labels[bag.patient]) for bag in training],
        "validation": [(bag.patient, len(bag), labels[bag.patient]) for bag in validation],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
