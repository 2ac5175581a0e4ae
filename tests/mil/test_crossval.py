"""Out-of-fold predictions, and a cross-validation that was killed."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from qupath_hccmil.mil import cross_validation as crossval
from qupath_hccmil.mil.cross_validation import cross_validate, write_predictions
from qupath_hccmil.mil.threshold_and_temperature import Decision, DecisionRule
from tests.mil.test_train import SETTINGS, KilledError, network
from tests.networks import drawn_bags, wired_network

BAGS, LABELS = drawn_bags(12, tiles=2)
BY_PATIENT = {bag.patient: bag for bag in BAGS}
SMALL = replace(SETTINGS, epochs=1, tiles=2)


def run(out, progress=None, rule=None):
    return cross_validate(
        network, BY_PATIENT, LABELS, out, SMALL, 2, share=0.4, rule=rule, repeats=20,
        progress=progress,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return out, run(out, rule=DecisionRule(True, True))


def test_every_patient_is_scored_once_by_a_network_that_never_saw_them(whole):
    _, result = whole
    assert sorted(p.score.patient for p in result.patients) == sorted(LABELS)
    assert (result.pooled.good, result.pooled.poor) == (6, 6)
    assert len(result.folds) == len(result.epochs) == 2
    figures = result.figures()
    assert [fold["good"] for fold in figures["folds"]] == [3, 3]
    assert {"value", "low", "high", "undefined"} == figures["pooled"]["auc"].keys()


def test_folds_that_tell_nobody_apart_are_named_and_derive_nothing(tmp_path):
    result = cross_validate(
        # The output layer is 0 and stays so.
        wired_network, BY_PATIENT, LABELS, tmp_path, replace(SMALL, learning_rate=0.0), 2,
        share=0.4, rule=DecisionRule(True, True), repeats=0,
    )  # fmt: skip
    assert [note.split(":")[0] for note in result.notes] == [
        "the network of fold 1 has collapsed", "the network of fold 2 has collapsed",
    ]  # fmt: skip
    assert {p.decision for p in result.patients} == {Decision(collapsed=True)}
    assert result.pooled.auc.value == 0.5


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"checkpoint": "another"}'])
def test_damaged_scores_of_a_fold_are_made_again(whole, content):
    out, result = whole
    path = out / "folds" / "1" / "scores.json"
    made = path.read_text()
    path.write_text(content)
    assert run(out, rule=DecisionRule(True, True)).patients == result.patients
    assert path.read_text() == made


def test_predictions_are_a_table(whole, tmp_path):
    _, result = whole
    path = tmp_path / "p.csv"
    write_predictions(path, result.patients, LABELS, {"p0": (0.5, 1)}, "pool: all tiles")
    rows = {row["patient"]: row for row in csv.DictReader(path.read_text("utf-8-sig").splitlines())}
    assert len(rows) == 12
    assert (rows["p0"]["time"], rows["p0"]["event"], rows["p0"]["label"]) == ("0.5", "1", "poor")
    assert rows["p1"]["time"] == ""
    assert rows["p1"]["rule"] == "pool: all tiles"
    for row in rows.values():
        r = 1 / (1 + np.exp(-float(row["logit"]) / float(row["temperature"])))
        assert float(row["r"]) == pytest.approx(r)
        assert row["group"] == ("high" if r > float(row["threshold"]) else "low")


def test_goes_on_where_it_was_killed(whole, tmp_path):
    def kill(row):
        if row["fold"] == 2:
            raise KilledError

    with pytest.raises(KilledError):
        run(tmp_path, kill)
    told = []
    result = run(tmp_path, told.append, DecisionRule(True, True))
    assert {row["fold"] for row in told} == {2}
    assert (result.patients, result.figures()) == (whole[1].patients, whole[1].figures())


def test_a_finished_one_neither_trains_nor_scores(whole, monkeypatch):
    out, result = whole
    monkeypatch.setattr(crossval, "score_bag", None)
    told = []
    again = run(out, told.append, DecisionRule(True, True))
    assert (again.patients, again.figures()) == (result.patients, result.figures())
    assert not told
