"""Patients of two tables whose names nearly match."""

import pytest

from qupath_hccmil.tables.names import match_key, near_matches


@pytest.mark.parametrize(
    ("rule", "name", "key"),
    [
        ("", "007", "007"),
        ("zeros", "007", "7"),
        ("zeros", "12.0", "12"),
        ("zeros", "0", "0"),
        ("zeros", "P07", "P07"),
        ("case", "TCGA-ab  x", "tcga-ab x"),
        ("tcga", "TCGA-2V-A95S-01Z-00-DX1", "TCGA-2V-A95S"),
        ("tcga", "tcga-2v-a95s-01", "TCGA-2V-A95S"),
        ("tcga", "TCGA-2V-A95S", "TCGA-2V-A95S"),
        ("tcga", "P-1", "P-1"),
    ],
)
def test_what_names_have_in_common(rule, name, key):
    assert match_key(rule)(name) == key


def test_says_how_many_would_match_by_which_rule():
    told = near_matches(["007", "12.0", "3"], ["7", "12", "3"])
    assert told.startswith("1 patient is in both tables; there would be 3 ignoring leading zeros")
    assert told.endswith("(--match zeros)")
    assert near_matches(["007"], ["7"], "zeros") == ""
    assert near_matches(["a"], ["b"]) == ""
