"""Compare recipes of the nuclei network on a source that none of them saw: a table.

    python scripts/research/nuclei_ablations.py DATA OUT [--only NAME ...]

Each is trained on NuInsSeg and DSB2018, chooses its epoch on five held-out organs of NuInsSeg, and
is judged on TNBC: clinical fields of another centre, scanner and annotator. The shipped network is
trained on TNBC too, so these figures say which recipe carries over, and not how good it is. What
OUT holds already isn't trained again. Writes OUT/ablations.json and .md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from nuclei_recipe import (
    ARCHITECTURE,
    Recipe,
    figures,
    in_both_colours,
    make_network,
    scores_of,
    take_training_options,
)

from qupath_hccmil.nuclei import augment

HELD_OUT = "TNBC"


def network(widths: tuple[int, int, int], zoom: float) -> dict[str, Any]:
    return {**ARCHITECTURE, "widths": list(widths), "zoom": zoom}


RECIPES = {
    "shipped": Recipe(),
    "without tinted cytoplasm and pale nuclei": Recipe(),
    "masks softened by 0.7 px": Recipe(settings={"soften": 0.7}),
    "a shift for each annotator": Recipe(settings={"annotators": True}),
    "all crops stain-normalised": Recipe(normalised=1.0),
    "enlarged 19/14 times": Recipe(network((24, 40, 64), 19 / 14)),
    "enlarged 9/7 times": Recipe(network((24, 40, 64), 9 / 7)),
    "enlarged 2 times": Recipe(network((24, 40, 64), 2.0)),
    "narrower decoder": Recipe(network((16, 24, 48), 1.5)),
    "twice the steps": Recipe(settings={"epochs": 30}),
}
PLAIN_COLOURS = "without tinted cytoplasm and pale nuclei"


def compared(name: str, data: Path, out: Path, options: Any) -> dict[str, Any]:
    """Figures of one recipe, from its folder where it is there."""
    done = out / "figures.json"
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    if name == PLAIN_COLOURS:
        augment.TINTED = augment.PALE = 0.0
    result = make_network(RECIPES[name], data, out, options, without=(HELD_OUT,))
    row = {
        colour: figures(scores_of(samples, result.model))
        for colour, samples in in_both_colours(data, HELD_OUT).items()
    }
    row["epoch"] = result.epoch
    done.write_text(json.dumps(row, indent=1), encoding="utf-8")
    return row


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Write pooled Dice, border shift and calibration error in both colours, as Markdown."""
    shown = ("dice_pooled", "border_shift_um", "ece")
    colours = [key for key in next(iter(rows.values())) if key != "epoch"]
    titles = [f"{key}, {colour}" for colour in colours for key in shown]
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for name, row in rows.items():
        values = [f"{row[colour][key]:.3f}" for colour in colours for key in shown]
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", action="append", help="train this and stop; repeatable")
    take_training_options(parser)
    arguments = parser.parse_args()
    if unknown := set(arguments.only or ()) - set(RECIPES):
        parser.error(f"{min(unknown)!r} is none of {', '.join(RECIPES)}")
    rows = {}
    for name in arguments.only or RECIPES:
        folder = arguments.out / name.replace(" ", "-").replace("/", "-")
        rows[name] = compared(name, arguments.data, folder, arguments)
        print(json.dumps({"name": name, **rows[name]}), flush=True)
    if not arguments.only:
        (arguments.out / "ablations.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
        (arguments.out / "ablations.md").write_text(table(rows), encoding="utf-8")
        print(table(rows))


if __name__ == "__main__":
    main()
