import numpy as np
import openvino
import pytest
import torch

from qupath_hccmil.nuclei.unet import UNet


@pytest.mark.parametrize("kind", [{}, {"half": True, "depth": 3}])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80)])
def test_gives_one_logit_a_pixel(height, width, kind):
    logits = UNet(base=4, **kind)(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 1, height, width)


# OpenVINO traces the module, which torch has come to deprecate.
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
def test_openvino_gives_the_same_heat_map():
    torch.manual_seed(0)
    network = UNet(base=4).eval()
    x = torch.rand(2, 3, 64, 64)
    model = openvino.convert_model(network, example_input=x)
    run = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.inference_mode():
        expected = torch.sigmoid(network(x)).numpy()
    found = 1 / (1 + np.exp(-run(x.numpy())[0]))
    np.testing.assert_allclose(found, expected, atol=1e-4)
