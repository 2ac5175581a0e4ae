"""The commands ``train nuclei`` and ``evaluate nuclei`` as functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import SlideError
from qupath_hccmil.model_folder import (
    Colour,
    DataUse,
    ModelConfig,
    ModelFolder,
    default_model_dir,
    load_model_folder,
    save_model_folder,
)
from qupath_hccmil.nuclei.data import (
    Source,
    iterate_source,
    load_source,
    read_groups,
    split_groups,
    white_background,
)
from qupath_hccmil.nuclei.evaluate import NucleiScores, evaluate, torch_predictor
from qupath_hccmil.nuclei.model import load_nuclei_network
from qupath_hccmil.nuclei.train import NucleiSettings, Progress, train
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.stain.vahadane import Normalizer, StainFit, fit

MODEL = "model"
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
        On the images that chose the epoch.
    notes : list of str
        Files that couldn't be used, and what else a user should know.
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
    settings: NucleiSettings | None = None,
    name: str = "nuclei",
    progress: Progress | None = None,
) -> NucleiModel:
    """Train a nuclei network from a folder of images and one of masks.

    Parameters
    ----------
    images, masks : Path
        Paired by file name; masks binary or of instances.
    out : Path
        Gets the checkpoint, ``log.csv``, ``curve.png`` and the model folder ``model``.
    mpp : float, optional
        µm/px; without it each image is scaled by the size of its nuclei.
    groups : Path, optional
        CSV with columns ``image, group``: images of a group (slide, organ, patient) are kept
        together.
    held_out : sequence of str
        Groups that choose the epoch; default a random `share` of them.
    share : float
    settings : NucleiSettings, optional
    name : str
        Of the model.
    progress : callable, optional

    Returns
    -------
    NucleiModel

    Raises
    ------
    DataError
        See `load_source`, `split_groups` and `train`.
    """
    settings = settings or NucleiSettings()
    table = read_groups(groups, "image", "group") if groups else {}
    samples, notes = load_source(Source(images, masks, mpp, table))
    if not table:
        notes.append(
            "no groups given: images of one slide may be on both sides, and the Dice flatters"
        )
    training, validation = split_groups(samples, held_out or share, settings.seed)
    result = train(training, validation, out, settings, progress)
    scores = evaluate(validation, torch_predictor(result.model))
    config = ModelConfig(
        kind="nuclei",
        name=name,
        version="1",
        architecture={"name": "unet", "base": settings.base, "depth": settings.depth},
        stain_reference=default_reference().to_dict(),
        data=(DataUse(images.name, "the user's own", str(images.name), "images and masks"),),
        training={**asdict(settings), "best_epoch": result.epoch, "images": len(training)},
        metrics={
            "held_out_dice_pooled": scores.dice_pooled,
            "held_out_dice_mean": scores.dice_mean,
        },
    )
    card = _CARD.format(
        name=name, images=images.name, count=len(validation), dice=scores.dice_pooled
    )
    folder = save_model_folder(out / MODEL, config, result.model.state_dict(), card)
    return NucleiModel(folder, scores, notes)


def evaluate_nuclei(
    images: Path,
    masks: Path,
    *,
    mpp: float | None = None,
    model: Path | None = None,
    colour: Colour | None = None,
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
    colour : {"stain-normalised", "luminosity-standardised"}, optional
        What the network sees; default as the model's config says. An image counts as a slide of
        its own; where its stains can't be fitted, its luminosity is standardised instead.
    groups : Path, optional
        CSV with columns ``image, group``, for figures by group.

    Returns
    -------
    scores : NucleiScores
    notes : list of str
        Files that couldn't be used, and images whose stains couldn't be fitted.

    Raises
    ------
    DataError, ModelError
    """
    folder = load_model_folder(model or default_model_dir("nuclei"), "nuclei")
    table = read_groups(groups, "image", "group") if groups else {}
    fallbacks: list[str] = []
    reference = _reference(folder)

    def prepare(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if (colour or folder.config.colour) == "luminosity-standardised":
            return white_background(rgb)
        try:
            return Normalizer(fit(rgb), reference).transform(rgb[None])[0]
        except SlideError as error:
            fallbacks.append(str(error))
            return white_background(rgb)

    notes: list[str] = []
    samples = iterate_source(Source(images, masks, mpp, table), notes, prepare)
    predict = torch_predictor(load_nuclei_network(folder))
    scores = evaluate(samples, predict, folder.config.geometry)
    if fallbacks:
        notes.append(f"{len(fallbacks)} image(s) only luminosity-standardised: {fallbacks[0]}")
    return scores, notes


def _reference(folder: ModelFolder) -> StainFit:
    stored = folder.config.stain_reference
    return default_reference() if stored is None else StainFit.from_dict(stored)
