"""Kills a write at many of its calls, completes it by the same write again, and looks.

Usage: LD_PRELOAD=project_faults.so python killed_writes.py KIND PROJECT RESULTS TOP STEP, where
KIND is commit, commit-by-two (with processes that prepare images) or result. Prints JSON: how many
calls the write makes, how many kills there were, and what was wrong.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from qupath_hccmil.atomic_files import is_temporary
from qupath_hccmil.errors import DataError
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.results import commit
from qupath_hccmil.results.result_file import read_head, read_results, write_result
from tests.qupath.faults import shim
from tests.qupath.faults.shim import Fault
from tests.results.conftest import contents

# so that a kill may come between groups too
commit.GROUP_IMAGES = 2
OF_PROJECT = "HCCMIL_TEST_PROJECT"


def killed(write: Callable[[], None], folder: Path, at: int) -> bool:
    """Run a write in a child that is killed at a call; whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            shim.arm(folder, Fault(at, shim.KILL, writes=True))
            write()
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) < 0


def calls(write: Callable[[], None], folder: Path) -> int:
    shim.arm(folder, Fault(writes=True))
    write()
    return shim.disarm()


def await_none_left(project: Path) -> None:
    """Wait for the end of processes that prepare images but have no parent any more."""
    alone = [
        each
        for each in psutil.process_iter(["cmdline", "ppid", "environ"])
        if "spawn_main" in " ".join(each.info["cmdline"] or ())
        and (each.info["environ"] or {}).get(OF_PROJECT) == str(project)
    ]
    _, left = psutil.wait_procs(alone, timeout=60)
    assert not left


def commits(start: Path, results: Path, top: Path, step: int, workers: int = 1) -> dict:
    project = top / "project"
    options = commit.CommitOptions(workers=workers)
    # by which processes that it starts are known
    os.environ[OF_PROJECT] = str(project)

    def set_up() -> None:
        shutil.rmtree(project, ignore_errors=True)
        shutil.copytree(start, project)

    def write() -> None:
        with NativeProject(project) as opened:
            for outcome in commit.commit_results(opened, results, options):
                assert outcome.status in ("taken", "up to date"), outcome

    def shown() -> list[bool]:
        with NativeProject(project, recover=False) as opened:
            return [bool(opened.read(entry).results) for entry in opened.images]

    set_up()
    count = calls(write, project)
    expected = contents(project)
    wrong, states, kills = [], set(), 0
    for at in range(0, count + 1, step):
        set_up()
        kills += killed(write, project, at)
        states.add(sum(shown()))
        # a process that prepares images ends with the one that was killed
        await_none_left(project)
        write()
        if contents(project) != expected:
            wrong.append(f"commit killed at {at}: the project differs")
        wrong += [f"commit killed at {at}: {left}" for left in project.rglob("*.hccmil-tmp")]
    return {"calls": count, "kills": kills, "wrong": wrong, "states": sorted(states)}


def results_files(start: Path, results: Path, top: Path, step: int) -> dict:
    (path, *_) = sorted(results.glob("*.parquet"))
    head = read_head(path)
    values = read_results(head)
    folder = top / "results"
    with NativeProject(start, recover=False) as opened:
        (entry,) = [each for each in opened.images if each.id == head.depends_on.entry["id"]]
        annotations = opened.read(entry).annotations
    new = folder / path.name

    def write() -> None:
        write_result(new, head.depends_on, annotations, values, Path(head.slide))

    def set_up() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    set_up()
    count = calls(write, folder)
    wrong, kills = [], 0
    whole = new.read_bytes()
    for at in range(0, count + 1, step):
        set_up()
        kills += killed(write, folder, at)
        seen = [each for each in folder.glob("*.parquet") if not is_temporary(each)]
        for each in seen:
            try:
                read_results(read_head(each))
            except DataError as error:
                wrong.append(f"result killed at {at}: {error}")
        write()
        if new.read_bytes() != whole:
            wrong.append(f"result killed at {at}: another file after it was written again")
    return {"calls": count, "kills": kills, "wrong": wrong, "states": []}


if __name__ == "__main__":
    what, start, results, top, step = sys.argv[1:]
    kinds = {
        "commit": commits,
        "commit-by-two": partial(commits, workers=2),
        "result": results_files,
    }
    kind = kinds[what]
    print(json.dumps(kind(Path(start), Path(results), Path(top), int(step))))
