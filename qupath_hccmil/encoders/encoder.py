"""Encoders to choose from: folders of timm networks, and tile networks of risk models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from qupath_hccmil.encoders.encoder_folder import ENCODER, EncoderFolder, load_encoder_folder
from qupath_hccmil.errors import DataError, ModelError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.model_store.model_folder import (
    CONFIG,
    ModelFolder,
    default_model_dir,
    load_model_folder,
    nuclei_model_of,
)
from qupath_hccmil.stain.reference import default_reference, stored_reference
from qupath_hccmil.stain.vahadane import StainFit

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Encoder:
    """A network that turns a tile into features, and the tiles that it is for.

    Attributes
    ----------
    name : str
    sha256 : str
        SHA-256 of everything that determines the features of a tile.
    geometry : TileGeometry
        Tiles that it sees.
    path : Path
        Its folder.
    licence : str
    redistributable : bool
        Whether its files may be copied into model folders.
    stain_target : StainFit
        What slides are normalised to for it.
    needs_stain : bool
        Whether it knows normalised colours only.
    build : callable
        Makes the network, in evaluation mode: (n, h, w, 3) uint8 RGB to (n, d) float. It raises
        `ModelError` or `PackageError`.
    made_by : str
        Library that makes the network, with its version; empty for our own networks.
    """

    name: str
    sha256: str
    geometry: TileGeometry
    path: Path
    licence: str
    redistributable: bool
    stain_target: StainFit
    needs_stain: bool
    build: Callable[[], nn.Module] = field(repr=False)
    made_by: str = ""


def load_encoder(path: Path | None = None) -> Encoder:
    """Check an encoder; its network is made when it is needed.

    Parameters
    ----------
    path : Path, optional
        Encoder folder, or the folder of a risk model, whose tile network is taken without its
        last layer. Default: the risk model that ships.

    Raises
    ------
    ModelError
        The folder is neither, or something in it is missing, not valid or has the wrong hash.
    """
    if path is None:
        return _of_risk_model(load_model_folder(default_model_dir("mil"), "mil"))
    if not (path / ENCODER).is_file() and (path / CONFIG).is_file():
        return _of_risk_model(load_model_folder(path, "mil"))
    folder = load_encoder_folder(path)
    return Encoder(
        folder.config.name,
        folder.config.sha256,
        folder.config.geometry,
        path,
        folder.config.licence,
        folder.config.redistributable,
        default_reference(),
        needs_stain=False,
        build=partial(_timm_network, folder),
        made_by=_timm_version(),
    )


def load_encoders(paths: Sequence[Path]) -> list[Encoder]:
    """Check several encoders; without any, the one that ships is taken.

    Raises
    ------
    ModelError
        See :func:`load_encoder`.
    DataError
        Two have the same name.
    """
    encoders = [load_encoder(path) for path in paths] or [load_encoder()]
    known: dict[str, Encoder] = {}
    for each in encoders:
        # Their files would stand in the same folder, on Windows and macOS in any case.
        same = known.setdefault(each.name.lower(), each)
        if same is not each:
            raise DataError(
                f"{each.path}: is named {each.name!r}, as is {same.path}; give one of them "
                f"another name in its {ENCODER}"
            )
    return encoders


def find_encoder(name: str, sha256: str, folders: Sequence[Path], needed_by: str) -> Encoder:
    """Find the encoder that a model was trained with, in folders or as the one that ships.

    Parameters
    ----------
    name, sha256 : str
        As in the files of its features.
    folders : sequence of Path
        Encoder folders to look at; those that are not there are passed over.
    needed_by : str
        What needs it, for messages.

    Raises
    ------
    ModelError
        None is it, or a folder cannot be used.
    """
    candidates = [load_encoder(path) for path in folders if path.is_dir()]
    for each in [*candidates, load_encoder()]:
        if each.sha256 == sha256:
            return each
    looked = "".join(f"; {each.path} is {each.name} {each.sha256[:12]}…" for each in candidates)
    raise ModelError(
        f"{needed_by}: needs the encoder {name} {sha256[:12]}…; give its folder with "
        f"--encoder DIR{looked}"
    )


def _of_risk_model(risk: ModelFolder) -> Encoder:
    if risk.config.architecture["name"] != "mobilenet_v2":
        raise ModelError(f"{risk.path}: has no tile network to take features from")
    nuclei = nuclei_model_of(risk)
    target = stored_reference(risk.config.stain_reference, risk.path)
    geometry = risk.config.geometry
    used = {
        "risk": risk.config.weights_sha256,
        "nuclei": nuclei.config.weights_sha256,
        "stain": target.to_dict(),
        "tile": [geometry.tile_um, geometry.tile_px],
    }
    return Encoder(
        risk.config.name,
        hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest(),
        geometry,
        risk.path,
        "see the model card",
        True,
        target,
        needs_stain=True,
        build=partial(_tile_network, risk, nuclei),
    )


def _timm_version() -> str:
    try:
        return f"timm {version('timm')}"
    except PackageNotFoundError:
        return "timm"


def _timm_network(folder: EncoderFolder) -> nn.Module:
    from qupath_hccmil.encoders.timm_network import TimmEncoder

    return TimmEncoder(folder).eval()


def _tile_network(risk: ModelFolder, nuclei: ModelFolder) -> nn.Module:
    from qupath_hccmil.encoders.tile_encoder import TileEncoder

    return TileEncoder(risk, nuclei).eval()
