import pytest
import torch

from qupath_hccmil.nuclei.unet import UNet


@pytest.mark.parametrize("kind", [{}, {"half": True, "depth": 3}])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80)])
def test_gives_one_logit_a_pixel(height, width, kind):
    logits = UNet(base=4, **kind)(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 1, height, width)
