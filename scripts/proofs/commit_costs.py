"""What a commit costs, next to a plain write of the same bytes; and a folder of many results."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from simulated_slides import project_of, results_for

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.results.commit import GROUP_IMAGES, commit_results
from qupath_hccmil.results.leftovers import sweep
from qupath_hccmil.results.results_folder import ResultsIndex
from qupath_hccmil.results.run_file import write_run
from qupath_hccmil.results.slide_worker import SlideRow
from qupath_hccmil.scoring.score_project import ImageOutcome


@dataclass(frozen=True)
class CommitCosts:
    """Of a commit of many images.

    Attributes
    ----------
    seconds, processor : float
        Wall clock and processor time.
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
    first: float
    last: float
    files: int
    megabytes: float
    plain: float
    result_megabytes: float


def commit_costs(slide: Path, like: Path, top: Path, images: int, tiles: int) -> CommitCosts:
    """Commit results into a new project."""
    project, folder = project_of(top / "project", slide, images), top / "results"
    results = list(results_for(project, like, folder, tiles))
    start, processor = time.perf_counter(), time.process_time()
    began = time.time()
    at = [0.0]
    with NativeProject(project) as opened:
        for outcome in commit_results(opened, folder):
            assert outcome.status == "taken", outcome
            at.append(time.perf_counter() - start)
    seconds, used = time.perf_counter() - start, time.process_time() - processor
    # a whole second earlier, as some file systems round
    sizes = [size for path, size in _files(project) if path.stat().st_mtime >= began - 1]
    group = min(GROUP_IMAGES, images)
    before_last = (images - 1) // group * group
    return CommitCosts(
        seconds=seconds,
        processor=used,
        first=at[group] / group,
        last=(at[-1] - at[before_last]) / (images - before_last),
        files=len(sizes),
        megabytes=sum(sizes) / 1e6,
        plain=_plain(top / "plain", sizes),
        result_megabytes=results[0].stat().st_size / 1e6,
    )


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
        opened.write_list(opened.images[0], {names.META_GROUP: "high"})
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
