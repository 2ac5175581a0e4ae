"""Cross-validate the recipe of the nuclei network: every organ held out once, and other sets.

    python scripts/research/nuclei_cross_validation.py DATA OUT [--domain NAME IMAGES MASKS MPP ...]

NuInsSeg is split by organ, human and mouse of one organ together. Each fold's network is trained
without the fold's organs and without those that choose its epoch, and is judged on the fold, on
DSB2018 and on the domains that are given, which none of them saw. What OUT holds already isn't
trained again. Writes OUT/cross_validation.json and .md.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from nuclei_recipe import (
    ARCHITECTURE,
    SETTINGS,
    dsb2018_samples,
    figures,
    further_domains,
    luminosity_standardised,
    network,
    organ_samples,
    scores_of,
    take_further_domains,
)
from open_data import of_groups, stain_normalised

from qupath_hccmil.nuclei.dice_evaluation import NucleiScores
from qupath_hccmil.nuclei.nuclei_training import train
from qupath_hccmil.nuclei.training_crops import Sample, split_groups

SEED = 0
CHOOSING_SHARE = 0.15
Judged = dict[str, NucleiScores]


def folds(samples: Sequence[Sample], count: int) -> list[list[str]]:
    """Deal organs into folds of about equal numbers of images.

    Names are "human liver" or "mouse liver"; both are in one fold.
    """
    sizes = Counter(sample.group.split(" ", 1)[-1] for sample in samples)
    dealt: list[list[str]] = [[] for _ in range(count)]
    totals = [0] * count
    for tissue, size in sizes.most_common():
        smallest = totals.index(min(totals))
        totals[smallest] += size
        dealt[smallest] += sorted({s.group for s in samples if s.group.split(" ", 1)[-1] == tissue})
    return dealt


def train_fold(data: Path, organs: Sequence[str], out: Path) -> torch.nn.Module:
    inside = organ_samples(data, without=organs)
    training, choosing = split_groups(inside, CHOOSING_SHARE, SEED)
    start = network(ARCHITECTURE, data, training)
    return train(start, training, choosing, out, SETTINGS).model


def judge(data: Path, organs: Sequence[str], model: torch.nn.Module) -> Judged:
    return {
        "luminosity-standardised": scores_of(
            of_groups(luminosity_standardised(data), organs), model
        ),
        "stain-normalised": scores_of(of_groups(stain_normalised(data), organs), model),
    }


def together(parts: Sequence[NucleiScores]) -> NucleiScores:
    """All folds' images as one set; every image was judged by a network that never saw it."""
    return NucleiScores([image for part in parts for image in part.images], [])


def table(result: dict[str, Any]) -> str:
    """Write the figures as Markdown."""
    names = ("images", "dice_pooled", "dice_mean", "precision", "recall")
    lines = ["| judged on | " + " | ".join(names) + " |", "|---" * 6 + "|"]
    for name, row in result["together"].items():
        values = " | ".join(str(row[key]) for key in names)
        lines.append(f"| {name} | {values} |")
    for name, row in result["together"].items():
        if organs := row.get("organs"):
            listed = ", ".join(f"{organ} {dice:.3f}" for organ, dice in organs.items())
            lines += ["", f"Dice by organ, {name}: {listed}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    take_further_domains(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data, out = arguments.data, arguments.out
    judged: list[Judged] = []
    domains = {"DSB2018": dsb2018_samples(data), **further_domains(arguments.domain)}
    transfer: dict[str, list[dict[str, Any]]] = {name: [] for name in domains}
    parts = folds(luminosity_standardised(data), arguments.folds)
    for number, organs in enumerate(parts):
        model = train_fold(data, organs, out / f"fold-{number}")
        judged.append(judge(data, organs, model))
        row: dict[str, Any] = {"fold": number, "organs": organs}
        for name, samples in domains.items():
            row[name] = figures(scores_of(samples, model))
            transfer[name].append(row[name])
        row |= {name: figures(scores) for name, scores in judged[-1].items()}
        print(json.dumps(row), flush=True)
    result = {
        "folds": parts,
        "together": {
            **{
                f"NuInsSeg, every organ held out once, {name}": figures(
                    together([part[name] for part in judged])
                )
                for name in judged[0]
            },
            **{
                f"trained on NuInsSeg, judged on {name} (median fold)": sorted(
                    rows, key=lambda row: row["dice_pooled"]
                )[(len(rows) - 1) // 2]
                for name, rows in transfer.items()
            },
        },
        "transfer": transfer,
    }
    (out / "cross_validation.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (out / "cross_validation.md").write_text(table(result), encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
