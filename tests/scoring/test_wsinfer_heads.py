"""Which heads WSInfer can run, and that it gives their tile risk."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from qupath_hccmil.cli.main import run
from qupath_hccmil.encoders.encoder import load_encoder
from qupath_hccmil.errors import ModelError
from qupath_hccmil.heads.head import load_head, make_head
from qupath_hccmil.model_store.model_config import (
    HEAD_NAMES,
    FeatureConfig,
    ModelConfig,
    RiskConfig,
)
from qupath_hccmil.model_store.model_folder import load_model_folder, save_model_folder
from qupath_hccmil.scoring.wsinfer_export import export_head, torchscript
from tests.encoders.tiny import WIDTH, tiny_encoder

SMALL = {name: {} if name in ("published", "mean") else {"hidden": 8} for name in HEAD_NAMES}
FEATURES = FeatureConfig("tiny", None, WIDTH, 128.0, 64, "none")


def save_head(path, name, features, *, inside=None):
    torch.manual_seed(1)
    head = make_head(name, features.width, **SMALL[name])
    config = ModelConfig(
        "mil",
        "head",
        "1",
        {"name": name, "width": features.width, **SMALL[name]},
        risk=RiskConfig(1.0, 0.4, "none", True, None, 2.0),
        features=features,
    )
    return save_model_folder(path, config, head.state_dict(), "", inside)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny").path


@pytest.fixture
def features(encoder):
    return replace(FEATURES, encoder_sha256=load_encoder(encoder).sha256)


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("name", [name for name in HEAD_NAMES if name != "transformer"])
def test_gives_the_tile_risk_of_a_head(tmp_path, encoder, features, name):
    folder = save_head(tmp_path / "model", name, features, inside=encoder)
    export = export_head(folder, None, tmp_path / "out")
    config = json.loads((export.folder / "config.json").read_text())
    assert config["architecture"] == "tiny"
    assert config["patch_size_pixels"] * config["spacing_um_px"] == 128
    assert config["transform"][0] == {"name": "Resize", "arguments": {"size": 64}}
    assert not any(loss.startswith("Stain") for loss in export.losses)
    tiles = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    network = torch.jit.load(export.folder / "torchscript_model.pt")
    with torch.inference_mode():
        outputs = network(torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255)
        vectors = load_encoder(encoder).build()(torch.from_numpy(tiles))
        expected = torch.sigmoid(load_head(folder)(vectors).tile_logits)
    found = torch.softmax(outputs, dim=1)[:, 1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_network_that_depends_on_its_tiles_is_not_written():
    class OnePath(torch.nn.Module):
        def forward(self, image):
            return image.mean(dim=(2, 3)) * (2.0 if image.sum() > 0 else 1.0)

    with pytest.raises(ModelError, match="does other things with other tiles"):
        torchscript(OnePath(), 32)


def test_says_which_heads_wsinfer_can_run(tmp_path, capsys, features):
    model = save_head(tmp_path / "model", "transformer", features).path
    assert run(["export-model", str(tmp_path / "out"), "--model", str(model)]) == 1
    said = capsys.readouterr().err
    assert "its tiles see one another (head transformer)" in said
    assert "it can run the heads published, mean, abmil, additive, and networks" in said
    assert not (tmp_path / "out").exists()


def test_the_encoder_is_looked_for(tmp_path, capsys, encoder, features):
    model = save_head(tmp_path / "model", "abmil", features).path
    given = ["export-model", str(tmp_path / "out"), "--model", str(model)]
    assert run(given) == 1
    assert "needs the encoder tiny" in capsys.readouterr().err
    assert run([*given, "--encoder", str(encoder)]) == 0
    assert "head abmil, with weights of attention" in capsys.readouterr().out
    assert run(["export-model", str(tmp_path / "other"), "--encoder", str(encoder)]) == 2
    unnamed = save_head(tmp_path / "unnamed", "mean", FEATURES)
    with pytest.raises(ModelError, match="do not say which encoder made them"):
        export_head(unnamed, encoder, tmp_path / "out")


def test_the_encoder_that_ships_is_found_by_itself(tmp_path):
    shipped = load_encoder()
    features = FeatureConfig(shipped.name, shipped.sha256, 1280, 128.0, 224, "vahadane")
    save_head(tmp_path / "model", "additive", features)
    folder = load_model_folder(tmp_path / "model", "mil")
    export = export_head(folder, None, tmp_path / "out")
    assert any(loss.startswith("Stain normalisation") for loss in export.losses)
