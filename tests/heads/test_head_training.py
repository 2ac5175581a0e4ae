from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.enough_patients import held_out_auc, held_out_c_index
from qupath_hccmil.heads.feature_bag import ArrayBag
from qupath_hccmil.heads.fitted_head import FittedHead
from qupath_hccmil.heads.head import make_head
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.heads.head_training import fit_head
from qupath_hccmil.heads.outcomes import Outcome
from qupath_hccmil.learning.checkpoint import CHECKPOINT
from qupath_hccmil.learning.training_log import LOG
from qupath_hccmil.model_store.model_config import HEAD_NAMES
from tests.heads.cohorts import sides, simulated

FAST = HeadSettings(epochs=4, batch=8, tiles=6, learning_rate=0.01)
SMALL = {"hidden": 16, "attention": 8}
LAYER = {"layers": 1, "points": 4}


def settings_of(head, loss, **values):
    arguments = {} if head in ("published", "mean") else SMALL
    arguments = arguments | (LAYER if head == "transformer" else {})
    return replace(FAST, head=head, loss=loss, arguments=arguments, **values)


def same_weights(one, other):
    states = one.head.state_dict(), other.head.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("head", "loss"),
    [
        *((head, "cox") for head in HEAD_NAMES),
        ("published", "outcome"),
        ("additive", "outcome"),
        ("mean", "discrete-time"),
    ],
)
def test_heads_learn_a_planted_hazard(head, loss):
    bags, outcomes, _ = simulated(110)
    training, choosing = sides(bags, outcomes, loss)
    fitted = fit_head(training, choosing, outcomes, settings_of(head, loss, epochs=10))
    others, known, planted = simulated(60, seed=1)
    logits = fitted.predict(others.values())
    assert held_out_c_index(logits, list(known.values())) > 0.65
    assert held_out_auc(logits, list(known.values())) > 0.7
    found = np.concatenate([fitted.contributions(bag) for bag in others.values()])
    assert spearmanr(found, np.concatenate(list(planted.values()))).statistic > 0.5
    assert fitted.log[fitted.epoch - 1]["held_out_loss"] == min(
        row["held_out_loss"] for row in fitted.log
    )


@pytest.mark.parametrize(("head", "loss"), [("additive", "cox"), ("transformer", "discrete-time")])
def test_a_killed_training_ends_with_the_same_bytes(tmp_path, monkeypatch, head, loss):
    bags, outcomes, _ = simulated(40)
    training, choosing = sides(bags, outcomes, loss)
    settings = settings_of(head, loss)
    whole = fit_head(training, choosing, outcomes, settings, tmp_path / "whole")
    # Saved after every step, as if each had taken minutes.
    monkeypatch.setattr("qupath_hccmil.learning.stepwise_training.SAVE_EVERY_SECONDS", -1.0)
    for kill_at in ((1, 2), (3, 3)):

        def kill(row, kill_at=kill_at):
            if (row["epoch"], row.get("step")) == kill_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit_head(training, choosing, outcomes, settings, tmp_path / "cut", progress=kill)
    steps = []
    fitted = fit_head(
        training, choosing, outcomes, settings, tmp_path / "cut", progress=steps.append
    )
    assert steps[0]["epoch"] == 3
    assert same_weights(fitted, whole)
    for name in (CHECKPOINT, LOG):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # Without a folder nothing is written, and nothing else is learned.
    assert same_weights(fit_head(training, choosing, outcomes, settings), whole)


def test_another_seed_is_another_training_and_memory_changes_nothing():
    bags, outcomes, _ = simulated(40)
    training, choosing = sides(bags, outcomes, "cox")
    settings = settings_of("abmil", "cox", epochs=2)
    found = fit_head(training, choosing, outcomes, settings)
    other = fit_head(training, choosing, outcomes, replace(settings, seed=1))
    assert not same_weights(found, other)
    # A patient at a time: the gradient is the same but for rounding, with dropout too.
    pieces = fit_head(training, choosing, outcomes, replace(settings, chunk=1))
    logits = [one.predict(bags.values()) for one in (found, pieces)]
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-2, atol=1e-2)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    bags, outcomes, _ = simulated(40)
    training, choosing = sides(bags, outcomes, "cox")
    settings = settings_of("mean", "cox", epochs=1)
    fit_head(training, choosing, outcomes, settings, tmp_path)
    with pytest.raises(DataError, match="another --out"):
        fit_head(training, choosing, outcomes, settings, tmp_path, origin="other features")
    more = fit_head(training, choosing, outcomes, replace(settings, epochs=2), tmp_path)
    assert len(more.log) == 2


def test_stops_when_nothing_improves():
    bags, outcomes, _ = simulated(40)
    training, choosing = sides(bags, outcomes, "cox")
    settings = settings_of("mean", "cox", epochs=30, patience=1, learning_rate=1.0, clip=None)
    fitted = fit_head(training, choosing, outcomes, settings)
    assert len(fitted.log) == fitted.epoch + 1


