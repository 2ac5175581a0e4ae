import csv
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from qupath_hccmil.errors import DataError
from qupath_hccmil.learning.checkpoint import CHECKPOINT, load_checkpoint
from qupath_hccmil.nuclei.architectures import build_network
from qupath_hccmil.nuclei.nuclei_training import NucleiSettings, blurred, one_cycle, train
from qupath_hccmil.nuclei.training_crops import Sample
from qupath_hccmil.nuclei.unet import UNet
from tests.blobs import blob_image
from tests.conftest import ROOT

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


def test_workers_draw_the_same_crops(tmp_path):
    """In a process of its own: workers are forked, and this one has threads of other tests."""
    short = replace(SETTINGS, epochs=1, steps=3)
    alone = train(network(), TRAINING, VALIDATION, tmp_path / "alone", short)
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace;"
        "from tests.nuclei.test_train import SETTINGS, TRAINING, VALIDATION, network, train;"
        "train(network(), TRAINING, VALIDATION, Path(sys.argv[1]),"
        " replace(SETTINGS, epochs=1, steps=3), workers=2)"
    )
    helped = tmp_path / "helped"
    subprocess.run([sys.executable, "-c", code, helped], cwd=ROOT, check=True, timeout=300)
    (row,) = load_checkpoint(helped / CHECKPOINT)[1]["log"]
    # Another number of threads rounds differently.
    assert row == pytest.approx(alone.log[0], rel=1e-4)


def test_an_annotator_who_draws_wider_gets_a_shift_of_his_own(tmp_path):
    """Half of the training images have masks that are two pixels wider on each side."""
    kernel = np.ones((5, 5), np.uint8)
    wide = [
        replace(s, source="wide", mask=cv2.dilate(s.mask.astype(np.uint8), kernel) > 0)
        for s in TRAINING
    ]
    exact = [replace(s, source="exact") for s in TRAINING]
    validation = [replace(s, source="exact") for s in VALIDATION]
    settings = replace(SETTINGS, epochs=6, steps=40, cross_entropy=1.0, annotators=True)
    train(network(), wide + exact, validation, tmp_path, settings)
    tensors, _ = load_checkpoint(tmp_path / CHECKPOINT)
    of_wide, of_exact = tensors["shifts.weight"].ravel().tolist()
    assert of_wide > 0.01
    assert of_exact == 0


def test_crops_that_the_network_cannot_take_are_refused_in_one_line(tmp_path):
    enlarged = build_network({"name": "mobilenet_unet", "widths": [8, 8, 8], "zoom": 9 / 7})
    with pytest.raises(DataError, match=r"crop 160: .* give 224"):
        train(enlarged, TRAINING, VALIDATION, tmp_path, replace(SETTINGS, crop=160))


def test_a_crop_that_suits_the_network_does_not_hide_that_tiles_do_not(tmp_path):
    """Epochs are judged on tiles of 224 px, which three more halvings cannot divide."""
    deep = UNet(base=4, depth=6)
    with pytest.raises(DataError, match=r"this network can't take images of 224 px"):
        train(deep, TRAINING, VALIDATION, tmp_path, replace(SETTINGS, crop=64))


@pytest.mark.parametrize("side", ["training", "choosing"])
def test_masks_without_any_nucleus_are_refused_in_one_line(tmp_path, side):
    empty = [replace(s, mask=np.zeros_like(s.mask)) for s in VALIDATION]
    sides = (empty, VALIDATION) if side == "training" else (TRAINING, empty)
    with pytest.raises(DataError, match=r"none of the 2 images .* has a nucleus in its mask"):
        train(network(), *sides, tmp_path, SETTINGS)


def test_softened_masks_keep_their_sum_and_lose_their_edge():
    share = torch.zeros(1, 1, 32, 32)
    share[..., 10:20, 10:20] = 1
    soft = blurred(share, 1.0)
    assert soft.sum() == pytest.approx(100, rel=1e-4)
    assert 0.4 < float(soft[0, 0, 10, 15]) < 0.8
    assert float(soft[0, 0, 15, 15]) == pytest.approx(1, abs=1e-3)


def test_does_not_go_on_from_another_training(tmp_path):
    short = replace(SETTINGS, epochs=1, steps=1)
    train(network(), TRAINING, VALIDATION, tmp_path, short)
    with pytest.raises(DataError, match="other settings, data or start"):
        train(network(), TRAINING, VALIDATION, tmp_path, replace(short, seed=1))
    with pytest.raises(DataError, match="other settings, data or start"):
        train(network(), TRAINING, VALIDATION, tmp_path, short, origin="another network")
    corrected = TRAINING[0].mask.copy()
    corrected[10:20, 10:20] ^= True
    training = [replace(TRAINING[0], mask=corrected), *TRAINING[1:]]
    with pytest.raises(DataError, match="other settings, data or start"):
        train(network(), training, VALIDATION, tmp_path, short)
    with pytest.raises(DataError, match="other settings, data or start"):
        train(network(), TRAINING, [replace(VALIDATION[0], mask=corrected)], tmp_path, short)
    for other in ({"pixels": "another picture"}, {"source": "another annotator"}):
        training = [replace(TRAINING[0], **other), *TRAINING[1:]]
        with pytest.raises(DataError, match="other settings, data or start"):
            train(network(), training, VALIDATION, tmp_path, short)


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
