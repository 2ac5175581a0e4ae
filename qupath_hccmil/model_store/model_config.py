"""The content of ``config.json`` in a model folder, defined once for reading and writing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from qupath_hccmil.errors import ModelError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.settings_file import first_fault

ModelKind = Literal["nuclei", "mil"]
HeadName = Literal["published", "mean", "abmil", "additive", "transformer"]
HEAD_NAMES: tuple[HeadName, ...] = get_args(HeadName)
Colour = Literal["stain-normalised", "luminosity-standardised"]

SMALLEST_TILE_PX = 32

_STRICT = ConfigDict(extra="forbid", strict=True)
_Text = Annotated[str, Field(min_length=1)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class ModelReference:
    """A reference to another model, by its name and the hash of its weights."""

    __pydantic_config__ = _STRICT

    name: _Text
    sha256: _Sha256


@dataclass(frozen=True)
class DataUse:
    """A data set that was used to make a model."""

    __pydantic_config__ = _STRICT

    name: _Text
    licence: _Text
    source: _Text
    use: _Text


@dataclass(frozen=True)
class RiskConfig:
    """The numbers that turn tile logits into a risk.

    Attributes
    ----------
    p : float
        Exponent of the generalised mean.
    threshold : float
        A risk above it is high; in (0, 1).
    label : str
        What the model was trained to predict, and in which direction the risk rises.
    surrogate : bool
        Whether the label was simulated and not observed in patients.
    nuclei_model : ModelReference or None
        The nuclei model whose heat maps the tile network was trained with; None for a head.
    temperature : float
        T of the calibration ``r = sigmoid(S/T)``; tile logits are divided by it. 1 for models
        that were made before calibration existed.
    """

    __pydantic_config__ = _STRICT

    p: _Positive
    threshold: Annotated[float, Field(gt=0, lt=1)]
    label: _Text
    surrogate: bool
    nuclei_model: ModelReference | None
    temperature: _Positive = 1.0


@dataclass(frozen=True)
class FeatureConfig:
    """The features that a head was trained on; None for what their files did not say.

    Attributes
    ----------
    encoder : str or None
        Name of the encoder.
    encoder_sha256 : str or None
        Hash of everything in the encoder that determines features.
    width : int
        Number of features of a tile.
    tile_um : float or None
        Side of a tile on the slide, µm.
    tile_px : int or None
        Side of a tile as the encoder saw it, px.
    stain : str or None
        Stain normalisation of the tiles, as in the files.
    """

    __pydantic_config__ = _STRICT

    encoder: _Text | None
    encoder_sha256: _Sha256 | None
    width: Annotated[int, Field(ge=1)]
    tile_um: _Positive | None
    tile_px: Annotated[int, Field(ge=1)] | None
    stain: _Text | None


@dataclass(frozen=True)
class _StainReference:
    """Schema of `ModelConfig.stain_reference`."""

    __pydantic_config__ = _STRICT

    matrix: Annotated[
        list[Annotated[list[float], Field(min_length=3, max_length=3)]],
        Field(min_length=2, max_length=2),
    ]
    max_concentration: Annotated[list[_Positive], Field(min_length=2, max_length=2)]
    luminosity: _Positive


def _check_geometry(geometry: TileGeometry) -> TileGeometry:
    if geometry.tile_um <= 0:
        raise ValueError("tile_um must be greater than 0")
    if geometry.tile_px < SMALLEST_TILE_PX:
        raise ValueError(f"tile_px must be at least {SMALLEST_TILE_PX}")
    return geometry


def _check_stain(content: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if content is not None:
        TypeAdapter(_StainReference).validate_json(json.dumps(content))
    return content


_NETWORKS = ("unet", "mobilenet_unet", "mobilenet_v2")


def _check_architecture(content: Mapping[str, Any]) -> Mapping[str, Any]:
    known = (*_NETWORKS, *HEAD_NAMES)
    if content.get("name") not in known:
        raise ValueError(f"its name must be one of {', '.join(known)}")
    return content


@dataclass(frozen=True)
class ModelConfig:
    """The whole content of ``config.json``.

    Attributes
    ----------
    kind : {"nuclei", "mil"}
    name, version : str
    architecture : mapping
        ``name`` and the arguments of the network's constructor. A mil model is a tile network, or a
        head on features.
    geometry : TileGeometry
    resampler : str
        How the pixels of a tile are resized to the size that the networks see.
    colour : {"stain-normalised", "luminosity-standardised"}
        The RGB that the network sees.
    stain_reference : mapping or None
        Target of the stain normalisation.
    data : tuple of DataUse
        Data sets that the model was made from.
    training, metrics : mapping
        Settings of the training and performance figures, for people to read.
    risk : RiskConfig or None
        Present only for a mil model.
    features : FeatureConfig or None
        Present only for a head.
    weights_sha256 : str
        Hash of the weights, set when the model folder is saved.
    format : int
        Version of this file's format.
    """

    __pydantic_config__ = _STRICT

    kind: ModelKind
    name: Annotated[str, Field(pattern="^[A-Za-z0-9._-]+$")]
    version: _Text
    architecture: Annotated[Mapping[str, Any], AfterValidator(_check_architecture)]
    geometry: Annotated[TileGeometry, AfterValidator(_check_geometry)] = field(
        default_factory=TileGeometry
    )
    resampler: Literal["pillow-bilinear"] = "pillow-bilinear"
    colour: Colour = "stain-normalised"
    stain_reference: Annotated[Mapping[str, Any] | None, AfterValidator(_check_stain)] = None
    data: tuple[DataUse, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    risk: RiskConfig | None = None
    features: FeatureConfig | None = None
    weights_sha256: _Sha256 = ""
    format: Literal[1] = 1

    @property
    def is_head(self) -> bool:
        """Whether the model is a head on features, and not a network for tiles."""
        return self.architecture["name"] in HEAD_NAMES

    @property
    def nuclei_model(self) -> ModelReference:
        """The nuclei model of a tile network.

        Raises
        ------
        ModelError
            The model is a head, or not a risk model.
        """
        if self.risk is None or self.risk.nuclei_model is None:
            raise ModelError(
                f"{self.name}: is not a network for tiles with heat maps of nuclei; a head on "
                "features needs --features"
            )
        return self.risk.nuclei_model

    def to_json(self) -> dict[str, Any]:
        """Return the content as it is written to ``config.json``.

        Only a head has ``features``, so that files of other models are as they were before there
        were heads, and readable by versions of that time.
        """
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if self.features is None:
            del content["features"]
        return content

    @classmethod
    def from_json(cls, content: Any, path: Path) -> ModelConfig:
        """Check the content of a ``config.json`` and return it.

        Raises
        ------
        ModelError
            The content is not valid; the message names `path` and the field.
        """
        if not isinstance(content, dict):
            raise ModelError(f"{path}: top level: not an object")
        # A missing field must not silently get the default value of a new model.
        needed = [each.name for each in fields(cls) if each.name != "features"]
        if absent := [name for name in needed if name not in content]:
            raise ModelError(f"{path}: {absent[0]} is missing")
        try:
            config = _adapter().validate_json(json.dumps(content))
        except ValidationError as error:
            raise ModelError(f"{path}: {first_fault(error)}") from error
        if (config.risk is not None) != (config.kind == "mil"):
            needs = "needs this section" if config.kind == "mil" else "must not have this section"
            raise ModelError(f"{path}: risk: a {config.kind} model {needs}")
        _check_head(config, path)
        return config


def _check_head(config: ModelConfig, path: Path) -> None:
    """Refuse a config that is partly that of a head and partly that of a network for tiles."""
    name = config.architecture["name"]
    if config.is_head != (config.features is not None):
        needs = "is missing; a head needs it" if config.is_head else f"{name} must not have it"
        raise ModelError(f"{path}: features: {needs}")
    if config.is_head and config.kind != "mil":
        raise ModelError(f"{path}: kind: a head ({name}) is a mil model, not {config.kind}")
    if config.risk is not None and config.is_head == (config.risk.nuclei_model is not None):
        needs = "a head has none" if config.is_head else "a tile network needs one"
        raise ModelError(f"{path}: risk.nuclei_model: {needs}")


@cache
def _adapter() -> TypeAdapter[ModelConfig]:
    return TypeAdapter(ModelConfig)
