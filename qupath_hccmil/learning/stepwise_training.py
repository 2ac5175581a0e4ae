"""Epochs of steps that a kill may interrupt anywhere, with the same result in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from qupath_hccmil.errors import DataError
from qupath_hccmil.learning.checkpoint import TrainingState
from qupath_hccmil.learning.device import MixedPrecision
from qupath_hccmil.plain_words import count_of

# The state is also saved within an epoch, so that a kill loses no more than this.
SAVE_EVERY_SECONDS = 120.0


class StepSettings(Protocol):
    """What the settings of such a training have; they are a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def epochs(self) -> int:
        """Largest number of epochs."""
        ...

    @property
    def patience(self) -> int | None:
        """Epochs without improvement after which it stops; None: never."""
        ...

    @property
    def learning_rate(self) -> float:
        """Learning rate of the first epochs."""
        ...

    @property
    def halve_every(self) -> int:
        """Epochs after which the learning rate is halved."""
        ...

    @property
    def seed(self) -> int:
        """Seed of every random choice."""
        ...


Settings = TypeVar("Settings", bound=StepSettings)


class StepwiseTraining(TrainingState, Generic[Settings]):
    """A training in progress, whose random choices depend only on seed, epoch and step.

    Parameters
    ----------
    networks, judged, optimizer, fingerprint
        See :class:`~qupath_hccmil.learning.checkpoint.TrainingState`.
    settings : StepSettings
    device : torch.device
        On CUDA mixed precision is used.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        judged: str,
        optimizer: torch.optim.Optimizer,
        settings: Settings,
        fingerprint: str,
        device: torch.device,
    ) -> None:
        self.settings = settings
        self.device = device
        self.precision = MixedPrecision(device)
        super().__init__(networks, judged, optimizer, asdict(settings), fingerprint)

    @property
    def goes_on(self) -> bool:
        """Whether there is another epoch to train."""
        patience = self.settings.patience
        tired = patience is not None and self.epoch - self.best_epoch >= patience
        return self.epoch < self.settings.epochs and not (self.log and tired)

    def learning_rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        return float(self.settings.learning_rate * 0.5 ** (epoch // self.settings.halve_every))

    def random(self, number: int) -> np.random.Generator:
        """Random generator of the epoch's order (0), or of one of its steps, from 1."""
        return np.random.default_rng([self.settings.seed, self.epoch + 1, number + 1])

    def run_steps(
        self,
        count: int,
        step: Callable[[int], float],
        checkpoint: Path | None,
        progress: Callable[[Mapping[str, float]], None] | None,
        called: str,
    ) -> float:
        """Train an epoch, or the rest of it.

        Parameters
        ----------
        count : int
            Number of steps.
        step : callable
            Does the step of a number, from 0, and returns its loss.
        checkpoint : Path, optional
            File to save the state to now and then.
        progress : callable, optional
            Called after each step with ``epoch``, ``loss`` and the number of the step, from 1.
        called : str
            Name of that number.

        Returns
        -------
        float
            Mean loss of the steps.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.epoch)
        losses: list[float] = list(self.extra.get("losses", []))
        saved = time.monotonic()
        for number in range(len(losses), count):
            losses.append(step(number))
            if progress:
                progress({"epoch": self.epoch + 1, called: number + 1, "loss": losses[-1]})
            self.extra = {"losses": losses, "precision": self.precision.state()}
            if checkpoint is not None and time.monotonic() - saved > SAVE_EVERY_SECONDS:
                self.save(checkpoint)
                saved = time.monotonic()
        self.extra = {"losses": [], "precision": self.precision.state()}
        self.epoch += 1
        return float(np.mean(losses))

    def load(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises
        ------
        DataError
            It has more epochs than are asked for, or is of another training.
        """
        super().load(path)
        if self.epoch > self.settings.epochs:
            raise DataError(
                f"{path}: has {count_of(self.epoch, 'epoch')} already, more than the "
                f"{self.settings.epochs} asked for; give at least as many, or another --out"
            )
        self.precision.restore(self.extra.get("precision", {}))
