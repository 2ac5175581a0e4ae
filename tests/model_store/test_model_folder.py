import json
from dataclasses import asdict, fields, replace

import pytest
import torch

from qupath_hccmil.errors import ModelError, WriteError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.model_store.model_config import (
    DataUse,
    FeatureConfig,
    ModelConfig,
    ModelReference,
    RiskConfig,
)
from qupath_hccmil.model_store.model_folder import (
    check_new_model,
    default_model_dir,
    load_model_folder,
    save_model_folder,
)
from tests.no_room import no_file_above

WEIGHTS = {"a": torch.arange(4.0)}
# No field has its default, so that one which isn't saved can't come back.
MIL = ModelConfig(
    kind="mil",
    name="some-model",
    version="2.1",
    architecture={"name": "mobilenet_v2"},
    geometry=TileGeometry(64.0, 112),
    colour="luminosity-standardised",
    stain_reference={
        "matrix": [[1, 0, 0], [0, 1, 0]],
        "max_concentration": [1.5, 1],
        "luminosity": 240,
    },
    data=(DataUse("set", "CC0", "https://example.org", "training"),),
    training={"seed": 3},
    metrics={"auc": 0.7},
    risk=RiskConfig(2.0, 0.3, "1 = good", True, ModelReference("nuclei", "0" * 64)),
)
HEAD = replace(
    MIL,
    architecture={"name": "abmil", "width": 5},
    risk=RiskConfig(1.0, 0.3, "1 = good", True, None),
    features=FeatureConfig("uni", "0" * 64, 5, 128.0, 224, "none"),
)
NUCLEI = ModelConfig(
    kind="nuclei", name="n", version="1", architecture={"name": "unet", "base": 4, "depth": 2}
)


@pytest.fixture
def folder(tmp_path):
    return save_model_folder(tmp_path / "m", MIL, WEIGHTS, "# card").path


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_everything_comes_back(folder):
    loaded = load_model_folder(folder, "mil")
    assert replace(loaded.config, weights_sha256="") == MIL
    assert torch.equal(loaded.weights()["a"], WEIGHTS["a"])
    assert loaded.reference.name == "some-model"
    assert (folder / "README.md").read_text() == "# card"


def test_every_field_is_saved(folder):
    names = {field.name for field in fields(ModelConfig)}
    # Versions without heads read every model that is none.
    assert set(json.loads((folder / "config.json").read_text())) == names - {"features"}
    unchanged = [
        field.name
        for field in fields(ModelConfig)
        if getattr(MIL, field.name) == getattr(NUCLEI, field.name)
    ]
    # These have one possible value; weights_sha256 is filled in on saving.
    assert unchanged == ["resampler", "features", "weights_sha256", "format"]


def test_a_head_comes_back_with_its_features_and_encoder(tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "encoder.json").write_text("{}")
    path = save_model_folder(tmp_path / "m", HEAD, WEIGHTS, "", tmp_path / "encoder").path
    loaded = load_model_folder(path, "mil").config
    assert replace(loaded, weights_sha256="") == HEAD
    assert loaded.is_head
    assert not MIL.is_head
    assert (path / "encoder" / "encoder.json").read_text() == "{}"
    with pytest.raises(ModelError, match="a head on features needs --features"):
        _ = loaded.nuclei_model


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"features": None}, "features: is missing; a head needs it"),
        ({"architecture": {"name": "mobilenet_v2"}}, "features: mobilenet_v2 must not have it"),
        ({"features": {"encoder": "uni"}}, "features.encoder_sha256: "),
        ({"kind": "nuclei", "risk": None}, r"kind: a head \(abmil\) is a mil model"),
        (
            {"risk": {**asdict(MIL.risk)}},
            "risk.nuclei_model: a head has none",
        ),
    ],
)
def test_a_config_is_that_of_a_head_or_of_a_network_for_tiles(tmp_path, values, message):
    path = save_model_folder(tmp_path / "m", HEAD, WEIGHTS, "").path
    change(path, **values)
    with pytest.raises(ModelError, match=message):
        load_model_folder(path, "mil")


