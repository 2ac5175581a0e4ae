"""``score --dask``: real worker processes, lost, hanging, refused; results as of one process.

Most slides here have their result already, so that a worker need not load the networks to be lost.
"""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.results.result_file import read_head, read_results
from tests.conftest import ROOT
from tests.killed_workers import MARKS
from tests.results.conftest import IMAGES, everything

dask = pytest.importorskip("dask", reason="the extra [cluster] is not installed")
pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

NATIVE = ("--engine", "native")
PRELOAD = Path(__file__).parent / "faulty_worker.py"
WORKER_TASK = "qupath_hccmil.results.scoring_work"
pytestmark = MARKS


@pytest.fixture(scope="module")
def quick_start():
    """Workers of ``local`` are forks of a process that has imported all they need."""
    from distributed.utils import get_mp_context

    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context().set_forkserver_preload(["distributed", WORKER_TASK])
        yield


@pytest.fixture(autouse=True)
def faults(monkeypatch, quick_start):
    """Makes the workers that are started from now on faulty."""

    def faulty(**of_image: object) -> None:
        dask.config.set({"distributed.nanny.environ.HCCMIL_TEST_FAULTS": json.dumps(of_image)})

    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", str([str(PRELOAD)]))
    with dask.config.set({"distributed.worker.preload": [str(PRELOAD)]}):
        faulty()
        yield faulty
        faulty()


def rows(folder: Path) -> dict[str, dict]:
    return {row["image"]: row for row in json.loads((folder / "run.json").read_text())["images"]}


def statuses(ran) -> dict[str, str]:
    assert ran.code in (0, 3), ran.err
    return {row["image"]: row["status"] for row in json.loads(ran.out)["images"]}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[0-9]*.parquet")}


def without(folder: Path, *images: str) -> Path:
    for image in images:
        (path,) = folder.glob(f"*-{image}-*.parquet")
        path.unlink()
    return folder


def assert_same_to_the_bit(folder: Path, other: Path) -> None:
    """Two folders hold the same results under the same names; only the times of runs differ."""
    assert times(folder).keys() == times(other).keys()
    for name in times(folder):
        head, head_of_other = read_head(folder / name), read_head(other / name)
        at_once = replace(head.record, time=head_of_other.record.time)
        assert at_once == head_of_other.record
        one, two = read_results(head), read_results(head_of_other)
        assert (one.annotations, one.root) == (two.annotations, two.root)
        assert one.tiles.keys() == two.tiles.keys()
        for key, tiles in one.tiles.items():
            assert np.array_equal(tiles.bounds, two.tiles[key].bounds)
            assert tiles.class_names == two.tiles[key].class_names
            assert tiles.measurements.keys() == two.tiles[key].measurements.keys()
            for measurement, values in tiles.measurements.items():
                assert np.array_equal(values, two.tiles[key].measurements[measurement])


def score(*arguments: object) -> list[str]:
    """The command in a process of its own, as a shell starts it."""
    return [sys.executable, "-m", "qupath_hccmil", "score", *map(str, arguments)]


def test_results_of_two_workers_are_those_of_one_process_to_the_bit(cli, cohort, folder, tmp_path):
    own = tmp_path / "dask"
    before = everything(cohort)
    ran = cli("score", cohort, *NATIVE, "--results", own, "--dask", "local", "--workers", 2)
    assert ran.code == 0, ran.err
    assert everything(cohort) == before
    found = rows(own)
    assert {row["status"] for row in found.values()} == {"scored"}
    assert {row["tries"] for row in found.values()} == {1}
    assert all(row["worker"].startswith("tcp://") for row in found.values())
    assert_same_to_the_bit(own, folder)


