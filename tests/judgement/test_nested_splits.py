"""No patient, and no centre left out, is on two sides; inner splits see no outer patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qupath_hccmil.errors import DataError
from qupath_hccmil.judgement.nested_splits import inner_splits, outer_folds, seed_of


@st.composite
def cohorts(draw):
    """Patients with events and centres, enough of both for any split below."""
    count = draw(st.integers(40, 90))
    events = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    events[:24] = [1] * 24
    centres = draw(st.lists(st.sampled_from("ABC"), min_size=count, max_size=count))
    centres[:24] = list("ABC" * 8)
    names = [f"p{number}" for number in range(count)]
    return dict(zip(names, events, strict=True)), dict(zip(names, centres, strict=True))


@given(cohorts(), st.integers(2, 6), st.integers(0, 5), st.integers(1, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_patient_and_no_centre_is_on_two_sides(cohort, folds, seed, repeat, by_centre):
    event, centre = cohort
    found = outer_folds(event, folds, seed, repeat, centre if by_centre else None)
    assert sorted(p for fold in found for p in fold.held_out) == sorted(event)
    for fold in found:
        assert not set(fold.held_out) & set(fold.others)
        assert {*fold.held_out, *fold.others} == event.keys()
        if by_centre:
            assert {centre[p] for p in fold.held_out} == {fold.name}
            assert fold.name not in {centre[p] for p in fold.others}
        chosen = []
        for split in inner_splits(fold.others, event, 3, seed):
            assert not set(split.training) & set(split.choosing)
            assert not {*split.training, *split.choosing} & set(fold.held_out)
            assert {*split.training, *split.choosing} == set(fold.others)
            assert sum(event[p] for p in split.choosing) >= 2
            chosen += split.choosing
        assert sorted(chosen) == sorted(fold.others)
    assert found == outer_folds(event, folds, seed, repeat, centre if by_centre else None)


def test_events_are_spread_evenly_and_repeats_differ():
    event = {f"p{i}": int(i < 25) for i in range(61)}
    parts = [fold.held_out for fold in outer_folds(event, 5, 0)]
    counts = [sum(event[p] for p in part) for part in parts]
    assert counts == [5] * 5
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts != [fold.held_out for fold in outer_folds(event, 5, 0, repeat=2)]
    assert parts != [fold.held_out for fold in outer_folds(event, 5, 1)]


def test_inner_splits_are_fewer_where_there_are_few_events():
    event = {f"p{i}": int(i < 5) for i in range(30)}
    assert len(inner_splits(sorted(event), event, 4, 0)) == 2


@pytest.mark.parametrize("seed", range(20))
def test_labels_that_are_learned_from_are_on_every_side(seed):
    """Of 60 patients, 20 have a distinct outcome: at random, most seeds would miss one."""
    event = {f"p{i:02d}": int(i < 30) for i in range(60)}
    labels = {f"p{i:02d}": int(i >= 30) for i in range(60) if i % 3 == 0}
    for fold in outer_folds(event, 5, seed, labels=labels):
        assert {labels[p] for p in fold.held_out if p in labels} == {0, 1}
        assert sum(event[p] for p in fold.held_out) == 6
        for split in inner_splits(fold.others, event, 4, seed, labels):
            for side in (split.training, split.choosing):
                assert {labels[p] for p in side if p in labels} == {0, 1}


@pytest.mark.parametrize(
    ("events", "folds", "centre", "line"),
    [
        (9, 5, None, "40 patients with 9 events are too few for 5 folds"),
        (20, 1, None, "needs at least 2 folds, not 1"),
        (20, 5, ["A"] * 40, "all patients are of 'A'"),
        (20, 5, ["A"] * 18 + ["B"] * 22, "without fold 'A', 2 patient"),
    ],
)
def test_what_cannot_be_split_is_one_line(events, folds, centre, line):
    event = {f"p{i:02d}": int(i < events) for i in range(40)}
    centres = None if centre is None else dict(zip(event, centre, strict=True))
    with pytest.raises(DataError, match=line):
        outer_folds(event, folds, 0, centre=centres)


def test_seeds_of_different_draws_differ():
    assert len({seed_of(0, repeat, fold) for repeat in range(9) for fold in range(9)}) == 81
    assert np.iinfo(np.int32).max >= seed_of(3, 4) >= 0
