"""The numbers of the paper, and that each stands in one place."""

import ast
from pathlib import Path

import pytest

import qupath_hccmil
from qupath_hccmil.method import published_numbers

PACKAGE = Path(qupath_hccmil.__file__).parent
# numbers that mean nothing else anywhere in the package; 128 or 100 may be something else
UNMISTAKABLE = (0.4457,)


def test_they_are_those_of_the_paper():
    found = {name: value for name, value in vars(published_numbers).items() if name.isupper()}
    assert found == {
        "TILE_UM": 128.0,
        "TILE_MPP": 0.25,
        "TILE_PX": 224,
        "POWER": 3.0,
        "THRESHOLD": 0.4457,
        "WEIGHT_PENALTY": 0.02,
        "LEARNING_RATE": 1e-4,
        "HALVE_EVERY": 10,
        "TILES_PER_PATIENT": 100,
        "GOOD_FOLLOW_UP_YEARS": 4.0,
        "POOR_RECURRENCE_YEARS": 1.6,
        "DICE_EPSILON": 1e-8,
        "TILES_OF_INTEREST": 200,
    }


@pytest.mark.parametrize("number", UNMISTAKABLE)
def test_a_number_stands_once(number):
    files = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and str(number) in str(node.value)
    }
    assert files == {"method/published_numbers.py"}
