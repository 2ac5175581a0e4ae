"""What a move of code must leave as it is: scores, tables, and the files of projects.

A number of a network may differ as processors round; all else is as it was, to the byte. Where a
change of outputs is meant, make the reference anew (see `outputs`) and say so in the changelog.
"""

import json
from typing import Any

import pytest

from tests.kept_outputs import outputs

# Of a network and the stain fit before it, on any processor and by either runtime.
TOLERANCE = 2e-3
OF_NETWORK = ("risk", "logit", "contribution", "nuclei", "fraction")


def is_close(found: Any, expected: Any, place: str = "") -> None:
    """Compare plain data: numbers of a network within the tolerance, all else exactly."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), place
        assert list(found) == list(expected), place
        for key, value in expected.items():
            is_close(found[key], value, f"{place}/{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list), place
        assert len(found) == len(expected), place
        for number, value in enumerate(expected):
            is_close(found[number], value, f"{place}/{number}")
    elif isinstance(expected, float) and any(word in place.lower() for word in OF_NETWORK):
        assert found == pytest.approx(expected, abs=TOLERANCE), place
    else:
        assert found == expected, place


def test_scores_and_tables_are_as_they_were(tmp_path):
    reference = json.loads((outputs.REFERENCE / "scored.json").read_text(encoding="utf-8"))
    is_close(json.loads(json.dumps(outputs.scored(tmp_path))), reference)


def test_files_of_projects_are_as_they_were_byte_for_byte(tmp_path):
    reference = json.loads((outputs.REFERENCE / "written.json").read_text(encoding="utf-8"))
    found = outputs.written(tmp_path)
    for place, content in found.items():
        if outputs.is_text(place):
            kept = (outputs.REFERENCE / "written" / place).read_bytes()
            assert content.decode("utf-8") == kept.decode("utf-8"), place
    hashes = {place: outputs.sha256(content) for place, content in found.items()}
    assert hashes == reference


def test_a_difference_is_found():
    is_close({"risk": 0.5, "x": 1.0}, {"risk": 0.5001, "x": 1.0})
    for other in ({"risk": 0.6, "x": 1.0}, {"risk": 0.5, "x": 1.0001}, {"risk": 0.5}):
        with pytest.raises(AssertionError):
            is_close(other, {"risk": 0.5, "x": 1.0})
