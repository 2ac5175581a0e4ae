"""Prove the method's claims on the simulated cohort, by leaving out one of them at a time.

    python scripts/research/surrogate_ablations.py DATA NUCLEI_MODEL OUT [--threads N]

Every variant is trained like the shipped risk model, but for fewer passes on every third of its
simulated patients, and judged on the test organs. What OUT holds already isn't trained again.
Writes OUT/ablations.json and ablations.md.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from surrogate_cohort import (
    SETTINGS,
    Side,
    patient_scores,
    pool_logits,
    simulated_cohort,
    tile_figures,
)

from qupath_hccmil.mil.bags import Bag
from qupath_hccmil.mil.risk_evaluation import judge, torch_tile_predictor
from qupath_hccmil.mil.risk_training import train
from qupath_hccmil.mil.simulated_cohort import HazardScale, PooledBag
from qupath_hccmil.mil.tile_network import imagenet_network
from qupath_hccmil.model_store.model_folder import weights_identity

# The largest |s| dominates: the limit of p → ∞ is the maximum.
NEAR_MAXIMUM = 21.0
EPOCHS = 2


@dataclass(frozen=True)
class WithoutHeatMap:
    """A bag whose fourth channel is empty."""

    bag: Bag

    @property
    def patient(self) -> str:
        """The bag's."""
        return self.bag.patient

    def __len__(self) -> int:
        return len(self.bag)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Tiles ``(n, 4, s, s)`` uint8."""
        tiles = np.array(self.bag.read(indices))
        tiles[:, 3] = 0
        return tiles


@dataclass(frozen=True)
class Variant:
    """What is changed: settings, the bags of the training, what the network sees."""

    settings: Mapping[str, Any]
    bags: Callable[[Sequence[Bag]], Sequence[Bag]] = list
    seen: Callable[[Bag], Bag] = lambda bag: bag


def single_tiles(bags: Sequence[Bag]) -> list[Bag]:
    """As many tiles as an epoch draws, each a bag of its own with its patient's label."""
    return [
        PooledBag(f"{bag.patient}/{number}", bag, np.array([number]))
        for bag in bags
        for number in range(SETTINGS.tiles)
    ]


VARIANTS = {
    "as the shipped one": Variant({}),
    "without the nuclei channel": Variant({}, seen=WithoutHeatMap),
    "mean (p = 1) in place of p = 3": Variant({"p": 1.0}),
    f"near the maximum (p = {NEAR_MAXIMUM:.0f})": Variant({"p": NEAR_MAXIMUM}),
    "tiles trained one by one on their patient's label": Variant({}, bags=single_tiles),
}


def train_variant(
    variant: Variant, sides: Mapping[str, Side], scale: HazardScale, weights: Path, out: Path
) -> dict[str, Any]:
    """Figures of one variant on the test organs, from its folder where it is there."""
    done = out / "figures.json"
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    settings = replace(SETTINGS, epochs=EPOCHS, **variant.settings)
    training = variant.bags([variant.seen(bag) for bag in sides["training"].bags[::3]])
    choosing = [variant.seen(bag) for bag in sides["choosing"].bags]
    labels = {patient: label for side in sides.values() for patient, label in side.labels.items()}
    labels |= {bag.patient: labels[bag.patient.split("/")[0]] for bag in training}
    network = imagenet_network(weights, settings.seed)
    start = weights_identity(weights)
    result = train(network, training, choosing, labels, out, settings, origin=start)
    side = sides["test"]
    pool = replace(side.pool, bag=variant.seen(side.pool.bag))
    logits = pool_logits(torch_tile_predictor(result.network), pool)
    test = judge(patient_scores(logits, side.patients, settings.p), side.labels)
    figures = {
        "auc": asdict(test.auc),
        "accuracy": asdict(test.accuracy),
        "best_epoch": result.epoch,
        "tiles": tile_figures(logits, pool, scale),
    }
    done.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return figures


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the rows as Markdown."""
    lines = ["| | AUC (95 % interval) | accuracy | ρ of logit and hazard |", "|---|---|---|---|"]
    for name, row in rows.items():
        auc = row["auc"]
        lines.append(
            f"| {name} | {auc['value']:.3f} ({auc['low']:.3f}–{auc['high']:.3f}) "
            f"| {row['accuracy']['value']:.3f} | {row['tiles']['spearman_hazard']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("nuclei", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=1, help="processes that make tiles")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sides, scale = simulated_cohort(arguments.data, arguments.nuclei, arguments.out, arguments)
    weights = arguments.data / "weights" / "mobilenet_v2_imagenet.safetensors"
    rows = {}
    for name, variant in VARIANTS.items():
        folder = arguments.out / "".join(c if c.isalnum() else "-" for c in name)
        rows[name] = train_variant(variant, sides, scale, weights, folder)
        print(json.dumps({"name": name, **rows[name]}), flush=True)
    (arguments.out / "ablations.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    (arguments.out / "ablations.md").write_text(table(rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
