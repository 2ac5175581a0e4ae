"""Training of the nuclei network: seeded, and continued after a kill with the same result."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad
from torch.utils.data import DataLoader, Dataset

from qupath_hccmil.errors import DataError
from qupath_hccmil.learning.checkpoint import TrainingState
from qupath_hccmil.learning.device import MixedPrecision
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.nuclei.dice_evaluation import evaluate, torch_predictor
from qupath_hccmil.nuclei.dice_loss import heat_map_loss
from qupath_hccmil.nuclei.training_crops import Sample, draw_batch
from qupath_hccmil.plain_words import count_of

Progress = Callable[[Mapping[str, float]], None]
_CPU = torch.device("cpu")
_AtLeast1 = Annotated[int, Field(ge=1)]
_AtLeast0 = Annotated[float, Field(ge=0)]
_CURVES = {"loss": "training: loss", "dice_pooled": "held out: pooled Dice"}


@dataclass(frozen=True)
class NucleiSettings:
    """Settings for training the nuclei network.

    Attributes
    ----------
    epochs, steps, batch : int
        Epochs, optimiser steps per epoch, crops per step.
    crop : int
        Side of a crop, px at the model's pixel size. What the network enlarges it to must be a
        multiple of 16.
    learning_rate : float
        Peak of the one-cycle schedule.
    weight_decay : float
    cross_entropy, focus : float
        Arguments of `dice_loss.heat_map_loss`.
    soften : float
        Standard deviation, px, of the Gaussian that blurs masks: annotators differ in where the
        border of a nucleus lies. 0 keeps the share of each pixel that is in a nucleus.
    annotators : bool
        Learn a shift of the logits for each source of images but the one that chooses the epoch,
        so that a source whose annotators draw nuclei wider or narrower doesn't widen or narrow
        the heat map. The shifts are dropped after the training.
    average : float
        Decay of the moving average of the weights, which is evaluated and kept.
    seed : int
    """

    epochs: _AtLeast1 = 20
    steps: _AtLeast1 = 120
    batch: _AtLeast1 = 16
    crop: Annotated[int, Field(ge=32)] = 224
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: _AtLeast0 = 1e-2
    cross_entropy: _AtLeast0 = 1.0
    focus: _AtLeast0 = 0.0
    soften: _AtLeast0 = 0.0
    annotators: bool = False
    average: Annotated[float, Field(ge=0, lt=1)] = 0.997
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class NucleiTraining:
    """The outcome of a training.

    Attributes
    ----------
    model : nn.Module
        Averaged weights of the best epoch by pooled Dice on the validation images.
    epoch : int
        Number of the best epoch, from 1.
    log : list of dict
        One row per epoch: epoch, loss, dice_pooled, dice_mean, precision, recall.
    """

    model: nn.Module
    epoch: int
    log: list[dict[str, float]]


def train(
    network: nn.Module,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    out: Path,
    settings: NucleiSettings,
    progress: Progress | None = None,
    device: torch.device = _CPU,
    origin: str = "",
    workers: int = 0,
) -> NucleiTraining:
    """Train a nuclei network.

    Parameters
    ----------
    network : nn.Module
        Network to start from, one of `architectures.NETWORKS`; it is changed.
    training, validation : sequence of Sample
        Images of the two sides; no group should be in both.
    out : Path
        Folder for the checkpoint, the log (CSV) and its curve (PNG). Training continues from an
        existing checkpoint.
    settings : NucleiSettings
    progress : callable, optional
        Called with the log row of each epoch, and every 10 steps with ``epoch``, ``step`` and
        ``loss``.
    device : torch.device
        Device to train on, on which the networks remain. On CUDA mixed precision is used.
    origin : str
        Describes `network` and its starting weights; a checkpoint with another origin is refused.
    workers : int
        Processes that draw the crops; 0 draws them in this process. The crops are the same.

    Returns
    -------
    NucleiTraining

    Raises
    ------
    DataError
        `out` has a checkpoint with other settings, images or starting weights, the network can't
        take crops or tiles of this size, a side has no nucleus, or the training diverges.

    Notes
    -----
    The optimiser is Adam with decoupled weight decay and a one-cycle learning rate; the paper names
    neither for its U-Net. Every step has its own random generator, so a continued training equals
    an uninterrupted one, whatever the number of workers.
    """
    # Crops are trained on; epochs are judged on tiles.
    _check_side(network, "crop ", settings.crop)
    _check_side(network, "tile ", TileGeometry().tile_px)
    _check_masks("to train on", training)
    _check_masks("that choose the epoch", validation)
    sources = sorted({s.source for s in training} - {s.source for s in validation})
    fingerprint = _fingerprint(training, validation, settings, origin)
    run = _Run(network, settings, fingerprint, device, sources if settings.annotators else [])
    run.resume(out, _CURVES)
    while run.epoch < settings.epochs:
        loss = run.train_epoch(training, progress, workers)
        scores = evaluate(validation, torch_predictor(run.average))
        row = {
            "epoch": float(run.epoch),
            "loss": loss,
            "dice_pooled": scores.dice_pooled,
            "dice_mean": scores.dice_mean,
            "precision": scores.precision,
            "recall": scores.recall,
        }
        run.end_epoch(out, _CURVES, row, "dice_pooled", higher=True)
        if progress:
            progress(row)
    run.average.load_state_dict(run.best)
    return NucleiTraining(run.average.eval(), run.best_epoch, run.log)


@torch.no_grad()
def _check_side(network: nn.Module, what: str, side: int) -> None:
    """Refuse a size whose levels don't fit one another within the network."""
    network.eval()
    try:
        network(torch.zeros(1, 3, side, side, device=next(network.parameters()).device))
    except RuntimeError as error:
        fitting = "another size that it can divide"
        advice = f"give 224, or {fitting}" if side != TileGeometry().tile_px else "use another one"
        raise DataError(
            f"{what}{side}: this network can't take images of {side} px; {advice}"
        ) from error