def test_a_slide_that_crashes_or_hangs_costs_only_itself(cli, cohort, folder, faults):
    before = times(folder)
    faults(First="crash", Second="hang")
    line = (
        "score", cohort, *NATIVE, "--results", folder, "--dask", "local", "--workers", 2,
        "--slide-timeout", 8, "--retries", 0,
    )  # fmt: skip
    ran = cli(*line, "--json")
    assert ran.code == 3
    found = {row["image"]: row for row in json.loads(ran.out)["images"]}
    assert {image: (row["status"], row["tries"]) for image, row in found.items()} == {
        "First": ("failed", 1),
        "Second": ("failed", 1),
        "Third": ("up to date", 1),
    }
    lost = "its worker was lost once while this slide was scored: it "
    assert found["First"]["reason"] == f"{lost}crashed or was out of memory"
    assert found["Second"]["reason"] == f"{lost}took longer than 8 s"
    assert times(folder) == before


def test_a_worker_that_dask_gives_up_is_replaced(
    cli, cohort, folder, faults, tmp_path, monkeypatch
):
    """It takes too long to start again, as on a machine that is busy with something else."""
    from qupath_hccmil.cluster import connect

    monkeypatch.setattr(connect, "WORKER_ENDED_S", 0.001)
    faults(Second=f"kill {tmp_path / 'killed'}")
    line = ("score", cohort, *NATIVE, "--results", folder, "--dask", "local", "--workers", 1)
    ran = cli(*line, "--json")
    assert set(statuses(ran).values()) == {"up to date"}
    assert {image: row["tries"] for image, row in rows(folder).items()} == {
        "First": 1,
        "Second": 2,
        "Third": 1,
    }


def test_a_worker_that_cannot_be_started_again_is_replaced(caplog):
    from qupath_hccmil.cluster.connect import connected

    with connected("local", 1) as workers:
        cluster = workers.client.cluster
        (lost,) = cluster.workers.values()
        # as Dask does where it cannot start the process
        cluster.sync(lost.close)
        until(lambda: workers.client.nthreads() == {})
        until(lambda: workers.renew() or (workers.client.nthreads() and cluster.workers))
        assert lost not in cluster.workers.values()
    assert "1 worker did not start again; starting others" in caplog.text


def test_a_large_slide_is_scored_in_pieces_with_the_same_result(
    cli, cohort, folder, tmp_path, faults, monkeypatch
):
    """A worker is lost at one of the pieces, and that piece alone is done again."""
    from qupath_hccmil.results import scoring_work

    monkeypatch.setattr(scoring_work, "PIECE_TILES", 1)
    own = without(shutil.copytree(folder, tmp_path / "own"), "Second", "Third")
    faults(Second=f"kill at piece {tmp_path / 'killed'}", Third="crash at piece")
    line = ("score", cohort, *NATIVE, "--results", own, "--dask", "local", "--workers", 2)
    ran = cli(*line, "--retries", 1, "--json")
    assert ran.code == 3
    found = json.loads(ran.out)["images"]
    assert {row["image"]: (row["status"], row["pieces"], row["tries"]) for row in found} == {
        "First": ("up to date", 0, 1),
        "Second": ("scored", 3, 2),
        "Third": ("failed", 4, 2),
    }
    assert_same_to_the_bit(own, without(folder, "Third"))
    # what is left of the slide that failed is not done again
    assert [path.name.split("-")[1] for path in (own / ".pieces").iterdir()] == ["Third"]


def test_a_worker_killed_in_a_write_and_a_full_disk_leave_nothing_half_done(
    cli, cohort, folder, tmp_path, faults
):
    own = shutil.copytree(folder, tmp_path / "own")
    without(own, "First", "Second")
    third = times(own)
    faults(First=f"kill in write {tmp_path / 'killed'}", Second="full")
    line = ("score", cohort, *NATIVE, "--results", own, "--dask", "local", "--workers", 1, "--json")
    ran = cli(*line)
    assert statuses(ran) == {"First": "scored", "Second": "failed", "Third": "up to date"}
    found = rows(own)
    assert (found["First"]["tries"], found["Second"]["tries"]) == (2, 1)
    assert re.search("cannot be written: .*File too large", found["Second"]["reason"])
    first = times(own)
    assert first.keys() > third.keys()
    faults()
    assert statuses(cli(*line)) == {
        "First": "up to date", "Second": "scored", "Third": "up to date",
    }  # fmt: skip
    assert_same_to_the_bit(own, folder)
    assert first.items() <= times(own).items()


