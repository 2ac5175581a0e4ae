"""The two networks of a risk model: what they are, before they are built.

Building them imports torch, which takes seconds. Where converted networks are kept from an earlier
run, they need not be built.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qupath_hccmil.model_store.model_folder import ModelFolder
from qupath_hccmil.scoring.precision import NetworkPrecision

if TYPE_CHECKING:
    from qupath_hccmil.scoring.fused_networks import ScoringNetwork


@dataclass(frozen=True)
class Networks:
    """The networks of a risk model and of its nuclei model.

    Attributes
    ----------
    risk, nuclei : ModelFolder
    """

    risk: ModelFolder
    nuclei: ModelFolder

    @property
    def tile_px(self) -> int:
        """Side of a tile, px."""
        return self.risk.config.geometry.tile_px

    @property
    def identity(self) -> str:
        """All that the networks follow from: both configs, with the hashes of the weights."""
        return json.dumps([each.config.to_json() for each in (self.risk, self.nuclei)])

    def build_for_openvino(self, precision: NetworkPrecision) -> ScoringNetwork:
        """Build both networks as OpenVINO runs them fastest, and in the precisions asked for.

        Parameters
        ----------
        precision : {"f32", "bf16"}
            Of the nuclei network.

        Raises
        ------
        ModelError
            The weights do not fit.
        """
        from qupath_hccmil.scoring.fused_networks import (
            with_convolutions_only,
            with_interpolation_by_matrices,
        )

        network = with_interpolation_by_matrices(self.build(), self.tile_px)
        return network if precision == "f32" else with_convolutions_only(network)

    def build(self) -> ScoringNetwork:
        """Build both networks with their weights, in evaluation mode.

        Raises
        ------
        ModelError
            The weights do not fit.
        """
        from qupath_hccmil.mil.tile_network import load_tile_network
        from qupath_hccmil.nuclei.architectures import load_nuclei_network
        from qupath_hccmil.scoring.fused_networks import ScoringNetwork

        unet, tile_network = load_nuclei_network(self.nuclei), load_tile_network(self.risk)
        return ScoringNetwork(unet, tile_network).eval()