def _check_masks(which: str, samples: Sequence[Sample]) -> None:
    """Refuse a side without any nucleus: nothing can be learned from it, or chosen by it."""
    if not any(sample.mask.any() for sample in samples):
        raise DataError(
            f"none of the {count_of(len(samples), 'image')} {which} has a nucleus in its mask, "
            f"such as {samples[0].name}; check the masks: 0 is background, and in a JPEG nuclei "
            "must be white"
        )


def one_cycle(step: int, steps: int, peak: float, warm_up: float = 0.15) -> float:
    """Learning rate that rises linearly to `peak` and falls by a cosine to 1 % of it."""
    rise = max(1, round(warm_up * steps))
    if step < rise:
        return peak * (step + 1) / rise
    share = (step - rise) / max(1, steps - rise)
    return peak * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * share))))


class _Crops(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """The batches of an epoch, by number of the step; each has a random generator of its own."""

    def __init__(self, samples: Sequence[Sample], settings: NucleiSettings, epoch: int) -> None:
        self._samples, self._settings, self._epoch = samples, settings, epoch

    def __len__(self) -> int:
        return self._settings.steps

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        s, mpp = self._settings, TileGeometry().mpp
        rng = np.random.default_rng([s.seed, self._epoch, step])
        rgb, share, chosen = draw_batch(self._samples, s.batch, s.crop, mpp, rng)
        return torch.from_numpy(rgb), torch.from_numpy(share), torch.from_numpy(chosen)


class _Run(TrainingState):
    """A training in progress."""

    def __init__(
        self,
        network: nn.Module,
        settings: NucleiSettings,
        fingerprint: str,
        device: torch.device,
        sources: Sequence[str],
    ) -> None:
        self.settings, self._device = settings, device
        self._sources = list(sources)
        self._precision = MixedPrecision(device)
        self.model = network
        self.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = deepcopy(network)
        # One shift for every source, and one more, always 0, for the source that chooses.
        self._shifts = nn.Embedding(len(self._sources) + 1, 1, padding_idx=len(self._sources))
        nn.init.zeros_(self._shifts.weight)
        self._shifts.to(device)
        optimizer = torch.optim.AdamW(
            [*self.model.parameters(), *self._shifts.parameters()],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        networks = {"model": self.model, "average": self.average, "shifts": self._shifts}
        super().__init__(networks, "average", optimizer, asdict(settings), fingerprint)

    def train_epoch(
        self, samples: Sequence[Sample], progress: Progress | None, workers: int
    ) -> float:
        """Train one epoch; returns its mean loss."""
        s = self.settings
        losses = []
        self.model.train()
        batches = DataLoader(
            _Crops(samples, s, self.epoch),
            batch_size=None,
            num_workers=workers,
            worker_init_fn=_one_thread,
        )
        for step, (rgb, share, chosen) in enumerate(batches):
            sources = self._numbers(samples, chosen)
            losses.append(self._step(rgb, share, sources, self.epoch * s.steps + step))
            if not math.isfinite(losses[-1]):
                raise DataError(
                    f"the loss is {losses[-1]} in epoch {self.epoch + 1}, so the training has "
                    "diverged; lower the learning rate or start from another model"
                )
            if progress and (step + 1) % 10 == 0:
                progress({"epoch": self.epoch + 1, "step": step + 1, "loss": losses[-1]})
        self.epoch += 1
        self.extra = {"precision": self._precision.state()}
        return float(np.mean(losses))

    def _numbers(self, samples: Sequence[Sample], chosen: Tensor) -> Tensor:
        """Row of `_shifts` for each crop."""
        names = [samples[int(i)].source for i in chosen]
        last = len(self._sources)
        return torch.tensor([self._sources.index(n) if n in self._sources else last for n in names])

    def load(self, path: Path) -> None:
        """Continue from a checkpoint."""
        super().load(path)
        self._precision.restore(self.extra.get("precision", {}))

    def _step(self, rgb: Tensor, share: Tensor, sources: Tensor, step: int) -> float:
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = one_cycle(step, s.epochs * s.steps, s.learning_rate)
        x = rgb.to(self._device).permute(0, 3, 1, 2).float().div(255)
        y = share.to(self._device)[:, None]
        if s.soften:
            y = blurred(y, s.soften)
        with self._precision.autocast():
            logits = self.model(x)
        logits = logits.float() + self._shifts(sources.to(self._device))[:, :, None, None]
        loss = heat_map_loss(logits, y, s.cross_entropy, s.focus)
        scaler = self._precision.scaler
        self.optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(self.optimizer)
        scaler.update()
        self._update_average(step)
        return float(loss.detach())

    def _update_average(self, step: int) -> None:
        # A short average at first, so that the random initial weights are soon forgotten.
        decay = min(self.settings.average, (1 + step) / (10 + step))
        now = self.model.state_dict()
        pairs = [(tensor, now[name]) for name, tensor in self.average.state_dict().items()]
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        averages, values = ([pair[side] for pair in floating] for side in (0, 1))
        # One call for all of them: on a GPU a call for each takes longer than the step itself.
        torch._foreach_lerp_(averages, values, 1 - decay)
        for tensor, value in pairs:
            if not tensor.is_floating_point():
                tensor.copy_(value)


def _one_thread(_: int) -> None:
    """Keep OpenCV's threads out of a process that was forked, where they can wait for ever."""
    cv2.setNumThreads(0)


def blurred(share: Tensor, sigma: float) -> Tensor:
    """Blur masks ``(n, 1, h, w)`` by a Gaussian of `sigma` px; the border is reflected."""
    reach = math.ceil(3 * sigma)
    line = torch.arange(-reach, reach + 1, dtype=share.dtype, device=share.device)
    weights = torch.exp(-0.5 * (line / sigma) ** 2)
    weights = weights / weights.sum()
    share = pad(share, (reach, reach, reach, reach), mode="reflect")
    return conv2d(conv2d(share, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))


def _identity(sample: Sample) -> list[Any]:
    """What a crop depends on: an image and its mask, each of which may be corrected."""
    mask = np.packbits(sample.mask).tobytes() + repr(sample.mask.shape).encode()
    digest = hashlib.sha256(mask).hexdigest()
    return [sample.name, sample.source, sample.mpp, sample.pixels, digest]


def _fingerprint(
    training: Sequence[Sample],
    validation: Sequence[Sample],
    settings: NucleiSettings,
    origin: str,
) -> str:
    content: dict[str, Any] = {
        "settings": asdict(settings),
        "training": [[*_identity(sample), sample.weight] for sample in training],
        "validation": [_identity(sample) for sample in validation],
    }
    if origin:
        content["origin"] = origin
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
