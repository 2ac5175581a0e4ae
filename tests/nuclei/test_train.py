import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from qupath_hccmil.errors import DataError
from qupath_hccmil.nuclei.nuclei_training import NucleiSettings, one_cycle, train
from qupath_hccmil.nuclei.training_crops import Sample
from qupath_hccmil.nuclei.unet import UNet
from tests.blobs import blob_image

SETTINGS = NucleiSettings(
    epochs=3, steps=10, batch=4, crop=64, learning_rate=1e-2, average=0.8, cross_entropy=0
)


class KilledError(Exception):
    pass


def samples(seeds):
    drawn = [blob_image(seed, side=96) for seed in seeds]
    return [
        Sample(str(seed), str(seed), rgb, labels > 0, 0.571, 1.0)
        for seed, (rgb, labels) in zip(seeds, drawn, strict=True)
    ]


def network():
    torch.manual_seed(0)
    return UNet(base=4, depth=2)


TRAINING, VALIDATION = samples(range(6)), samples(range(10, 12))


def test_learns_drawn_nuclei_and_logs_it(tmp_path):
    result = train(network(), TRAINING, VALIDATION, tmp_path, replace(SETTINGS, epochs=5))
    assert max(row["dice_pooled"] for row in result.log) > 0.75
    assert result.log[result.epoch - 1]["dice_pooled"] == max(
        row["dice_pooled"] for row in result.log
    )
    with (tmp_path / "log.csv").open(encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == 5
    assert (tmp_path / "curve.png").stat().st_size > 1000


@pytest.mark.parametrize("killed_at", [(1, 10), (2, 10)])
def test_a_killed_training_ends_like_an_uninterrupted_one(tmp_path, killed_at):
    whole = train(network(), TRAINING, VALIDATION, tmp_path / "whole", SETTINGS)

    def kill(row):
        if (row["epoch"], row.get("step")) == killed_at:
            raise KilledError

    with pytest.raises(KilledError):
        train(network(), TRAINING, VALIDATION, tmp_path / "killed", SETTINGS, kill)
    resumed = train(network(), TRAINING, VALIDATION, tmp_path / "killed", SETTINGS)
    assert resumed.log == whole.log
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_does_not_go_on_from_another_training(tmp_path):
    short = replace(SETTINGS, epochs=1, steps=1)
    train(network(), TRAINING, VALIDATION, tmp_path, short)
    with pytest.raises(DataError, match="other settings, data or start"):
        train(network(), TRAINING, VALIDATION, tmp_path, replace(short, seed=1))
    with pytest.raises(DataError, match="other settings, data or start"):
        train(network(), TRAINING, VALIDATION, tmp_path, short, origin="another network")


def test_a_log_that_a_kill_cut_off_is_written_again(tmp_path):
    short = replace(SETTINGS, epochs=1, steps=1)
    train(network(), TRAINING, VALIDATION, tmp_path, short)
    whole = (tmp_path / "log.csv").read_bytes()
    (tmp_path / "log.csv").write_bytes(whole[:20])
    train(network(), TRAINING, VALIDATION, tmp_path, short)
    assert (tmp_path / "log.csv").read_bytes() == whole


def test_a_diverged_training_says_so(tmp_path):
    broken = network()
    torch.nn.init.constant_(broken.head.weight, float("nan"))
    with pytest.raises(DataError, match="loss is nan in epoch 1"):
        train(broken, TRAINING, VALIDATION, tmp_path, SETTINGS)


def test_learning_rate_rises_then_falls():
    rates = [one_cycle(step, 100, 1.0) for step in range(100)]
    assert np.argmax(rates) in (14, 15)
    assert max(rates) == 1
    assert rates[-1] < 0.02
