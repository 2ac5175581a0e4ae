"""What many slides cost next to scoring itself: overhead, two workers against one, commit, memory.

    python scripts/proofs/cluster_costs.py [--slides N] [--handed-out N] [--committed N]

All slides are entries of one drawn slide with a few tiles each, so overhead shows. Runs with one
and with two workers of one thread each take turns, so that a busy machine slows both.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from shapely.geometry import box

from qupath_hccmil.cluster.connect import Workers, connected
from qupath_hccmil.cluster.run_slides import Limits, score_on_workers
from qupath_hccmil.demo.demo_project import make_demo_project
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.results.commit import commit_results
from qupath_hccmil.results.dependencies import stem_of
from qupath_hccmil.results.result_file import read_head, read_results, write_result
from qupath_hccmil.results.slide_tasks import SlideTask, slide_tasks
from qupath_hccmil.results.slide_worker import ScoringPlan, SlideRow, SlideWorker
from qupath_hccmil.scoring.score_project import Unwatched
from qupath_hccmil.scoring.score_settings import ScoreSettings

SIDE = 512


@dataclass(frozen=True)
class Costs:
    """What was measured, for the table and for JSON."""

    overhead_one_process: float
    overhead_dask: float
    two_workers: float
    handed_out_per_second: float
    client_memory_growth: float
    committed_per_second: float
    committed_mb_per_second: float


def project_of(folder: Path, slide: Path, count: int) -> Path:
    shape = box(SIDE, SIDE, 4 * SIDE, 4 * SIDE)
    images = [
        NewImage(slide, f"S{n}", 3000, 2400, 0.25, annotations=[NewAnnotation(shape, "Tumor")])
        for n in range(count)
    ]
    create_project(folder, images)
    return folder


def plan_of(folder: Path) -> ScoringPlan:
    return ScoringPlan(folder=folder, settings=ScoreSettings(), engine="native")


def in_this_process(tasks: list[SlideTask], folder: Path) -> tuple[float, list[SlideRow]]:
    """Seconds of all slides, after the networks are loaded, and their rows."""
    worker = SlideWorker(plan_of(folder), threads=1)
    worker.score(tasks[0], Unwatched())
    start = time.perf_counter()
    rows = [worker.score(task, Unwatched()) for task in tasks[1:]]
    return time.perf_counter() - start, rows


def on_workers(workers: Workers, tasks: list[SlideTask], plan: ScoringPlan) -> float:
    """Seconds of all slides on workers that have the networks."""
    start = time.perf_counter()
    rows = list(score_on_workers(workers, tasks, plan, Limits()))
    seconds = time.perf_counter() - start
    assert all(row.outcome.status != "failed" for row in rows), rows
    return seconds


def warm(workers: Workers, tasks: list[SlideTask], folder: Path, count: int) -> None:
    """Make every worker load its networks."""
    for number in range(3):
        plan = plan_of(folder / f"warm-{number}")
        list(score_on_workers(workers, tasks[: 2 * count], plan, Limits()))


def two_against_one(tasks: list[SlideTask], top: Path) -> tuple[float, float]:
    """Seconds a slide that Dask adds with one worker; how much faster two are."""
    ratios, added = [], []
    alone, _ = in_this_process(tasks, top / "alone")
    for turn in range(3):
        seconds = []
        for count in (1, 2):
            with connected("local", count) as found:
                workers = replace(found, threads=1)
                folder = top / f"turn-{turn}-{count}"
                warm(workers, tasks, folder, count)
                plan = replace(plan_of(folder / "timed"))
                seconds.append(on_workers(workers, tasks, plan))
        ratios.append(seconds[0] / seconds[1])
        added.append((seconds[0] - alone * len(tasks) / (len(tasks) - 1)) / len(tasks))
    return statistics.median(added), statistics.median(ratios)


def handed_out(tasks: list[SlideTask], top: Path, count: int) -> tuple[float, float]:
    """Slides a second, and growth of this process's memory (client and scheduler) from a tenth on.

    The slides are done already, so that nothing is measured but reading and handing out.
    """
    folder = top / "handed-out"
    plan = plan_of(folder)
    many = [tasks[n % len(tasks)] for n in range(count)]
    me = psutil.Process()
    with connected("local", 2) as workers:
        list(score_on_workers(workers, tasks, plan, Limits()))
        start = time.perf_counter()
        early = 0
        for number, _ in enumerate(score_on_workers(workers, many, plan, Limits())):
            if number == count // 10:
                early = me.memory_info().rss
        seconds = time.perf_counter() - start
        return count / seconds, me.memory_info().rss / early - 1


def results_for(project: Path, like: Path, folder: Path) -> Iterator[Path]:
    """A result for each image of a project, made of one that was scored."""
    head = read_head(like)
    results = read_results(head)
    with NativeProject(project) as opened:
        for entry in opened.images:
            state = opened.read(entry)
            noted = {"id": entry.id, "name": entry.name}
            depends_on = replace(
                head.depends_on, entry=noted, outlines=annotation_fingerprint(state.annotations)
            )
            path = folder / depends_on.file_name
            assert path.name.startswith(stem_of(entry.id, entry.name))
            write_result(path, depends_on, state.annotations, results, Path(head.slide))
            yield path


def committed(slide: Path, like: Path, top: Path, count: int) -> tuple[float, float]:
    """Images and MB of data files a second that a commit writes."""
    project = project_of(top / "to-commit", slide, count)
    folder = top / "to-commit-results"
    for _ in results_for(project, like, folder):
        pass
    start = time.perf_counter()
    with NativeProject(project) as opened:
        outcomes = list(commit_results(opened, folder))
    seconds = time.perf_counter() - start
    assert all(outcome.status == "taken" for outcome in outcomes)
    size = sum(path.stat().st_size for path in project.glob("data/*/data.qpdata"))
    return count / seconds, size / seconds / 1e6


def measured(slides: int, hand_out: int, commit: int) -> Costs:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        slide = make_demo_project(top / "demo", drawn=True, drawn_size=(3000, 2400)).slide
        tasks, _ = slide_tasks([project_of(top / "project", slide, slides)])
        _, rows = in_this_process(tasks, top / "first")
        added, ratio = two_against_one(tasks, top)
        rate, growth = handed_out(tasks, top, hand_out)
        (like, *_) = sorted((top / "first").glob("*.parquet"))
        images, megabytes = committed(slide, like, top, commit)
    return Costs(
        overhead_one_process=statistics.median(row.overhead for row in rows),
        overhead_dask=added,
        two_workers=ratio,
        handed_out_per_second=rate,
        client_memory_growth=growth,
        committed_per_second=images,
        committed_mb_per_second=megabytes,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=24)
    parser.add_argument("--handed-out", type=int, default=10_000)
    parser.add_argument("--committed", type=int, default=1_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    costs = measured(given.slides, given.handed_out, given.committed)
    print("| what | measured | goal |\n|---|---|---|")
    for what, value, goal in (
        ("--results: overhead a slide", f"{1000 * costs.overhead_one_process:.0f} ms", ""),
        ("--dask: added a slide", f"{1000 * costs.overhead_dask:.0f} ms", "≤ 50 ms"),
        ("two workers / one, a thread each", f"{costs.two_workers:.2f}", "≥ 1.8"),
        ("slides handed out", f"{costs.handed_out_per_second:.0f} a second", ""),
        (
            f"memory of client and scheduler, {given.handed_out} slides / a tenth",
            f"{100 * costs.client_memory_growth:+.1f} %",
            "flat",
        ),
        (
            f"project commit, {given.committed} images",
            f"{costs.committed_per_second:.0f} images/s, {costs.committed_mb_per_second:.1f} MB/s",
            "",
        ),
    ):
        print(f"| {what} | {value} | {goal} |")
    if given.json is not None:
        given.json.write_text(json.dumps(vars(costs), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
