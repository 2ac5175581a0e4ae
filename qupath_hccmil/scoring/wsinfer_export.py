"""Export of a risk model for QuPath's WSInfer extension, as TorchScript and a config.

The network maps RGB to tile risk. The extension cuts tiles, resizes them, scales RGB to [0, 1],
runs the network, takes the softmax of its outputs as probabilities and gives each tile the class
with the highest one (``qupath-extension-wsinfer``, ``WSInfer.java``; its config follows
wsinfer-zoo's ``model-config.schema.json``).
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qupath_hccmil.atomic_files import atomic_folder
from qupath_hccmil.errors import ModelError
from qupath_hccmil.heads.head import Head, load_head
from qupath_hccmil.method.published_numbers import TILE_MPP
from qupath_hccmil.method.research_use import RESEARCH_USE, SURROGATE
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_config import HEAD_NAMES, ModelConfig, RiskConfig
from qupath_hccmil.model_store.model_folder import CARD, CONFIG, ModelFolder
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.scoring.fused_networks import FusedNetworks
from qupath_hccmil.scoring.scorer import ScorerSource, encoder_of

TORCHSCRIPT = "torchscript_model.pt"
# Not the classes of this program, so that `project clear` leaves WSInfer's tiles alone. No colon:
# a colon makes a derived class.
_ATTENTION = ("abmil", "additive")
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


class HeadTileNetwork(nn.Module):
    """An encoder and a head as one network, with outputs as those of `TileRiskNetwork`."""

    def __init__(self, encoder: nn.Module, head: Head) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, 3, h, w) float RGB in [0, 1] to (n, 2) float."""
        # Encoders take RGB as it is read, in 0 to 255 with the channels last.
        logits = self.head.tile_logits(self.encoder(image.permute(0, 2, 3, 1) * 255))
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
    risk_folder, nuclei_folder = models.folders
    config = risk_folder.config
    assert config.risk is not None, "the schema asks for it in a mil model"
    network = TileRiskNetwork(load_nuclei_network(nuclei_folder), load_tile_network(risk_folder))
    slide = f"signed generalised mean, p = {config.risk.p:g}"
    losses = _losses(config.risk, slide, stain=True)
    return write_export(out, network, config, "mobilenetv2_100", losses)


def export_head(folder: ModelFolder, encoder: Path | None, out: Path) -> WsinferExport:
    """Write a head with its encoder as one network for the WSInfer extension.

    WSInfer judges each tile by itself. It can run heads whose tile logits do not depend on the
    other tiles: all but the transformer. Weights of attention are lost.

    Parameters
    ----------
    folder : ModelFolder
        Of a head.
    encoder : Path, optional
        Encoder folder; by default the one within the model folder, or the encoder that ships.
    out : Path
        As for :func:`export_wsinfer`.

    Raises
    ------
    ModelError
        WSInfer cannot run the head, its encoder is not found, or `out` has other content.
    PackageError
        The encoder needs timm, which is not installed.
    WriteError
        The system refuses.
    """
    config = folder.config
    name = config.architecture["name"]
    head = load_head(folder)
    if head.sees_neighbours:
        able = ", ".join(each for each in HEAD_NAMES if each != name)
        raise ModelError(
            f"{folder.path}: its tiles see one another (head {name}), but WSInfer judges each tile "
            f"by itself; it can run the heads {able}, and networks for tiles"
        )
    assert config.risk is not None, "the schema asks for it in a mil model"
    assert config.features is not None, "the schema asks for it in a head"
    found = encoder_of(folder, [] if encoder is None else [encoder])
    slide = f"head {name}" + (", with weights of attention" if name in _ATTENTION else "")
    losses = _losses(config.risk, slide, stain=config.features.stain != "none")
    network = HeadTileNetwork(found.build(), head)
    config = replace(config, geometry=found.geometry)
    return write_export(out, network, config, found.name, losses)


def write_export(
    out: Path, network: nn.Module, config: ModelConfig, architecture: str, losses: list[str]
) -> WsinferExport:
    """Write a network that maps RGB to two outputs per tile, its config and its card.

    Raises
    ------
    ModelError
        `out` has other content.
    WriteError
        The system refuses.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not _is_export(out))):
        raise ModelError(
            f"{out}: contains other files and no earlier export; choose another folder"
        )
    surrogate = config.risk is not None and config.risk.surrogate
    card = _CARD.format(
        name=config.name,
        sha256=config.weights_sha256,
        research=RESEARCH_USE,
        surrogate=f" {SURROGATE}" if surrogate else "",
        losses="\n".join(f"- {loss}" for loss in losses),
    )
    traced = torchscript(network.eval(), config.geometry.tile_px)
    with atomic_folder(out) as beside:
        (beside / TORCHSCRIPT).write_bytes(traced.save_to_buffer())
        content = json.dumps(wsinfer_config(config, architecture), indent=2) + "\n"
        (beside / CONFIG).write_text(content, encoding="utf-8")
        (beside / CARD).write_text(card, encoding="utf-8")
    return WsinferExport(out, losses)


def wsinfer_config(config: ModelConfig, architecture: str) -> dict[str, Any]:
    """Make the content of ``config.json`` for the extension.

    The size of a tile is given at `TILE_MPP`; the extension resizes it once, as scoring does.
    """
    geometry = config.geometry
    patch = round(geometry.tile_um / TILE_MPP)
    return {
        "spec_version": "1.0",
        "architecture": architecture,
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


def _losses(risk: RiskConfig, slide: str, *, stain: bool) -> list[str]:
    normalised = [
        "Stain normalisation: `score` brings each slide to the model's reference; here the "
        "network sees the pixels as they are, so risks shift with staining and scanner."
    ]
    return [
        *(normalised if stain else []),
        f"The slide's score: `score` aggregates all tiles ({slide}); here every tile is judged by "
        "itself.",
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

    Raises
    ------
    ModelError
        The network cannot be traced: what it does depends on the tiles.
    """
    # Two tiles, so that the number of tiles is not traced as a constant.
    example = torch.zeros((2, 3, tile_px, tile_px))
    with torch.inference_mode(), warnings.catch_warnings():
        # Warnings about the future of TorchScript are not for users; the extension needs it. Since
        # torch 2.14 they are FutureWarnings, before that they were DeprecationWarnings.
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", "`torch.jit", category)
        # Networks of timm compare the size of a tile with their own, which is the same each time.
        warnings.filterwarnings("ignore", "Converting a tensor to a Python")
        traced = torch.jit.trace(network, example, check_trace=False)
        other = torch.rand((1, 3, tile_px, tile_px), generator=torch.Generator().manual_seed(0))
        for ours, theirs in zip(_outputs(network(other)), _outputs(traced(other)), strict=True):
            if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
                raise ModelError(
                    "the network does other things with other tiles, so that it cannot be written "
                    "as TorchScript"
                )
        return traced


def _outputs(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)
