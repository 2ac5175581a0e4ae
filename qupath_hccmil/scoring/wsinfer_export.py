"""Export of a risk model for QuPath's WSInfer extension, as TorchScript and a config.

The network maps RGB to tile risk. The extension cuts tiles, resizes them, scales RGB to [0, 1],
runs the network, takes the softmax of its outputs as probabilities and gives each tile the class
with the highest one (``qupath-extension-wsinfer``, ``WSInfer.java``; its config follows
wsinfer-zoo's ``model-config.schema.json``).
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qupath_hccmil.atomic_files import atomic_folder
from qupath_hccmil.errors import ModelError
from qupath_hccmil.method.published_numbers import TILE_MPP
from qupath_hccmil.method.research_use import RESEARCH_USE, SURROGATE
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_config import ModelConfig, RiskConfig
from qupath_hccmil.model_store.model_folder import CARD, CONFIG
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.scoring.fused_networks import FusedNetworks
from qupath_hccmil.scoring.scorer import ScorerSource

TORCHSCRIPT = "torchscript_model.pt"
# Not the classes of this program, so that `project clear` leaves WSInfer's tiles alone. No colon:
# a colon makes a derived class.
CLASS_NAMES = ("Lower recurrence risk", "Higher recurrence risk")

_CARD = """# {name} for WSInfer

Tile risk of the risk model {name} (weights {sha256}), for QuPath's WSInfer extension: put this
folder into the extension's directory of user models. {research}{surrogate}

What `qupath-hccmil score` does and this export does not:

{losses}
"""


class TileRiskNetwork(FusedNetworks):
    """Maps RGB tiles to two outputs with softmax (1 − r, r), where r is the risk of the tile."""

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, 3, h, w) float RGB in [0, 1] to (n, 2) float."""
        logits, _ = self.logits_and_heat_map(image)
        return torch.stack([-0.5 * logits, 0.5 * logits], dim=1)


@dataclass(frozen=True)
class WsinferExport:
    """The written export, and what is lost compared with scoring.

    Attributes
    ----------
    folder : Path
    losses : list of str
        One sentence each.
    """

    folder: Path
    losses: list[str]


def export_wsinfer(models: ScorerSource, out: Path) -> WsinferExport:
    """Write a risk model with its nuclei model as one network for the WSInfer extension.

    Parameters
    ----------
    models : ScorerSource
        The risk model and its nuclei model.
    out : Path
        Folder for ``torchscript_model.pt``, ``config.json`` and ``README.md``, written completely
        or not at all; an earlier export is replaced. QuPath shows the model under its name.

    Raises
    ------
    ModelError
        `out` has other content, or the weights do not fit.
    WriteError
        The system refuses.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not _is_export(out))):
        raise ModelError(
            f"{out}: contains other files and no earlier export; choose another folder"
        )
    risk_folder, nuclei_folder = models.folders
    config = risk_folder.config
    assert config.risk is not None, "the schema asks for it in a mil model"
    network = TileRiskNetwork(load_nuclei_network(nuclei_folder), load_tile_network(risk_folder))
    losses = _losses(config.risk)
    card = _CARD.format(
        name=config.name,
        sha256=config.weights_sha256,
        research=RESEARCH_USE,
        surrogate=f" {SURROGATE}" if config.risk.surrogate else "",
        losses="\n".join(f"- {loss}" for loss in losses),
    )
    traced = torchscript(network.eval(), config.geometry.tile_px)
    with atomic_folder(out) as beside:
        (beside / TORCHSCRIPT).write_bytes(traced.save_to_buffer())
        content = json.dumps(wsinfer_config(config), indent=2) + "\n"
        (beside / CONFIG).write_text(content, encoding="utf-8")
        (beside / CARD).write_text(card, encoding="utf-8")
    return WsinferExport(out, losses)


def wsinfer_config(config: ModelConfig) -> dict[str, Any]:
    """Make the content of ``config.json`` for the extension.

    The size of a tile is given at `TILE_MPP`; the extension resizes it once, as scoring does.
    """
    geometry = config.geometry
    patch = round(geometry.tile_um / TILE_MPP)
    return {
        "spec_version": "1.0",
        "architecture": "mobilenetv2_100",
        "num_classes": len(CLASS_NAMES),
        "patch_size_pixels": patch,
        "spacing_um_px": geometry.tile_um / patch,
        "class_names": list(CLASS_NAMES),
        "transform": [
            {"name": "Resize", "arguments": {"size": geometry.tile_px}},
            {"name": "ToTensor"},
        ],
    }


def _is_export(folder: Path) -> bool:
    return (folder / TORCHSCRIPT).is_file() and (folder / CONFIG).is_file()


def _losses(risk: RiskConfig) -> list[str]:
    return [
        "Stain normalisation: `score` brings each slide to the model's reference; here the "
        "network sees the pixels as they are, so risks shift with staining and scanner.",
        f"The slide's score: `score` aggregates all tiles (signed generalised mean, "
        f"p = {risk.p:g}); here every tile is judged by itself.",
        f"The threshold: the model's is {risk.threshold:.4f}, but WSInfer calls a tile "
        f"“{CLASS_NAMES[1]}” above 0.5.",
        "The choice of tiles: tiles without tissue in focus, which `score` leaves out, are scored "
        "too; QuPath lays the grid over each annotation and resamples the pixels.",
        "Provenance: the weights of the model are not recorded with the measurements.",
    ]


def torchscript(network: nn.Module, tile_px: int) -> torch.jit.ScriptModule:
    """Trace a network with RGB tiles, without warnings.

    Parameters
    ----------
    network : nn.Module
        Maps (n, 3, tile_px, tile_px) float RGB in [0, 1] to any output.
    tile_px : int
    """
    # Two tiles, so that the number of tiles is not traced as a constant.
    example = torch.zeros((2, 3, tile_px, tile_px))
    with torch.inference_mode(), warnings.catch_warnings():
        # Warnings about the future of TorchScript are not for users; the extension needs it. Since
        # torch 2.14 they are FutureWarnings, before that they were DeprecationWarnings.
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", "`torch.jit", category)
        return torch.jit.trace(network, example, check_trace=False)
