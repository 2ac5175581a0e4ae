"""Encoders as networks: what they compute, in each runtime, and weights that do not fit."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from qupath_hccmil.encoders.encoder import load_encoder
from qupath_hccmil.encoders.encoder_folder import save_encoder_folder
from qupath_hccmil.encoders.timm_network import TimmEncoder
from qupath_hccmil.errors import ModelError, PackageError
from qupath_hccmil.learning.mobilenet import torchvision_models
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.scoring.encoder_runtime import load_encoder_runtime
from qupath_hccmil.scoring.fused_networks import ScoringNetwork
from tests.encoders.tiny import ARGUMENTS, WIDTH, tiny_encoder


def tiles(side: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def features_of(encoder, rgb, **where) -> np.ndarray:
    runtime = load_encoder_runtime(encoder, **where)
    found = []
    runtime.submit(rgb, found.append)
    runtime.wait()
    return found[0]


def test_a_network_of_timm(tmp_path):
    timm = pytest.importorskip("timm")
    folder = tiny_encoder(tmp_path / "t")
    rgb = tiles(64)
    network = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, **folder.config.arguments
    ).eval()
    network.load_state_dict(
        {k: v for k, v in folder.weights().items() if not k.startswith("head.")}
    )
    image = (rgb / 255 - [0.5, 0.6, 0.5]) / [0.5, 0.4, 0.5]
    with torch.no_grad():
        expected = network(torch.tensor(image).permute(0, 3, 1, 2).float()).numpy()
    encoder = load_encoder(folder.path)
    for runtime in ("torch", "openvino"):
        found = features_of(encoder, rgb, runtime=runtime, device="cpu")
        assert (found.shape, found.dtype) == ((3, WIDTH), np.float32)
        # float32 on either side; values are about 1
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_pooling(tmp_path):
    rgb = torch.from_numpy(tiles(64))
    found = {}
    for pooling in ("class token", "mean", "class token and mean"):
        folder = tiny_encoder(tmp_path / pooling.replace(" ", "-"), pooling=pooling)
        with torch.no_grad():
            found[pooling] = TimmEncoder(folder)(rgb)
    both = torch.cat([found["class token"], found["mean"]], dim=1)
    assert torch.equal(found["class token and mean"], both)
    assert not torch.equal(found["class token"], found["mean"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "no_such_net"}, "cannot make 'no_such_net'.*Unknown model"),
        ({"arguments": {"foo": 1}}, "unexpected keyword argument 'foo'"),
        ({"arguments": {"mlp_layer": "Nope"}}, "mlp_layer 'Nope' is neither in timm"),
        ({"arguments": {"depth": 2}}, "do not fit 'vit_tiny_patch16_224'"),
        ({"architecture": "resnet10t", "arguments": {}}, "do not fit 'resnet10t'"),
        (
            {"architecture": "resnet10t", "arguments": {}, "pooling": "mean"},
            "'mean' is for vision transformers",
        ),
        ({"tile_px": 96}, r"cannot take tiles of 96 px \(Input height .*; change tile_px"),
        (
            {"arguments": {**ARGUMENTS, "global_pool": "", "fc_norm": False}},
            "gives 17 × 12 numbers for a tile, not one vector; use another pooling than 'model'",
        ),
    ],
)
def test_what_does_not_fit(tmp_path, change, said):
    folder = tiny_encoder(tmp_path / "t")
    path = folder.path / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=said) as caught:
        load_encoder(folder.path).build()
    assert "\n" not in str(caught.value)


def test_a_layer_by_its_name(tmp_path):
    timm = pytest.importorskip("timm")
    folder = tiny_encoder(tmp_path / "t")
    arguments = {**folder.config.arguments, "mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
    made = {**arguments, "mlp_layer": timm.layers.SwiGLUPacked, "act_layer": torch.nn.SiLU}
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **made)
    config = replace(folder.config, arguments=arguments)
    save_encoder_folder(folder.path, config, network.state_dict())
    assert load_encoder(folder.path).build()(torch.from_numpy(tiles(64))).shape == (3, WIDTH)


def test_without_timm(tmp_path, monkeypatch):
    folder = tiny_encoder(tmp_path / "t")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(PackageError, match=r"pip install 'qupath-hccmil\[features\]'"):
        load_encoder(folder.path).build()


def test_the_encoder_that_ships_is_the_tile_network_without_its_last_layer():
    encoder = load_encoder()
    risk = load_model_folder(encoder.path, "mil")
    nuclei = load_model_folder(default_model_dir("nuclei"), "nuclei")
    network = load_tile_network(risk)
    rgb = torch.from_numpy(tiles(224, 2))
    with torch.no_grad():
        features = encoder.build()(rgb)
        logits, _ = ScoringNetwork(load_nuclei_network(nuclei), network).eval()(rgb)
        again = network.mobilenet.classifier(features)[:, 0] / network.temperature
    assert features.shape == (2, 1280)
    torch.testing.assert_close(again, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.data
def test_mobilenet_of_imagenet(data_dir, tmp_path):
    """Weights of torchvision's MobileNetV2 in timm's, whose layers are in the same order."""
    timm = pytest.importorskip("timm")
    weights = data_dir / "weights" / "mobilenet_v2_imagenet.safetensors"
    if not weights.exists():
        pytest.skip("the ImageNet weights are not here")
    theirs = torchvision_models().mobilenet_v2(weights=None).eval()
    theirs.load_state_dict(load_file(weights), strict=False)
    ours = timm.create_model("mobilenetv2_100", num_classes=0)
    values = [v for k, v in theirs.state_dict().items() if not k.startswith("classifier")]
    half = (0.5, 0.5, 0.5)
    config = replace(
        tiny_encoder(tmp_path / "t").config,
        name="mobilenet",
        architecture="mobilenetv2_100",
        arguments={},
        mean=half,
        std=half,
        tile_px=224,
    )
    state = dict(zip(ours.state_dict(), values, strict=True))
    folder = save_encoder_folder(tmp_path / "m", config, state)
    rgb = tiles(224, 2)
    found = features_of(load_encoder(folder.path), rgb, runtime="openvino", device="cpu")
    with torch.no_grad():
        image = torch.from_numpy(rgb).permute(0, 3, 1, 2) / 127.5 - 1
        expected = theirs.features(image).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
