"""The two networks on a CUDA GPU: speed in f32 and bf16, memory, and how far scores move.

    python scripts/proofs/cuda_benchmark.py [--tiles FILE.npy] [--device cuda] [--json FILE]

Needs torch, torchvision, safetensors, numpy and pydantic only: no slide is read. `FILE.npy` holds
stain-normalised tiles, (n, 224, 224, 3) uint8, such as `--save-tiles` of a slide makes where the
other libraries are; without it tiles are drawn.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
SECONDS = 4.0

if TYPE_CHECKING:
    from qupath_hccmil.scoring.precision import NetworkPrecision
    from qupath_hccmil.scoring.runtime import Runtime, TileOutputs


def drawn_tiles(n: int = 64, side: int = 224) -> np.ndarray:
    """Tiles of dark discs on pink."""
    rng = np.random.default_rng(0)
    tiles = np.empty((n, side, side, 3), np.float32)
    y, x = np.mgrid[:side, :side]
    for number, tile in enumerate(tiles):
        tile[...] = np.add((224, 170, 205), rng.normal(0, 6, (side, side, 1)))
        for cx, cy, radius in rng.uniform((0, 0, 3), (side, side, 9), (8 + number, 3)):
            tile[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = (98, 62, 140)
    return np.clip(tiles, 0, 255).astype(np.uint8)


def tiles_of_slide(path: Path, most: int = 64) -> np.ndarray:
    """Normalised tiles of a slide's tissue; needs the libraries that scoring needs."""
    from shapely.geometry import box

    from qupath_hccmil.scoring.scorer import ScorerSource
    from qupath_hccmil.slides.open_slide import open_slide
    from qupath_hccmil.stain.vahadane import Normalizer
    from qupath_hccmil.tiles.read_ahead import TileVerdict
    from qupath_hccmil.tiles.tile_plan import TileChoice, TumourOutline, plan_tiles
    from qupath_hccmil.tiles.tile_reader import TileReader

    scorer = ScorerSource().scorer()
    target = scorer.stain_target
    assert target is not None, "the model that ships has a stain reference"
    with open_slide(path) as slide:
        outline = TumourOutline(0, "all", box(0, 0, slide.width, slide.height))
        plan = plan_tiles(slide, [outline], TileChoice(), scorer.geometry, name=path.name)
        reader = TileReader(slide, plan.bounds, scorer, plan.resolution.mpp)
        normalizer = Normalizer(reader.fit_stain(), target)
        rgb, verdicts = reader.read(np.arange(len(plan.bounds)))
    return normalizer.transform(rgb[verdicts == TileVerdict.TISSUE][:most])


def rows(tiles: np.ndarray, device: str) -> Iterator[tuple[str, str]]:
    """What was measured, one line each."""
    import torch

    from qupath_hccmil.method.aggregation import risk, slide_logit
    from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
    from qupath_hccmil.scoring.networks import Networks
    from qupath_hccmil.scoring.precision import choose_precision
    from qupath_hccmil.scoring.torch_runtime import TorchRuntime

    networks = Networks(
        *(load_model_folder(default_model_dir(kind), kind) for kind in ("mil", "nuclei"))
    )
    auto = choose_precision("auto", "torch", device)
    yield "torch", f"{torch.__version__}, Python {platform.python_version()}"
    if device == "cuda":
        yield "GPU", torch.cuda.get_device_name()
    yield "--precision auto", f"{auto.nuclei}: {auto.why}"
    logits = {}
    ways: tuple[tuple[str, NetworkPrecision], ...] = (
        ("cpu", "f32"), (device, "f32"), (device, "bf16"),
    )  # fmt: skip
    for where, precision in ways:
        runtime = TorchRuntime(networks.build(), networks.tile_px, where, precision)
        called = f"{where}, {precision}"
        logits[called] = scored(runtime, tiles)
        if where == "cpu":
            continue
        yield f"{called}: batch", str(runtime.batch)
        yield f"{called}: networks alone", f"{tiles_per_second(runtime, tiles):.0f} tiles/s"
        if device == "cuda":
            peak = torch.cuda.max_memory_allocated() / 2**30
            yield f"{called}: peak of GPU memory", f"{peak:.2f} GiB"
    exact, *others = logits
    for called in others:
        one, other = logits[exact], logits[called]
        tile = np.abs(risk(one) - risk(other)).max()
        assert networks.risk.config.risk is not None, "the schema asks for it in a mil model"
        power = networks.risk.config.risk.p
        slide = [float(risk(float(slide_logit(each, power)))) for each in (one, other)]
        yield f"{called} against {exact}: most of {len(tiles)} tiles' risks", f"{tile:.5f}"
        yield f"{called} against {exact}: risk of all", f"{slide[1]:.5f}, not {slide[0]:.5f}"


def scored(runtime: "Runtime", tiles: np.ndarray) -> np.ndarray:
    """Logits of all tiles."""
    found: list[np.ndarray] = []

    def keep(outputs: "TileOutputs") -> None:
        found.append(outputs.logits)

    for start in range(0, len(tiles), runtime.batch):
        runtime.submit(tiles[start : start + runtime.batch], keep)
    runtime.wait()
    return np.concatenate(found)


def tiles_per_second(runtime: "Runtime", tiles: np.ndarray) -> float:
    """Of batches that start in the computer's memory, as scoring hands them over."""
    batch = np.take(tiles, np.arange(runtime.batch) % len(tiles), axis=0)
    runtime.submit(batch, lambda outputs: None)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        runtime.submit(batch, lambda outputs: None)
        done += len(batch)
    return done / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=Path, help="normalised tiles, .npy; default: drawn")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    parser.add_argument("--save-tiles", nargs=2, type=Path, metavar=("SLIDE", "FILE.npy"))
    arguments = parser.parse_args()
    if arguments.save_tiles:
        slide, path = arguments.save_tiles
        np.save(path, tiles_of_slide(slide))
        return
    tiles = drawn_tiles() if arguments.tiles is None else np.load(arguments.tiles)
    found = []
    for name, value in rows(tiles, arguments.device):
        print(f"{name}: {value}", flush=True)
        found.append({"name": name, "value": value})
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
