import pytest

from qupath_hccmil.method.outcome_label import LabelledCohort, outcome


@pytest.mark.parametrize(
    ("time", "event", "label"),
    [
        (1.59, 1, 0),
        (1.6, 1, None),
        (0.5, 0, None),
        (3.99, 0, None),
        (4.0, 0, 1),
        (9.0, 0, 1),
        (9.0, 1, None),
        (0.0, 1, 0),
        (None, 1, None),
        (5.0, None, None),
    ],
)
def test_only_distinct_outcomes_have_a_label(time, event, label):
    found, reason = outcome(time, event)
    assert found == label
    assert bool(reason) == (label is None)


def test_summary_counts_every_reason():
    cohort = LabelledCohort(
        {"a": 1, "b": 0, "c": 1}, {"d": "no label", "e": "no label", "f": "other"}
    )
    assert cohort.summary() == "2 good, 1 poor, 3 excluded (2 no label; 1 other)"