@pytest.mark.parametrize("head", ["mean", "abmil", "additive", "transformer"])
def test_a_level_that_the_loss_leaves_open_is_that_of_the_training_patients(head):
    """Else logits of two trainings differ by a number that means nothing."""
    bags, outcomes, _ = simulated(40)
    for loss in ("outcome", "cox", "discrete-time"):
        training, choosing = sides(bags, outcomes, loss)
        fitted = fit_head(training, choosing, outcomes, settings_of(head, loss, epochs=2))
        mean = fitted.predict(training).mean()
        assert (abs(mean) < 1e-5) == (loss != "outcome")
        contributions = fitted.contributions(choosing[0])
        assert contributions.sum() == pytest.approx(fitted.predict(choosing[:1])[0], abs=1e-5)


@pytest.mark.parametrize("hidden", [0, 8])
def test_with_a_signed_mean_a_tile_of_average_features_has_the_logit_0(hidden):
    """Else a training on follow-up can move all logits so far that every risk is 0 or 1."""
    bags, outcomes, _ = simulated(40)
    for loss in ("outcome", "cox", "discrete-time"):
        training, choosing = sides(bags, outcomes, loss)
        settings = replace(settings_of("published", loss, epochs=2), arguments={"hidden": hidden})
        fitted = fit_head(training, choosing, outcomes, settings)
        average = ArrayBag("average", fitted.head.mean.numpy()[None].repeat(3, 0))
        assert (abs(fitted.score(average).logit) < 1e-5) == (loss != "outcome")
        contributions = fitted.contributions(choosing[0])
        assert contributions.sum() == pytest.approx(fitted.predict(choosing[:1])[0], abs=1e-5)
        # As it was judged in the epoch that was chosen, and as its weights alone say.
        again = make_head("published", 8, **settings.head_arguments)
        again.load_state_dict(fitted.head.state_dict())
        logits = FittedHead(again.eval(), 0, []).predict(choosing)
        assert logits == pytest.approx(fitted.predict(choosing), abs=1e-6)
        c_index = held_out_c_index(logits, [outcomes[bag.patient] for bag in choosing])
        assert c_index == pytest.approx(fitted.log[fitted.epoch - 1]["c_index"])


@pytest.mark.parametrize("chosen_by", ["auc", "c_index"])
def test_the_epoch_is_chosen_by_the_figure_that_is_asked_for(chosen_by):
    bags, outcomes, _ = simulated(60)
    training, choosing = sides(bags, outcomes, "cox")
    settings = settings_of("mean", "cox", epochs=6, chosen_by=chosen_by)
    fitted = fit_head(training, choosing, outcomes, settings)
    figures = [row[chosen_by] for row in fitted.log]
    assert figures.index(max(figures)) == fitted.epoch - 1


def changed(bags, features):
    bag = bags[1]
    return [bags[0], ArrayBag(bag.patient, features(bag.features.copy())), *bags[2:]]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (lambda x: x[:, :-1], "has 7 features for each tile, but 8 are needed"),
        (lambda x: np.where(x == x[0, 0], np.nan, x), "features that are not numbers"),
        (lambda x: x[:0], "has no tiles"),
    ],
)
def test_features_that_cannot_be_used_are_named(features, message):
    bags, outcomes, _ = simulated(40)
    training, choosing = sides(bags, outcomes, "cox")
    settings = settings_of("mean", "cox")
    for sick in (
        (changed(training, features), choosing),
        (training, changed(choosing, features)),
    ):
        with pytest.raises(DataError, match=message):
            fit_head(*sick, outcomes, settings)


def test_patients_that_cannot_be_used_are_named():
    bags, outcomes, _ = simulated(30)
    training, choosing = sides(bags, outcomes, "cox")
    settings = settings_of("mean", "cox")
    name = training[0].patient
    with pytest.raises(DataError, match=f"patient '{name}' has not follow-up"):
        fit_head(training, choosing, outcomes | {name: Outcome(label=1)}, settings)
    with pytest.raises(DataError, match=f"patient '{name}' is in both"):
        fit_head(training, [*choosing, training[0]], outcomes, settings)
    censored = {p: replace(one, event=False) for p, one in outcomes.items()}
    with pytest.raises(DataError, match=r"training has 0 patients with an event .* at least 2"):
        fit_head(training, choosing, censored, settings)
    late = {p: Outcome(5.0, True) for p in outcomes}
    with pytest.raises(DataError, match="training has no two patients of whom"):
        fit_head(training, choosing, late, settings)
    good = {p: Outcome(9.0, False, 1) for p in outcomes}
    with pytest.raises(DataError, match="training needs patients of both outcomes"):
        fit_head(training, choosing, good, settings_of("mean", "outcome"))
    unlabelled = {p: replace(one, label=None) for p, one in outcomes.items()}
    with pytest.raises(DataError, match="have no auc: it needs labels of both outcomes"):
        fit_head(training, choosing, unlabelled, replace(settings, chosen_by="auc"))
    labelled = {p: Outcome(label=n % 2) for n, p in enumerate(outcomes)}
    with pytest.raises(DataError, match="have no c_index: it needs follow-up and events"):
        fit_head(training, choosing, labelled, settings_of("mean", "outcome", chosen_by="c_index"))


def test_a_training_that_diverges_says_so():
    bags, outcomes, _ = simulated(40)
    training, choosing = sides(bags, outcomes, "cox")
    settings = settings_of("transformer", "cox", learning_rate=1e30, clip=None)
    with pytest.raises(DataError, match=r"training .*diverged; lower --learning-rate"):
        fit_head(training, choosing, outcomes, settings)
