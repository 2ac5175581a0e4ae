"""``score --dask``: real worker processes, lost, hanging, refused; results as of one process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qupath_hccmil.results.result_file import read_head
from tests.conftest import ROOT
from tests.results.conftest import IMAGES, contents, everything

dask = pytest.importorskip("dask", reason="the extra [cluster] is not installed")
pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

NATIVE = ("--engine", "native")
FAULTY = Path(__file__).parent / "faulty_worker.py"
# what Dask itself leaves open when processes are killed
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture
def faults(monkeypatch):
    """Makes the workers that are started from now on faulty."""

    def faulty(**of_image: object) -> None:
        monkeypatch.setenv("HCCMIL_TEST_FAULTS", json.dumps(of_image))

    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    with dask.config.set({"distributed.worker.preload": [str(FAULTY)]}):
        yield faulty


def rows(folder: Path) -> dict[str, dict]:
    return {row["image"]: row for row in json.loads((folder / "run.json").read_text())["images"]}


def score(*arguments: object) -> list[str]:
    """The command in a process of its own, as a shell starts it."""
    return [sys.executable, "-m", "qupath_hccmil", "score", *map(str, arguments)]


def test_results_of_two_workers_are_those_of_one_process_to_the_bit(
    cli, cohort, tmp_path, monkeypatch
):
    folder = tmp_path / "dask"
    direct = tmp_path / "direct"
    shutil.copytree(cohort, direct)
    before = everything(cohort)
    line = (
        "score", cohort, *NATIVE, "--results", folder, "--dask", "local", "--workers", 2, "--json",
    )  # fmt: skip
    ran = cli(*line)
    assert ran.code == 0, ran.err
    assert everything(cohort) == before
    found = rows(folder)
    assert {row["status"] for row in found.values()} == {"scored"}
    assert {row["tries"] for row in found.values()} == {1}
    assert all(row["worker"].startswith("tcp://") for row in found.values())
    written = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert len(written) == len(IMAGES)

    # the workers fit the stain as every process does; the tests' own process does it roughly
    subprocess.run(score(direct, *NATIVE, "--quiet"), check=True, env=_environment())
    assert cli("project", "commit", cohort, folder, *NATIVE).code == 0
    assert contents(cohort) == contents(direct)

    again = cli(*line)
    assert {row["status"] for row in json.loads(again.out)["images"]} == {"up to date"}
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("*.parquet")} == written
    assert {row["status"] for row in rows(folder).values()} == {"scored"}


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def test_a_slide_that_crashes_or_hangs_costs_only_itself(cli, make_project, tmp_path, faults):
    project = make_project("four", {**IMAGES, "Fourth": IMAGES["First"]})
    folder = tmp_path / "results"
    faults(Second="crash", Third="hang", Fourth=f"kill once {tmp_path / 'killed'}")
    line = (
        "score", project, *NATIVE, "--results", folder, "--dask", "local", "--workers", 2,
        "--slide-timeout", 15, "--retries", 1,
    )  # fmt: skip
    ran = cli(*line)
    assert ran.code == 3
    found = rows(folder)
    assert {image: (row["status"], row["tries"]) for image, row in found.items()} == {
        "First": ("scored", 1),
        "Second": ("failed", 2),
        "Third": ("failed", 2),
        "Fourth": ("scored", 2),
    }
    assert "its worker was lost 2 times" in found["Second"]["reason"]
    assert "took longer than 15 s" in found["Third"]["reason"]
    assert "Second: FAILED" in ran.err
    faults()
    ran = cli(*line, "--json")
    assert ran.code == 0, ran.err
    statuses = {row["image"]: row["status"] for row in json.loads(ran.out)["images"]}
    assert statuses == {
        "First": "up to date", "Second": "scored", "Third": "scored", "Fourth": "up to date",
    }  # fmt: skip


def test_a_worker_of_another_version_is_refused(cli, cohort, tmp_path, faults):
    folder = tmp_path / "results"
    faults(version=[1])
    line = ("score", cohort, *NATIVE, "--results", folder, "--dask", "local", "--workers")
    ran = cli(*line, 2, "--json")
    assert ran.code == 0, ran.err
    assert {row["status"] for row in rows(folder).values()} == {"scored"}
    assert len({row["worker"] for row in rows(folder).values()}) == 1
    faults(version=[0])
    ran = cli(*line, 1)
    assert ran.code == 1
    assert "no worker can be used" in ran.err
    assert "qupath-hccmil 0.0.1, not " in ran.err
    assert len(ran.err.splitlines()) == 1


def test_the_same_command_goes_on_after_it_was_killed(cli, cohort, tmp_path):
    folder = tmp_path / "results"
    line = (cohort, *NATIVE, "--results", folder, "--dask", "local", "--workers", 1)
    process = subprocess.Popen(score(*line), env=_environment(), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not list(folder.glob("[0-9]*.parquet")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path.name for path in folder.glob("[0-9]*.parquet")}
    assert done
    for name in done:
        read_head(folder / name)
    ran = cli("score", *line, "--json")
    assert ran.code == 0, ran.err
    statuses = [row["status"] for row in json.loads(ran.out)["images"]]
    assert statuses.count("up to date") >= len(done)
    assert len(list(folder.glob("[0-9]*.parquet"))) == len(IMAGES)


@pytest.fixture
def scheduler():
    """A scheduler in a process of its own, as a cluster has it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
         "--port", "0", "--no-dashboard"],
        stderr=subprocess.PIPE, text=True, env=_environment(),
    )  # fmt: skip
    assert process.stderr is not None
    address = ""
    for line in process.stderr:
        if "Scheduler at:" in line:
            address = line.split()[-1]
            break
    yield process, address
    process.kill()
    process.wait()
    process.stderr.close()


def _worker(address: str, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, *options, "--no-dashboard"],
        stderr=subprocess.DEVNULL, env=_environment(),
    )  # fmt: skip


def test_workers_that_run_already_are_joined(cli, cohort, tmp_path, scheduler):
    _, address = scheduler
    worker = _worker(address, "--nthreads", "1")
    try:
        line = ("score", cohort, *NATIVE, "--results", tmp_path / "r", "--dask", address)
        ran = cli(*line)
        assert ran.code == 0, ran.err
        assert "[3/3] " in ran.out
    finally:
        worker.terminate()
        worker.wait()
    many = _worker(address, "--nthreads", "2")
    try:
        (tmp_path / "r").rename(tmp_path / "before")
        ran = cli(*line)
        assert ran.code == 1
        assert "has 2 threads; start it with --nthreads 1" in ran.err
    finally:
        many.terminate()
        many.wait()


def test_a_scheduler_that_goes_is_one_line(cohort, tmp_path, scheduler):
    process, address = scheduler
    line = (cohort, *NATIVE, "--results", tmp_path / "r", "--dask", address)
    client = subprocess.Popen(
        score(*line), env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    time.sleep(8)  # it waits for workers, of which there is none
    process.kill()
    _, errors = client.communicate(timeout=120)
    assert client.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("Error: the Dask scheduler")
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
