"""Compare recipes of the nuclei network: a table of Dice, border and calibration.

    python scripts/research/nuclei_ablations.py DATA OUT [--only NAME ...]

Each is trained as the shipped one but for one thing, and is judged on the patients of TNBC that
choose, and on nine organs of NuInsSeg that no training saw. The design is chosen by the patients of
TNBC alone: the fastest whose mean pooled Dice of both colours is within 0.005 of the best. What OUT
holds already isn't trained again. Writes OUT/ablations.json and .md.
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
from open_data import CHOOSING, CHOOSING_PATIENTS, TEST

from qupath_hccmil.nuclei import augment

PLAIN_COLOURS = "without tinted cytoplasm and pale nuclei"
RECIPES = {
    "shipped: enlarged 9/7 times": Recipe(),
    "enlarged 19/14 times": Recipe({**ARCHITECTURE, "zoom": 19 / 14}),
    "enlarged 1.5 times": Recipe({**ARCHITECTURE, "zoom": 1.5}),
    PLAIN_COLOURS: Recipe(),
}
JUDGED = {
    "choosing patients": ("TNBC", CHOOSING_PATIENTS),
    "nine organs": ("NuInsSeg", CHOOSING + TEST),
}


def compared(name: str, data: Path, out: Path, options: Any) -> dict[str, Any]:
    """Figures of one recipe, from its folder where it is there."""
    done = out / "figures.json"
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    as_shipped = augment.TINTED, augment.PALE
    if name == PLAIN_COLOURS:
        augment.TINTED = augment.PALE = 0.0
    result = make_network(RECIPES[name], data, out, options)
    augment.TINTED, augment.PALE = as_shipped
    row: dict[str, Any] = {
        f"{what}, {colour}": figures(scores_of(samples, result.model))
        for what, (source, groups) in JUDGED.items()
        for colour, samples in in_both_colours(data, source, groups).items()
    }
    row["epoch"] = result.epoch
    done.write_text(json.dumps(row, indent=1), encoding="utf-8")
    return row


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Write pooled Dice, border shift and calibration error of each set, as Markdown."""
    shown = {"dice_pooled": "Dice", "border_shift_um": "shift, µm", "ece": "ECE"}
    sets = [key for key in next(iter(rows.values())) if key != "epoch"]
    titles = [f"{each}: {title}" for each in sets for title in shown.values()]
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for name, row in rows.items():
        values = [f"{row[each][key]:.3f}" for each in sets for key in shown]
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
        folder = arguments.out / name.replace(" ", "-").replace("/", "-").replace(":", "")
        rows[name] = compared(name, arguments.data, folder, arguments)
        print(json.dumps({"name": name, **rows[name]}), flush=True)
    if not arguments.only:
        (arguments.out / "ablations.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
        (arguments.out / "ablations.md").write_text(table(rows), encoding="utf-8")
        print(table(rows))


if __name__ == "__main__":
    main()
