"""The examples run, and their READMEs show what they give."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    path = EXAMPLES / name
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_published_tile_counts_are_as_the_readme_shows():
    readme = (EXAMPLES / "tiles_of_interest" / "README.md").read_text(encoding="utf-8")
    assert load("tiles_of_interest/published_counts.py").table() in readme
    assert "None of the three tests" in readme


def test_tcga_table_is_as_the_readme_shows(tcga_file):
    readme = (EXAMPLES / "survival_tcga" / "README.md").read_text(encoding="utf-8")
    assert load("survival_tcga/univariable_table.py").table(tcga_file) in readme
    assert "The open data do not reproduce" in readme


def test_simulated_scores_are_made_by_their_script(tcga_file):
    clinical = pd.read_csv(tcga_file, keep_default_na=False, na_values=[""])
    made = load("survival_tcga/simulate_scores.py").simulate(clinical)
    shipped = pd.read_csv(EXAMPLES / "survival_tcga" / "scores_simulated.csv")
    pd.testing.assert_frame_equal(made, shipped)
