"""Train the nuclei model that ships, from the open data of DESIGN §8, in one command.

    python scripts/research/train_shipped_nuclei.py DATA OUT --experiments DIR
        [--domain NAME IMAGES MASKS MPP ...]

DATA holds nuinsseg/, dsb2018/ and weights/. Some organs choose the epoch and, with the domains that
are given, the shift of the logits; others are a test that nothing is chosen on, the rest and
DSB2018 are trained on. Interrupted, it goes on where it was. The model folder is OUT/nuclei-unet;
its card has the tables and the chart that nuclei_designs.py and nuclei_cross_validation.py left in
DIR.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nuclei_recipe import (
    ARCHITECTURE,
    IMAGENET_WEIGHTS,
    SETTINGS,
    figures,
    further_domains,
    luminosity_standardised,
    network,
    organ_samples,
    scores_of,
    take_further_domains,
)
from open_data import (
    CHOOSING,
    CMU1,
    DSB2018,
    IMAGENET,
    NUINSSEG,
    NUINSSEG_MPP,
    TEST,
    of_groups,
    stain_normalised,
)
from torch import nn

from qupath_hccmil.model_store.model_config import DataUse, ModelConfig
from qupath_hccmil.model_store.model_folder import save_model_folder
from qupath_hccmil.nuclei.nuclei_training import train
from qupath_hccmil.nuclei.training_crops import Sample
from qupath_hccmil.stain.reference import default_reference

NAME = "nuclei-unet"
CARD = Path(__file__).parent / "model_cards" / f"{NAME}.md"
CHART = "designs.png"
EPOCHS = 20
COMMAND = (
    "python scripts/research/train_shipped_nuclei.py DATA OUT --experiments DIR "
    "--domain glioblastoma IMAGES MASKS 0.25"
)
CARD_SAYS = "see the model card"
SHIFTS = (0.0, 0.5, 1.0)


def table(metrics: dict[str, dict[str, Any]]) -> str:
    """Write the figures of a model card, as Markdown."""
    names = ("images", "dice_pooled", "dice_mean", "precision", "recall")
    lines = ["| organs, colour | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for what, values in metrics.items():
        lines.append(f"| {what} | " + " | ".join(str(values[name]) for name in names) + " |")
    for what, values in metrics.items():
        organs = ", ".join(f"{organ} {dice:.3f}" for organ, dice in values["organs"].items())
        lines += ["", f"Dice by organ, {what}: {organs}."]
    return "\n".join(lines)


def shift_table(shift: float, dice: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Write what the shift was chosen by, as Markdown."""
    lines = ["| | " + " | ".join(map(str, SHIFTS)) + " |", "|---" * (len(SHIFTS) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(map(str, values))} |" for name, values in dice.items()]
    return {"SHIFTED": "\n".join(lines), "SHIFT": str(shift)}


def card(
    metrics: dict[str, dict[str, Any]],
    shift: float,
    dice_by_shift: Mapping[str, Sequence[float]],
    experiments: Path,
) -> str:
    """Fill the model card with what was measured."""
    parts = {
        "COMMAND": COMMAND,
        **shift_table(shift, dice_by_shift),
        "FIGURES": table(metrics),
        "DESIGNS": (experiments / "designs.md").read_text(encoding="utf-8").strip(),
        "CROSS_VALIDATION": (experiments / "cross_validation.md")
        .read_text(encoding="utf-8")
        .strip(),
    }
    text = CARD.read_text(encoding="utf-8")
    for name, content in parts.items():
        text = text.replace(name, content)
    return text


def best_shift(
    model: nn.Module, domains: Mapping[str, Sequence[Sample]]
) -> tuple[float, dict[str, list[float]]]:
    """Shift of the logits of the highest mean Dice, and the pooled Dice of every domain by shift.

    In some training images nuclei were left out that an annotator of a clinical slide would have
    outlined, so that a network that learned from them finds too few of these.
    """
    dice = {name: [] for name in domains}
    for shift in SHIFTS:
        shifted = deepcopy(model)
        shift_logits(shifted, shift)
        for name, samples in domains.items():
            dice[name].append(round(scores_of(samples, shifted).dice_pooled, 4))
    means = np.mean(list(dice.values()), axis=0)
    return SHIFTS[int(np.argmax(means))], dice


@torch.no_grad()
def shift_logits(model: nn.Module, shift: float) -> None:
    """Add to every logit of a network."""
    model.head.bias.add_(shift)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--experiments", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    take_further_domains(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = arguments.data
    training = organ_samples(data, dsb2018=True)
    choosing = of_groups(luminosity_standardised(data), CHOOSING)
    settings = replace(SETTINGS, epochs=EPOCHS)
    result = train(
        network(ARCHITECTURE, data, training),
        training,
        choosing,
        arguments.out,
        settings,
        lambda row: print(dict(row), flush=True),
    )
    domains = {"choosing organs": choosing, **further_domains(arguments.domain)}
    shift, dice_by_shift = best_shift(result.model, domains)
    shift_logits(result.model, shift)
    images = {
        "stain-normalised": stain_normalised(data),
        "luminosity-standardised": luminosity_standardised(data),
    }
    metrics = {
        f"{side}, {colour}": figures(scores_of(of_groups(samples, organs), result.model))
        for side, organs in (("choosing", CHOOSING), ("test", TEST))
        for colour, samples in images.items()
    }
    print(metrics)
    config = ModelConfig(
        kind="nuclei",
        name=NAME,
        version="3",
        architecture=dict(ARCHITECTURE),
        stain_reference=default_reference().to_dict(),
        data=(
            NUINSSEG,
            DSB2018,
            IMAGENET,
            CMU1,
            *(DataUse(name, CARD_SAYS, CARD_SAYS, "choosing") for name, *_ in arguments.domain),
        ),
        training={
            **asdict(settings),
            "start": IMAGENET_WEIGHTS.name,
            "best_epoch": result.epoch,
            "shift": shift,
            "dice_by_shift": {"shifts": list(SHIFTS), **dice_by_shift},
            "images": len({s.name for s in training}),
            "nuinsseg_mpp": NUINSSEG_MPP,
            "command": COMMAND,
        },
        metrics=metrics,
    )
    text = card(metrics, shift, dice_by_shift, arguments.experiments)
    folder = save_model_folder(arguments.out / NAME, config, result.model.state_dict(), text)
    shutil.copy(arguments.experiments / CHART, folder.path / CHART)


if __name__ == "__main__":
    main()