def test_a_worker_of_another_version_is_refused(cli, cohort, folder, faults):
    faults(version=[1])
    line = ("score", cohort, *NATIVE, "--results", folder, "--dask", "local", "--workers")
    ran = cli(*line, 2, "--json")
    found = json.loads(ran.out)["images"]
    assert {row["status"] for row in found} == {"up to date"}
    assert len({row["worker"] for row in found}) == 1
    faults(version=[0])
    ran = cli(*line, 1)
    assert ran.code == 1
    assert ran.err.startswith("Error: no worker can be used: tcp://")
    assert "qupath-hccmil 0.0.1, not " in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.fixture
def running_cluster():
    """Starts a cluster that is not the command's own; returns its address."""
    from distributed import LocalCluster

    with ExitStack() as stack:

        def start(workers: int = 1, threads: int = 1) -> str:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=threads,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                silence_logs="CRITICAL",
            )
            return stack.enter_context(cluster).scheduler_address

        yield start


def test_the_same_command_goes_on_after_it_was_killed(
    cli, cohort, folder, tmp_path, running_cluster
):
    own = without(shutil.copytree(folder, tmp_path / "own"), *IMAGES)
    line = (cohort, *NATIVE, "--results", own, "--dask", running_cluster())
    process = subprocess.Popen(score(*line), stdout=subprocess.DEVNULL)
    while not times(own):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = times(own)
    ran = cli("score", *line, "--json")
    assert list(statuses(ran).values()).count("up to date") >= len(done)
    assert done.items() <= times(own).items()
    assert_same_to_the_bit(own, folder)


def test_a_worker_of_a_running_cluster_that_is_lost_counts_each_time(
    cli, cohort, folder, tmp_path, faults, running_cluster, monkeypatch
):
    """Dask's own retries, which such a cluster has, do not add to ours.

    The scheduler does not answer at times, since it is busy.
    """
    import distributed

    answers = itertools.count()
    real, real_result = distributed.Client.nthreads, distributed.Future.result

    def busy(client, *arguments, **more):
        if next(answers) % 2:
            raise TimeoutError
        return real(client, *arguments, **more)

    def busy_too(future, *arguments, **more):
        if next(answers) % 2:
            raise OSError("Timed out during handshake")
        return real_result(future, *arguments, **more)

    monkeypatch.setattr(distributed.Client, "nthreads", busy)
    monkeypatch.setattr(distributed.Future, "result", busy_too)
    faults(First="crash", Second=f"kill {tmp_path / 'killed'}")
    line = ("score", cohort, *NATIVE, "--results", folder, "--retries", 1, "--json", "--dask")
    found = json.loads(cli(*line, running_cluster(2)).out)["images"]
    assert {row["image"]: (row["status"], row["tries"]) for row in found} == {
        "First": ("failed", 2),
        "Second": ("up to date", 2),
        "Third": ("up to date", 1),
    }


def until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_row_that_is_lost_with_its_worker_is_made_again(cli, cohort, folder, monkeypatch):
    from qupath_hccmil.cluster import run_slides

    real, lost = run_slides._Run._row, []

    def lose_first(run, future, done):
        if not lost:
            assert future.status == "finished"
            lost.append(done.attempt.task.image)
            (number,) = run.workers.client.run(os.getpid, workers=[done.worker]).values()
            os.kill(number, signal.SIGKILL)
            until(lambda: future.status != "finished")
        return real(run, future, done)

    monkeypatch.setattr(run_slides._Run, "_row", lose_first)
    line = ("score", cohort, *NATIVE, "--results", folder, "--dask", "local", "--workers", 2)
    ran = cli(*line, "--json")
    assert ran.code == 0, ran.err
    found = {row["image"]: row for row in json.loads(ran.out)["images"]}
    assert {image: row["tries"] for image, row in found.items()} == {
        image: 2 if image in lost else 1 for image in IMAGES
    }


