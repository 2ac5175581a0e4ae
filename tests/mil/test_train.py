from dataclasses import replace

import numpy as np
import pytest
import torch

from qupath_hccmil.errors import DataError
from qupath_hccmil.learning import stepwise_training
from qupath_hccmil.learning.checkpoint import CHECKPOINT
from qupath_hccmil.mil.risk_evaluation import evaluate, score_bag, torch_tile_predictor
from qupath_hccmil.mil.risk_training import MilSettings, train
from tests.networks import drawn_bags, random_network, wired_network

SETTINGS = MilSettings(epochs=2, tiles=4, chunk=8, halve_every=1)


class KilledError(Exception):
    pass


TRAINING, TRAINING_LABELS = drawn_bags(8)
VALIDATION, VALIDATION_LABELS = drawn_bags(4, start=100)
LABELS = TRAINING_LABELS | VALIDATION_LABELS


def network():
    """Random weights, the same each time."""
    return random_network(np.concatenate([bag.tiles for bag in TRAINING]))


def test_learns_from_bag_labels(tmp_path):
    settings = replace(SETTINGS, epochs=4, tiles=2, learning_rate=2e-4, halve_every=2)
    result = train(wired_network(), TRAINING, VALIDATION, LABELS, tmp_path, settings)
    best = result.log[result.epoch - 1]
    assert best["cross_entropy"] == min(row["cross_entropy"] for row in result.log)
    assert best["cross_entropy"] < 0.3  # Chance is 0.69; it comes to 0.14.
    assert result.log[-1]["loss"] < 0.5 * result.log[0]["loss"]
    assert [row["learning_rate"] for row in result.log] == [2e-4] * 2 + [1e-4] * 2
    assert (tmp_path / "curve.png").exists()


@pytest.mark.parametrize("killed_at", [(1, 5), (2, 3)])
def test_a_killed_training_ends_like_an_uninterrupted_one(tmp_path, killed_at):
    whole = train(network(), TRAINING, VALIDATION, LABELS, tmp_path / "whole", SETTINGS)

    def kill(row):
        if (row["epoch"], row.get("bag")) == killed_at:
            raise KilledError

    with pytest.raises(KilledError):
        train(network(), TRAINING, VALIDATION, LABELS, tmp_path / "killed", SETTINGS, kill)
    resumed = train(network(), TRAINING, VALIDATION, LABELS, tmp_path / "killed", SETTINGS)
    assert resumed.log == whole.log
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


def test_fewer_epochs_than_there_are_already_are_refused(tmp_path):
    """Else the weights would be of an epoch that the model's settings do not know."""
    brief = replace(SETTINGS, tiles=1)
    train(network(), TRAINING[:2], VALIDATION[:2], LABELS, tmp_path, brief)
    with pytest.raises(DataError, match=r"has 2 epochs already, more than the 1 asked for"):
        train(network(), TRAINING[:2], VALIDATION[:2], LABELS, tmp_path, replace(brief, epochs=1))


def test_a_killed_training_goes_on_within_its_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(stepwise_training, "SAVE_EVERY_SECONDS", -1.0)
    whole = train(network(), TRAINING, VALIDATION, LABELS, tmp_path / "whole", SETTINGS)
    told = []

    def kill(row):
        if (row["epoch"], row.get("bag")) == (2, 5):
            raise KilledError

    with pytest.raises(KilledError):
        train(network(), TRAINING, VALIDATION, LABELS, tmp_path / "killed", SETTINGS, kill)
    resumed = train(
        network(), TRAINING, VALIDATION, LABELS, tmp_path / "killed", SETTINGS, told.append
    )
    # The fifth bag's step was done and not yet saved.
    assert (told[0]["epoch"], told[0]["bag"]) == (2, 5)
    assert resumed.log == whole.log
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


def test_stops_when_no_epoch_is_better(tmp_path):
    # Nothing is learned, so the first epoch stays the best.
    settings = replace(SETTINGS, epochs=9, patience=2, learning_rate=0.0, chosen_by="auc")
    result = train(network(), TRAINING[:2], VALIDATION[:2], LABELS, tmp_path, settings)
    assert (result.epoch, len(result.log)) == (1, 3)
    # With more patience it goes on from where it stopped.
    settings = replace(settings, patience=3)
    result = train(network(), TRAINING[:2], VALIDATION[:2], LABELS, tmp_path, settings)
    assert (result.epoch, len(result.log)) == (1, 4)


def test_a_diverged_training_says_so(tmp_path):
    settings = replace(SETTINGS, learning_rate=1e30, clip=None)
    with pytest.raises(DataError, match="diverged; lower --learning-rate"):
        train(network(), TRAINING, VALIDATION, LABELS, tmp_path, settings)


