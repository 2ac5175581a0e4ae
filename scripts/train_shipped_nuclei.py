"""Train the nuclei model that ships, from the open data of DESIGN §8, in one command.

    python scripts/train_shipped_nuclei.py DATA OUT

DATA holds nuinsseg/ and dsb2018/. Some organs choose the epoch, others are a test that nothing is
chosen on, the rest and DSB2018 are trained on. Interrupted, it goes on where it was. The model
folder is OUT/nuclei-unet.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from open_data import (
    CHOOSING,
    CMU1,
    DSB2018,
    NUINSSEG,
    NUINSSEG_MPP,
    TEST,
    dsb2018,
    nuinsseg,
    of_groups,
    stain_normalised,
)

from qupath_hccmil.model_folder import ModelConfig, save_model_folder
from qupath_hccmil.nuclei.data import Sample, load_source
from qupath_hccmil.nuclei.evaluate import Predictor, evaluate, torch_predictor
from qupath_hccmil.nuclei.train import NucleiSettings, train
from qupath_hccmil.stain.reference import default_reference

NAME = "nuclei-unet"
CARD = Path(__file__).parent / "model_cards" / f"{NAME}.md"


def figures(samples: Sequence[Sample], predict: Predictor) -> dict[str, Any]:
    scores = evaluate(samples, predict)
    return {
        "images": len(samples),
        "dice_pooled": round(scores.dice_pooled, 4),
        "dice_mean": round(scores.dice_mean, 4),
        "precision": round(scores.precision, 4),
        "recall": round(scores.recall, 4),
        "organs": {organ: round(value, 4) for organ, value in scores.by_group().items()},
    }


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    organs, _ = load_source(nuinsseg(arguments.data))
    others, _ = load_source(dsb2018(arguments.data))
    held_out = {"choosing": CHOOSING, "test": TEST}
    training = [s for s in organs if s.group not in CHOOSING + TEST] + others
    settings = NucleiSettings(epochs=30, steps=120)
    result = train(
        training,
        of_groups(organs, CHOOSING),
        arguments.out,
        settings,
        lambda row: print(dict(row), flush=True),
    )
    predict = torch_predictor(result.model)
    normalised = stain_normalised(arguments.data)
    metrics = {
        f"{side}, {colour}": figures(of_groups(samples, groups), predict)
        for side, groups in held_out.items()
        for colour, samples in (
            ("stain-normalised", normalised),
            ("luminosity-standardised", organs),
        )
    }
    print(metrics)
    config = ModelConfig(
        kind="nuclei",
        name=NAME,
        version="1",
        architecture={"name": "unet", "base": settings.base, "depth": settings.depth},
        stain_reference=default_reference().to_dict(),
        data=(NUINSSEG, DSB2018, CMU1),
        training={
            **asdict(settings),
            "best_epoch": result.epoch,
            "images": len(training),
            "nuinsseg_mpp": NUINSSEG_MPP,
            "command": "python scripts/train_shipped_nuclei.py DATA OUT",
        },
        metrics=metrics,
    )
    weights = result.model.state_dict()
    card = CARD.read_text(encoding="utf-8").replace("FIGURES", table(metrics))
    save_model_folder(arguments.out / NAME, config, weights, card)


if __name__ == "__main__":
    main()
