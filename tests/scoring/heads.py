"""Model folders of heads with random weights, on features of a tiny encoder."""

from pathlib import Path

import torch

from qupath_hccmil.encoders.encoder import Encoder
from qupath_hccmil.heads.head import make_head
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.model_store.model_config import FeatureConfig, ModelConfig, RiskConfig
from qupath_hccmil.model_store.model_folder import save_model_folder


def head_model(
    path: Path,
    encoder: Encoder,
    width: int,
    *,
    name: str = "abmil",
    stain: str | None = "none",
    copied: bool = True,
    sha256: str | None = "",
) -> Path:
    """Save a head whose contributions differ from tile to tile."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        head = make_head(name, width)
        for weights in head.parameters():
            torch.nn.init.normal_(weights, std=0.3)
    config = ModelConfig(
        "mil",
        "tiny-head",
        "1",
        {"name": name, "width": width},
        TileGeometry(encoder.geometry.tile_um, encoder.geometry.tile_px),
        risk=RiskConfig(3 if name == "published" else 1, 0.5, "none", False, None, 2.0),
        features=FeatureConfig(
            encoder.name,
            encoder.sha256 if sha256 == "" else sha256,
            width,
            encoder.geometry.tile_um,
            encoder.geometry.tile_px,
            stain,
        ),
    )
    folder = encoder.path if copied else None
    return save_model_folder(path, config, head.state_dict(), "", folder).path