def test_a_connection_that_is_lost_is_made_again(cli, cohort, folder, monkeypatch):
    """Both what the workers were asked and the slides under way are lost with it."""
    from qupath_hccmil.cluster import run_slides

    real, lost = run_slides._Run.done, []

    def lose(run):
        client, what = run.workers.client, "slides" if run.under_way else "questions"
        if what not in lost:
            lost.append(what)
            before = client.scheduler_comm
            client.loop.add_callback(before.comm.abort)
            until(lambda: client.scheduler_comm is not before)
        yield from real(run)

    monkeypatch.setattr(run_slides._Run, "done", lose)
    line = ("score", cohort, *NATIVE, "--results", folder, "--dask", "local", "--workers", 2)
    ran = cli(*line, "--json")
    assert ran.code == 0, ran.err
    assert lost == ["questions", "slides"]
    assert {row["status"]: row["tries"] for row in json.loads(ran.out)["images"]} == {
        "up to date": 1
    }


SBATCH = """#!/bin/sh
cp "$1" "$JOBS/job-$$.sh"
setsid sh "$JOBS/job-$$.sh" > "$JOBS/log-$$" 2>&1 < /dev/null &
echo $! >> "$JOBS/submitted"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -TERM "-$1"
"""
SLURM = """
jobqueue:
  slurm: {cores: 1, processes: 1, memory: 4GB, interface: lo}
"""


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A queue that starts each job at once, on this computer; returns a file with their numbers."""
    pytest.importorskip("dask_jobqueue", reason="the extra [cluster] is not installed")
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, script in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    monkeypatch.setenv("JOBS", str(tmp_path))
    submitted = tmp_path / "submitted"
    yield submitted
    for number in submitted.read_text().split():
        with suppress(ProcessLookupError):
            os.killpg(int(number), signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="setsid is there on Linux")
def test_a_job_that_its_queue_ends_is_submitted_again(
    cli, cohort, folder, tmp_path, queue, monkeypatch
):
    from qupath_hccmil.cluster import connect

    monkeypatch.setattr(connect, "JOB_ENDED_S", 1.0)
    fault = {"Second": f"end job {tmp_path / 'ended'}"}
    monkeypatch.setenv("HCCMIL_TEST_FAULTS", json.dumps(fault))
    (tmp_path / "slurm.yaml").write_text(SLURM)
    line = ("score", cohort, *NATIVE, "--results", folder, "--dask", tmp_path / "slurm.yaml")
    ran = cli(*line, "--workers", 1, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert [row["tries"] for row in found["images"]] == [1, 1, 2]
    assert found["cluster"]["kind"] == "slurm"
    assert len(queue.read_text().split()) == 2


@pytest.fixture
def new_run(tmp_path):
    """Makes a run on workers that are named by the test; `submitted` are the keys of tasks."""
    from collections import deque
    from types import SimpleNamespace

    from qupath_hccmil.cluster import run_slides
    from qupath_hccmil.cluster.connect import Workers
    from qupath_hccmil.results.scoring_work import ScoringWork
    from qupath_hccmil.results.slide_worker import ScoringPlan
    from qupath_hccmil.scoring.score_settings import ScoreSettings

    def make() -> run_slides._Run:
        submitted: list[str] = []

        def submit(*_, key: str, **more: object) -> SimpleNamespace:
            submitted.append(key)
            return SimpleNamespace(add_done_callback=lambda done: None)

        client = SimpleNamespace(submit=submit, submitted=submitted)
        work = ScoringWork(ScoringPlan(tmp_path, ScoreSettings(), "native"))
        return run_slides._Run(Workers(client, "", None), work, run_slides.Limits(), deque())

    return make


def test_a_worker_that_comes_later_gets_its_share_of_the_cores(new_run):
    run = new_run()
    run._present, run._usable = frozenset({"tcp://a:1", "tcp://b:1"}), {"tcp://a:1": 8}
    assert run._threads("tcp://a:1") == 8
    run._present, run._usable = run._present | {"tcp://a:2", "tcp://a:3"}, {
        "tcp://a:1": 8, "tcp://a:2": 8,
    }  # fmt: skip
    run._refused = {"tcp://a:3": "another version"}
    assert [run._threads(f"tcp://a:{n}") for n in (1, 2)] == [4, 4]


def test_two_runs_on_one_scheduler_have_no_task_in_common(new_run, monkeypatch):
    """Dask would give one run the row of the other's slide. Objects of two processes share IDs."""
    from qupath_hccmil.cluster import run_slides

    monkeypatch.setattr(run_slides, "id", lambda each: 1, raising=False)
    one, other = new_run(), new_run()
    for run in (one, other):
        run._submit("tcp://a:1", print)
    assert set(one.workers.client.submitted).isdisjoint(other.workers.client.submitted)


