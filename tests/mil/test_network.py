import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qupath_hccmil.errors import ModelError
from qupath_hccmil.learning.mobilenet import torchvision_models
from qupath_hccmil.method.aggregation import risk
from qupath_hccmil.mil.tile_network import TileNetwork, imagenet_network
from qupath_hccmil.scoring.openvino_graph import converted
from qupath_hccmil.scoring.openvino_import import import_openvino


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A file like the ImageNet one: torchvision's own state dict, random."""
    torch.manual_seed(3)
    state = torchvision_models().mobilenet_v2(weights=None).state_dict()
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.safetensors"
    save_file(state, path)
    return path, state


def test_one_logit_a_tile():
    assert TileNetwork().eval()(torch.rand(3, 4, 64, 64)).shape == (3,)


def test_imagenet_filters_are_kept_and_the_heat_filter_is_minus_their_mean(imagenet):
    path, state = imagenet
    first = imagenet_network(path).mobilenet.features[0][0].weight
    rgb = state["features.0.0.weight"]
    assert torch.equal(first[:, :3], rgb)
    assert torch.allclose(first[:, 3], -rgb.mean(dim=1))


def test_without_nuclei_the_features_are_those_of_imagenet(imagenet):
    path, state = imagenet
    plain = torchvision_models().mobilenet_v2(weights=None).eval()
    plain.load_state_dict(state)
    rgb = torch.rand(2, 3, 64, 64)
    network = imagenet_network(path).eval()
    x = torch.cat([rgb, torch.zeros(2, 1, 64, 64)], dim=1)
    with torch.inference_mode():
        expected = plain.features(rgb * 2 - 1)
        found = network.mobilenet.features(x * network.scale + network.shift)
    torch.testing.assert_close(found, expected)


def test_start_is_seeded(imagenet):
    path, _ = imagenet
    before = torch.get_rng_state()
    one, two = imagenet_network(path, seed=5), imagenet_network(path, seed=5)
    assert torch.equal(one.mobilenet.classifier[1].weight, two.mobilenet.classifier[1].weight)
    assert torch.equal(before, torch.get_rng_state())


def test_batch_normalisation_never_uses_the_statistics_of_a_bag():
    network = TileNetwork().train()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert network.mobilenet.classifier[0].training


def test_refuses_other_weights(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="not a MobileNetV2 state dict"):
        imagenet_network(tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="cannot be read"):
        imagenet_network(tmp_path / "none.safetensors")


def test_openvino_gives_the_same_risk(imagenet):
    network = imagenet_network(imagenet[0]).eval()
    x = torch.rand(2, 4, 64, 64)
    openvino = import_openvino()
    model = converted(network, x)
    run = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.inference_mode():
        expected = network(x).numpy()
    np.testing.assert_allclose(risk(run(x.numpy())[0]), risk(expected), atol=1e-4)


def test_torchvision_is_imported_also_beside_a_torch_that_it_was_not_built_for():
    # An extension that can't be loaded, as that of a CUDA build beside a CPU torch.
    code = (
        "import torch\n"
        "def fail(path): raise OSError('libcudart')\n"
        "torch.ops.load_library = fail\n"
        "from qupath_hccmil.learning.mobilenet import torchvision_models\n"
        "network = torchvision_models().mobilenet_v2(weights=None).eval()\n"
        "print(network(torch.zeros(1, 3, 32, 32)).shape)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "torch.Size([1, 1000])" in result.stdout, result.stderr
