"""Scores of a cross-validation: recognised by their folds, refused where these make no sense."""

import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.score_table import read_scores

HEAD = "patient,fold,r,threshold"
ROWS = ("a,1,0.2,0.3", "b,1,0.4,0.3", "c,2,0.6,0.7", "d,2,0.8,0.7")


def write(tmp_path, *rows, head=HEAD):
    path = tmp_path / "predictions.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_folds_and_their_thresholds_are_read(tmp_path):
    found = read_scores(write(tmp_path, *ROWS))
    assert found.column == "r"
    assert found.threshold is None
    assert found.out_of_fold.fold.to_dict() == {"a": "1", "b": "1", "c": "2", "d": "2"}
    assert found.out_of_fold.thresholds == {"1": 0.3, "2": 0.7}


def test_a_table_of_one_model_has_no_folds(tmp_path):
    found = read_scores(write(tmp_path, "a,0.2,0.5", "b,0.4,0.5", head="patient,r,threshold"))
    assert found.out_of_fold is None
    assert found.threshold == 0.5


def test_names_of_folds_and_of_the_column_may_be_others(tmp_path):
    rows = ("a,Lyon,0.2", "b,1.0,0.4", "c,1,0.6", "d,0,0.7")
    found = read_scores(write(tmp_path, *rows, head="patient,Fold,risk")).out_of_fold
    assert found.fold.to_dict() == {"a": "Lyon", "b": "1", "c": "1", "d": "0"}
    assert found.thresholds is None


def test_a_patient_without_a_score_needs_no_fold(tmp_path):
    found = read_scores(write(tmp_path, *ROWS, "e,,,", "f,2,,0.7"))
    assert found.excluded["patient"].tolist() == ["e", "f"]
    assert set(found.out_of_fold.fold.index) == set("abcd")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("e,,0.5,0.3", "column 'fold': no fold for patient 'e'; .* in a table of their own"),
        ("e,-1,0.5,0.3", "column 'fold': '-1' .1 row. is not a fold"),
        ("e,1.5,0.5,0.3", "'1.5' .1 row. is not a fold"),
        ("e,NaN,0.5,0.3", "'NaN' .1 row. is not a fold"),
        ("a,2,0.5,0.7", "patient 'a' is in fold 1 and in fold 2; keep the rows of one"),
        ("a,1,0.5,0.3", "patient 'a' has 2 rows"),
        ("e,1,0.5,0.4", "fold 1 has the thresholds 0.3 and 0.4, but one model"),
        ("e,1,0.5,", "no threshold in 1 row of fold 1"),
        ("e,3,0.5,1.2", "the threshold 1.2 of fold 3 is not a risk in .0, 1."),
        ("e,3,0.5,-0.1", "the threshold -0.1 of fold 3 is not a risk"),
        ("e,3,0.5,high", "column 'threshold': 'high' is not a number"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path, row, told):
    with pytest.raises(DataError, match=f"predictions.csv: .*{told}"):
        read_scores(write(tmp_path, *ROWS, row))


def test_several_repeats_of_a_judgement_are_told(tmp_path):
    rows = ("a,1,1,0.2,0.3", "b,1,2,0.4,0.3", "a,2,2,0.6,0.7", "b,2,1,0.6,0.7")
    path = write(tmp_path, *rows, head="patient,repeat,fold,r,threshold")
    with pytest.raises(DataError, match="the judgement that wrote it has several repeats"):
        read_scores(path)