def test_workers_with_several_threads_are_refused(cli, cohort, folder, running_cluster):
    line = ("score", cohort, *NATIVE, "--results", folder, "--dask", running_cluster(threads=2))
    ran = cli(*line)
    assert ran.code == 1
    assert "has 2 threads; start it with --nthreads 1" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_scheduler_that_goes_is_one_line(cli, cohort, folder, monkeypatch):
    """Also where Dask can neither cancel what was under way nor close its client."""
    import distributed

    from qupath_hccmil.cluster import connect, run_slides

    def too_busy(*_, **__):
        raise TimeoutError

    monkeypatch.setattr(connect, "CONNECT_S", 1)
    monkeypatch.setattr(distributed.Future, "cancel", too_busy)
    monkeypatch.setattr(distributed.Client, "close", too_busy)
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port",
         "0", "--no-dashboard"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    monkeypatch.setattr(run_slides._Run, "hand_out", lambda _: scheduler.kill())
    with scheduler:
        assert scheduler.stderr is not None
        address = next(line for line in scheduler.stderr if "Scheduler at:" in line).split()[-1]
        ran = cli("score", cohort, *NATIVE, "--results", folder, "--dask", address)
    assert ran.code == 1
    last = ran.err.strip().splitlines()[-1]
    assert last.startswith(f"Error: the Dask scheduler ({address}) is gone; ")
    assert "run the same command again" in last


def test_an_address_where_nobody_is_is_one_line(cli, cohort, tmp_path, monkeypatch):
    from qupath_hccmil.cluster import connect

    monkeypatch.setattr(connect, "CONNECT_S", 1)
    line = ("score", cohort, *NATIVE, "--results", tmp_path / "r", "--dask")
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "none.json"):
        ran = cli(*line, address)
        assert ran.code == 1
        assert ran.err.startswith(f"Error: {address}: no Dask scheduler answers")
        assert len(ran.err.splitlines()) == 1


def test_a_model_that_changed_is_noticed_by_a_worker_that_runs(tmp_path):
    from qupath_hccmil.results.scoring_work import without_precision

    model = tmp_path / "model"
    shutil.copytree(ROOT / "models" / "hcc-risk-surrogate", model)
    before = without_precision(model)
    config = json.loads((model / "config.json").read_text())
    config["risk"]["threshold"] = 0.123
    (model / "config.json").write_text(json.dumps(config))
    assert {key for key, fact in without_precision(model).items() if fact != before[key]} == {
        "model"
    }
