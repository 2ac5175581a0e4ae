"""The recipe of the shipped nuclei network: what its training sees, and where it starts.

Its comparison, its cross-validation and its training all take it from here.
"""

import json
from argparse import ArgumentParser
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_data import (
    CHOOSING,
    CHOOSING_PATIENTS,
    TEST,
    drawn_as,
    luminosity_standardised,
    of_groups,
    stain_normalised,
)
from torch import Tensor, nn

from qupath_hccmil.learning.device import training_device
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.nuclei.dice_evaluation import (
    NucleiScores,
    evaluate,
    predict_image,
    torch_predictor,
)
from qupath_hccmil.nuclei.nuclei_training import NucleiSettings, NucleiTraining, train
from qupath_hccmil.nuclei.training_crops import Sample, Source, at_model_scale, load_source
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.stain.vahadane import Normalizer, fit
from qupath_hccmil.training.train_nuclei import start_identity, starting_network

SETTINGS = NucleiSettings(epochs=10, steps=200, batch=8, crop=224, annotators=True)
# 9/7 of a tile's 224 px are 288, a multiple of 16.
ARCHITECTURE: Mapping[str, Any] = {"name": "mobilenet_unet", "widths": [24, 40, 64], "zoom": 9 / 7}
IMAGENET_WEIGHTS = Path("weights", "mobilenet_v2_imagenet.safetensors")
SHARES: Mapping[str, float] = {"NuInsSeg": 0.45, "DSB2018": 0.15, "TNBC": 0.4}
COLOURS = ("stain-normalised", "luminosity-standardised")
TEMPERATURES = np.exp(np.linspace(np.log(0.5), np.log(3), 61))


@dataclass(frozen=True)
class Recipe:
    """How a network is made.

    Attributes
    ----------
    architecture : mapping
    settings : mapping
        What differs from `SETTINGS`.
    normalised : float
        Share of stain-normalised crops.
    imagenet : bool
        Start from ImageNet weights, and not from random ones.
    """

    architecture: Mapping[str, Any] = field(default_factory=lambda: ARCHITECTURE)
    settings: Mapping[str, Any] = field(default_factory=dict)
    normalised: float = 0.5
    imagenet: bool = True


def in_both_colours(
    data: Path, source: str, groups: Collection[str] = ()
) -> dict[str, list[Sample]]:
    """A set as scoring would show it, and with its luminosity standardised; all or some groups."""
    samples = (stain_normalised(data, source), luminosity_standardised(data, source))
    return {
        colour: of_groups(each, groups) if groups else each
        for colour, each in zip(COLOURS, samples, strict=True)
    }


def training_samples(
    data: Path, normalised: float, *, without: Collection[str] = ()
) -> list[Sample]:
    """Return all that may be trained on, but for the sources that are held out whole."""
    held_out = (*CHOOSING, *TEST, *CHOOSING_PATIENTS)
    return [
        sample
        for source, share in SHARES.items()
        if source not in without
        for sample in drawn_as(data, source, share, normalised=normalised, without=held_out)
    ]


def choosing_samples(data: Path, *, without: Collection[str] = ()) -> list[Sample]:
    """What chooses the epoch and the temperature, in both colours.

    Three patients of TNBC, or five organs of NuInsSeg where TNBC is held out whole.
    """
    chosen = ("NuInsSeg", CHOOSING) if "TNBC" in without else ("TNBC", CHOOSING_PATIENTS)
    both = in_both_colours(data, *chosen)
    return [sample for samples in both.values() for sample in samples]


def take_training_options(parser: ArgumentParser) -> None:
    """Give a script the options of every training."""
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=0, help="processes that draw crops")
    parser.add_argument(
        "--domain",
        action="append",
        default=[],
        nargs=4,
        metavar=("NAME", "IMAGES", "MASKS", "MPP"),
        help="judge these images too, which no training and no choice saw; repeatable",
    )


def further_domains(given: Iterable[Sequence[str]]) -> dict[str, list[Sample]]:
    """Sets that DATA hasn't, in both colours; each field is stain-normalised by itself."""
    domains: dict[str, list[Sample]] = {}
    for name, images, masks, mpp in given:
        source = Source(Path(images), Path(masks), float(mpp))
        by_itself, _ = load_source(source, prepare=_normalised)
        luminosity, _ = load_source(source)
        domains |= {
            f"{name}, {c}": s for c, s in zip(COLOURS, (by_itself, luminosity), strict=True)
        }
    return domains


