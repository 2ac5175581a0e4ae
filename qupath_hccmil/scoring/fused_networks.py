"""U-Net and tile network as one graph, so that heat maps stay on the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate

from qupath_hccmil.nuclei.mobilenet_unet import MobileNetUNet


class FusedNetworks(nn.Module):
    """The two networks, with the heat map of the first as input of the second.

    Parameters
    ----------
    unet : nn.Module
        Maps (n, 3, h, w) RGB in [0, 1] to (n, 1, h, w) logits of nuclei.
    tile_network : nn.Module
        Maps (n, 4, h, w) RGB and heat map in [0, 1] to (n,) logits.
    """

    def __init__(self, unet: nn.Module, tile_network: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.tile_network = tile_network

    def logits_and_heat_map(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, h, w) float RGB in [0, 1] to (n,) tile logits and (n, 1, h, w) in [0, 1]."""
        heat_map = torch.sigmoid(self.unet(image))
        logits = self.tile_network(torch.cat([image, heat_map], dim=1)).reshape(-1)
        return logits, heat_map


class ScoringNetwork(FusedNetworks):
    """Turns stain-normalised tiles into tile logits and nuclei fractions."""

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch.

        Parameters
        ----------
        rgb : (n, h, w, 3) uint8
            Stain-normalised RGB.

        Returns
        -------
        logits : (n,) float
        nuclei_fraction : (n,) float
            Share of pixels with a nuclei probability over 0.5, in [0, 1].
        """
        image = rgb.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        logits, heat_map = self.logits_and_heat_map(image)
        nuclei_fraction = (heat_map > 0.5).to(torch.float32).mean(dim=(1, 2, 3))
        return logits, nuclei_fraction


def with_convolutions_only(network: ScoringNetwork) -> ScoringNetwork:
    """Make the linear layers of a network 1×1 convolutions, which compute the same.

    OpenVINO turns a linear layer into one of its own and forgets the precision that was asked for
    it, which it keeps for a convolution.

    Parameters
    ----------
    network : ScoringNetwork
        Changed in place.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, _AsConvolution(child))
    return network


def with_interpolation_by_matrices(network: ScoringNetwork, tile_px: int) -> ScoringNetwork:
    """Make the interpolations of a nuclei network products of matrices, which compute the same.

    OpenVINO interpolates few channels slowly: a tenth of its time with the two networks.

    Parameters
    ----------
    network : ScoringNetwork
        Changed in place.
    tile_px : int
        Side of the tiles, px: the only size that the network accepts afterwards.
    """
    unet = network.unet
    if isinstance(unet, MobileNetUNet):
        inside = unet.enlarged((tile_px, tile_px))[0]
        unet.enlarge = _ByMatrices(tile_px, inside)
        unet.reduce = _ByMatrices(inside, tile_px)
    return network


class _ByMatrices(nn.Module):
    """Bilinear interpolation of squares, which is linear along each side."""

    weights: Tensor

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        weights = interpolate(torch.eye(start)[None], size=end, mode="linear")[0]
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        turned = torch.matmul(x, self.weights).transpose(-1, -2)
        return torch.matmul(turned, self.weights).transpose(-1, -2)


class _AsConvolution(nn.Module):
    """A linear layer from (n, features) to (n, outputs), as a convolution."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, features: Tensor) -> Tensor:
        weight = self.linear.weight[:, :, None, None]
        return conv2d(features[:, :, None, None], weight, self.linear.bias)[:, :, 0, 0]
