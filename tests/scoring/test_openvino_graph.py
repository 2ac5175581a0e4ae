"""Networks converted for OpenVINO: what torch computes, kept exactly, and never another's."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.scoring import openvino_graph as module
from qupath_hccmil.scoring.fused_networks import ScoringNetwork
from qupath_hccmil.scoring.openvino_graph import CACHE_VARIABLE, openvino_graph
from qupath_hccmil.scoring.openvino_import import import_openvino

SHAPE = (2, 16, 16, 3)


class Network(nn.Module):
    """A small network of bytes, with all that its graph follows from."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self._gain = gain

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        image = rgb.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        return torch.sigmoid(self._gain * self.norm(self.convolution(image)))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


@pytest.fixture
def conversions(monkeypatch):
    """How often something was converted."""
    made = []
    convert = module.converted
    monkeypatch.setattr(module, "converted", lambda *given: made.append(1) or convert(*given))
    return made


def outputs(graph) -> np.ndarray:
    rgb = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.asarray(import_openvino().Core().compile_model(graph, "CPU", hint)([rgb])[0])


def test_a_kept_graph_gives_the_same_bits_and_what_torch_gives(cache, conversions):
    network = Network().eval()
    first, second = (outputs(openvino_graph(network, SHAPE)) for _ in range(2))
    assert len(conversions) == 1
    assert np.array_equal(first, second)
    rgb = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    with torch.inference_mode():
        np.testing.assert_allclose(first, network(torch.from_numpy(rgb)).numpy(), atol=1e-5)


def test_what_ships_gives_today_what_it_gave(cache):
    """The risk of the shipped networks does not move with the way that they are converted."""
    nuclei, mil = (load_model_folder(default_model_dir(kind), kind) for kind in ("nuclei", "mil"))
    network = ScoringNetwork(load_nuclei_network(nuclei), load_tile_network(mil)).eval()
    rgb = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    graph = openvino_graph(network, rgb.shape)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    found = import_openvino().Core().compile_model(graph, "CPU", hint)([rgb])
    with torch.inference_mode():
        logits, fraction = (part.numpy() for part in network(torch.from_numpy(rgb)))
    np.testing.assert_allclose(np.asarray(found[0]), logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.asarray(found[1]), fraction, atol=1e-4)


def test_another_setting_weight_or_shape_is_another_graph(cache, conversions):
    networks = [Network().eval(), Network(gain=1.5).eval()]
    changed = Network().eval()
    with torch.no_grad():
        next(changed.parameters()).view(-1)[0] += 1e-6
    statistics = Network().eval()
    next(b for b in statistics.buffers() if b.ndim)[0] += 1e-6
    for network in (*networks, changed, statistics):
        openvino_graph(network, SHAPE)
    openvino_graph(networks[0], (1, *SHAPE[1:]))
    assert len(conversions) == 5


@pytest.mark.parametrize("name", ["graph.bin", "graph.xml", "sha256"])
def test_a_damaged_graph_is_made_anew(cache, conversions, name):
    network = Network().eval()
    before = outputs(openvino_graph(network, SHAPE))
    (kept,) = cache.iterdir()
    content = bytearray((kept / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (kept / name).write_bytes(content)
    assert np.array_equal(outputs(openvino_graph(network, SHAPE)), before)
    assert len(conversions) == 2
    openvino_graph(network, SHAPE)
    assert len(conversions) == 2


def test_the_tests_leave_the_users_own_graphs_alone(kept_networks):
    assert module._cache() == kept_networks / "openvino"


def test_where_nothing_can_be_kept_it_is_converted_each_time(cache, conversions):
    cache.parent.write_text("a file where the folder would be", encoding="ascii")
    network = Network().eval()
    assert np.array_equal(*(outputs(openvino_graph(network, SHAPE)) for _ in range(2)))
    assert len(conversions) == 2


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x


def test_the_oldest_of_many_go(cache, monkeypatch):
    monkeypatch.setattr(module, "_MOST_KEPT", 2)
    for side in (8, 16, 24):
        openvino_graph(Doubled(), (side,))
    assert len(list(cache.iterdir())) == 2


def test_neither_conversion_nor_torchscript_warns():
    code = (
        "import warnings; warnings.simplefilter('error', FutureWarning);"
        "warnings.simplefilter('error', DeprecationWarning);"
        "import torch; from torch import nn;"
        "from qupath_hccmil.scoring.openvino_graph import converted;"
        "from qupath_hccmil.scoring.wsinfer_export import torchscript;"
        "network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval();"
        "converted(network, torch.zeros(1, 3, 8, 8));"
        "torchscript(network, 8)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
