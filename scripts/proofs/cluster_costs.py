"""What many slides cost next to scoring itself, as a table for docs/concepts/many-slides-costs.md.

    OMP_NUM_THREADS=1 python scripts/proofs/cluster_costs.py [--part NAME]... [--json FILE]

Parts: `overhead`, what Dask adds to a slide; `workers`, two workers of one thread against one;
`memory`, many small slides on two workers; `commit`, results into a project; `killed`, results into
a large project, killed half way and done again (6 GB, only if it is named); `list`, a project of
many images; `folder`, many results in one folder. What is compared takes turns in one run, so that
a busy machine slows both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from commit_costs import (
    CommitCosts,
    commit_costs,
    folder_costs,
    killed_commit,
    list_costs,
    record_costs,
)
from simulated_slides import drawn_slide, project_of

from qupath_hccmil.cluster.connect import Workers, connected
from qupath_hccmil.cluster.run_slides import Limits, run_on_workers
from qupath_hccmil.results.commit import GROUP_IMAGES
from qupath_hccmil.results.scoring_work import ScoringWork
from qupath_hccmil.results.slide_tasks import SlideTask, slide_tasks
from qupath_hccmil.results.slide_worker import ScoringPlan, SlideWorker
from qupath_hccmil.scoring.score_project import Unwatched
from qupath_hccmil.scoring.score_settings import ScoreSettings

TURNS = 5


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    measured: str
    goal: str = ""


class Bench:
    """Slides to score, in a folder that is deleted at the end."""

    def __init__(self, top: Path, given: argparse.Namespace) -> None:
        self.top = top
        self.given = given
        self.slide = drawn_slide(top / "demo")
        self.tasks, _ = slide_tasks([project_of(top / "project", self.slide, given.slides)])
        self._folders = 0

    def new_plan(self) -> ScoringPlan:
        """Into a folder where no slide is done yet."""
        self._folders += 1
        return plan_into(self.top / f"results-{self._folders}")

    def scored(self) -> Path:
        """A result of one slide."""
        plan = self.new_plan()
        SlideWorker(plan, threads=1).score(self.tasks[0], Unwatched())
        return next(plan.folder.glob("*.parquet"))


def plan_into(folder: Path) -> ScoringPlan:
    return ScoringPlan(folder=folder, settings=ScoreSettings(), engine="native")


def in_one_process(plan: ScoringPlan) -> Callable[[list[SlideTask]], float]:
    """Score slides here; returns a function that says how many seconds they take."""
    worker = SlideWorker(plan, threads=1)

    def seconds(tasks: list[SlideTask]) -> float:
        start = time.perf_counter()
        rows = [worker.score(task, Unwatched()) for task in tasks]
        assert all(row.outcome.status != "failed" for row in rows), rows
        return time.perf_counter() - start

    return seconds


def on_workers(workers: Workers, tasks: list[SlideTask], plan: ScoringPlan) -> float:
    """Seconds of all slides."""
    start = time.perf_counter()
    rows = list(run_on_workers(workers, tasks, ScoringWork(plan), Limits()))
    seconds = time.perf_counter() - start
    assert all(row.outcome.status != "failed" for row in rows), rows
    return seconds


@contextmanager
def started(count: int, bench: Bench) -> Iterator[Workers]:
    """Workers of one thread each that have loaded their networks for a plan."""
    with connected("local", count) as found:
        workers = replace(found, threads=1)
        # each has had a slide once no one is left without
        plan, seen = bench.new_plan(), set[str]()
        while len(seen) < count:
            plan = bench.new_plan()
            rows = run_on_workers(workers, bench.tasks[: 2 * count], ScoringWork(plan), Limits())
            seen |= {row.worker for row in rows}
        yield workers


def overhead(bench: Bench) -> list[Row]:
    """The same slides by turns, here and on one worker; all of them done, so the rest shows."""
    many = [bench.tasks[n % len(bench.tasks)] for n in range(bench.given.done)]
    plan = bench.new_plan()
    here = in_one_process(plan)
    here(bench.tasks)
    added, alone = [], []
    with started(1, bench) as workers:
        on_workers(workers, bench.tasks, plan)
        for _ in range(TURNS):
            alone.append(here(many) / len(many))
            # the first slide waits until the worker was asked whether it is of this version
            asked = on_workers(workers, many[:1], plan)
            added.append((on_workers(workers, many, plan) - asked) / len(many) - alone[-1])
    return [
        Row("a slide that is done, in one process", f"{1000 * statistics.median(alone):.1f} ms"),
        Row("added to a slide by Dask", f"{1000 * statistics.median(added):.1f} ms", "≤ 50 ms"),
    ]


def two_workers(bench: Bench) -> list[Row]:
    """Whole slides by turns on one worker and on two; those that have nothing to do wait."""
    ratios, seconds = [], []
    with ExitStack() as stack:
        one, two = (stack.enter_context(started(count, bench)) for count in (1, 2))
        for _ in range(TURNS):
            single = on_workers(one, bench.tasks, bench.new_plan())
            double = on_workers(two, bench.tasks, bench.new_plan())
            ratios.append(single / double)
            seconds.append(single / len(bench.tasks))
    return [
        Row("a small slide on one worker of one thread", f"{statistics.median(seconds):.2f} s"),
        Row("two workers against one", f"{statistics.median(ratios):.2f} times", "≥ 1.8 times"),
    ]


@contextmanager
def apart(command: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process of Dask's command line."""
    line = [sys.executable, "-m", f"distributed.cli.{command}", *arguments]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def memory(bench: Bench) -> list[Row]:
    """Many slides, all done, on a scheduler and two workers that are processes of their own."""
    count = bench.given.handed_out
    many = [bench.tasks[n % len(bench.tasks)] for n in range(count)]
    plan = bench.new_plan()
    in_one_process(plan)(bench.tasks)
    with ExitStack() as stack:
        enter = stack.enter_context
        scheduler = enter(apart("dask_scheduler", "--host", "127.0.0.1", "--port", "0"))
        assert scheduler.stderr is not None
        address = next(each for each in scheduler.stderr if "Scheduler at:" in each).split()[-1]
        for _ in range(2):
            enter(apart("dask_worker", address, "--nthreads", "1", "--memory-limit", "0"))
        workers = enter(connected(address))
        on_workers(workers, bench.tasks, plan)
        watched = {"client": psutil.Process(), "scheduler": psutil.Process(scheduler.pid)}
        watched |= {
            f"worker {number}": psutil.Process(pid)
            for number, pid in enumerate(workers.client.run(os.getpid).values(), 1)
        }
        start = time.perf_counter()
        seen: list[dict[str, float]] = []
        for number, row in enumerate(run_on_workers(workers, many, ScoringWork(plan), Limits()), 1):
            assert row.outcome.status == "up to date", row
            if number % max(1, count // 10) == 0:
                seen.append({k: each.memory_info().rss / 1e6 for k, each in watched.items()})
        seconds = time.perf_counter() - start
    rows = [Row(f"{count:,} slides handed out", f"{count / seconds:.0f} slides/s")]
    for name in watched:
        sizes = [each[name] for each in seen]
        measured = ", ".join(f"{size:.0f}" for size in sizes) + " MB"
        measured += f" ({100 * (sizes[-1] / sizes[0] - 1):+.1f} %)"
        goal = "" if name.startswith("worker") else "flat"
        rows.append(Row(f"memory of the {name} at each tenth", measured, goal))
    return rows


def commit(bench: Bench) -> list[Row]:
    """Results of many tiles into a project, by one process and by more; a plain write as well."""
    images, tiles = bench.given.images, bench.given.tiles

    def costs(workers: int) -> CommitCosts:
        top = bench.top / f"commit-{workers}"
        return commit_costs(bench.slide, bench.scored(), top, images, tiles, workers)

    one, more = costs(1), costs(bench.given.workers)
    return [
        *_commit_rows(f"`project commit`, {images:,} images of {tiles:,} tiles", one, images),
        *_commit_rows(f"the same with `--workers {bench.given.workers}`", more, images),
        Row(
            "the first and the last group of images",
            f"{1000 * one.first:.0f} and {1000 * one.last:.0f} ms an image",
            "the same",
        ),
        Row(
            "written by it",
            f"{one.files / images:.1f} files and {one.megabytes / images:.2f} MB an image",
        ),
        Row(
            "a plain write of these files, each flushed",
            f"{1000 * one.plain / images:.1f} ms an image",
        ),
        Row("a result's file", f"{one.result_megabytes:.3f} MB"),
    ]


def _commit_rows(what: str, found: CommitCosts, images: int) -> Iterator[Row]:
    each = found.seconds / images
    yield Row(what, f"{1000 * each:.1f} ms an image ({1 / each:.0f} images/s)")
    yield Row(
        "processor time of it",
        f"{1000 * found.processor / images:.1f} ms an image, of which the process that writes "
        f"takes {1000 * found.writer / images:.1f} ms",
    )


def killed(bench: Bench) -> list[Row]:
    """Results into one large project, by the command, killed half way and done again."""
    images, tiles = bench.given.large, bench.given.tiles
    found = killed_commit(bench.slide, bench.scored(), bench.top / "large", images, tiles)
    each = 1000 * found.processor / images
    return [
        Row(f"images of {images:,} that were written when it was killed", f"{found.written:,}"),
        Row("images that hold all their tiles at the end", f"{found.complete:,}", f"{images:,}"),
        Row(
            f"`project commit`, {images:,} images of {tiles:,} tiles, killed once",
            f"{each:.0f} ms of processor time an image, {found.seconds:.0f} s, "
            f"{found.megabytes:.0f} MB of memory",
        ),
    ]


def project_list(bench: Bench) -> list[Row]:
    """The list of a large project, which is written once for a group of images."""
    images = bench.given.listed
    seconds, megabytes = list_costs(bench.slide, bench.top, images)
    return [
        Row(
            f"to write the list of a project of {images:,} images",
            f"{seconds:.2f} s of processor time, {megabytes:.0f} MB: "
            f"{1000 * seconds / GROUP_IMAGES:.1f} ms for each of {GROUP_IMAGES} images",
        )
    ]


def folder(bench: Bench) -> list[Row]:
    """A folder with as many results as slides, and the record of their run."""
    files = bench.given.files
    listed, swept = folder_costs(bench.top, files)
    recorded, megabytes = record_costs(bench.top, files)
    return [
        Row(f"to find the results in a folder of {files:,}", f"{listed:.1f} s"),
        Row("to look for leftovers there", f"{swept:.1f} s"),
        Row("to write a `run.json` with as many rows", f"{recorded:.1f} s, {megabytes:.0f} MB"),
    ]


PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "overhead": overhead,
    "workers": two_workers,
    "memory": memory,
    "commit": commit,
    "killed": killed,
    "list": project_list,
    "folder": folder,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all but killed")
    parser.add_argument("--slides", type=int, default=8, help="whole slides that are scored")
    parser.add_argument("--done", type=int, default=300, help="slides for the overhead")
    parser.add_argument("--handed-out", type=int, default=10_000, help="slides for the memory")
    parser.add_argument("--images", type=int, default=500, help="images of the commit")
    parser.add_argument("--workers", type=int, default=2, help="processes of the second commit")
    parser.add_argument("--large", type=int, default=10_000, help="images of the killed commit")
    parser.add_argument("--tiles", type=int, default=2000, help="tiles of an image of the commit")
    parser.add_argument("--listed", type=int, default=10_000, help="images of the list")
    parser.add_argument("--files", type=int, default=100_000, help="results in the folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("start it with OMP_NUM_THREADS=1: this process has one thread, as a worker")
    chosen = given.part or [part for part in PARTS if part != "killed"]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), given)
        print("| what | measured | goal |\n|---|---|---|")
        for part in chosen:
            for row in PARTS[part](bench):
                print(f"| {row.what} | {row.measured} | {row.goal} |", flush=True)
                rows.append(row)
    if given.json is not None:
        content = json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False)
        given.json.write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
