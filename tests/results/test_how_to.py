"""The commands of the how-to of many slides run as they are printed, with one's own paths."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.results.conftest import states

TEXT = (ROOT / "docs" / "how-to" / "many-slides.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for _, block in BLOCKS for line in block.splitlines() if line]
OURS = [line for line in COMMANDS if line.startswith("qupath-hccmil ")]


def the_block(kind: str) -> str:
    (found,) = [block for of, block in BLOCKS if of == kind]
    return found


@pytest.fixture
def places(cohort, folder, tmp_path, monkeypatch) -> dict[str, object]:
    """What stands in a line for the reader's own."""
    second = shutil.copytree(cohort, tmp_path / "second")
    (tmp_path / "projects.csv").write_text(f"project\n{cohort}\n")
    (tmp_path / "slurm.yaml").write_text(the_block("yaml"))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    return {
        "PROJECT": cohort,
        "DIR": folder,
        "/data/liver-1": cohort,
        "/data/liver-2": second,
        "/shared/liver-1": cohort,
        "/shared/results": folder,
        "projects.csv": tmp_path / "projects.csv",
        "slurm.yaml": tmp_path / "slurm.yaml",
        '"$SLURM_ARRAY_TASK_ID/40"': f"{os.environ['SLURM_ARRAY_TASK_ID']}/40",
    }


def words(line: str, places: dict[str, object]) -> list[str]:
    return [str(places.get(word, word)) for word in line.split()[1:]]


def test_every_line_is_run_by_a_test_here():
    here = {"--dask local", "--dask slurm.yaml", "--dask tcp://", "--shard", "project commit"}
    assert len(OURS) == 7
    for line in OURS:
        assert sum(part in line for part in here) == 1, line


@pytest.mark.parametrize("line", [each for each in OURS if "--dask" not in each])
def test_lines_without_dask(cli, places, cohort, line):
    ran = cli(*words(line, places))
    assert ran.code == 0, ran.err
    committed = all(state.results for state in states(cohort).values())
    assert committed == ("commit" in line)


@pytest.mark.slow
@pytest.mark.parametrize("line", [each for each in OURS if "--dask local" in each])
def test_lines_for_one_workstation(cli, places, line):
    pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
    ran = cli(*words(line, places))
    # the second project is of other entries only by its folder, so its results are there, too
    assert ran.code == 0, ran.err
    assert all(state.results for state in states(places["PROJECT"]).values())


def test_the_line_for_a_queue_submits_the_jobs_that_the_text_counts(cli, places, monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="the extra [cluster] is not installed")
    import yaml

    from qupath_hccmil.cluster.connect import job_cluster

    (line,) = [each for each in OURS if "--dask slurm.yaml" in each]
    with job_cluster(Path(str(places["slurm.yaml"]))) as (cluster, kind, threads):
        script = cluster.job_script()
    given = yaml.safe_load(the_block("yaml"))["jobqueue"]["slurm"]
    assert kind == "slurm"
    assert threads == given["cores"] // given["processes"]
    assert f"#SBATCH --cpus-per-task={given['cores']}" in script
    assert f"#SBATCH -t {given['walltime']}" in script
    assert given["job-script-prologue"][0] in script
    jobs = int(line.split("--workers ")[1]) // given["processes"]
    assert f"(here {jobs})" in TEXT
    # where there is no such queue, as here, the whole line comes as far as its first job
    monkeypatch.setenv("PATH", "/none")
    ran = cli(*words(line, places))
    assert ran.code == 1
    assert ran.err.startswith("Error: jobs cannot be submitted here: ")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the processes are ended by signals")
def test_the_lines_for_mixed_machines(cli, places, monkeypatch):
    pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    start, join = the_block("bash").splitlines()
    (line,) = [each for each in OURS if "--dask tcp://" in each]
    dask = [sys.executable, "-m"]
    own_port = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with subprocess.Popen(
        [*dask, *start.split(), *own_port], stderr=subprocess.PIPE, text=True
    ) as scheduler:
        assert scheduler.stderr is not None
        address = next(each for each in scheduler.stderr if "Scheduler at:" in each).split()[-1]
        here = places | {"tcp://HOST:8786": address}
        with subprocess.Popen(
            [*dask, "dask", *words(join, here)], stderr=subprocess.DEVNULL
        ) as worker:
            ran = cli(*words(line, here))
            worker.terminate()
        scheduler.terminate()
    assert ran.code == 0, ran.err


def test_the_lines_of_python(folder, capsys):
    (result, *_) = sorted(folder.glob("*.parquet"))
    code = the_block("python").replace("DIR/1-CASE-1.svs-0123456789abcdef.parquet", str(result))
    found: dict[str, object] = {}
    exec(code, found)
    assert found["about"]["format"] == "qupath-hccmil result 1"  # type: ignore[index]
