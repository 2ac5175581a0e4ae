"""``project commit`` by several processes: the same bytes, and a fault of one harms no project."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from qupath_hccmil.results import commit_workers
from qupath_hccmil.results.commit import CommitOptions, commit_results
from qupath_hccmil.results.commit_workers import WorkersError, chosen_workers
from tests.conftest import ROOT
from tests.results import faulty_reader
from tests.results.conftest import IMAGES, contents, everything

NATIVE = ("--engine", "native")
TWO = CommitOptions(workers=2)


def statuses(ran) -> dict[str, str]:
    assert ran.code in (0, 3), ran.err
    return {each["image"]: each["status"] for each in json.loads(ran.out)["images"]}


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Processes that were started to prepare images; not the one that tracks resources."""
    return [each for each in process.children() if "spawn_main" in " ".join(each.cmdline())]


def faulty_commit(project: Path, folder: Path, reader: type) -> dict[str, tuple[str, str]]:
    with faulty_reader.with_reader(reader)(project) as opened:
        return {
            each.image: (each.status, each.reason) for each in commit_results(opened, folder, TWO)
        }


@pytest.mark.parametrize("workers", [2, 5])
def test_several_processes_write_what_one_writes(cli, cohort, folder, tmp_path, workers):
    alone = tmp_path / "alone"
    shutil.copytree(cohort, alone)
    line = ("project", "commit", alone, folder, *NATIVE, "--workers", "1", "--json")
    assert statuses(cli(*line)) == dict.fromkeys(IMAGES, "taken")
    line = ("project", "commit", cohort, folder, *NATIVE, "--workers", workers, "--json")
    seen = statuses(cli(*line, "--dry-run"))
    assert seen == dict.fromkeys(IMAGES, "would be taken")
    ran = statuses(cli(*line))
    assert ran == dict.fromkeys(IMAGES, "taken")
    assert list(ran) == list(IMAGES)
    assert contents(cohort) == contents(alone)
    before = everything(cohort)
    assert statuses(cli(*line)) == dict.fromkeys(IMAGES, "up to date")
    assert everything(cohort) == before
    assert not workers_of(psutil.Process())


def test_a_project_written_by_several_processes_can_be_undone(cli, cohort, folder):
    before = contents(cohort)
    assert cli("project", "commit", cohort, folder, *NATIVE, "--workers", "2").code == 0
    assert cli("project", "restore", cohort).code == 0
    assert contents(cohort) == before


def test_a_damaged_result_costs_only_itself(cli, cohort, folder):
    (path,) = folder.glob("*-Second-*.parquet")
    path.write_bytes(b"no parquet")
    ran = statuses(cli("project", "commit", cohort, folder, *NATIVE, "--workers", "2", "--json"))
    assert list(ran.values()) == ["taken", "left", "taken"]


def test_an_image_without_memory_costs_only_itself(cohort, folder):
    found = faulty_commit(cohort, folder, faulty_reader.NoMemory)
    assert [status for status, _ in found.values()] == ["taken", "failed", "taken"]
    assert "not enough memory" in found["Second"][1]


def test_a_new_file_that_is_not_as_meant_costs_only_itself(cohort, folder):
    before = everything(cohort / "data" / "2")
    found = faulty_commit(cohort, folder, faulty_reader.OtherBytes)
    assert [status for status, _ in found.values()] == ["taken", "failed", "taken"]
    assert found["Second"][1].endswith(
        "data.qpdata: was not written and is unchanged (other bytes)"
    )
    assert everything(cohort / "data" / "2") == before


def test_a_full_disk_is_one_line_and_leaves_nothing(cohort, folder):
    before = everything(cohort / "data" / "2")
    found = faulty_commit(cohort, folder, faulty_reader.FullDisk)
    assert [status for status, _ in found.values()] == ["taken", "failed", "taken"]
    assert "No space left on device; the project is unchanged" in found["Second"][1]
    assert everything(cohort / "data" / "2") == before


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a process is killed, as Linux does it")
def test_a_process_that_is_killed_is_one_line_and_the_project_as_it_was(cli, cohort, folder):
    before = everything(cohort)
    with (
        faulty_reader.with_reader(faulty_reader.Dies)(cohort) as opened,
        pytest.raises(WorkersError, match=r"was killed.*with fewer --workers"),
    ):
        list(commit_results(opened, folder, TWO))
    assert everything(cohort) == before
    assert not workers_of(psutil.Process())
    assert cli("project", "commit", cohort, folder, *NATIVE).code == 0


