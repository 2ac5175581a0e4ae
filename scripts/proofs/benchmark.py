"""Speed and memory, as ratios measured in one run: a table, and JSON with --json FILE.

    python scripts/proofs/benchmark.py [--only NAME] [--tiles N] [--json FILE]

The slide is a drawn one whose tissue is repeated to the size that the number of tiles needs, at
0.25 µm/px. Parts whose ratio counts are measured in turns, so that a noisy machine slows both.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

# Imported where they are used: --help and the processes of some parts need none of them.
if TYPE_CHECKING:
    from shapely import Polygon

    from qupath_hccmil.qupath.open_project import EngineChoice
    from qupath_hccmil.scoring.runtime import Runtime
    from qupath_hccmil.scoring.scorer import Scorer

TILE_PX = 512
MPP = 0.25
TURNS = 3
SMALL_IMAGE_TILES = 33
# Of the named stack, which takes more than a second for each.
STACK_TILES = 12
LARGE_TUMOUR_TILES = round((20_000 / (TILE_PX * MPP)) ** 2)


@dataclass
class Row:
    """One line of the table; `met` is None where there is no goal."""

    name: str
    value: str
    goal: str = ""
    met: bool | None = None


def big_slide(path: Path, columns: int, rows: int) -> None:
    """A slide of `columns` × `rows` tiles of tissue, painted from one drawn piece."""
    from qupath_hccmil.demo.drawn import draw_slide
    from qupath_hccmil.demo.pyramid import write_pyramid
    from qupath_hccmil.slides.open_slide import open_slide

    piece = path.with_name("piece.tif")
    drawn = draw_slide(piece, width=8192, height=6144, seed=1)
    left, top, right, bottom = (int(v) for v in drawn.tumours[0].bounds)
    side = min(right - left, bottom - top) // 2 // TILE_PX * TILE_PX
    x = (left + right - side) // 2
    y = (top + bottom - side) // 2
    with open_slide(piece) as slide:
        tissue = slide.read_tile(x, y, side, side, side)

    def paint(x: int, y: int, width: int, height: int) -> np.ndarray:
        return np.take(
            np.take(tissue, np.arange(y, y + height) % side, axis=0),
            np.arange(x, x + width) % side,
            axis=1,
        )

    write_pyramid(path, columns * TILE_PX, rows * TILE_PX, MPP, paint)


def slide_of(n_tiles: int, folder: Path) -> Path:
    """The big slide for so many tiles, made once."""
    columns = int(np.ceil(np.sqrt(n_tiles)))
    path = folder / f"tissue-{n_tiles}.tif"
    if not path.exists():
        big_slide(path, columns, -(-n_tiles // columns))
    return path


def score_tiles(slide_path: Path, n_tiles: int, scorer: "Scorer") -> float:
    """Seconds from an open slide to its results in memory."""
    from shapely.geometry import box

    from qupath_hccmil.scoring.score_slide import score_slide
    from qupath_hccmil.slides.open_slide import open_slide
    from qupath_hccmil.tiles.tile_plan import TileChoice, TumourOutline, plan_tiles

    with open_slide(slide_path) as slide:
        outline = TumourOutline(0, "all", box(0, 0, slide.width, slide.height))
        start = time.perf_counter()
        plan = plan_tiles(slide, [outline], TileChoice(), scorer.geometry, name=slide_path.name)
        score = score_slide(slide, plan, scorer)
        seconds = time.perf_counter() - start
    assert len(score.tiles) > 0.9 * n_tiles, f"only {len(score.tiles)} of {n_tiles} tiles kept"
    return seconds * n_tiles / len(plan.bounds)


def runtime_of(scorer: "Scorer") -> "Runtime":
    """What runs the two networks of the model that ships."""
    from qupath_hccmil.scoring.judge import TileNetworks

    assert isinstance(scorer.judge, TileNetworks), "the model that ships is a tile network"
    return scorer.judge.runtime


def networks_alone(runtime: "Runtime", n_tiles: int) -> float:
    """Seconds that the two networks take for so many tiles that are already in memory."""
    batch = runtime.batch
    tiles = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
    start = time.perf_counter()
    for _ in range(n_tiles // batch):
        runtime.submit(tiles, lambda outputs: None)
    runtime.wait()
    return time.perf_counter() - start


def named_stack(slide_path: Path, n_tiles: int) -> float:
    """Seconds for the stack that the project was asked for, used plainly, one tile at a time."""
    import openslide
    import staintools
    import torch

    from qupath_hccmil.mil.tile_network import load_tile_network
    from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
    from qupath_hccmil.nuclei.architectures import load_nuclei_network

    unet = load_nuclei_network(load_model_folder(default_model_dir("nuclei"), "nuclei"))
    network = load_tile_network(load_model_folder(default_model_dir("mil"), "mil"))
    slide = openslide.OpenSlide(slide_path)

    def tile(i: int) -> np.ndarray:
        read = slide.read_region((i * TILE_PX, 0), 0, (TILE_PX, TILE_PX)).convert("RGB")
        return staintools.LuminosityStandardizer.standardize(np.asarray(read.resize((224, 224))))

    normalizer = staintools.StainNormalizer(method="vahadane")
    normalizer.fit(tile(0))
    start = time.perf_counter()
    with torch.inference_mode():
        for i in range(n_tiles):
            rgb = torch.from_numpy(normalizer.transform(tile(i)))[None].permute(0, 3, 1, 2) / 255
            network(torch.cat([rgb, torch.sigmoid(unet(rgb))], dim=1))
    return time.perf_counter() - start


def throughput(folder: Path, n_tiles: int) -> Iterator[Row]:
    """End to end against the networks alone, and against the named stack."""
    from qupath_hccmil.scoring.scorer import ScorerSource

    scorer = ScorerSource().scorer()
    runtime = runtime_of(scorer)
    slide = slide_of(n_tiles, folder)
    networks_alone(runtime, 64)
    turns, cpu = [], []
    for _ in range(TURNS):
        begun = time.process_time()
        alone_s = networks_alone(runtime, n_tiles)
        between = time.process_time()
        turns.append((alone_s, score_tiles(slide, n_tiles, scorer)))
        cpu.append((between - begun, time.process_time() - between))
    alone, whole = (n_tiles / statistics.median(column) for column in zip(*turns, strict=True))
    ratio = statistics.median(a / w for a, w in turns)
    where = f"{runtime.name}, nuclei in {runtime.precision}"
    yield Row("networks alone", f"{alone:.1f} tiles/s ({where})")
    yield Row("end to end", f"{whole:.1f} tiles/s")
    yield Row("end to end / networks alone", f"{ratio:.2f}", "≥ 0.92", ratio >= 0.92)
    ms = [1000 * statistics.median(column) / n_tiles for column in zip(*cpu, strict=True)]
    yield Row("CPU time of a tile, networks alone", f"{ms[0]:.1f} ms")
    yield Row("CPU time of a tile, end to end", f"{ms[1]:.1f} ms")
    minutes = LARGE_TUMOUR_TILES / whole / 60
    name = f"20 × 20 mm tumour at 40× ({LARGE_TUMOUR_TILES} tiles): the user waits"
    yield Row(name, f"{minutes:.1f} min")
    if runtime.precision != "f32":
        exact = runtime_of(ScorerSource(precision="f32").scorer())
        networks_alone(exact, 64)
        seconds = statistics.median(networks_alone(exact, 240) for _ in range(TURNS))
        yield Row("networks alone, all in f32", f"{240 / seconds:.1f} tiles/s")
    plain = STACK_TILES / named_stack(slide, STACK_TILES)
    yield Row("named stack used plainly", f"{plain:.2f} tiles/s")
    yield Row("end to end / named stack", f"{whole / plain:.0f}", "≥ 80", whole / plain >= 80)
    yield from normalisers(slide, scorer)


def enter_to_risk(folder: Path) -> Iterator[Row]:
    """From Enter to the risk of a small image, as a user's shell sees it."""
    from qupath_hccmil.demo.demo_project import make_demo_project

    made = make_demo_project(folder / "small", drawn=True)
    command = [sys.executable, "-m", "qupath_hccmil", "score", str(made.project), "--json"]
    # as many as the real slide of the demo has; paquo's engine starts Java first
    command += ["--max-tiles", str(SMALL_IMAGE_TILES), "--engine", "native"]
    environment = {**os.environ, "HCCMIL_CACHE": str(folder / "cache")}
    first, *later = [_timed(command, environment) for _ in range(1 + TURNS)]
    second = sorted(later, key=lambda run: run[0])[TURNS // 2]
    for when, (seconds, cpu, image) in (("first", first), ("second", second)):
        name = f"from Enter to the risk of {image['tiles']} tiles, the {when} time"
        goal = 6.0 if when == "second" else None
        value = f"{seconds:.1f} s ({cpu:.1f} s of CPU time)"
        yield Row(name, value, *_goal(seconds, goal))
        besides = seconds - image["seconds"]
        goal = 2.0 if when == "second" else None
        yield Row(f"{name}: of it not scoring", f"{besides:.1f} s", *_goal(besides, goal))


def _timed(
    command: list[str], environment: Mapping[str, str]
) -> tuple[float, float, dict[str, float]]:
    """Seconds and CPU seconds of a run of `score` in a process of its own, and its one image."""
    start, before = time.perf_counter(), os.times()
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    seconds, after = time.perf_counter() - start, os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    (image,) = json.loads(done.stdout)["images"]
    return seconds, cpu, image


def _goal(seconds: float, most: float | None) -> tuple[str, bool | None]:
    return ("", None) if most is None else (f"≤ {most:g} s", seconds <= most)


def normalisers(slide_path: Path, scorer: "Scorer", n_tiles: int = 12) -> Iterator[Row]:
    """Our stain normalisation and staintools' of the same tiles: time, and how far they differ."""
    from qupath_hccmil.slides.open_slide import open_slide
    from qupath_hccmil.stain.staintools_normalizer import StaintoolsNormalizer
    from qupath_hccmil.stain.vahadane import Normalizer, fit

    with open_slide(slide_path) as slide:
        tiles = np.stack(
            [slide.read_tile(i * TILE_PX, 0, TILE_PX, TILE_PX, 224) for i in range(n_tiles)]
        )
    target = scorer.stain_target
    assert target is not None, "the model that ships has a stain reference"
    theirs = StaintoolsNormalizer(target)
    start = time.perf_counter()
    expected, possible = theirs.transform(tiles)
    took = (time.perf_counter() - start) / n_tiles
    yield Row("staintools: normalise a tile", f"{1000 * took:.0f} ms")
    start = time.perf_counter()
    ours = Normalizer(fit(tiles), target)
    fitted = time.perf_counter() - start
    start = time.perf_counter()
    found = ours.transform(tiles)[possible]
    took = (time.perf_counter() - start) / n_tiles
    yield Row("ours: fit a slide", f"{fitted:.2f} s")
    yield Row("ours: normalise a tile", f"{1000 * took:.1f} ms")
    away = float(np.abs(found.astype(np.int16) - expected).mean())
    yield Row("mean difference of their colours", f"{away:.1f} of 255")


def peak_memory(folder: Path, n_tiles: int) -> Iterator[Row]:
    """Peak resident memory of scoring, each size in a process of its own."""
    peaks = []
    for size in (n_tiles // 10, n_tiles):
        slide = slide_of(size, folder)
        peaks.append(_in_process("score", str(slide), str(size)))
        yield Row(f"peak memory, {size} tiles", f"{peaks[-1] / 2**30:.2f} GB")
    small, large = peaks
    limit = 1.5 * 2**30
    yield Row("peak memory, the larger", f"{large / 2**30:.2f} GB", "≤ 1.5 GB", large <= limit)
    growth = large / small - 1
    yield Row("its growth over the smaller", f"{100 * growth:.1f} %", "≤ 10 %", growth <= 0.1)


PARTS = ("throughput", "enter", "memory", "write", "outlines", "training", "help")
OUTLINES = ("simple", "loops of a brush", "fifty crossings at each corner")


def outlines(corners: int = 200_000) -> Iterator[Row]:
    """Reading outlines without Java, their area, and their tiles, each in a process of its own."""
    for kind in OUTLINES:
        started = time.perf_counter()
        peak = _in_process("outline", kind, str(corners)) / 2**30
        took = time.perf_counter() - started
        name = f"outline of {corners} corners, {kind}"
        yield Row(name, f"{took:.1f} s", "≤ 10 s", took <= 10)
        yield Row(f"{name}, peak memory", f"{peak:.2f} GB", "≤ 1 GB", peak <= 1)


def drawn_outline(kind: str, corners: int) -> "Polygon":
    """Make a round outline of 60,000 px that crosses itself never, at times, or all the time."""
    import shapely

    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    circle = 30_000 * np.column_stack([np.cos(angle), np.sin(angle)])
    loops = angle * corners / 50
    moved = {
        "simple": 0.0,
        "loops of a brush": 200 * np.column_stack([np.cos(loops), np.sin(loops)]),
        "fifty crossings at each corner": np.random.default_rng(1).normal(0, 50, circle.shape),
    }
    return shapely.Polygon(circle + moved[kind] + 36_000)


def _read_outline_and_tell_peak(kind: str, corners: str) -> None:
    from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
    from qupath_hccmil.qupath.native.native_project import NativeProject
    from qupath_hccmil.slides.inside_outline import outline_area
    from qupath_hccmil.tiles.grid import tile_grid

    drawn = NewAnnotation(drawn_outline(kind, int(corners)), "Tumor")
    with tempfile.TemporaryDirectory() as name:
        image = NewImage(Path(name, "s.svs"), "s.svs", 72_000, 72_000, 0.5, annotations=[drawn])
        create_project(Path(name, "project"), [image])
        with NativeProject(Path(name, "project")) as project:
            (outline,) = project.read(project.images[0]).annotations
    assert outline.geometry is not None
    outline_area(outline.geometry)
    tile_grid([outline.geometry], 256, 256, 72_000, 72_000)
    print(_peak_resident())


def _in_process(*arguments: str) -> int:
    done = subprocess.run(
        [sys.executable, __file__, "--in-process", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1])


def _score_and_tell_peak(slide: str, n_tiles: str) -> None:
    from qupath_hccmil.scoring.scorer import ScorerSource

    score_tiles(Path(slide), int(n_tiles), ScorerSource().scorer())
    print(_peak_resident())


def _peak_resident() -> int:
    """Bytes. Linux counts the parent's peak into a child's ru_maxrss, but not into VmHWM."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (row for row in status.read_text("ascii").splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def write_back(folder: Path, n_tiles: int = 100_000) -> Iterator[Row]:
    """Writing tiles into one image, and reading them back, with each engine there is."""
    from qupath_hccmil.qupath.open_project import find_qupath

    limits: dict[EngineChoice, float] = {"native": 10.0, "paquo": 5.0}
    if find_qupath() is None:
        del limits["paquo"]
        yield Row("paquo engine", "no QuPath found, not measured")
    for engine, limit in limits.items():
        write, read = _write_and_read(folder / engine, engine, n_tiles)
        yield Row(
            f"{engine}: write {n_tiles} tiles", f"{write:.1f} s", f"≤ {limit:g} s", write <= limit
        )
        yield Row(f"{engine}: read them back", f"{read:.1f} s", f"≤ {limit:g} s", read <= limit)


def _write_and_read(folder: Path, engine: "EngineChoice", n_tiles: int) -> tuple[float, float]:
    from shapely.geometry import box

    from qupath_hccmil.qupath import names
    from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
    from qupath_hccmil.qupath.data_types import ImageResults, TileObjects
    from qupath_hccmil.qupath.open_project import open_project

    side = int(np.ceil(np.sqrt(n_tiles)))
    size = side * TILE_PX
    outline = NewAnnotation(box(0, 0, size, size), "Tumor")
    image = NewImage(folder / "slide.svs", "slide.svs", size, size, MPP, annotations=[outline])
    path = create_project(folder, [image])
    x, y = (grid.ravel()[:n_tiles] * TILE_PX for grid in np.meshgrid(*[np.arange(side)] * 2))
    ones = np.full(n_tiles, float(TILE_PX))
    bounds = np.stack([x, y, ones, ones], axis=1).astype(np.float64)
    values = np.random.default_rng(0).random((4, n_tiles))
    measured = (
        names.TILE_RISK,
        names.TILE_LOGIT,
        names.TILE_CONTRIBUTION,
        names.TILE_NUCLEI_FRACTION,
    )
    classes = np.where(values[0] > 0.5, names.CLASS_HIGH, names.CLASS_LOW).tolist()
    tiles = TileObjects(bounds, classes, dict(zip(measured, values, strict=True)))
    with open_project(path, engine) as project:
        state = project.read(project.images[0])
        key = state.annotations[0].index
        results = ImageResults({key: {names.ANNOTATION_RISK: 0.5}}, {key: tiles})
        start = time.perf_counter()
        project.write(project.images[0], results, state.stamp)
        wrote = time.perf_counter() - start
        start = time.perf_counter()
        found = project.read(project.images[0])
        read = time.perf_counter() - start
    assert len(found.results.tiles[key]) == n_tiles
    return wrote, read


def start_up() -> Iterator[Row]:
    """Time that --help takes."""
    command = [sys.executable, "-m", "qupath_hccmil", "--help"]
    times = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    yield Row("--help", f"{seconds:.2f} s", "≤ 0.3 s", seconds <= 0.3)


def training_epoch(patients: int = 552, tiles: int = 104, of_a_bag: int = 32) -> Iterator[Row]:
    """An epoch of the risk model on the published cohort: some bags are trained on, and scaled.

    The step is the command's own, without reading tiles from disk. CPU time is stated beside
    wall clock, since other work on the machine lengthens only the latter.
    """
    import torch

    from qupath_hccmil.mil.risk_evaluation import score_bag, torch_tile_predictor
    from qupath_hccmil.mil.risk_training import MilSettings, train
    from qupath_hccmil.mil.tile_network import load_tile_network
    from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder

    network = load_tile_network(load_model_folder(default_model_dir("mil"), "mil"))
    bags = [_RandomBag(f"p{number}", of_a_bag) for number in range(3)]
    labels = {bag.patient: number % 2 for number, bag in enumerate(bags)}
    judging = [_RandomBag(f"v{number}", 1) for number in range(2)]
    labels |= {bag.patient: number for number, bag in enumerate(judging)}
    moments = [(time.perf_counter(), time.process_time())]

    def tell(row: Mapping[str, float]) -> None:
        if "bag" in row:
            moments.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as out:
        settings = MilSettings(epochs=1, tiles=of_a_bag)
        train(network, bags, judging, labels, Path(out), settings, tell)
    start = (time.perf_counter(), time.process_time())
    score_bag(bags[0], torch_tile_predictor(network))
    end = (time.perf_counter(), time.process_time())
    # The first bag warms up.
    steps = np.diff(np.array(moments[1:]), axis=0) / of_a_bag
    wall, cpu = np.median(steps, axis=0)
    ratio = cpu / ((end[1] - start[1]) / of_a_bag)
    threads = torch.get_num_threads()
    yield Row("training, forward and backward", f"{1000 * wall:.0f} ms/tile ({threads} threads)")
    yield Row("training, CPU time", f"{1000 * cpu:.0f} ms/tile")
    yield Row("training / scoring a tile, CPU time", f"{ratio:.1f}")
    minutes, of_cpu = (seconds * patients * tiles / 60 for seconds in (wall, cpu))
    told = f"{minutes:.0f} min, {of_cpu:.0f} min of CPU time"
    yield Row(f"epoch of {patients} patients × {tiles} tiles", told)


@dataclass(frozen=True)
class _RandomBag:
    """Tiles of noise."""

    patient: str
    count: int

    def __len__(self) -> int:
        return self.count

    def read(self, indices: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(int(indices[0]))
        return rng.integers(0, 256, (len(indices), 4, 224, 224), dtype=np.uint8)


def table(rows: list[Row]) -> str:
    """Rows as Markdown."""
    lines = ["| what | measured | goal | |", "|---|---|---|---|"]
    marks = {True: "met", False: "**missed**", None: ""}
    lines += [f"| {row.name} | {row.value} | {row.goal} | {marks[row.met]} |" for row in rows]
    return "\n".join(lines)


def machine() -> str:
    """The processor, by the name that OpenVINO has for it, and what may disturb."""
    from qupath_hccmil.scoring.openvino_import import import_openvino

    processor = import_openvino().Core().get_property("CPU", "FULL_DEVICE_NAME").strip()
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return f"{processor}, {os.cpu_count()} cores, {platform.platform()}, {load}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=800, help="for the throughput; default 800")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    parser.add_argument("--in-process", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_process:
        what, *rest = arguments.in_process
        (_score_and_tell_peak if what == "score" else _read_outline_and_tell_peak)(*rest)
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], Iterator[Row]]] = {
            "throughput": lambda: throughput(folder, arguments.tiles),
            "enter": lambda: enter_to_risk(folder),
            "memory": lambda: peak_memory(folder, 4 * arguments.tiles),
            "write": lambda: write_back(folder),
            "outlines": outlines,
            "training": training_epoch,
            "help": start_up,
        }
        chosen = [part for key, part in parts.items() if arguments.only in (None, key)]
        for row in itertools.chain.from_iterable(part() for part in chosen):
            rows.append(row)
            print(f"{row.name}: {row.value} {row.goal}", file=sys.stderr, flush=True)
    print(f"Measured on {machine()}.\n\n{table(rows)}")
    if arguments.json:
        content = {"machine": machine(), "rows": [vars(row) for row in rows]}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
