import pytest
import torch

from qupath_hccmil.mil.tile_network import TileNetwork
from qupath_hccmil.nuclei.architectures import build_network
from qupath_hccmil.scoring.fused_networks import ScoringNetwork, with_interpolation_by_matrices


@pytest.mark.parametrize("zoom", [1.0, 9 / 7, 19 / 14, 1.5])
def test_interpolation_by_matrices_computes_the_same(zoom):
    torch.manual_seed(0)
    unet = build_network({"name": "mobilenet_unet", "widths": [8, 8, 8], "zoom": zoom})
    network = ScoringNetwork(unet, TileNetwork()).eval()
    rgb = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logits, fraction = network(rgb)
        heat_map = unet(rgb.permute(0, 3, 1, 2) / 255)
        by_matrices = with_interpolation_by_matrices(network, 224)
        torch.testing.assert_close(by_matrices(rgb)[0], logits, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(by_matrices(rgb)[1], fraction, rtol=0, atol=1e-3)
        torch.testing.assert_close(
            by_matrices.unet(rgb.permute(0, 3, 1, 2) / 255), heat_map, rtol=1e-3, atol=1e-4
        )


def test_a_network_that_interpolates_nothing_stays_as_it_is():
    unet = build_network({"name": "unet", "base": 4})
    network = ScoringNetwork(unet, TileNetwork()).eval()
    assert with_interpolation_by_matrices(network, 224).unet is unet
