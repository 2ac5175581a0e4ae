"""The recipe of the shipped nuclei network: what its training sees, and where it starts.

Its comparison, its cross-validation and its training all take it from here.
"""

from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from open_data import CHOOSING, TEST, dsb2018, nuinsseg, of_groups, stain_normalised
from torch import nn

from qupath_hccmil.nuclei.dice_evaluation import NucleiScores, evaluate, torch_predictor
from qupath_hccmil.nuclei.nuclei_training import NucleiSettings
from qupath_hccmil.nuclei.training_crops import Sample, Source, load_source
from qupath_hccmil.training.train_nuclei import starting_network

# Short enough to compare many; what ships is trained longer.
SETTINGS = NucleiSettings(epochs=4, steps=100, crop=128)
ARCHITECTURE: Mapping[str, Any] = {"name": "mobilenet_unet", "widths": [24, 40, 64], "zoom": 1.5}
IMAGENET_WEIGHTS = Path("weights", "mobilenet_v2_imagenet.safetensors")


@cache
def luminosity_standardised(data: Path) -> list[Sample]:
    return load_source(nuinsseg(data))[0]


@cache
def dsb2018_samples(data: Path) -> list[Sample]:
    return load_source(dsb2018(data))[0]


def organ_samples(
    data: Path,
    *,
    without: Iterable[str] = CHOOSING + TEST,
    normalised: float = 0.5,
    dsb2018: bool = False,
) -> list[Sample]:
    """NuInsSeg but for some organs, as it is and as scoring would show it.

    Parameters
    ----------
    data : Path
    without : iterable of str
        Organs that are held out.
    normalised : float
        Share of stain-normalised images among those drawn.
    dsb2018 : bool
        Add DSB2018, a quarter of what is drawn.
    """
    held_out = set(without)
    mixed = (
        (luminosity_standardised(data), 1 - normalised),
        (stain_normalised(data) if normalised else [], normalised),
    )
    chosen = [
        replace(sample, weight=share * sample.weight)
        for samples, share in mixed
        for sample in samples
        if share and sample.group not in held_out
    ]
    return chosen + dsb2018_samples(data) if dsb2018 else chosen


def choosing_domains(data: Path) -> dict[str, list[Sample]]:
    """What choices are made on: organs held out for it, in both colours, and DSB2018."""
    return {
        "choosing organs": of_groups(luminosity_standardised(data), CHOOSING),
        "choosing organs, stain-normalised": of_groups(stain_normalised(data), CHOOSING),
        "DSB2018": dsb2018_samples(data),
    }


def take_further_domains(parser: ArgumentParser) -> None:
    """Give a script the option ``--domain``: sets that no training saw, which DATA hasn't."""
    parser.add_argument(
        "--domain",
        action="append",
        default=[],
        nargs=4,
        metavar=("NAME", "IMAGES", "MASKS", "MPP"),
        help="judge these images too; repeatable",
    )


def further_domains(given: Iterable[Sequence[str]]) -> dict[str, list[Sample]]:
    return {
        name: load_source(Source(Path(images), Path(masks), float(mpp)))[0]
        for name, images, masks, mpp in given
    }


def network(
    architecture: Mapping[str, Any], data: Path | None, training: Sequence[Sample]
) -> nn.Module:
    """Network to start from: random, or with `data`'s ImageNet weights."""
    weights = None if data is None else data / IMAGENET_WEIGHTS
    return starting_network(architecture, weights, training, SETTINGS.seed)[0]


def scores_of(samples: Sequence[Sample], model: nn.Module) -> NucleiScores:
    return evaluate(samples, torch_predictor(model))


def figures(scores: NucleiScores) -> dict[str, Any]:
    """Dice and its parts, overall and by organ where there are organs."""
    organs = scores.by_group()
    row: dict[str, Any] = {
        "images": len(scores.images),
        "dice_pooled": round(scores.dice_pooled, 4),
        "dice_mean": round(scores.dice_mean, 4),
        "precision": round(scores.precision, 4),
        "recall": round(scores.recall, 4),
    }
    if len(organs) < len(scores.images):
        row["organs"] = {organ: round(value, 4) for organ, value in organs.items()}
    return row
