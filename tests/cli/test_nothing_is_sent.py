"""Scoring reaches no other machine, neither from Python nor from a library beneath it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = Path(__file__).with_name("without_network.py")


def test_score_opens_no_connection(project: Path, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, SCRIPT, "score", project, "--engine", "native", "--max-tiles", "2"]
    trace = tmp_path / "trace"
    if shutil.which("strace"):
        # what a library beneath Python does, and what the processes do that it starts
        calls = "trace=connect,sendto,sendmsg,sendmmsg"
        command = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", calls, "-o", trace, *command]
    # not a CI run, as which some libraries keep quiet
    environment = {key: value for key, value in os.environ.items() if "CI" not in key.split("_")}
    done = subprocess.run(
        command,
        env={**environment, "HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace may not be used here")
    assert done.returncode == 0, done.stderr
    assert "1 scored" in done.stdout
    assert not [path for path in home.rglob("*") if "intel" in path.parts]
    if trace.exists():
        assert "AF_INET" not in trace.read_text()
