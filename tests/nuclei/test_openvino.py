import numpy as np
import pytest
import torch

from qupath_hccmil.nuclei.architectures import build_network
from qupath_hccmil.scoring.openvino_graph import converted
from qupath_hccmil.scoring.openvino_import import import_openvino


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "unet", "base": 4},
        {"name": "unet", "base": 4, "depth": 3, "half": True},
        {"name": "mobilenet_unet", "widths": [8, 8, 8], "zoom": 1.0},
        {"name": "mobilenet_unet", "widths": [8, 8, 8], "zoom": 1.5},
    ],
    ids=str,
)
def test_openvino_gives_the_same_heat_map(architecture):
    openvino = import_openvino()
    torch.manual_seed(0)
    network = build_network(architecture).eval()
    x = torch.rand(2, 3, 64, 64)
    model = converted(network, x)
    run = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.inference_mode():
        expected = torch.sigmoid(network(x)).numpy()
    found = 1 / (1 + np.exp(-run(x.numpy())[0]))
    np.testing.assert_allclose(found, expected, atol=1e-4)
