"""Encoder folders: ``weights.safetensors`` and ``encoder.json``, checked when they are loaded.

An encoder is a network of `timm` whose weights the user has, such as a foundation model with a
licence of its own. Nothing is ever downloaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from qupath_hccmil.atomic_files import atomic_folder
from qupath_hccmil.errors import ModelError, WriteError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.model_store.model_config import SMALLEST_TILE_PX
from qupath_hccmil.model_store.model_folder import WEIGHTS, file_sha256
from qupath_hccmil.settings_file import first_fault

if TYPE_CHECKING:
    from torch import Tensor

ENCODER = "encoder.json"
Pooling = Literal["model", "class token", "mean", "class token and mean"]
"""How the network's last layer becomes one vector; see :class:`EncoderConfig`."""

_Text = Annotated[str, Field(min_length=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Mean = Annotated[float, Field(ge=0, le=1)]
_Spread = Annotated[float, Field(gt=0, le=1)]
# Arguments with which timm would fetch or read other weights than those in the folder, or that
# the other fields give.
_NOT_ARGUMENTS = frozenset(
    {
        "cache_dir", "checkpoint_path", "features_only", "model_name", "num_classes",
        "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "scriptable",
    }
)  # fmt: skip


def _check_architecture(name: str) -> str:
    if ":" in name or "/" in name:
        raise ValueError("must be the name of a timm architecture; nothing is ever downloaded")
    return name


def _check_arguments(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    if wrong := sorted(_NOT_ARGUMENTS & arguments.keys()):
        raise ValueError(f"{wrong[0]} must not be among them; only the folder's weights are used")
    return arguments


@dataclass(frozen=True)
class EncoderConfig:
    """The whole content of ``encoder.json``.

    Attributes
    ----------
    name : str
        Name in files and messages: letters, digits, and ``._-``.
    architecture : str
        Name of the network in timm, such as ``vit_large_patch16_224``.
    arguments : mapping
        Arguments of ``timm.create_model``; the name of a layer of ``timm.layers`` or ``torch.nn``
        stands for that layer.
    mean, std : (3,) float
        RGB in [0, 1] is normalised by them, so they lie there too: those of RGB up to 255 are
        refused, with which features would be wrong and nothing would say so.
    mpp : float
        µm per pixel of the tiles that the network sees.
    tile_px : int
        Side of a tile, px.
    pooling : {"model", "class token", "mean", "class token and mean"}
        ``model`` is the network's own pooling. The others take the class token, the mean over the
        tile without class and register tokens, or both, one after the other.
    licence : str
        Licence of the weights.
    redistributable : bool
        Whether the files may be copied into model folders that are made with the encoder.
    weights_sha256 : str
        SHA-256 of ``weights.safetensors``.
    format : int
        Version of this file's format.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=80)]
    architecture: Annotated[_Text, AfterValidator(_check_architecture)]
    mean: tuple[_Mean, _Mean, _Mean]
    std: tuple[_Spread, _Spread, _Spread]
    mpp: _Positive
    tile_px: Annotated[int, Field(ge=SMALLEST_TILE_PX)]
    licence: _Text
    arguments: Annotated[Mapping[str, Any], AfterValidator(_check_arguments)] = field(
        default_factory=dict
    )
    pooling: Pooling = "model"
    redistributable: bool = False
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = ""
    format: Literal[1] = 1

    @property
    def geometry(self) -> TileGeometry:
        """Size of a tile; its side in µm without the rounding error of a product."""
        return TileGeometry(round(self.mpp * self.tile_px, 6), self.tile_px)

    @property
    def sha256(self) -> str:
        """SHA-256 of everything that determines features: the weights and how they are used.

        Of the same weights with another pooling, mean or pixel size, it is another.
        """
        used = {**asdict(self), "name": "", "licence": "", "redistributable": False}
        return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class EncoderFolder:
    """An encoder folder with a valid ``encoder.json``, and weights that match the hash in it."""

    path: Path
    config: EncoderConfig

    def weights(self) -> dict[str, Tensor]:
        """Read the weights as a state dict.

        Raises
        ------
        ModelError
            They cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(self.path / WEIGHTS))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{self.path / WEIGHTS}: cannot be read ({error})") from error


def load_encoder_folder(path: Path) -> EncoderFolder:
    """Load an encoder folder after checking it; the network is not made yet.

    Raises
    ------
    ModelError
        A file is missing, ``encoder.json`` is not valid (the message names the field), or the
        weights do not match the hash in it.
    """
    if not path.is_dir():
        raise ModelError(f"{path}: there is no such encoder folder")
    for name in (ENCODER, WEIGHTS):
        if not (path / name).is_file():
            raise ModelError(f"{path}: not an encoder folder, {name} is missing")
    config = _read_config(path / ENCODER)
    found = file_sha256(path / WEIGHTS)
    if found != config.weights_sha256:
        raise ModelError(
            f"{path / WEIGHTS}: sha256 {found[:12]}… is not the {config.weights_sha256[:12]}… of "
            f"{ENCODER}; these are other weights, or the file was not copied completely"
        )
    return EncoderFolder(path, config)


def save_encoder_folder(
    path: Path, config: EncoderConfig, weights: Mapping[str, Tensor]
) -> EncoderFolder:
    """Write an encoder folder completely or not at all, replacing an earlier one at this path.

    Parameters
    ----------
    path : Path
    config : EncoderConfig
        Its `weights_sha256` is filled in here.
    weights : mapping of str to Tensor
        State dict of the timm network.

    Raises
    ------
    ModelError
        The config is not valid, or `path` has other content.
    WriteError
        The system refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if path.exists() and not (path / ENCODER).is_file() and (path.is_file() or any(path.iterdir())):
        raise ModelError(f"{path}: is there already and is not an encoder folder; choose another")
    _checked(asdict(replace(config, weights_sha256="0" * 64)), path / ENCODER)
    with atomic_folder(path) as beside:
        try:
            save_file({name: each.contiguous() for name, each in weights.items()}, beside / WEIGHTS)
        except SafetensorError as error:
            raise WriteError(f"{path / WEIGHTS}: cannot be written: {error}") from error
        # safetensors makes the file private to its owner; other users should be able to read it.
        (beside / WEIGHTS).chmod(0o644)
        config = replace(config, weights_sha256=file_sha256(beside / WEIGHTS))
        text = json.dumps(asdict(config), indent=2, ensure_ascii=False) + "\n"
        (beside / ENCODER).write_text(text, encoding="utf-8")
    return EncoderFolder(path, config)


_NEEDED = (
    "name", "architecture", "mean", "std", "mpp", "tile_px", "licence", "weights_sha256",
)  # fmt: skip


def _read_config(path: Path) -> EncoderConfig:
    try:
        # users write this file, and editors of Windows put a byte order mark in front
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: top level: not an object")
    if absent := [name for name in _NEEDED if name not in content]:
        raise ModelError(f"{path}: {absent[0]} is missing")
    return _checked(content, path)


def _checked(content: Mapping[str, Any], path: Path) -> EncoderConfig:
    try:
        return _adapter().validate_json(json.dumps(content))
    except ValidationError as error:
        raise ModelError(f"{path}: {first_fault(error)}") from error


@cache
def _adapter() -> TypeAdapter[EncoderConfig]:
    return TypeAdapter(EncoderConfig)
