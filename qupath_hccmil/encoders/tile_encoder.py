"""The tile network of a risk model without its last layer: the encoder that ships."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_folder import ModelFolder
from qupath_hccmil.nuclei.architectures import load_nuclei_network


class TileEncoder(nn.Module):
    """The nuclei network, and the tile network up to the vector that its logit follows from.

    Parameters
    ----------
    risk, nuclei : ModelFolder

    Raises
    ------
    ModelError
        The weights do not fit.
    """

    def __init__(self, risk: ModelFolder, nuclei: ModelFolder) -> None:
        super().__init__()
        self.unet = load_nuclei_network(nuclei)
        self.tile_network = load_tile_network(risk)

    def forward(self, rgb: Tensor) -> Tensor:
        """Compute (n, 1280) float features of (n, h, w, 3) uint8 stain-normalised RGB."""
        image = rgb.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        heat_map = torch.sigmoid(self.unet(image))
        return self.tile_network.features(torch.cat([image, heat_map], dim=1))
