"""Settings for training a head on features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from qupath_hccmil.heads.outcomes import LossName
from qupath_hccmil.method.published_numbers import HALVE_EVERY, POWER, THRESHOLD
from qupath_hccmil.model_store.model_config import HeadName

ChosenBy = Literal["loss", "auc", "c_index"]
_AtLeast1 = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class HeadSettings:
    """Settings for training a head; the defaults are the published values, if any.

    Attributes
    ----------
    head : {"published", "mean", "abmil", "additive", "transformer"}
    loss : {"outcome", "cox", "discrete-time"}
    arguments : mapping
        Widths and so on of the head, see its class in :mod:`qupath_hccmil.heads.head`.
    p : float
        Power of the published head's mean; other heads do not use it.
    threshold : float
        t of the published loss; the other losses do not use it.
    bins : int
        Largest number of intervals of the discrete-time loss.
    learning_rate : float
    weight_decay : float
        Of AdamW, for every weight of the head.
    halve_every : int
        Epochs after which the learning rate is halved.
    clip : float or None
        Largest norm of the gradient of a step; None for no limit.
    epochs : int
        Largest number of epochs.
    patience : int or None
        Stop after this many epochs without improvement; None never stops early.
    chosen_by : {"loss", "auc", "c_index"}
        Measure on held-out patients by which epochs are compared.
    tiles : int
        Number of random tiles per patient in each epoch.
    batch : int
        Number of patients in a step; for the Cox loss, also the size of its risk sets.
    chunk : int
        Number of tiles with activations in memory at a time, at least those of one patient.
    seed : int
    """

    head: HeadName = "published"
    loss: LossName = "outcome"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    # Below 1 the gradient of a logit at 0 is infinite.
    p: Annotated[float, Field(ge=1)] = POWER
    threshold: Annotated[float, Field(gt=0, lt=1)] = THRESHOLD
    bins: _AtLeast1 = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    halve_every: _AtLeast1 = HALVE_EVERY
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    epochs: _AtLeast1 = 40
    patience: _AtLeast1 | None = 10
    chosen_by: ChosenBy = "loss"
    tiles: _AtLeast1 = 512
    batch: _AtLeast1 = 32
    chunk: _AtLeast1 = 16_384
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def head_arguments(self) -> dict[str, Any]:
        """Arguments of the head's class."""
        power = {"p": self.p} if self.head == "published" else {}
        return {**power, **self.arguments}
