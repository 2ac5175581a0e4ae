"""What a commit costs, next to a plain write of the same bytes; and a folder of many results."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from simulated_slides import project_of, results_for

from qupath_hccmil.cluster.work import SlideRow
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.results.commit import GROUP_IMAGES, CommitOptions, commit_results
from qupath_hccmil.results.leftovers import sweep
from qupath_hccmil.results.results_folder import ResultsIndex
from qupath_hccmil.results.run_file import write_run
from qupath_hccmil.scoring.score_project import ImageOutcome


@dataclass(frozen=True)
class CommitCosts:
    """Of a commit of many images.

    Attributes
    ----------
    seconds, processor : float
        Wall clock, and processor time of all processes.
    writer : float
        Processor time of the process that writes the project.
    first, last : float
        Seconds an image in the first and the last group that was written at once.
    files, megabytes : float
        That were written: data, summaries, backups.
    plain : float
        Seconds of a plain write of such files, each of them flushed.
    result_megabytes : float
        Size of a result's file.
    """

    seconds: float
    processor: float
    writer: float
    first: float
    last: float
    files: int
    megabytes: float
    plain: float
    result_megabytes: float


def commit_costs(
    slide: Path, like: Path, top: Path, images: int, tiles: int, workers: int
) -> CommitCosts:
    """Commit results into a new project; 1 worker is this process."""
    project, folder = project_of(top / "project", slide, images), top / "results"
    results = list(results_for(project, like, folder, tiles))
    start, before = time.perf_counter(), os.times()
    began = time.time()
    at = [0.0]
    with NativeProject(project) as opened:
        for outcome in commit_results(opened, folder, CommitOptions(workers=workers)):
            assert outcome.status == "taken", outcome
            at.append(time.perf_counter() - start)
    seconds, after = time.perf_counter() - start, os.times()
    used = after.user + after.system - before.user - before.system
    others = after.children_user + after.children_system
    others -= before.children_user + before.children_system
    # a whole second earlier, as some file systems round
    sizes = [size for path, size in _files(project) if path.stat().st_mtime >= began - 1]
    group = min(GROUP_IMAGES, images)
    before_last = (images - 1) // group * group
    return CommitCosts(
        seconds=seconds,
        processor=used + others,
        writer=used,
        first=at[group] / group,
        last=(at[-1] - at[before_last]) / (images - before_last),
        files=len(sizes),
        megabytes=sum(sizes) / 1e6,
        plain=_plain(top / "plain", sizes),
        result_megabytes=results[0].stat().st_size / 1e6,
    )


@dataclass(frozen=True)
class KilledCommit:
    """Of a commit that was killed half way, and of the same command again.

    Attributes
    ----------
    written : int
        Images that held their result when the first was killed.
    processor, seconds : float
        Of both commands together, with the processes that prepare images.
    megabytes : float
        The most memory that one of them took, with these processes.
    complete : int
        Images that hold all their tiles at the end.
    """

    written: int
    processor: float
    seconds: float
    megabytes: float
    complete: int


def killed_commit(slide: Path, like: Path, top: Path, images: int, tiles: int) -> KilledCommit:
    """Commit results into a new project by the command itself; kill it half way; do it again."""
    project, folder = project_of(top / "project", slide, images), top / "results"
    for _ in results_for(project, like, folder, tiles):
        pass
    start = time.perf_counter()
    first, most = _command(project, folder, images // 2)
    seconds = time.perf_counter() - start
    with NativeProject(project) as opened:
        written = sum(names.META_TILES in entry.metadata for entry in opened.images)
    start = time.perf_counter()
    second, also = _command(project, folder)
    return KilledCommit(
        written=written,
        processor=first + second,
        seconds=seconds + time.perf_counter() - start,
        megabytes=max(most, also),
        complete=sum(count == tiles for count in _tiles_of(project)),
    )


def _command(project: Path, folder: Path, killed_at: int | None = None) -> tuple[float, float]:
    """Processor time and megabytes of ``project commit``; killed after so many lines."""
    line = ["project", "commit", str(project), str(folder), "--engine", "native"]
    process = subprocess.Popen(
        [sys.executable, "-m", "qupath_hccmil", *line], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    most = others = 0.0
    for number, _ in enumerate(process.stdout, 1):
        # in ru_maxrss would be the peak of this process, which started it
        if number % 100 == 0:
            started = psutil.Process(process.pid).children()
            most = max(most, sum(_peak(each) for each in (process.pid, *(p.pid for p in started))))
            # of those of a process that is killed, nobody is told
            others = sum(sum(each.cpu_times()[:2]) for each in started)
        if number == killed_at:
            process.kill()
    process.stdout.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0 or killed_at is not None, process.returncode
    return used.ru_utime + used.ru_stime + (others if killed_at is not None else 0), most


def _peak(pid: int) -> float:
    """Megabytes that a process of Linux has had at most; 0 of one that has ended."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _tiles_of(project: Path) -> Iterator[int]:
    """Number of our tiles in each image."""
    with NativeProject(project) as opened:
        for entry in opened.images:
            yield sum(map(len, opened.read(entry).results.tiles.values()))


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.stat().st_size


def _plain(folder: Path, sizes: list[int]) -> float:
    """Seconds to write files of these sizes, two in a folder as in a project, each flushed."""
    content = os.urandom(max(sizes))
    start = time.perf_counter()
    for number, size in enumerate(sizes):
        place = folder / str(number // 2)
        place.mkdir(parents=True, exist_ok=True)
        with (place / str(number)).open("wb") as file:
            file.write(content[:size])
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - start


def list_costs(slide: Path, top: Path, images: int) -> tuple[float, float]:
    """Processor time (s) of one change of a project's list of so many images; its megabytes."""
    project = project_of(top / "long-list", slide, images)
    with NativeProject(project) as opened:
        opened.begin()
        start = time.process_time()
        opened.write_list({opened.images[0].id: {names.META_GROUP: "high"}})
        return time.process_time() - start, opened.path.stat().st_size / 1e6


def record_costs(top: Path, slides: int) -> tuple[float, float]:
    """Seconds to write a run.json of so many slides over an earlier one, and its megabytes."""
    outcome = ImageOutcome("CASE-1.svs", "scored", tiles=2000, annotations=1, seconds=49.9)
    row = SlideRow("/shared/liver/project.qpproj", "1", outcome, worker="tcp://10.0.0.1:40000")
    rows = [replace(row, image_id=str(number)).facts() for number in range(slides)]
    write_run({"images": rows}, top)
    start = time.perf_counter()
    path = write_run({"images": rows}, top)
    return time.perf_counter() - start, path.stat().st_size / 1e6


def folder_costs(top: Path, files: int) -> tuple[float, float]:
    """Seconds to find the results in a folder of many, and to look for leftovers in it."""
    folder = top / "many"
    folder.mkdir()
    for number in range(files):
        (folder / f"{number}-S{number}-{number:016x}.parquet").touch()
    start = time.perf_counter()
    assert len(ResultsIndex(folder)) == files
    listed = time.perf_counter() - start
    start = time.perf_counter()
    assert sweep(folder) == 0
    return listed, time.perf_counter() - start
