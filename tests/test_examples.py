"""The notebooks run, are what their scripts say, and need nothing but the public interface."""

import json
import os
import re
import runpy
import subprocess
import sys

import pytest

import qupath_hccmil as hm
from tests.conftest import ROOT

SCRIPTS = sorted((ROOT / "examples" / "notebooks").glob("*.py"))
# What a run prints when it went well.
SAID = {
    "1_score_projects": ("drawn-liver-tumour.tif: scored, ", "up to date", "damaged"),
    "2_survival_report": ("report.html", "Risk group", "hazard_ratio"),
    "3_stain_and_tiles": ("haematoxylin: [", "outline 1: risk"),
}


def code_of(notebook: dict) -> str:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def read_notebook(script) -> dict:
    return json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))


def test_there_is_a_notebook_for_each_kind_of_user():
    assert [script.stem for script in SCRIPTS] == list(SAID)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_is_what_its_script_makes(script):
    make = runpy.run_path(str(ROOT / "scripts" / "make_notebooks.py"))["notebook_of"]
    made = make(script.read_text(encoding="utf-8"))
    assert script.with_suffix(".ipynb").read_text(encoding="utf-8") == made
    cells = json.loads(made)["cells"]
    assert all(cell.get("outputs", []) == [] for cell in cells)
    assert {cell["cell_type"] for cell in cells} == {"code", "markdown"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_uses_the_public_interface_alone(script):
    code = code_of(read_notebook(script))
    assert "import qupath_hccmil as hm" in code
    assert set(re.findall(r"\bhm\.(\w+)", code)) <= set(hm.__all__)
    assert not re.search(r"qupath_hccmil[.\s]+(?!as hm)\w", code)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_runs(script, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code_of(read_notebook(script))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    for words in SAID[script.stem]:
        assert words in done.stdout
    assert all(path.name.startswith("notebook-") for path in tmp_path.iterdir())
