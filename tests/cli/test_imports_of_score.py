"""What ``score`` imports: the second time, nothing for conversions, tables, maps or statistics."""

import json
import os
import subprocess
import sys

# Each takes from a third of a second to several.
HEAVY = {
    "torch", "torchvision", "pandas", "pyarrow", "matplotlib", "lifelines", "sklearn", "dask",
    "statsmodels", "distributed", "jpype", "paquo", "staintools", "rich", "docx", "openpyxl",
}  # fmt: skip
CODE = """
import json, sys
from qupath_hccmil.cli.main import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def imported(project, cache):
    done = subprocess.run(
        [
            *(sys.executable, "-c", CODE, "score", str(project), "--engine", "native", "--quiet"),
            *("--device", "cpu"),
        ],
        env={**os.environ, "HCCMIL_CACHE": str(cache)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


def test_torch_is_imported_for_the_first_run_alone(project, tmp_path):
    first, second = (imported(project, tmp_path / "cache") for _ in range(2))
    assert "torch" in first
    assert {"openvino", "openslide", "cv2", "spams"} <= second
    assert not HEAVY & second
