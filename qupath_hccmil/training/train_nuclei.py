"""The commands ``train nuclei`` and ``evaluate nuclei`` as functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from qupath_hccmil.atomic_files import make_folder
from qupath_hccmil.errors import DataError, SlideError
from qupath_hccmil.learning.device import DeviceName, training_device
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.model_store.model_config import Colour, DataUse, ModelConfig
from qupath_hccmil.model_store.model_folder import (
    ModelFolder,
    check_new_model,
    default_model_dir,
    load_model_folder,
    save_model_folder,
    weights_identity,
)
from qupath_hccmil.nuclei.architectures import build_network, complete, load_nuclei_network
from qupath_hccmil.nuclei.dice_evaluation import NucleiScores, evaluate, torch_predictor
from qupath_hccmil.nuclei.mobilenet_unet import MobileNetUNet, start_from_imagenet
from qupath_hccmil.nuclei.nuclei_training import NucleiSettings, Progress, train
from qupath_hccmil.nuclei.training_crops import (
    NUCLEUS_UM,
    Sample,
    Source,
    draw_batch,
    iterate_source,
    load_source,
    read_groups,
    split_groups,
    white_background,
)
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.slides.resolution import check_mpp
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.stain.vahadane import Normalizer, StainFit, fit

MODEL = "model"
# Number of crops from which a network that starts from ImageNet takes its statistics.
_STATISTICS = 32
# Share of the area in nuclei above which masks are probably inverted; dense tissue has 0.4.
_MOST_NUCLEI = 0.67
_CARD = """# {name}

Nuclei heat map, trained by `qupath-hccmil train nuclei` on {images}. For research use only.

