"""Heads as judgement trains them: seeded, with finished ones kept, and others' outcomes."""

from dataclasses import replace

import numpy as np
import pytest

from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.training import head_learner
from qupath_hccmil.training.head_learner import KEPT, HeadLearner
from tests.heads.cohorts import simulated

QUICK = HeadSettings(head="mean", loss="cox", epochs=2, tiles=6)


@pytest.fixture(scope="module")
def learner():
    bags, outcomes, _ = simulated(36)
    heads = {"mean": QUICK, "additive": replace(QUICK, head="additive")}
    return HeadLearner(bags, outcomes, heads, "simulated")


def sides(learner):
    names = sorted(learner.bags)
    return names[:20], names[20:30], names[30:]


@pytest.mark.parametrize("candidate", ["mean", "additive"])
def test_a_finished_head_is_read_instead_of_trained(learner, tmp_path, monkeypatch, candidate):
    training, choosing, others = sides(learner)
    first = learner.fit(training, choosing, candidate, 3, tmp_path)
    assert 1 <= first.epoch <= 2
    expected = first.predict(others)
    assert expected.shape == (6,)
    assert (learner.fit(training, choosing, candidate, 3).predict(others) == expected).all()
    with monkeypatch.context() as patch:
        patch.setattr(head_learner, "fit_head", None)
        kept = learner.fit(training, choosing, candidate, 3, tmp_path)
        assert (kept.predict(others) == expected).all()
        assert kept.epoch == first.epoch
        with pytest.raises(TypeError):
            learner.fit(training, choosing, candidate, 4, tmp_path)
    (tmp_path / KEPT).write_bytes(b"damaged")
    again = learner.fit(training, choosing, candidate, 3, tmp_path)
    assert (again.predict(others) == expected).all()


def test_the_fingerprint_follows_features_outcomes_and_settings_but_no_seed(learner):
    same = replace(learner, heads={n: replace(s, seed=7) for n, s in learner.heads.items()})
    assert same.fingerprint == learner.fingerprint
    names = sorted(learner.bags)
    swapped = learner.with_outcomes_of(dict(zip(names, names[1:] + names[:1], strict=True)))
    for other in (
        replace(learner, origin="another"),
        replace(learner, heads={"mean": replace(QUICK, epochs=3)}),
        swapped,
    ):
        assert other.fingerprint != learner.fingerprint
    assert swapped.outcomes[names[0]] == learner.outcomes[names[1]]


def test_patients_that_the_loss_cannot_use_are_predicted_all_the_same(learner):
    heads = {"published": HeadSettings(epochs=1, tiles=6)}
    labelled = replace(learner, heads=heads)
    training, choosing, others = sides(learner)
    assert any(learner.outcomes[patient].label is None for patient in training)
    predictor = labelled.fit(training, choosing, "published", 0)
    assert np.isfinite(predictor.predict(others)).all()
