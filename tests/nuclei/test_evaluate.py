import json
from dataclasses import replace

import numpy as np
import pytest

from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.nuclei.dice_evaluation import evaluate, predict_image, window_starts
from qupath_hccmil.nuclei.training_crops import Sample

GEOMETRY = TileGeometry(tile_um=16.0, tile_px=32)


def of_mask(mask, name="a", group="a"):
    """An image that shows its mask in red, at the model's pixel size."""
    rgb = np.zeros((*mask.shape, 3), np.uint8)
    rgb[mask, 0] = 255
    return Sample(name, group, rgb, mask, GEOMETRY.mpp, 1.0)


def read_red(tiles):
    return (tiles[..., 0] / np.float32(255)).astype(np.float32)


def random_mask(shape, seed=0):
    return np.random.default_rng(seed).random(shape) > 0.5


@pytest.mark.parametrize("shape", [(20, 70), (32, 32), (33, 90), (200, 100)])
def test_windows_cover_every_pixel_once(shape):
    mask = random_mask(shape)
    scores = evaluate([of_mask(mask)], read_red, GEOMETRY)
    assert scores.dice_pooled == 1
    assert scores.images[0].actual == mask.sum()
    assert sum(n for _, _, n in scores.calibration) == mask.size


def test_last_window_lies_within():
    assert window_starts(32, 32) == [0]
    assert window_starts(70, 32) == [0, 32, 38]


def test_pooled_and_mean_dice_differ_as_they_should():
    mask = np.zeros((32, 32), bool)
    mask[:16] = True
    half_found = of_mask(mask, "half", "g")
    half_found.rgb[:8] = 0
    all_found = of_mask(~mask, "all", "h")
    scores = evaluate([half_found, all_found], read_red, GEOMETRY)
    assert scores.images[0].dice == pytest.approx(2 * 256 / (256 + 512))
    assert scores.dice_mean == pytest.approx((2 / 3 + 1) / 2)
    assert scores.dice_pooled == pytest.approx(2 * 768 / (768 + 1024))
    assert scores.recall == pytest.approx(0.75)
    assert scores.precision == 1
    assert scores.by_group() == {"g": pytest.approx(2 / 3), "h": 1}


def test_nothing_to_find_and_nothing_found_is_right():
    scores = evaluate([of_mask(np.zeros((40, 40), bool))], read_red, GEOMETRY)
    assert scores.dice_pooled == scores.dice_mean == 1
    assert scores.border_um is None
    assert scores.border_shift_um is None
    json.dumps(scores.as_dict(), allow_nan=False)


def test_a_nucleus_found_two_pixels_wider_has_its_border_two_pixels_off():
    drawn, wider = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    drawn[20:40, 20:40] = True
    wider[18:42, 18:42] = True
    image = of_mask(wider)
    scores = evaluate([replace(image, mask=drawn)], read_red, GEOMETRY)
    # The corners of the wider square are further away.
    assert scores.border_um == pytest.approx(2 * GEOMETRY.mpp, rel=0.05)
    # (24² − 20²) px over a border of 76 px.
    assert scores.border_shift_um == pytest.approx(176 / 76 * GEOMETRY.mpp)


def test_calibration_error_is_the_mean_distance_of_prediction_and_share():
    mask = random_mask((64, 64))
    always = evaluate([of_mask(mask)], lambda t: np.full(t.shape[:3], 0.8, np.float32), GEOMETRY)
    assert always.calibration_error == pytest.approx(0.8 - mask.mean(), abs=1e-6)


def test_heat_map_has_the_size_of_the_image():
    rgb = np.zeros((45, 70, 3), np.uint8)
    assert predict_image(rgb, read_red, 32).shape == (45, 70)
