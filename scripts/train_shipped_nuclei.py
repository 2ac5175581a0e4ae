"""Train the nuclei model that ships, from the open data of DESIGN §8, in one command.

    python scripts/train_shipped_nuclei.py DATA OUT [--experiments DIR]

DATA holds nuinsseg/, dsb2018/ and weights/. Some organs choose the epoch, others are a test that
nothing is chosen on, the rest and DSB2018 are trained on. Interrupted, it goes on where it was. The
model folder is OUT/nuclei-unet; its card has the tables and the chart that nuclei_designs.py and
nuclei_cross_validation.py left in DIR.
"""

import argparse
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from nuclei_recipe import (
    ARCHITECTURE,
    IMAGENET_WEIGHTS,
    SETTINGS,
    figures,
    luminosity_standardised,
    network,
    organ_samples,
    scores_of,
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

from qupath_hccmil.model_folder import ModelConfig, save_model_folder
from qupath_hccmil.nuclei.train import train
from qupath_hccmil.stain.reference import default_reference

NAME = "nuclei-unet"
CARD = Path(__file__).parent / "model_cards" / f"{NAME}.md"
CHART = "designs.png"
EPOCHS = 20


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


def card(metrics: dict[str, dict[str, Any]], experiments: Path) -> str:
    """Fill the model card with what was measured."""
    parts = {
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--experiments", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = arguments.data
    training = organ_samples(data, dsb2018=True)
    settings = replace(SETTINGS, epochs=EPOCHS)
    result = train(
        network(ARCHITECTURE, data, training),
        training,
        of_groups(luminosity_standardised(data), CHOOSING),
        arguments.out,
        settings,
        lambda row: print(dict(row), flush=True),
    )
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
        data=(NUINSSEG, DSB2018, IMAGENET, CMU1),
        training={
            **asdict(settings),
            "start": IMAGENET_WEIGHTS.name,
            "best_epoch": result.epoch,
            "images": len({s.name for s in training}),
            "nuinsseg_mpp": NUINSSEG_MPP,
            "command": "python scripts/train_shipped_nuclei.py DATA OUT --experiments DIR",
        },
        metrics=metrics,
    )
    text = card(metrics, arguments.experiments)
    folder = save_model_folder(arguments.out / NAME, config, result.model.state_dict(), text)
    shutil.copy(arguments.experiments / CHART, folder.path / CHART)


if __name__ == "__main__":
    main()
