"""Train the risk model that ships, on a simulated cohort of real tissue, in one command.

    python scripts/train_surrogate.py DATA NUCLEI_MODEL OUT

DATA holds nuinsseg/ and weights/ (DESIGN §8). No open data join slides of hepatocellular carcinoma
with outcome, so the label is a surrogate: see `qupath_hccmil.mil.surrogate`. Tiles are put
together from four fields of one organ, since a field covers only half a tile; organs are split as
for the nuclei model. Interrupted, it goes on where it was. The model folder is
OUT/hcc-risk-surrogate.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from open_data import CHOOSING, CMU1, IMAGENET, NUINSSEG, TEST, of_groups, stain_normalised
from scipy.stats import spearmanr

from qupath_hccmil.mil.bags import StoredBag, chunks, write_bag
from qupath_hccmil.mil.cohort import outcome
from qupath_hccmil.mil.evaluate import evaluate, torch_tile_predictor
from qupath_hccmil.mil.network import imagenet_network
from qupath_hccmil.mil.surrogate import (
    EFFECTS,
    HazardScale,
    SimulatedPatient,
    measure_nuclei,
    simulate_patients,
    tile_features,
)
from qupath_hccmil.mil.train import MilSettings, train
from qupath_hccmil.model_folder import (
    ModelConfig,
    RiskConfig,
    load_model_folder,
    save_model_folder,
)
from qupath_hccmil.nuclei.data import Sample
from qupath_hccmil.nuclei.evaluate import torch_predictor
from qupath_hccmil.nuclei.model import load_nuclei_network
from qupath_hccmil.slide.geometry import TileGeometry
from qupath_hccmil.stain.colour import optical_density
from qupath_hccmil.stain.concentrations import concentrations
from qupath_hccmil.stain.reference import default_reference

NAME = "hcc-risk-surrogate"
CARD = Path(__file__).parent / "model_cards" / f"{NAME}.md"
LABEL = (
    "1 = good outcome; the risk rises with the hazard of a simulated recurrence: a surrogate, "
    "no patient's outcome"
)
TILES_PER_ORGAN = 60
TILES_PER_PATIENT = 32
PATIENTS = {"training": 340, "choosing": 90, "test": 250}
SEEDS = {"training": 1, "choosing": 2, "test": 3}


@dataclass(frozen=True)
class Pool:
    """Tiles of one side of the split."""

    bag: StoredBag
    features: list[dict[str, float]]


def composite(
    members: Sequence[Sample], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """One tile of four fields of an organ, each at a random place and turn."""
    side = TileGeometry().tile_px
    half = side // 2
    rgb = np.empty((side, side, 3), dtype=np.uint8)
    mask = np.empty((side, side), dtype=bool)
    for y in (0, half):
        for x in (0, half):
            sample = members[int(rng.integers(len(members)))]
            top, left = (int(rng.integers(extent - half + 1)) for extent in sample.mask.shape)
            quarter = int(rng.integers(4))
            window = np.s_[top : top + half, left : left + half]
            rgb[y : y + half, x : x + half] = np.rot90(sample.rgb[window], quarter)
            mask[y : y + half, x : x + half] = np.rot90(sample.mask[window], quarter)
    return rgb, mask


def make_tiles(
    samples: Sequence[Sample], seed: int
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]]]:
    organs = defaultdict(list)
    for sample in samples:
        organs[sample.group].append(sample)
    rng = np.random.default_rng(seed)
    tiles = [
        composite(organs[organ], rng) for organ in sorted(organs) for _ in range(TILES_PER_ORGAN)
    ]
    return [rgb for rgb, _ in tiles], [mask for _, mask in tiles]


def haematoxylin(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Concentration of a normalised tile ``(s, s, 3)``: ``(s, s)``."""
    density = optical_density(rgb.reshape(-1, 3))
    return concentrations(density, default_reference().matrix)[0].reshape(rgb.shape[:2])


def make_pools(data: Path, nuclei: Path, out: Path) -> dict[str, Pool]:
    samples = stain_normalised(data)
    others = {s.group for s in samples} - set(CHOOSING) - set(TEST)
    sides = {"training": sorted(others), "choosing": CHOOSING, "test": TEST}
    heat = torch_predictor(load_nuclei_network(load_model_folder(nuclei, "nuclei")))
    geometry = TileGeometry()
    tiles, measured = {}, {}
    for side, organs in sides.items():
        tiles[side], masks = make_tiles(of_groups(samples, organs), SEEDS[side])
        measured[side] = [
            measure_nuclei(mask, haematoxylin(rgb), geometry.mpp)
            for rgb, mask in zip(tiles[side], masks, strict=True)
        ]
    dark = float(np.median(np.concatenate([n.haematoxylin for n in measured["training"]])))
    pools = {}
    for side, rgb in tiles.items():
        path = out / f"tiles-{side}.npy"
        if not path.exists():
            write_bag(path, batches(rgb), len(rgb), geometry.tile_px, heat)
        pools[side] = Pool(StoredBag(path), [tile_features(n, dark) for n in measured[side]])
        print(f"{side}: {len(rgb)} tiles of {len(sides[side])} organs", flush=True)
    return pools


