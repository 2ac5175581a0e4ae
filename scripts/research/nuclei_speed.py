"""Tiles/s of the designs of the nuclei network on this machine's processor: a table.

    python scripts/research/nuclei_speed.py OUT

OpenVINO in 32-bit floating point, all designs in turns in one run; speed doesn't depend on the
weights. Writes OUT/speed.md.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nuclei_recipe import ARCHITECTURE

from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.nuclei.architectures import build_network
from qupath_hccmil.scoring.openvino_graph import converted
from qupath_hccmil.scoring.openvino_import import import_openvino

ROUNDS = 30
BATCH = 8
DESIGNS: Mapping[str, Mapping[str, Any]] = {
    "shipped: enlarged 9/7 times": ARCHITECTURE,
    "enlarged 19/14 times": {**ARCHITECTURE, "zoom": 19 / 14},
    "enlarged 1.5 times": {**ARCHITECTURE, "zoom": 1.5},
    "not enlarged": {**ARCHITECTURE, "zoom": 1.0},
    "U-Net, base 16": {"name": "unet", "base": 16},
}


def tiles_per_second() -> dict[str, float]:
    """Throughput of each design, the median of many rounds taken in turns."""
    openvino = import_openvino()
    side = TileGeometry().tile_px
    x = np.random.default_rng(0).random((BATCH, 3, side, side), dtype=np.float32)
    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    queues = {}
    for name, architecture in DESIGNS.items():
        network = build_network(architecture).eval()
        model = converted(network, torch.from_numpy(x))
        queues[name] = openvino.AsyncInferQueue(core.compile_model(model, "CPU", hints))
    seconds: dict[str, list[float]] = {name: [] for name in queues}
    for _ in range(ROUNDS):
        for name, queue in queues.items():
            before = time.perf_counter()
            for _ in range(2 * len(queue)):
                queue.start_async({0: x})
            queue.wait_all()
            seconds[name].append((time.perf_counter() - before) / (2 * len(queue)))
    return {name: BATCH / float(np.median(values)) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    lines = ["| design | tiles/s |", "|---|---|"]
    lines += [f"| {name} | {speed:.1f} |" for name, speed in tiles_per_second().items()]
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
