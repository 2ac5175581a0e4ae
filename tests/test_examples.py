"""The examples run as their first lines say."""

import os
import subprocess
import sys

from tests.conftest import ROOT


def test_score_in_python(tmp_path):
    script = ROOT / "examples" / "score_in_python" / "score.py"
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "drawn-liver-tumour.tif: scored" in done.stdout
    assert "highest tile at" in done.stdout
