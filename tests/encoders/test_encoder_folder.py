"""Encoder folders: what is valid, and one clear line for what is not."""

import json
from dataclasses import replace

import pytest
import torch

from qupath_hccmil.encoders.encoder import find_encoder, load_encoder, load_encoders
from qupath_hccmil.encoders.encoder_folder import (
    EncoderConfig,
    load_encoder_folder,
    save_encoder_folder,
)
from qupath_hccmil.errors import DataError, ModelError
from tests.encoders.tiny import tiny_encoder

CONFIG = EncoderConfig("x", "resnet10t", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.5, 224, "MIT")
WEIGHTS = {"w": torch.arange(4.0)}


@pytest.fixture
def folder(tmp_path):
    return save_encoder_folder(tmp_path / "x", CONFIG, WEIGHTS).path


def test_what_is_saved_is_read(folder):
    found = load_encoder_folder(folder)
    assert replace(found.config, weights_sha256="") == CONFIG
    assert found.config.geometry.tile_um == 112
    assert torch.equal(found.weights()["w"], WEIGHTS["w"])
    save_encoder_folder(folder, CONFIG, {"w": torch.zeros(4)})
    assert load_encoder_folder(folder).config.sha256 != found.config.sha256


def test_a_pixel_size_that_is_rounded_gives_the_whole_tile():
    assert replace(CONFIG, mpp=0.571428571).geometry.tile_um == 128


def test_the_hash_is_of_what_determines_features():
    assert replace(CONFIG, name="y", licence="GPL", redistributable=True).sha256 == CONFIG.sha256
    for change in (
        {"mean": (0.5, 0.5, 0.4)},
        {"mpp": 0.4},
        {"pooling": "mean"},
        {"arguments": {"depth": 2}},
        {"weights_sha256": "0" * 64},
    ):
        assert replace(CONFIG, **change).sha256 != CONFIG.sha256


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": [1, 2]}, "mean"),
        ({"std": [0, 1, 1]}, "std.0: '0'"),
        ({"mean": [123.7, 116.3, 103.5]}, r"mean\.0: '123\.7'"),
        ({"std": [58.4, 57.1, 57.4]}, r"std\.0: '58\.4'"),
        ({"mpp": -1}, "mpp: '-1'"),
        ({"tile_px": 8}, "tile_px"),
        ({"name": "../x"}, "name"),
        ({"architecture": "hf-hub:MahmoodLab/uni"}, "nothing is ever downloaded"),
        ({"arguments": {"pretrained": True}}, "pretrained must not be among them"),
        ({"arguments": {"checkpoint_path": "x"}}, "checkpoint_path must not"),
        ({"pooling": "cls"}, "pooling: 'cls'"),
        ({"licence": ""}, "licence"),
        ({"other": 1}, "other"),
        ({"format": 2}, "format"),
        ({"weights_sha256": "0" * 64}, "these are other weights"),
    ],
)
def test_what_is_not_valid(folder, change, said):
    path = folder / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=said) as caught:
        load_encoder(folder)
    assert "\n" not in str(caught.value)


def test_a_file_with_a_byte_order_mark_is_read(folder):
    """As editors and shells of Windows write it."""
    path = folder / "encoder.json"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert load_encoder(folder).sha256 == load_encoder(folder).sha256


def test_what_is_missing(folder, tmp_path):
    with pytest.raises(ModelError, match="no such encoder folder"):
        load_encoder(tmp_path / "y")
    path = folder / "encoder.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in content.items() if k != "licence"}))
    with pytest.raises(ModelError, match="licence is missing"):
        load_encoder(folder)
    path.write_text("[]")
    with pytest.raises(ModelError, match="not an object"):
        load_encoder(folder)
    path.write_text("{")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        load_encoder(folder)
    path.unlink()
    with pytest.raises(ModelError, match=r"encoder\.json is missing"):
        load_encoder(folder)


def test_other_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match=r"is not the .*these are other weights"):
        load_encoder(folder)


def test_other_folders_are_left(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ModelError, match="is not an encoder folder; choose another"):
        save_encoder_folder(tmp_path, CONFIG, WEIGHTS)
    with pytest.raises(ModelError, match="tile_px"):
        save_encoder_folder(tmp_path / "z", replace(CONFIG, tile_px=3), WEIGHTS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_the_encoder_that_ships():
    shipped = load_encoder()
    assert shipped.needs_stain
    assert (shipped.geometry.tile_um, shipped.geometry.tile_px) == (128, 224)
    again = [
        *load_encoders([]),
        load_encoder(shipped.path),
        find_encoder(shipped.name, shipped.sha256, [], "model"),
    ]
    assert [each.sha256 for each in again] == [shipped.sha256] * 3


def test_two_of_one_name(tmp_path):
    paths = [
        save_encoder_folder(tmp_path / name, replace(CONFIG, name=name), WEIGHTS).path
        for name in ("uni", "UNI", "other")
    ]
    with pytest.raises(DataError, match=r"is named 'UNI', as is .*another name"):
        load_encoders(paths)
    found = load_encoder(paths[2])
    same = find_encoder("other", found.sha256, [tmp_path / "gone", paths[2]], "m")
    assert same.path == paths[2]
    with pytest.raises(ModelError, match=r"m: needs the encoder uni abc…; give.*; .*is other"):
        find_encoder("uni", "abc", [paths[2]], "m")


def test_a_tiny_encoder_is_one(tmp_path):
    assert load_encoder(tiny_encoder(tmp_path / "t").path).geometry.tile_um == 128