def _normalised(rgb: Any) -> Any:
    return Normalizer(fit(rgb), default_reference()).transform(rgb[None])[0]


def make_network(
    recipe: Recipe, data: Path, out: Path, options: Any, *, without: Collection[str] = ()
) -> NucleiTraining:
    """Train by a recipe, then fit the temperature; goes on where `out` was left."""
    torch.set_num_threads(options.threads)
    training = training_samples(data, recipe.normalised, without=without)
    choosing = choosing_samples(data, without=without)
    settings = replace(SETTINGS, **recipe.settings)
    weights = data / IMAGENET_WEIGHTS if recipe.imagenet else None
    start, whole = starting_network(recipe.architecture, weights, training, settings.seed)
    result = train(
        start,
        training,
        choosing,
        out,
        settings,
        _show_epoch,
        training_device(options.device),
        start_identity(whole, weights),
        options.workers,
    )
    temperature = fitted_temperature(result.model, choosing)
    divide_logits(result.model, temperature)
    (out / "temperature.json").write_text(json.dumps(temperature), encoding="utf-8")
    return result


def _show_epoch(row: Mapping[str, float]) -> None:
    if "step" not in row:
        print(json.dumps({name: round(value, 4) for name, value in row.items()}), flush=True)


def fitted_temperature(model: nn.Module, samples: Sequence[Sample]) -> float:
    """Divisor of the logits of the lowest cross-entropy, over the whole of all fields."""
    predict, geometry = torch_predictor(model), TileGeometry()
    logits, masks = [], []
    for sample in samples:
        rgb, mask = at_model_scale(sample, geometry.mpp)
        heat = torch.from_numpy(predict_image(rgb, predict, geometry.tile_px))
        logits.append(torch.logit(heat.double(), eps=1e-7).ravel())
        masks.append(torch.from_numpy(mask).double().ravel())
    joined, truth = torch.cat(logits), torch.cat(masks)
    losses = [_cross_entropy(joined / t, truth) for t in TEMPERATURES]
    return round(float(TEMPERATURES[int(np.argmin(losses))]), 4)


def _cross_entropy(logits: Tensor, masks: Tensor) -> float:
    return float(nn.functional.binary_cross_entropy_with_logits(logits, masks))


@torch.no_grad()
def divide_logits(model: nn.Module, temperature: float) -> None:
    """Divide every logit of a network; all layers after its head are linear."""
    for parameter in model.get_submodule("head").parameters():
        parameter.div_(temperature)


def scores_of(samples: Sequence[Sample], model: nn.Module) -> NucleiScores:
    return evaluate(samples, torch_predictor(model))


def figures(scores: NucleiScores) -> dict[str, Any]:
    """Dice and its parts, overall and by organ or patient where there are such."""
    groups = scores.by_group()
    row: dict[str, Any] = {
        "images": len(scores.images),
        "dice_pooled": scores.dice_pooled,
        "dice_mean": scores.dice_mean,
        "precision": scores.precision,
        "recall": scores.recall,
        "border_um": scores.border_um,
        "border_shift_um": scores.border_shift_um,
        "ece": scores.calibration_error,
    }
    row = {name: None if value is None else round(value, 4) for name, value in row.items()}
    if len(groups) < len(scores.images):
        row["groups"] = {group: round(value, 4) for group, value in groups.items()}
    return row


FIGURES = (
    "images",
    "dice_pooled",
    "dice_mean",
    "precision",
    "recall",
    "border_um",
    "border_shift_um",
    "ece",
)


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Write rows of `figures` as Markdown, with the Dice of organs or patients below."""
    lines = ["| judged on | " + " | ".join(FIGURES) + " |", "|---" * (len(FIGURES) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(str(row[key]) for key in FIGURES) + " |")
    for name, row in rows.items():
        if groups := row.get("groups"):
            listed = ", ".join(f"{group} {dice:.3f}" for group, dice in groups.items())
            lines += ["", f"Pooled Dice, {name}: {listed}."]
    return "\n".join(lines) + "\n"


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Every setting of a recipe's training, for the model folder."""
    return {**asdict(replace(SETTINGS, **recipe.settings)), "normalised": recipe.normalised}
