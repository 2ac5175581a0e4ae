import pytest
import torch
from safetensors.torch import save_file

from qupath_hccmil.errors import ModelError
from qupath_hccmil.learning.mobilenet import torchvision_models
from qupath_hccmil.nuclei.mobilenet_unet import MobileNetUNet, start_from_imagenet


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """Weights as of a folded batch normalisation: statistics 0 and 1, a shift all the same."""
    torch.manual_seed(1)
    state = torchvision_models().mobilenet_v2(weights=None).state_dict()
    for name in state:
        if name.endswith(("running_mean", "running_var")):
            continue
        if name.endswith(".bias"):
            state[name] = 0.1 * torch.randn_like(state[name])
    path = tmp_path_factory.mktemp("imagenet") / "weights.safetensors"
    save_file(state, path)
    return path, state


def smooth_images(seed):
    torch.manual_seed(seed)
    return torch.nn.functional.interpolate(torch.rand(8, 3, 8, 8), size=(64, 64), mode="bilinear")


@pytest.mark.parametrize("zoom", [1, 1.5, 2])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96)])
def test_gives_one_logit_a_pixel(height, width, zoom):
    logits = MobileNetUNet((8, 8, 8), zoom)(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 1, height, width)


def test_starts_with_the_features_of_imagenet_in_training_too(folded):
    path, state = folded
    mobilenet = torchvision_models().mobilenet_v2(weights=None)
    mobilenet.load_state_dict(state)
    rgb = smooth_images(0)
    network = MobileNetUNet((8, 8, 8), zoom=1)
    start_from_imagenet(network, path, rgb)
    with torch.inference_mode():
        expected = mobilenet.eval().features[:14](rgb * 2 - 1)
        for mode in (False, True):
            network.train(mode)
            found = rgb * 2 - 1
            for stage in network.encoder:
                found = stage(found)
            # In training the statistics are the batch's own, which are these images'.
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_file_that_is_no_mobilenet_is_refused(tmp_path):
    network = MobileNetUNet((8, 8, 8))
    (tmp_path / "text").write_text("no weights")
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    for name, message in (("text", "cannot be read"), ("other", "not a MobileNetV2")):
        with pytest.raises(ModelError, match=message):
            start_from_imagenet(network, tmp_path / name, smooth_images(0))