def test_processes_that_cannot_be_started_are_one_line(cohort, folder, monkeypatch):
    def refuse(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(commit_workers.ProcessPoolExecutor, "submit", refuse)
    before = everything(cohort)
    with pytest.raises(WorkersError, match=r"Cannot allocate memory.*--workers 1"):
        faulty_commit(cohort, folder, faulty_reader.NativeData)
    assert everything(cohort) == before


@contextmanager
def under_way(project: Path, folder: Path, markers: Path):
    """A commit by two processes, both of which have written half of a file and wait."""
    markers.mkdir()
    line = [sys.executable, "-m", "tests.results.faulty_reader", project, folder, markers]
    process = subprocess.Popen(
        [*map(str, line)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    workers: list[psutil.Process] = []
    try:
        while len(workers) < 2 and process.poll() is None:
            time.sleep(0.05)
            workers = [psutil.Process(int(path.name)) for path in markers.iterdir()]
        assert len(workers) == 2, process.communicate()
        yield process, workers
    finally:
        for each in workers:
            if each.is_running():
                each.kill()
        process.kill()
        process.communicate()


POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def half_written(project: Path) -> list[Path]:
    return [path for path in project.rglob("*.hccmil-tmp") if path.is_file()]


@POSIX
def test_if_the_writer_is_killed_its_processes_end_and_the_same_command_goes_on(
    cli, cohort, folder, tmp_path
):
    before = contents(cohort)
    alone = tmp_path / "alone"
    shutil.copytree(cohort, alone)
    assert cli("project", "commit", alone, folder, *NATIVE).code == 0
    with under_way(cohort, folder, tmp_path / "markers") as (process, workers):
        assert half_written(cohort)
        # as Windows and macOS start them
        assert {*workers_of(psutil.Process(process.pid))} == {*workers}
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive
    assert before.items() <= contents(cohort).items()
    assert cli("project", "commit", cohort, folder, *NATIVE).code == 0
    assert contents(cohort) == contents(alone)


@POSIX
def test_ctrl_c_ends_all_processes_and_leaves_the_project_as_it_was(cohort, folder, tmp_path):
    before = everything(cohort)
    with under_way(cohort, folder, tmp_path / "markers") as (process, workers):
        os.killpg(process.pid, signal.SIGINT)
        _, printed = process.communicate(timeout=60)
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive
    assert process.returncode == 130
    assert "Traceback" not in printed
    assert everything(cohort) == before


def test_the_number_of_processes_follows_cores_and_images(monkeypatch):
    monkeypatch.setattr(commit_workers, "_usable_cores", lambda: 4)
    assert chosen_workers(None, 5, "native") == 1
    assert chosen_workers(None, 250, "native") == 2
    assert chosen_workers(None, 10_000, "native") == 4
    assert chosen_workers(None, 10_000, "paquo") == 1
    assert chosen_workers(3, 5, "paquo") == 3
    monkeypatch.setattr(commit_workers, "_usable_cores", lambda: 64)
    assert chosen_workers(None, 10_000, "native") == 8


def test_cores_are_those_of_this_process():
    assert 1 <= commit_workers._usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("workers", ["0", "62"])
def test_numbers_of_processes_that_cannot_be_are_refused(cli, cohort, folder, workers):
    assert cli("project", "commit", cohort, folder, "--workers", workers).code == 2


def test_a_project_is_not_prepared_for_while_another_writes_it(cli, cohort, folder):
    with faulty_reader.NativeProject(cohort) as other:
        other.begin()
        ran = cli("project", "commit", cohort, folder, *NATIVE, "--workers", "2")
    assert ran.code == 1
    assert "is writing this project" in ran.err
