"""Train the risk model that ships, on a simulated cohort of real tissue, in one command.

    python scripts/research/train_surrogate.py DATA NUCLEI_MODEL OUT [--ablations DIR]

DATA holds nuinsseg/ and weights/ (DESIGN §8). Slides of hepatocellular carcinoma with outcome were
not at hand, so the label is a surrogate: see `surrogate_cohort`. Interrupted, it goes on where it
was. The model folder is OUT/hcc-risk-surrogate; its card has the table that surrogate_ablations.py
left in DIR.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawn_tiles import DEMO_SEED, drawn_tiles
from open_data import CMU1, IMAGENET, NUINSSEG
from surrogate_cohort import (
    PATIENTS,
    SECOND,
    SETTINGS,
    SLIDE_PATIENTS,
    TILES_PER_PATIENT,
    Side,
    follow_up_figures,
    patient_scores,
    pool_logits,
    simulated_cohort,
    slide_patients,
    tile_figures,
)

from qupath_hccmil.learning.checkpoint import CHECKPOINT
from qupath_hccmil.learning.device import training_device
from qupath_hccmil.method.aggregation import good_outcome_probability, risk, slide_logit
from qupath_hccmil.mil.bags import StoredBag, chunks, write_bag
from qupath_hccmil.mil.metrics import auc, bootstrap, cross_entropy
from qupath_hccmil.mil.risk_evaluation import TilePredictor, judge, torch_tile_predictor
from qupath_hccmil.mil.risk_training import train
from qupath_hccmil.mil.simulated_cohort import EFFECTS
from qupath_hccmil.mil.threshold_and_temperature import DecisionRule, decide
from qupath_hccmil.mil.tile_network import TileNetwork, imagenet_network
from qupath_hccmil.model_store.model_config import ModelConfig, RiskConfig
from qupath_hccmil.model_store.model_folder import (
    file_sha256,
    load_model_folder,
    save_model_folder,
    weights_identity,
)
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.nuclei.dice_evaluation import torch_predictor
from qupath_hccmil.stain.reference import default_reference

NAME = "hcc-risk-surrogate"
CARD = Path(__file__).parent / "model_cards" / f"{NAME}.md"
LABEL = (
    "1 = good outcome; the risk rises with the hazard of a simulated recurrence: a surrogate, "
    "no patient's outcome"
)
SHIFTS = np.arange(-8, 8.01, 0.25)
SHOWN = ("auc", "accuracy", "sensitivity", "specificity", "brier", "calibration_slope")


def calibration(side: Side, predict: TilePredictor) -> tuple[float, float]:
    """Shift of every tile logit, and temperature, of the lowest cross-entropy at the threshold.

    Few tiles a step leave the logits' middle where the last steps took it. The shift goes into the
    output layer's bias, so that the published threshold stays.
    """
    tiles = pool_logits(predict, side.pool)
    logits = [tiles[bag.indices] for bag in side.bags]
    good = np.array([bool(side.labels[bag.patient]) for bag in side.bags])
    best, t = (np.inf, 0.0, 1.0), SETTINGS.threshold
    for shift in SHIFTS:
        slides = np.array([slide_logit(each + shift, SETTINGS.p) for each in logits])
        found = decide(slides, good, DecisionRule(fit_temperature=True), t).temperature
        probability = good_outcome_probability(risk(slides / found), t)
        best = min(best, (cross_entropy(good, probability), float(shift), found))
    return best[1:]


def planted_figures(arguments: Any, network: TileNetwork) -> dict[str, Any]:
    """How well tile logits tell the planted atypia of the demo's drawn slide from the rest of it.

    No training and no choice saw this slide.
    """
    tiles = drawn_tiles(arguments.data, DEMO_SEED)
    heat = torch_predictor(load_nuclei_network(load_model_folder(arguments.nuclei, "nuclei")))
    path = arguments.out / "tiles-demo.npy"
    batches = (tiles.rgb[start : start + 8] for start in range(0, len(tiles.rgb), 8))
    write_bag(path, batches, len(tiles.rgb), tiles.rgb.shape[1], heat)
    bag, predict = StoredBag(path), torch_tile_predictor(network)
    logits = np.concatenate([predict(bag.read(part)) for part in chunks(np.arange(len(bag)), 16)])
    planted = tiles.atypia > 0.5
    return {
        "tiles": len(bag),
        "planted": int(planted.sum()),
        "auc": asdict(bootstrap(auc, planted.astype(np.int64), logits)),
    }


def show_epoch(row: Mapping[str, float]) -> None:
    if "bag" not in row:
        print(json.dumps(dict(row)), flush=True)


def _written(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def table(metrics: dict[str, Any]) -> str:
    """Write the figures of a model card, as Markdown."""
    bags, tiles, follow_up = (metrics[f"test {part}"] for part in ("bags", "tiles", "follow-up"))
    lines = [
        f"{bags['good']} good and {bags['poor']} poor simulated patients; C-index and hazard ratio "
        f"over all {follow_up['patients']}, of whom {follow_up['high']} are of high risk:",
        "",
        "| figure | value | 95 % interval |",
        "|---|---|---|",
    ]
    rows = {name.replace("_", " "): bags[name] for name in SHOWN}
    rows["C-index"] = follow_up["c_index"]
    rows["hazard ratio, high against low risk"] = follow_up["hazard_ratio"]
    for name, estimate in rows.items():
        value, low, high = (_written(estimate[part]) for part in ("value", "low", "high"))
        lines.append(f"| {name} | {value} | {low}–{high} |")
    lines += [
        "",
        f"Over {tiles['tiles']} tiles of organs, Spearman's ρ between logit and true hazard is "
        f"{tiles['spearman_hazard']:.3f}. For each feature, also adjusted for the others and for "
        "the tissue, in standard deviations:",
        "",
        "| | ρ, true hazard | ρ, logit | adjusted, true hazard | adjusted, logit (95 % interval) |",
        "|---|---|---|---|---|",
    ]
    for name, row in tiles["features"].items():
        value, low, high = (_written(row["adjusted"][part]) for part in ("value", "low", "high"))
        lines.append(
            f"| {name.replace('_', ' ')} | {row['hazard_spearman']:.3f} | {row['spearman']:.3f} "
            f"| {row['hazard_adjusted']:.3f} | {value} ({low} to {high}) |"
        )
    planted = metrics["planted atypia of the demo's slide"]
    value, low, high = (_written(planted["auc"][part]) for part in ("value", "low", "high"))
    lines += [
        "",
        f"On the demo's drawn slide, which nothing was trained or chosen on, {planted['planted']} "
        f"of {planted['tiles']} tumour tiles are more than half planted atypia. The tile logit "
        f"tells them from the others with an AUC of {value} ({low}–{high}).",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("nuclei", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ablations", type=Path, help="without it, only trains")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=1, help="processes that make tiles")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sides, scale = simulated_cohort(arguments.data, arguments.nuclei, arguments.out, arguments)
    labels = {patient: label for side in sides.values() for patient, label in side.labels.items()}
    weights = arguments.data / "weights" / "mobilenet_v2_imagenet.safetensors"
    result = train(
        imagenet_network(weights, SETTINGS.seed),
        sides["training"].bags,
        sides["choosing"].bags,
        labels,
        arguments.out,
        SETTINGS,
        show_epoch,
        training_device(arguments.device),
        weights_identity(weights),
    )
    second = {side: slide_patients(side, sides[side].pool, scale) for side in SLIDE_PATIENTS}
    labels |= {name: label for side in second.values() for name, label in side.labels.items()}
    result = train(
        result.network,
        second["training"].bags + sides["training"].bags[: len(second["training"].bags)],
        second["choosing"].bags + sides["choosing"].bags,
        labels,
        arguments.out / "second",
        SECOND,
        show_epoch,
        training_device(arguments.device),
        origin=f"the network of {file_sha256(arguments.out / CHECKPOINT)}",
    )
    if arguments.ablations is None:
        return
    predict = torch_tile_predictor(result.network)
    # Calibrated on the patients that chose the epoch, none of whom is in the test.
    choosing = sides["choosing"]
    shift, temperature = calibration(choosing, predict)
    with torch.no_grad():
        result.network.mobilenet.classifier[1].bias.add_(shift)
    result.network.temperature.fill_(temperature)
    test = sides["test"]
    logits = pool_logits(predict, test.pool)
    scores = patient_scores(logits, test.patients, SETTINGS.p)
    bags = judge(scores, test.labels, SETTINGS.threshold).as_dict()
    bags.pop("bags")
    metrics = {
        "test bags": bags,
        "test tiles": tile_figures(logits, test.pool, scale),
        "test follow-up": follow_up_figures(scores, test.patients, SETTINGS.threshold),
        "planted atypia of the demo's slide": planted_figures(arguments, result.network),
        "hazard scale": asdict(scale),
    }
    print(json.dumps(metrics, indent=1))
    nuclei = load_model_folder(arguments.nuclei, "nuclei")
    config = ModelConfig(
        kind="mil",
        name=NAME,
        version="3",
        architecture={"name": "mobilenet_v2"},
        stain_reference=default_reference().to_dict(),
        data=(NUINSSEG, IMAGENET, CMU1),
        training={
            **asdict(SETTINGS),
            "best_epoch": result.epoch,
            "calibration_shift": shift,
            "effects": dict(EFFECTS),
            "patients": PATIENTS,
            "second part": {**asdict(SECOND), "patients": SLIDE_PATIENTS},
            "tiles_per_patient": TILES_PER_PATIENT,
            "command": (
                "python scripts/research/train_surrogate.py DATA NUCLEI_MODEL OUT --ablations DIR"
            ),
        },
        metrics=metrics,
        risk=RiskConfig(SETTINGS.p, SETTINGS.threshold, LABEL, True, nuclei.reference, temperature),
    )
    ablations = (arguments.ablations / "ablations.md").read_text(encoding="utf-8").strip()
    card = CARD.read_text(encoding="utf-8")
    card = card.replace("FIGURES", table(metrics)).replace("ABLATIONS", ablations)
    save_model_folder(arguments.out / NAME, config, result.network.state_dict(), card)


if __name__ == "__main__":
    main()
