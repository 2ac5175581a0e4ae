"""The benchmark for a GPU, on the CPU: it runs anywhere, with few libraries."""

import json
import subprocess
import sys

import numpy as np

from tests.conftest import ROOT

SCRIPT = ROOT / "scripts" / "proofs" / "cuda_benchmark.py"
# Not on a machine that only has torch; None makes an import of it fail.
ABSENT = ("openslide", "openvino", "paquo", "jpype", "shapely", "tifffile", "spams", "scipy")
CODE = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_it_needs_no_reader_of_slides(tmp_path):
    tiles = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    np.save(tmp_path / "tiles.npy", tiles)
    done = subprocess.run(
        [
            *(sys.executable, "-c", CODE, str(SCRIPT), "--device", "cpu"),
            *("--tiles", str(tmp_path / "tiles.npy"), "--json", str(tmp_path / "rows.json")),
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    (moved,) = [row["value"] for row in rows if "most of 2 tiles' risks" in row["name"]]
    assert 0 <= float(moved) < 0.02
