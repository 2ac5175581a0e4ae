"""Cross-validate the recipe of the nuclei network: each source of images is held out once.

    python scripts/research/nuclei_cross_validation.py DATA OUT [--only SOURCE]

Sources differ in centre, scanner, stain and annotator, so that a source that is held out whole
says more of an unknown slide than an organ does. The network that is judged on a source saw none
of its images, neither for training nor for choosing. What OUT holds already isn't trained again.
Writes OUT/cross_validation.json and .md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from nuclei_recipe import (
    Recipe,
    figures,
    in_both_colours,
    make_network,
    scores_of,
    table,
    take_training_options,
)
from open_data import SOURCES


def held_out(source: str, data: Path, out: Path, options: Any) -> dict[str, Any]:
    """Figures on a source that the training didn't see, from its folder where they are there."""
    done = out / "figures.json"
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    result = make_network(Recipe(), data, out, options, without=(source,))
    rows = {
        f"{source}, {colour}": figures(scores_of(samples, result.model))
        for colour, samples in in_both_colours(data, source).items()
    }
    done.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=sorted(SOURCES), help="hold this out and stop")
    take_training_options(parser)
    arguments = parser.parse_args()
    out: Path = arguments.out
    rows: dict[str, Any] = {}
    for source in [arguments.only] if arguments.only else SOURCES:
        rows |= held_out(source, arguments.data, out / source, arguments)
        print(json.dumps(rows), flush=True)
    if not arguments.only:
        content = json.dumps(rows, indent=1)
        (out / "cross_validation.json").write_text(content, encoding="utf-8")
        (out / "cross_validation.md").write_text(table(rows), encoding="utf-8")
        print(table(rows))


if __name__ == "__main__":
    main()
