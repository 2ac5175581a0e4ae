"""Tiny encoders of random weights, as folders."""

from pathlib import Path

import pytest
import torch

from qupath_hccmil.encoders.encoder_folder import EncoderConfig, EncoderFolder, save_encoder_folder

ARGUMENTS = {"depth": 1, "embed_dim": 12, "num_heads": 2, "img_size": 64, "patch_size": 16}
WIDTH = 12


def tiny_encoder(path: Path, name: str = "tiny", seed: int = 0, **more) -> EncoderFolder:
    """A vision transformer of one block, for tiles of 128 µm in 64 px."""
    timm = pytest.importorskip("timm", reason="timm is not installed")
    config = EncoderConfig(
        **{
            "name": name,
            "architecture": "vit_tiny_patch16_224",
            "mean": (0.5, 0.6, 0.5),
            "std": (0.5, 0.4, 0.5),
            "mpp": 2.0,
            "tile_px": 64,
            "licence": "CC0-1.0",
            "arguments": ARGUMENTS,
            **more,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = timm.create_model(config.architecture, num_classes=3, **ARGUMENTS)
    return save_encoder_folder(path, config, network.state_dict())
