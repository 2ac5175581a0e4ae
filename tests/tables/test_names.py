"""Patients of two tables whose names nearly match."""

import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.names import match_key, near_matches, refuse_two_spellings


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


def test_two_spellings_of_one_patient_are_refused_with_their_places():
    names = [("P01", "a.csv"), ("P02", "a.csv"), ("P01", "b.csv"), ("p01", "b.csv")]
    refuse_two_spellings(names[:3])
    with pytest.raises(DataError) as caught:
        refuse_two_spellings(names)
    assert str(caught.value) == (
        "b.csv: patient 'p01', and a.csv: patient 'P01', differ only in case, blanks or Unicode "
        "form, and are probably one patient; write the name in one way (or give --match case), or "
        "give one of them another name if they are two"
    )
    with pytest.raises(DataError) as caught:
        refuse_two_spellings([("P01", "image a"), ("p01", "image b")], None)
    assert "--match" not in str(caught.value)


def test_names_that_the_rule_matches_are_one_patient():
    refuse_two_spellings([("P01", "a.csv"), ("p01", "a.csv"), (" P01", "a.csv")], "case")
    refuse_two_spellings([("TCGA-2V-A95S-01Z", "a.csv"), ("tcga-2v-a95s-01a", "a.csv")], "tcga")
    refuse_two_spellings([("007", "a.csv"), ("7", "a.csv")], "zeros")
    with pytest.raises(DataError, match="patients 'P01' and 'p01' differ"):
        refuse_two_spellings([("P01", "a.csv"), ("p01", "a.csv")], "zeros")
