"""A risk model and its nuclei model, ready to score tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qupath_hccmil.mil.network import build_tile_network
from qupath_hccmil.model_folder import default_model_dir, load_model_folder
from qupath_hccmil.nuclei.unet import build_unet
from qupath_hccmil.scoring.networks import ScoringNetwork
from qupath_hccmil.scoring.runtime import DeviceName, Runtime, RuntimeName, load_runtime
from qupath_hccmil.slide.geometry import TileGeometry
from qupath_hccmil.slide.tissue import TissueRule
from qupath_hccmil.stain.vahadane import StainFit