def test_trains_without_the_temperature_of_the_model_it_starts_from(tmp_path):
    start = network()
    start.temperature.fill_(3)
    settings = replace(SETTINGS, epochs=1)
    calibrated = train(start, TRAINING[:2], VALIDATION, LABELS, tmp_path / "a", settings)
    plain = train(network(), TRAINING[:2], VALIDATION, LABELS, tmp_path / "b", settings)
    assert calibrated.log == plain.log


def test_a_checkpoint_holds_one_network_its_best_and_the_optimiser(tmp_path):
    train(network(), TRAINING[:2], VALIDATION, LABELS, tmp_path, replace(SETTINGS, epochs=1))
    weights = sum(t.numel() * t.element_size() for t in network().state_dict().values())
    assert (tmp_path / CHECKPOINT).stat().st_size < 4.2 * weights


def test_chunks_give_the_gradient_of_the_whole_bag(tmp_path):
    # Without dropout, which draws anew for every chunk, the chunks must not show. The gradients of
    # the last step are compared, at weights that stay: Adam follows a gradient's sign, also where
    # it is nothing but rounding.
    gradients = []
    for chunk in (2, 8):
        start = network()
        start.mobilenet.classifier[0].p = 0.0
        settings = replace(SETTINGS, epochs=1, chunk=chunk, learning_rate=0.0)
        out = tmp_path / str(chunk)
        result = train(start, TRAINING[:2], VALIDATION, LABELS, out, settings).network
        gradients.append(torch.cat([p.grad.flatten() for p in result.parameters()]))
    one, other = gradients
    # A chunk that was lost or counted twice would be half of it.
    assert float((one - other).norm()) < 0.02 * float(one.norm())


def test_scores_do_not_depend_on_how_tiles_are_chunked():
    predict = torch_tile_predictor(network())
    bag = drawn_bags(1, tiles=20)[0][0]
    one_by_one = np.concatenate([predict(bag.tiles[i : i + 1]) for i in range(20)])
    expected = np.cbrt(np.mean(one_by_one**3))
    assert score_bag(bag, predict).logit == pytest.approx(expected, rel=1e-4)


def test_evaluation_counts_outcomes_and_leaves_out_the_unlabelled():
    predict = torch_tile_predictor(network())
    scores = evaluate(TRAINING, {p: LABELS[p] for p in ("p0", "p1", "p2")}, predict)
    assert (scores.good, scores.poor) == (1, 2)
    assert len(scores.bags) == 3
    with pytest.raises(DataError, match="no bag has a label"):
        evaluate(TRAINING, {}, predict)


def test_refuses_a_split_that_cannot_be_trained_on(tmp_path):
    with pytest.raises(DataError, match="both outcomes"):
        train(network(), TRAINING[:1], VALIDATION, LABELS, tmp_path, SETTINGS)
    with pytest.raises(DataError, match="both training and validation"):
        train(network(), TRAINING, TRAINING, LABELS, tmp_path, SETTINGS)
    with pytest.raises(DataError, match="'p100' has no label"):
        train(network(), TRAINING, VALIDATION, TRAINING_LABELS, tmp_path, SETTINGS)


def test_more_epochs_go_on_from_fewer(tmp_path):
    start = network()
    train(start, TRAINING[:2], VALIDATION, LABELS, tmp_path, replace(SETTINGS, epochs=1))
    more = train(network(), TRAINING[:2], VALIDATION, LABELS, tmp_path, SETTINGS)
    at_once = train(network(), TRAINING[:2], VALIDATION, LABELS, tmp_path / "once", SETTINGS)
    assert more.log == at_once.log


def test_does_not_go_on_from_another_training(tmp_path):
    short = replace(SETTINGS, epochs=1)
    train(network(), TRAINING[:2], VALIDATION, LABELS, tmp_path, short)
    with pytest.raises(DataError, match="other settings, data or start"):
        train(network(), TRAINING[:4], VALIDATION, LABELS, tmp_path, short)


@pytest.mark.parametrize("side", [0, 1])
def test_does_not_go_on_with_tiles_that_were_made_anew(tmp_path, side):
    """As after another --mpp: the same patients, and as many tiles, but other ones."""
    short = replace(SETTINGS, epochs=1)
    sides = [TRAINING[:2], VALIDATION]
    train(network(), *sides, LABELS, tmp_path, short)
    anew = [replace(bag, tiles=bag.tiles[:, :, ::-1]) for bag in sides[side]]
    sides[side] = anew
    with pytest.raises(DataError, match="other settings, data or start"):
        train(network(), *sides, LABELS, tmp_path, short)
