"""Compare designs and recipes of the nuclei network: a table, and the chart of Dice against speed.

    python scripts/research/nuclei_designs.py DATA OUT [--domain NAME IMAGES MASKS MPP ...]

Each is trained alike on NuInsSeg without the choosing and the test organs, and judged on what none
of them saw: the choosing organs, DSB2018 and the domains that are given. The test organs stay
untouched. Tiles/s are OpenVINO's on this machine's CPU, all designs in turns in one run. What OUT
holds already isn't trained again. Writes OUT/designs.json, designs.md and designs.png.
"""

import argparse
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nuclei_recipe import (
    ARCHITECTURE,
    SETTINGS,
    choosing_domains,
    figures,
    further_domains,
    network,
    organ_samples,
    scores_of,
    take_further_domains,
)

from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.nuclei.architectures import build_network
from qupath_hccmil.nuclei.nuclei_training import train
from qupath_hccmil.nuclei.training_crops import Sample
from qupath_hccmil.scoring.openvino_graph import converted
from qupath_hccmil.scoring.openvino_import import import_openvino
from qupath_hccmil.scoring.runtime import BATCH

ROUNDS = 30


@dataclass(frozen=True)
class Variant:
    """One line of the comparison."""

    architecture: Mapping[str, Any]
    imagenet: bool = False
    normalised: float = 0.5
    settings: Mapping[str, Any] = field(default_factory=dict)


PLAIN = {"name": "mobilenet_unet", "widths": [32, 48, 64], "zoom": 1.0}
DESIGNS = {
    "U-Net, base 8": Variant({"name": "unet", "base": 8}),
    "U-Net, base 16": Variant({"name": "unet", "base": 16}),
    "U-Net, base 24, half resolution": Variant(
        {"name": "unet", "base": 24, "depth": 3, "half": True}
    ),
    "MobileNetV2 U-Net, random start": Variant(PLAIN),
    "MobileNetV2 U-Net": Variant(PLAIN, imagenet=True),
    "MobileNetV2 U-Net, enlarged": Variant(ARCHITECTURE, imagenet=True),
}
# Too slow to ship whatever its Dice, and an hour to train on two cores: its speed alone.
UNTRAINED = {"U-Net, base 32": {"name": "unet", "base": 32}}
# Of the MobileNetV2 U-Net that enlarges nothing, which trains in half the time.
RECIPES = {
    "Dice loss alone": Variant(PLAIN, True, settings={"cross_entropy": 0.0}),
    "Dice loss and focal loss": Variant(PLAIN, True, settings={"focus": 2.0}),
}


def train_variant(
    variant: Variant, data: Path, domains: Mapping[str, list[Sample]], out: Path
) -> dict[str, Any]:
    """Figures of one variant, from its folder where it is there."""
    done = out / "figures.json"
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    settings = replace(SETTINGS, **variant.settings)
    training = organ_samples(data, normalised=variant.normalised)
    start = network(variant.architecture, data if variant.imagenet else None, training)
    before = time.perf_counter()
    result = train(start, training, domains["choosing organs"], out, settings)
    row = {
        "parameters": sum(p.numel() for p in result.model.parameters()),
        "minutes": round((time.perf_counter() - before) / 60, 1),
        "settings": asdict(settings),
        **{name: figures(scores_of(samples, result.model)) for name, samples in domains.items()},
    }
    done.write_text(json.dumps(row, indent=1), encoding="utf-8")
    return row


def tiles_per_second(architectures: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Throughput of each in OpenVINO fp32, the median of many rounds taken in turns."""
    openvino = import_openvino()
    side = TileGeometry().tile_px
    x = np.random.default_rng(0).random((BATCH, 3, side, side), dtype=np.float32)
    core, hint = openvino.Core(), {"PERFORMANCE_HINT": "THROUGHPUT"}
    queues = {}
    for name, architecture in architectures.items():
        model = converted(build_network(architecture).eval(), torch.from_numpy(x))
        compiled = core.compile_model(model, "CPU", {**hint, "INFERENCE_PRECISION_HINT": "f32"})
        queues[name] = openvino.AsyncInferQueue(compiled)
    seconds: dict[str, list[float]] = {name: [] for name in queues}
    for _ in range(ROUNDS):
        for name, queue in queues.items():
            before = time.perf_counter()
            for _ in range(2 * len(queue)):
                queue.start_async({0: x})
            queue.wait_all()
            seconds[name].append((time.perf_counter() - before) / (2 * len(queue)))
    return {name: round(BATCH / float(np.median(values)), 1) for name, values in seconds.items()}


def chart(path: Path, rows: Mapping[str, Mapping[str, Any]], domains: Iterable[str]) -> None:
    """Dice against tiles/s, a point a design and domain."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for domain, marker in zip(domains, "o^sDv", strict=False):
        for number, (name, row) in enumerate(rows.items()):
            axes.plot(
                row["tiles_per_second"],
                row[domain]["dice_pooled"],
                marker,
                color=f"C{number}",
                label=name if marker == "o" else None,
            )
        axes.plot([], [], marker, color="grey", label=domain)
    axes.set(
        xscale="log",
        xlabel="tiles/s (OpenVINO fp32, one CPU run)",
        ylabel="pooled Dice",
    )
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def table(rows: Mapping[str, Mapping[str, Any]], domains: Mapping[str, list[Sample]]) -> str:
    """Write the rows as Markdown."""
    lines = ["| | " + " | ".join(domains) + " | M weights | tiles/s |"]
    lines.append("|---" * (len(domains) + 3) + "|")
    for name, row in rows.items():
        dice = (f"{row[domain]['dice_pooled']:.3f}" if domain in row else "–" for domain in domains)
        speed = row.get("tiles_per_second", "")
        lines.append(f"| {name} | {' | '.join(dice)} | {row['parameters'] / 1e6:.2f} | {speed} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", action="append", help="train this and stop; repeatable")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    take_further_domains(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    domains = choosing_domains(arguments.data) | further_domains(arguments.domain)
    variants = {**DESIGNS, **RECIPES}
    if unknown := set(arguments.only or ()) - set(variants):
        parser.error(f"{min(unknown)!r} is none of {', '.join(variants)}")
    rows = {}
    for name in arguments.only or variants:
        folder = arguments.out / name.replace(" ", "-").replace(",", "")
        rows[name] = train_variant(variants[name], arguments.data, domains, folder)
        print(json.dumps({"name": name, **rows[name]}), flush=True)
    if arguments.only:
        return
    designs = {name: rows[name] for name in DESIGNS}
    measured = {name: DESIGNS[name].architecture for name in designs} | UNTRAINED
    for name, architecture in UNTRAINED.items():
        rows[name] = {
            "parameters": sum(p.numel() for p in build_network(architecture).parameters())
        }
    for name, speed in tiles_per_second(measured).items():
        rows[name]["tiles_per_second"] = speed
    (arguments.out / "designs.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    (arguments.out / "designs.md").write_text(table(rows, domains), encoding="utf-8")
    chart(arguments.out / "designs.png", designs, domains)
    print(table(rows, domains))


if __name__ == "__main__":
    main()