def test_a_network_for_tiles_names_its_nuclei_model(folder):
    change(folder, risk={**asdict(MIL.risk), "nuclei_model": None})
    with pytest.raises(ModelError, match=r"risk.nuclei_model: a tile network needs one"):
        load_model_folder(folder, "mil")


def test_saving_replaces_a_model_and_nothing_else(tmp_path, folder):
    save_model_folder(folder, NUCLEI, WEIGHTS, "new")
    assert load_model_folder(folder, "nuclei").config.name == "n"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious.txt").write_text("x")
    with pytest.raises(ModelError, match="contains other files"):
        save_model_folder(tmp_path / "data", NUCLEI, WEIGHTS, "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "m"]


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        load_model_folder(folder, "mil")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"risk": None}, "risk"),
        ({"kind": "nuclei"}, "risk"),
        ({"architecture": {"name": "resnet"}}, "architecture"),
        ({"geometry": {"tile_um": 128, "tile_px": 8}}, "geometry"),
        ({"version": 2}, "version"),
        ({"geometry": {"tile_um": -1, "tile_px": 224}}, "geometry: "),
        ({"resampler": "nearest"}, "resampler"),
        ({"weights_sha256": "short"}, "weights_sha256"),
        ({"unknown": 1}, "unknown"),
        ({"format": 99}, "format"),
        ({"stain_reference": {"matrix": [[1, 2, 3]]}}, "stain_reference"),
    ],
)
def test_a_broken_field_is_named_in_one_line(folder, values, field):
    change(folder, **values)
    with pytest.raises(ModelError) as caught:
        load_model_folder(folder, "mil")
    assert field in str(caught.value)
    assert "config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [field.name for field in fields(ModelConfig)])
def test_an_absent_field_does_not_become_a_default(tmp_path, name):
    folder = save_model_folder(tmp_path / "m", HEAD, WEIGHTS, "# card").path
    path = folder / "config.json"
    content = json.loads(path.read_text())
    del content[name]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=f"config.json: {name}:? is missing"):
        load_model_folder(folder, "mil")


def test_other_weights_are_refused(folder):
    other = bytearray((folder / "weights.safetensors").read_bytes())
    other[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(other)
    with pytest.raises(ModelError, match="sha256"):
        load_model_folder(folder, "mil")


def test_the_wrong_kind_and_no_folder_are_refused(folder, tmp_path):
    with pytest.raises(ModelError, match="a mil model, but a nuclei model is needed"):
        load_model_folder(folder, "nuclei")
    with pytest.raises(ModelError, match="no such model folder"):
        load_model_folder(tmp_path / "none", "mil")
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        load_model_folder(folder, "mil")


def test_an_invalid_config_is_not_saved(tmp_path):
    with pytest.raises(ModelError, match="risk"):
        save_model_folder(tmp_path / "m", replace(NUCLEI, kind="mil"), WEIGHTS, "")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_saved_is_refused_before_there_are_weights(tmp_path):
    with pytest.raises(ModelError, match="name: 'my model': String should match"):
        check_new_model(tmp_path / "m", replace(NUCLEI, name="my model"))
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="is a file"):
        check_new_model(tmp_path / "file", NUCLEI)
    check_new_model(tmp_path / "m", NUCLEI)


def test_no_room_leaves_the_earlier_model_and_nothing_beside_it(tmp_path, folder):
    with no_file_above(200), pytest.raises(WriteError, match="cannot be written"):
        save_model_folder(folder, NUCLEI, {"a": torch.zeros(10_000)}, "new")
    assert load_model_folder(folder, "mil").config.name == "some-model"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_an_unknown_model_does_not_ship():
    with pytest.raises(ModelError, match="no such model ships"):
        default_model_dir("other")
