"""Every script starts, and the proofs that no other test runs give their rows on a small scale."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = ROOT / "scripts"
PROOFS = SCRIPTS / "proofs"
PROJECTS = ROOT / "tests" / "data" / "projects"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and forks")
# All in one process, since most of them import torch.
ALL_HELPS = """
import contextlib, io, json, runpy, sys
ended = {}
for path in sys.argv[1:]:
    sys.path.insert(0, path.rpartition("/")[0])
    sys.argv = [path, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            runpy.run_path(path, run_name="__main__")
        except BaseException as end:
            ended[path] = [repr(end), printed.getvalue()]
print(json.dumps(ended))
"""


def with_options() -> list[Path]:
    """The scripts that read a command line; others are imported by them, or take no options."""
    paths = sorted(SCRIPTS.rglob("*.py"))
    return [path for path in paths if "ArgumentParser(" in path.read_text(encoding="utf-8")]


def outcome_of(*command) -> subprocess.CompletedProcess:
    """Run a command with the package and the tests of this checkout, and one thread."""
    there = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": there},
        cwd=ROOT,
        check=False,
    )


@pytest.fixture
def proof(monkeypatch):
    """Imports a proof as a module, and forgets it and what is next to it afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(PROOFS))
    yield importlib.import_module
    for name in {path.stem for path in PROOFS.glob("*.py")} & (set(sys.modules) - before):
        del sys.modules[name]


@ON_LINUX
def test_every_script_says_how_it_is_called():
    paths = [path.as_posix() for path in with_options()]
    assert len(paths) > 15
    done = outcome_of("-c", ALL_HELPS, *paths)
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    assert list(ended) == paths
    for path, (end, printed) in ended.items():
        assert end == "SystemExit(0)", f"{path}: {end}"
        assert printed.startswith(f"usage: {Path(path).name}")


def test_the_benchmarks_cheap_parts_have_their_rows(proof, tmp_path, monkeypatch):
    benchmark = proof("benchmark")
    monkeypatch.setattr("qupath_hccmil.qupath.open_project.find_qupath", lambda: None)
    rows = {row.name: row for row in benchmark.write_back(tmp_path, 50)}
    assert {"native: write 50 tiles", "native: read them back"} <= rows.keys()
    rows = {row.name: row for row in benchmark.outlines(400)}
    assert len(rows) == 2 * len(benchmark.OUTLINES)
    assert all(row.met is not None for row in rows.values())
    names = [row.name for row in benchmark.training_epoch(of_a_bag=1)]
    assert "epoch of 552 patients × 104 tiles" in names
    (row,) = benchmark.start_up()
    assert row.goal == "≤ 0.3 s"


def test_conformance_of_one_project_without_a_qupath(proof, tmp_path, monkeypatch):
    conformance = proof("conformance")
    newest = sorted(PROJECTS.iterdir())[-1]
    shutil.copytree(newest, tmp_path / "projects" / newest.name)
    monkeypatch.setattr(conformance, "PROJECTS", tmp_path / "projects")
    (row,) = conformance.run([], tmp_path / "scratch")
    assert row.written
    assert not conformance.failures(row)
    assert f"| {newest.name} | native |" in conformance.markdown([row], [])


@ON_LINUX
def test_the_cost_of_a_big_hierarchy_without_a_qupath(proof):
    found = proof("big_hierarchy").measured(300, 20, None)
    assert {"native seconds", "native memory/file", "info seconds"} <= found.keys()


@ON_LINUX
def test_one_batch_of_damaged_files(tmp_path):
    file = next(sorted(PROJECTS.iterdir())[-1].glob("*.qpproj"))
    done = outcome_of(
        PROOFS / "fuzz_codec.py", "--minutes", "0.001", "--save", tmp_path / "failures", file
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["inputs"] > 0
    assert told["failures"] == []
    assert not (tmp_path / "failures").exists()


def test_the_costs_of_a_commit_of_a_list_and_of_a_folder(tmp_path):
    pytest.importorskip("distributed")
    parts = [word for name in ("commit", "list", "folder") for word in ("--part", name)]
    few = ["--slides", "1", "--images", "2", "--tiles", "20", "--listed", "20", "--files", "20"]
    done = outcome_of(PROOFS / "cluster_costs.py", *parts, *few, "--json", tmp_path / "rows.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert "`project commit`, 2 images of 20 tiles" in {row["what"] for row in rows}
    assert len(rows) == 12
