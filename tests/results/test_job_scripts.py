"""Jobs of a queue: what the YAML file says becomes the job's script; wrong files are one line."""

import contextlib
import re
import socket
import sys
from types import SimpleNamespace

import pytest

from qupath_hccmil.cluster import connect
from qupath_hccmil.errors import ClusterError, PackageError

pytest.importorskip("dask_jobqueue", reason="the extra [cluster] is not installed")

SLURM = """
jobqueue:
  slurm:
    cores: 16
    processes: 4
    memory: 64GB
    queue: normal
    account: pathology
    walltime: "04:00:00"
    job-script-prologue: ["module load python/3.11"]
    worker-extra-args: ["--lifetime", "235m"]
"""
SCRIPT = """\
#!/usr/bin/env bash

#SBATCH -J dask-worker
#SBATCH -p normal
#SBATCH -A pathology
#SBATCH -n 1
#SBATCH --cpus-per-task=16
#SBATCH --mem=60G
#SBATCH -t 04:00:00
module load python/3.11
PYTHON -m distributed.cli.dask_worker SCHEDULER --name dummy-name --nthreads 4 --memory-limit \
14.90GiB --nworkers 4 --nanny --death-timeout 60 --lifetime 235m --nthreads 1
"""


def script_of(path, text):
    path.write_text(text)
    with connect.job_cluster(path) as (cluster, kind, threads):
        script = cluster.job_script().replace(sys.executable, "PYTHON")
        return re.sub(r"tcp://\S+", "SCHEDULER", script), kind, threads


def test_the_job_is_what_the_file_says(tmp_path):
    script, kind, threads = script_of(tmp_path / "slurm.yaml", SLURM)
    assert script == SCRIPT
    assert (kind, threads) == ("slurm", 4)


def test_another_run_may_have_dasks_usual_port(tmp_path):
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # then another program has it already
            taken.bind(("", 8787))
            taken.listen()
        script, _, _ = script_of(tmp_path / "slurm.yaml", SLURM)
    assert script == SCRIPT


@pytest.mark.parametrize("kind", ["pbs", "lsf", "sge", "htcondor", "oar"])
def test_other_queues_get_their_script_too(tmp_path, kind):
    more = {
        "htcondor": "    disk: 10GB\n",
        "oar": "    memory-per-core-property-name: not_applicable\n",
    }.get(kind, "")
    text = f"jobqueue:\n  {kind}:\n    cores: 2\n    processes: 1\n    memory: 8GB\n{more}"
    script, found, threads = script_of(tmp_path / "queue.yaml", text)
    assert (found, threads) == (kind, 2)
    assert "distributed.cli.dask_worker" in script
    assert "--nthreads 1" in script


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a configuration of one queue"),
        ("jobqueue: {}", "it names none"),
        ("jobqueue: {slurm: {}, pbs: {}}", "it names slurm, pbs"),
        ("jobqueue: {nonsense: {cores: 1}}", "it names nonsense"),
        ("jobqueue: {slurm: 3}", "slurm has no settings"),
        ("jobqueue: [", "is not a configuration of one queue"),
        ("jobqueue: {slurm: {coers: 4}}", "slurm has no setting 'coers'; its settings: account"),
        ("jobqueue: {slurm: {queue: normal}}", "slurm: say what a job gets: cores, memory"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, said):
    path = tmp_path / "queue.yaml"
    with pytest.raises(ClusterError) as caught:
        script_of(path, text)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(cli, cohort, tmp_path):
    line = ("score", cohort, "--results", tmp_path / "r", "--dask", tmp_path / "none.yaml")
    ran = cli(*line, "--workers", 2)
    assert ran.code == 1
    assert ran.err.startswith(f"Error: {tmp_path / 'none.yaml'}: cannot be read (No such file")
    assert "--workers N" in cli(*line).err


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PackageError, match=r"pip install 'qupath-hccmil\[cluster\]'"):
        connect.require_dask()


def test_the_dashboard_is_named_where_it_can_be_drawn(monkeypatch):
    client = SimpleNamespace(dashboard_link="http://127.0.0.1:8787/status")
    workers = connect.Workers(client, "local", 1)
    monkeypatch.setattr(connect, "find_spec", lambda _: None)
    assert workers.dashboard == ""
    monkeypatch.setattr(connect, "find_spec", lambda name: name)
    assert workers.dashboard == client.dashboard_link


def test_a_cluster_that_does_not_close_in_time_spoils_nothing():
    class Slow:
        def close(self):
            raise TimeoutError

    with connect._closed_at_the_end(Slow()):
        pass
    with pytest.raises(ClusterError), connect._closed_at_the_end(Slow()):
        raise ClusterError("what went wrong before")


@pytest.mark.skipif(sys.platform == "win32", reason="the command is a shell script")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("", "No such file or directory: 'sbatch'"),
        ("#!/bin/sh\necho 'invalid account' >&2\nexit 1\n", "invalid account"),
        ("#!/bin/sh\necho nothing\n", "Could not parse job id"),
    ],
)
def test_jobs_that_cannot_be_submitted_are_one_line(tmp_path, monkeypatch, capfd, script, said):
    if script:
        (tmp_path / "sbatch").write_text(script)
        (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = tmp_path / "slurm.yaml"
    path.write_text("jobqueue:\n  slurm: {cores: 2, processes: 2, memory: 4GB}\n")
    with pytest.raises(ClusterError) as caught, connect.connected(str(path), 2):
        pass
    assert str(caught.value).startswith("jobs cannot be submitted here: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


class Queue:
    """A cluster of one job, whose queue may refuse it."""

    def __init__(self):
        self.worker_spec = {"job": {}}
        self.workers = {}
        self.scheduler_info = {"workers": {"tcp://a:1": {"name": "job"}}}
        self.refuses = False
        self.submissions = 0

    def sync(self, function, *arguments):
        function(*arguments)

    def scale_down(self, ended):
        if self.refuses:
            raise RuntimeError("the queue is closed")

    def scale(self, workers):
        self.submissions += 1


def test_a_job_that_cannot_be_submitted_again_is_tried_later(monkeypatch, caplog):
    monkeypatch.setattr(connect, "JOB_ENDED_S", -1)
    queue = Queue()
    jobs = connect._Jobs(queue, 1)
    jobs.renew()
    assert queue.submissions == 1
    queue.scheduler_info, queue.refuses = {"workers": {}}, True
    jobs.renew()
    assert "it is tried again: the queue is closed" in caplog.text
    queue.refuses = False
    jobs.renew()
    jobs.renew()
    assert queue.submissions == 2
