"""Train the nuclei model that ships, from the open data of DESIGN §8, in one command.

    python scripts/train_shipped_nuclei.py DATA OUT

DATA holds nuinsseg/ and dsb2018/. Some organs choose the epoch, others are a test that nothing is
chosen on, the rest and DSB2018 are trained on. Interrupted, it goes on where it was.
"""

import argparse
import json
from pathlib import Path

from qupath_hccmil.nuclei.data import Sample, Source, load_source, read_groups
from qupath_hccmil.nuclei.evaluate import evaluate, torch_predictor
from qupath_hccmil.nuclei.train import NucleiSettings, train

# Only organs whose name is certain, so that none of their slides can hide under another name.
CHOOSING = (
    "human lung",
    "human testis",
    "human cerebellum",
    "human umbilical cord",
    "mouse kidney",
)
TEST = ("mouse liver", "human pancreas", "human jejunum", "human tonsil")
NUINSSEG_MPP = 0.18


def sources(data: Path) -> tuple[Source, Source]:
    nuinsseg = data / "nuinsseg"
    organs = read_groups(nuinsseg / "organs.csv", "image", "organ")
    dsb = data / "dsb2018"
    return (
        Source(nuinsseg / "images", nuinsseg / "masks", NUINSSEG_MPP, organs, weight=0.75),
        Source(dsb / "images", dsb / "labels", None, weight=0.25),
    )


def split(data: Path) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Training, choosing and test images."""
    nuinsseg, dsb = (load_source(source)[0] for source in sources(data))
    training = [s for s in nuinsseg if s.group not in CHOOSING + TEST]
    choosing = [s for s in nuinsseg if s.group in CHOOSING]
    test = [s for s in nuinsseg if s.group in TEST]
    return training + dsb, choosing, test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    training, choosing, test = split(arguments.data)
    print(
        f"{len(training)} training, {len(choosing)} choosing, {len(test)} test images", flush=True
    )
    settings = NucleiSettings(epochs=arguments.epochs)
    result = train(
        training, choosing, arguments.out, settings, lambda row: print(dict(row), flush=True)
    )
    scores = evaluate(test, torch_predictor(result.model)).as_dict()
    (arguments.out / "test.json").write_text(json.dumps(scores, indent=1), encoding="utf-8")
    print({k: scores[k] for k in ("dice_pooled", "dice_mean", "precision", "recall", "groups")})


if __name__ == "__main__":
    main()