def batches(rgb: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    for part in chunks(np.arange(len(rgb)), 8):
        yield np.stack([rgb[int(i)] for i in part])


def labelled(
    patients: Sequence[SimulatedPatient],
) -> tuple[list[SimulatedPatient], dict[str, int]]:
    """Patients of a distinct outcome, and their labels."""
    labels = {}
    for patient in patients:
        label, _ = outcome(patient.time, patient.event)
        if label is not None:
            labels[patient.bag.patient] = label
    return [p for p in patients if p.bag.patient in labels], labels


def tile_figures(logits: NDArray[np.float64], pool: Pool, scale: HazardScale) -> dict[str, object]:
    """How the tile logit goes with the true hazard, and with each feature, on held-out organs."""
    standard = [scale.standard(features) for features in pool.features]
    hazards = [scale.hazard(features) for features in pool.features]
    return {
        "tiles": len(logits),
        "spearman_hazard": round(float(spearmanr(logits, hazards)[0]), 3),
        **{
            f"spearman_{name}": round(float(spearmanr(logits, [s[name] for s in standard])[0]), 3)
            for name in EFFECTS
        },
    }


def table(metrics: dict[str, Any]) -> str:
    """Write the figures of a model card, as Markdown."""
    bags, tiles = metrics["test bags"], metrics["test tiles"]
    lines = [f"{bags['good']} good and {bags['poor']} poor simulated patients:", ""]
    lines += ["| figure | value | 95 % interval |", "|---|---|---|"]
    for name in ("auc", "accuracy", "sensitivity", "specificity"):
        e = bags[name]
        lines.append(f"| {name} | {e['value']:.3f} | {e['low']:.3f}–{e['high']:.3f} |")
    lines += ["", f"Spearman correlation of the logit over {tiles['tiles']} tiles with", ""]
    lines += ["| | ρ |", "|---|---|"]
    lines += [
        f"| {name.removeprefix('spearman_').replace('_', ' ')} | {value:.3f} |"
        for name, value in tiles.items()
        if name != "tiles"
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("nuclei", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pools = make_pools(arguments.data, arguments.nuclei, arguments.out)
    scale = HazardScale.fit(pools["training"].features)
    labels: dict[str, int] = {}
    bags = {}
    for side, pool in pools.items():
        hazards = np.array([scale.hazard(features) for features in pool.features])
        patients = simulate_patients(
            pool.bag, hazards, PATIENTS[side], TILES_PER_PATIENT, SEEDS[side]
        )
        distinct, side_labels = labelled(patients)
        labels |= side_labels
        bags[side] = [patient.bag for patient in distinct]
        good = sum(side_labels.values())
        print(f"{side}: {good} good, {len(side_labels) - good} poor", flush=True)
    settings = MilSettings(epochs=arguments.epochs, tiles=8, validation_tiles=8)
    network = imagenet_network(
        arguments.data / "weights" / "mobilenet_v2_imagenet.safetensors", settings.seed
    )
    result = train(
        network,
        bags["training"],
        bags["choosing"],
        labels,
        arguments.out,
        settings,
        lambda row: print(json.dumps(row), flush=True),
    )
    predict = torch_tile_predictor(result.network)
    scores = evaluate(bags["test"], labels, predict).as_dict()
    scores.pop("bags")
    test = pools["test"].bag
    logits = np.concatenate([predict(test.read(part)) for part in chunks(np.arange(len(test)), 16)])
    metrics = {
        "test bags": scores,
        "test tiles": tile_figures(logits, pools["test"], scale),
        "hazard scale": asdict(scale),
    }
    print(json.dumps(metrics, indent=1))
    nuclei = load_model_folder(arguments.nuclei, "nuclei")
    config = ModelConfig(
        kind="mil",
        name=NAME,
        version="1",
        architecture={"name": "mobilenet_v2"},
        stain_reference=default_reference().to_dict(),
        data=(NUINSSEG, IMAGENET, CMU1),
        training={
            **asdict(settings),
            "best_epoch": result.epoch,
            "effects": dict(EFFECTS),
            "patients": PATIENTS,
            "tiles_per_patient": TILES_PER_PATIENT,
            "command": "python scripts/train_surrogate.py DATA NUCLEI_MODEL OUT",
        },
        metrics=metrics,
        risk=RiskConfig(settings.p, settings.threshold, LABEL, True, nuclei.reference),
    )
    weights = result.network.state_dict()
    card = CARD.read_text(encoding="utf-8").replace("FIGURES", table(metrics))
    save_model_folder(arguments.out / NAME, config, weights, card)


if __name__ == "__main__":
    main()
