"""Train the nuclei model that ships, from the open data of DESIGN §8, in one command.

    python scripts/research/train_shipped_nuclei.py DATA OUT --experiments DIR
        [--domain NAME IMAGES MASKS MPP ...]

DATA holds nuinsseg/, dsb2018/, tnbc/ and weights/. Three patients of TNBC choose the epoch and the
temperature. Nine organs of NuInsSeg, and the domains that are given, are a test that nothing is
chosen on; all else is trained on. Interrupted, it goes on where it was. The model folder is
OUT/nuclei-unet; its card has the tables that nuclei_ablations.py, nuclei_cross_validation.py and
nuclei_speed.py left in DIR.
"""

import argparse
import json
from pathlib import Path

from nuclei_recipe import (
    SHARES,
    Recipe,
    figures,
    further_domains,
    in_both_colours,
    make_network,
    scores_of,
    settings_of,
    table,
    take_training_options,
    training_samples,
)
from open_data import CHOOSING, CHOOSING_PATIENTS, CMU1, DSB2018, IMAGENET, NUINSSEG, TEST, TNBC

from qupath_hccmil.model_store.model_config import ModelConfig
from qupath_hccmil.model_store.model_folder import save_model_folder
from qupath_hccmil.stain.reference import default_reference

NAME = "nuclei-unet"
CARD = Path(__file__).parent / "model_cards" / f"{NAME}.md"
COMMAND = "python scripts/research/train_shipped_nuclei.py DATA OUT --experiments DIR"
PARTS = {
    "ABLATIONS": "ablations.md",
    "CROSS_VALIDATION": "cross_validation.md",
    "SPEED": "speed.md",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--experiments", type=Path, help="without it, only trains")
    take_training_options(parser)
    arguments = parser.parse_args()
    data, out, recipe = arguments.data, arguments.out, Recipe()
    result = make_network(recipe, data, out, arguments)
    if arguments.experiments is None:
        return
    judged = {
        "TNBC, the patients that chose": in_both_colours(data, "TNBC", CHOOSING_PATIENTS),
        "NuInsSeg, nine organs not trained on": in_both_colours(data, "NuInsSeg", CHOOSING + TEST),
    }
    sets = {
        f"{name}, {colour}": samples
        for name, both in judged.items()
        for colour, samples in both.items()
    } | further_domains(arguments.domain)
    metrics = {name: figures(scores_of(samples, result.model)) for name, samples in sets.items()}
    print(table(metrics), flush=True)
    config = ModelConfig(
        kind="nuclei",
        name=NAME,
        version="4",
        architecture=dict(recipe.architecture),
        stain_reference=default_reference().to_dict(),
        data=(NUINSSEG, DSB2018, TNBC, IMAGENET, CMU1),
        training={
            **settings_of(recipe),
            "shares": dict(SHARES),
            "best_epoch": result.epoch,
            "temperature": json.loads((out / "temperature.json").read_text(encoding="utf-8")),
            "images": len({s.name for s in training_samples(data, recipe.normalised)}),
            "command": COMMAND,
        },
        metrics=metrics,
    )
    card = CARD.read_text(encoding="utf-8").replace("FIGURES", table(metrics).strip())
    for name, file in PARTS.items():
        part = (arguments.experiments / file).read_text(encoding="utf-8")
        card = card.replace(name, part.strip())
    save_model_folder(out / NAME, config, result.model.state_dict(), card)


if __name__ == "__main__":
    main()