Pooled Dice on {count} held-out images: {dice:.3f} (the epoch was chosen on them).
"""


@dataclass(frozen=True)
class NucleiModel:
    """A trained nuclei model.

    Attributes
    ----------
    folder : ModelFolder
    held_out : NucleiScores
        Scores on the images used to choose the epoch.
    notes : list of str
        Files that could not be used, and other notes for the user.
    """

    folder: ModelFolder
    held_out: NucleiScores
    notes: list[str]


def train_nuclei(
    images: Path,
    masks: Path,
    out: Path,
    *,
    mpp: float | None = None,
    groups: Path | None = None,
    held_out: Sequence[str] = (),
    share: float = 0.2,
    architecture: Mapping[str, Any] | None = None,
    start: Path | None = None,
    settings: NucleiSettings | None = None,
    name: str = "nuclei",
    progress: Progress | None = None,
    device: DeviceName = "auto",
    workers: int = 0,
) -> NucleiModel:
    """Train a nuclei network on a folder of images and a folder of masks.

    Parameters
    ----------
    images, masks : Path
        Folders paired by file name; masks are binary or label instances.
    out : Path
        Folder for the checkpoint, ``log.csv``, ``curve.png`` and the model folder ``model``.
    mpp : float, optional
        µm/px; without it, each image is scaled by the size of its nuclei.
    groups : Path, optional
        CSV with the columns ``image, group``; the images of a group (slide, organ, patient) are
        kept together.
    held_out : sequence of str
        Groups used to choose the epoch; by default a random `share` of the groups.
    share : float
    architecture : mapping, optional
        Architecture of the network, see `nuclei.architectures.build_network`; it starts from random
        weights, or from `start`. By default that of the model to start from.
    start : Path, optional
        Nuclei model folder, or a safetensors file with torchvision's MobileNetV2 for a
        ``mobilenet_unet``. Without `architecture`, the default is the model that ships.
    settings : NucleiSettings, optional
    name : str
        Name of the model.
    progress : callable, optional
    device : {"auto", "cpu", "cuda", "mps"}
    workers : int
        Processes that draw the crops, see `nuclei.nuclei_training.train`.

    Returns
    -------
    NucleiModel

    Raises
    ------
    ResolutionError
        `mpp` is not a pixel size of a scanner.
    DataError
        See `load_source`, `split_groups` and `train`.
    """
    settings = settings or NucleiSettings()
    make_folder(out)
    table, notes = _groups_and_notes(images, mpp, groups)
    samples, unused = load_source(Source(images, masks, mpp, table))
    notes += [*unused, *_without_group(groups, table, [sample.name for sample in samples])]
    if groups is None:
        notes.append(
            "no groups given: images of one slide may be in both training and validation, so the "
            "Dice may be optimistic"
        )
    pixels = sum(sample.mask.size for sample in samples)
    notes += _about_masks(sum(int(sample.mask.sum()) for sample in samples), pixels)
    training, validation = split_groups(samples, held_out or share, settings.seed)
    notes += _on_both_sides(training, validation)
    if start is None and architecture is None:
        start = default_model_dir("nuclei")
    network, architecture = starting_network(architecture, start, training, settings.seed)
    where = training_device(device)
    # The folder may be given as "." or "..".
    data = images.resolve().name or str(images)
    config = ModelConfig(
        kind="nuclei",
        name=name,
        version="1",
        architecture=dict(architecture),
        stain_reference=default_reference().to_dict(),
        data=(DataUse(data, "the user's own", data, "images and masks"),),
        training={
            **asdict(settings),
            "start": start.resolve().name if start else "random weights",
            "images": len(training),
        },
    )
    check_new_model(out / MODEL, config)
    origin = start_identity(architecture, start)
    result = train(network, training, validation, out, settings, progress, where, origin, workers)
    scores = evaluate(validation, torch_predictor(result.model))
    config = replace(
        config,
        training={**config.training, "best_epoch": result.epoch},
        metrics={
            "held_out_dice_pooled": scores.dice_pooled,
            "held_out_dice_mean": scores.dice_mean,
        },
    )
    card = _CARD.format(name=name, images=data, count=len(validation), dice=scores.dice_pooled)
    folder = save_model_folder(out / MODEL, config, result.model.state_dict(), card)
    return NucleiModel(folder, scores, notes)


def evaluate_nuclei(
    images: Path,
    masks: Path,
    *,
    mpp: float | None = None,
    model: Path | None = None,
    colour: Colour = "luminosity-standardised",
    groups: Path | None = None,
) -> tuple[NucleiScores, list[str]]:
    """Compare a nuclei model with masks.

    Parameters
    ----------
    images, masks : Path
    mpp : float, optional
        µm/px; without it each image is scaled by the size of its nuclei.
    model : Path, optional
        Default: the model that ships.
    colour : {"luminosity-standardised", "stain-normalised"}
        Colours that the network sees. Scoring normalises RGB by the stains of a whole slide. The
        fit on a single field of view can be misled if it has only nuclei or only fibres. If the
        stains of an image cannot be fitted, its luminosity is standardised instead.
    groups : Path, optional
        CSV with the columns ``image, group``, for figures by group.

    Returns
    -------
    scores : NucleiScores
    notes : list of str
        Files that could not be used, and images whose stains could not be fitted.

    Raises
    ------
    DataError, ModelError, ResolutionError
    """
    folder = load_model_folder(model or default_model_dir("nuclei"), "nuclei")
    table, notes = _groups_and_notes(images, mpp, groups)
    fallbacks: list[str] = []
    reference = _reference(folder)

    def prepare(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if colour == "luminosity-standardised":
            return white_background(rgb)
        try:
            return Normalizer(fit(rgb), reference).transform(rgb[None])[0]
        except SlideError as error:
            fallbacks.append(str(error))
            return white_background(rgb)

    samples = iterate_source(Source(images, masks, mpp, table), notes, prepare)
    predict = torch_predictor(load_nuclei_network(folder))
    scores = evaluate(samples, predict, folder.config.geometry)
    notes += _without_group(groups, table, [image.name for image in scores.images])
    pixels = sum(count for *_, count in scores.calibration)
    notes += _about_masks(sum(image.actual for image in scores.images), pixels)
    if fallbacks:
        notes.append(
            f"only luminosity-standardised: {count_of(len(fallbacks), 'image')}, such as "
            f"{fallbacks[0]}"
        )
    return scores, notes


def starting_network(
    architecture: Mapping[str, Any] | None,
    start: Path | None,
    training: Sequence[Sample],
    seed: int,
) -> tuple[nn.Module, Mapping[str, Any]]:
    """Make the network that a training starts from.

    Parameters
    ----------
    architecture : mapping, optional
        By default that of `start` if it is a folder, otherwise ``mobilenet_unet``.
    start : Path, optional
        As for :func:`train_nuclei`.
    training : sequence of Sample
        Samples for the statistics of a network that starts from ImageNet.
    seed : int
        Seed of random weights.

    Returns
    -------
    network : nn.Module
    architecture : mapping

    Raises
    ------
    DataError
        The two do not fit together.
    ModelError
        `start` cannot be used.
    """
    if start is not None and start.is_dir():
        folder = load_model_folder(start, "nuclei")
        network, own = load_nuclei_network(folder), complete(folder.config.architecture)
        if architecture is not None and complete(architecture) != own:
            raise DataError(f"{start}: its network is {own}, not {architecture}; leave one out")
        return network, own
    architecture = architecture or {"name": "mobilenet_unet"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(architecture)
    if start is not None:
        if not isinstance(network, MobileNetUNet):
            raise DataError(f"{start}: ImageNet weights fit a mobilenet_unet only; leave one out")
        rng, geometry = np.random.default_rng(seed), TileGeometry()
        rgb, _, _ = draw_batch(training, _STATISTICS, geometry.tile_px, geometry.mpp, rng)
        start_from_imagenet(network, start, torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255)
    return network, complete(architecture)


def start_identity(architecture: Mapping[str, Any], start: Path | None) -> str:
    """Network and starting weights as text, which a checkpoint with others does not fit.

    Parameters
    ----------
    architecture : mapping
        As :func:`starting_network` returns it.
    start : Path, optional
        As for :func:`train_nuclei`.

    Raises
    ------
    ModelError
        `start` cannot be read.
    """
    return f"{json.dumps(dict(architecture))} {weights_identity(start) if start else ''}"


def _about_masks(nuclei: int, pixels: int) -> list[str]:
    """Say of masks of so many pixels what is unlikely in them."""
    if not nuclei:
        return ["no mask has a nucleus, so the Dice says only whether some were found"]
    if nuclei <= _MOST_NUCLEI * pixels:
        return []
    return [
        f"{nuclei / pixels:.0%} of the area of the masks is nuclei; if their background is white, "
        "invert them: 0 is background"
    ]


def _on_both_sides(training: Sequence[Sample], validation: Sequence[Sample]) -> list[str]:
    """Name pictures that are trained on under one name, and judged under another."""
    trained = {sample.pixels: sample.name for sample in training}
    both = [(trained[s.pixels], s.name) for s in validation if s.pixels in trained]
    more = f" ({len(both) - 1} more like this)" if len(both) > 1 else ""
    return [
        f"{one}, which is trained on, and {other}, which chooses the epoch, are the same picture, "
        f"so the Dice is optimistic; remove one, or give both one group{more}"
        for one, other in both[:1]
    ]


def _groups_and_notes(
    images: Path, mpp: float | None, groups: Path | None
) -> tuple[dict[str, str], list[str]]:
    """Check the data given for the images; returns their groups, and notes for the user."""
    notes = []
    if mpp is None:
        notes.append(
            "no --mpp given: each image is scaled by the size of the nuclei in its mask, to a "
            f"median of {NUCLEUS_UM:g} µm"
        )
    else:
        check_mpp(mpp, str(images))
    return read_groups(groups, "image", "group") if groups else {}, notes


def _without_group(groups: Path | None, table: Mapping[str, str], names: list[str]) -> list[str]:
    alone = [name for name in names if name not in table]
    if groups is None or not alone:
        return []
    some = ", ".join(alone[:5]) + (", …" if len(alone) > 5 else "")
    if len(alone) == 1:
        return [f"{groups}: the image {some} has no group; it is a group of its own"]
    return [f"{groups}: {len(alone)} images have no group; each is a group of its own: {some}"]


def _reference(folder: ModelFolder) -> StainFit:
    stored = folder.config.stain_reference
    return default_reference() if stored is None else StainFit.from_dict(stored)
