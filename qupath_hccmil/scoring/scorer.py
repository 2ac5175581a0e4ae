"""A risk model and its nuclei model, ready to score tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from qupath_hccmil.encoders.encoder import Encoder, find_encoder, load_encoder
from qupath_hccmil.errors import ModelError
from qupath_hccmil.method.aggregation import group_name
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.model_store.model_folder import (
    ENCODER,
    ModelFolder,
    default_model_dir,
    load_model_folder,
    nuclei_model_of,
)
from qupath_hccmil.scoring.devices import DeviceName, RuntimeName, resolve
from qupath_hccmil.scoring.encoder_runtime import load_encoder_runtime
from qupath_hccmil.scoring.judge import HeadOnFeatures, Judge, TileNetworks
from qupath_hccmil.scoring.networks import Networks
from qupath_hccmil.scoring.precision import TILE_PRECISION, NetworkPrecision, PrecisionName
from qupath_hccmil.scoring.runtime import RuntimeOptions, load_runtime
from qupath_hccmil.slides.open_slide import RESAMPLER
from qupath_hccmil.slides.tissue import TissueRule
from qupath_hccmil.stain.reference import stored_reference
from qupath_hccmil.stain.vahadane import StainFit


@dataclass(frozen=True)
class Scorer:
    """The networks and the numbers that belong to them.

    Attributes
    ----------
    name, weights_sha256 : str
        Name and weights of the risk model.
    identity : str
        Identity of weights, p, t and T; scores with another identity are stale.
    surrogate : bool
        Whether the model was trained on simulated labels.
    below : mapping of str to str
        Facts about the network below the risk model: its nuclei model, or a head's encoder.
    geometry : TileGeometry
    tissue_rule : TissueRule
    stain_target : StainFit or None
        Stains that slides are normalised to; None leaves their colours.
    p : float
        Exponent of the generalised mean.
    threshold : float
        A risk above it is high.
    temperature : float
        T of the calibration; logits are divided by it.
    judge : Judge
    precision : mapping of str to str
        Of each network.
    """

    name: str
    weights_sha256: str
    identity: str
    surrogate: bool
    below: Mapping[str, str]
    geometry: TileGeometry
    tissue_rule: TissueRule
    stain_target: StainFit | None
    p: float
    threshold: float
    temperature: float
    judge: Judge
    precision: Mapping[str, str]

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the scorer that are recorded with its scores."""
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "surrogate": self.surrogate,
            **self.below,
            "p": self.p,
            "threshold": self.threshold,
            "temperature": self.temperature,
            "runtime": self.judge.name,
            **self.precision,
        }

    def group(self, risk: float) -> str:
        """Name of the risk group: ``high`` or ``low``."""
        return group_name(risk, self.threshold)


class ScorerSource:
    """A risk model with what it needs, checked at once but loaded only when needed.

    Parameters
    ----------
    model : Path, optional
        Folder of a risk model, a tile network or a head; by default the model that ships.
    runtime, device, precision, threads
        See :class:`RuntimeOptions`.
    encoders : sequence of Path
        Folders in which the encoder of a head may be, next to the usual ones.

    Raises
    ------
    ModelError
        A folder is incomplete or has the wrong hash, or two models do not belong together.
    """

    def __init__(
        self,
        model: Path | None = None,
        *,
        runtime: RuntimeName = "auto",
        device: DeviceName = "auto",
        precision: PrecisionName = "auto",
        threads: int | None = None,
        encoders: Sequence[Path] = (),
    ) -> None:
        self._risk = load_model_folder(model or default_model_dir("mil"), "mil")
        self._options = RuntimeOptions(runtime, device, precision, threads)
        self._scorer: Scorer | None = None
        self._below: ModelFolder | Encoder
        if self._risk.config.is_head:
            self._below = encoder_of(self._risk, encoders)
        else:
            self._below = nuclei_model_of(self._risk)
            _check_pixels(self._risk, self._below)

    @property
    def risk(self) -> ModelFolder:
        """Folder of the risk model."""
        return self._risk

    @property
    def folders(self) -> tuple[ModelFolder, ModelFolder]:
        """Folders of the risk model and of its nuclei model.

        Raises
        ------
        ModelError
            The model is a head, which has no nuclei model.
        """
        if isinstance(self._below, Encoder):
            raise ModelError(f"{self._risk.path}: is a head on features, not a tile network")
        return self._risk, self._below

    @property
    def below(self) -> dict[str, str]:
        """Facts about the network below the risk model: its nuclei model, or a head's encoder."""
        if isinstance(self._below, Encoder):
            return {"encoder": self._below.name, "encoder_sha256": self._below.sha256}
        config = self._below.config
        return {"nuclei_name": config.name, "nuclei_weights_sha256": config.weights_sha256}

    @property
    def geometry(self) -> TileGeometry:
        """Geometry of the tiles that the networks see."""
        return (
            self._below.geometry if isinstance(self._below, Encoder) else self._risk.config.geometry
        )

    @property
    def is_head(self) -> bool:
        """Whether the model is a head on features of an encoder."""
        return self._risk.config.is_head

    @property
    def identity(self) -> str:
        """Identity of the risk model, which names its nuclei model or its encoder."""
        return self._risk.identity

    @cached_property
    def precision(self) -> NetworkPrecision:
        """Precision of the nuclei network, ``f32`` or ``bf16``; that of the tile network is f32.

        It is known before the networks are loaded. A head and its encoder compute in f32.

        Raises
        ------
        ModelError
            The device, the runtime or the precision is not available here.
        """
        if self.is_head:
            resolve(self._options.runtime, self._options.device)
            return TILE_PRECISION
        return self._options.nuclei_precision()

    @property
    def facts(self) -> dict[str, Any] | None:
        """Facts about the scorer as plain data; None if nothing had to be scored."""
        return None if self._scorer is None else self._scorer.facts

    def scorer(self) -> Scorer:
        """Load the networks on the first call, and return the same ones afterwards.

        Raises
        ------
        ModelError
            The weights do not fit, or the device or runtime is not available here.
        PackageError
            The encoder of a head needs a package that is not installed.
        """
        if self._scorer is None:
            below = self._below.sha256 if isinstance(self._below, Encoder) else self._below.identity
            self._scorer = _load(
                self._risk.path, self._below.path, (self._risk.identity, below), self._options
            )
        return self._scorer


def encoder_of(head: ModelFolder, folders: Sequence[Path] = ()) -> Encoder:
    """Find the encoder of a head: in its folder, next to it, in `folders`, or the one that ships.

    Raises
    ------
    ModelError
        It is in none of these, or the head's features do not say what it is.
    """
    wanted = head.config.features
    assert wanted is not None, "the schema asks for it in a head"
    if wanted.encoder is None or wanted.encoder_sha256 is None:
        raise ModelError(
            f"{head.path}: was trained on features whose files do not say which encoder made them, "
            "so that it has none to score with; train on files of the command features"
        )
    usual = [head.path / ENCODER, head.path.resolve().parent / wanted.encoder]
    needed_by = str(head.path)
    return find_encoder(wanted.encoder, wanted.encoder_sha256, [*folders, *usual], needed_by)


@lru_cache(maxsize=1)
def _load(
    risk: Path,
    below: Path,
    identities: tuple[str, str],  # noqa: ARG001 - a changed model is loaded again
    options: RuntimeOptions,
) -> Scorer:
    """Load networks, only once for several projects in one process."""
    folder = load_model_folder(risk, "mil")
    config = folder.config
    assert config.risk is not None, "the schema asks for it in a mil model"
    make = _head_parts if config.is_head else _network_parts
    return Scorer(
        name=config.name,
        weights_sha256=config.weights_sha256,
        identity=folder.identity,
        surrogate=config.risk.surrogate,
        tissue_rule=TissueRule(),
        p=config.risk.p,
        threshold=config.risk.threshold,
        temperature=config.risk.temperature,
        **make(folder, config.risk.p, below, options),
    )


def _network_parts(
    risk: ModelFolder, p: float, below: Path, options: RuntimeOptions
) -> dict[str, Any]:
    """What is special of a scorer with a tile network."""
    nuclei = load_model_folder(below, "nuclei")
    runtime = load_runtime(Networks(risk, nuclei), options)
    return {
        "below": {
            "nuclei_name": nuclei.config.name,
            "nuclei_weights_sha256": nuclei.config.weights_sha256,
        },
        "geometry": risk.config.geometry,
        "stain_target": stored_reference(risk.config.stain_reference, risk.path),
        "judge": TileNetworks(runtime, p),
        "precision": {"nuclei_precision": runtime.precision, "tile_precision": TILE_PRECISION},
    }


def _head_parts(
    head: ModelFolder,
    p: float,  # noqa: ARG001 - the head knows its own
    below: Path,
    options: RuntimeOptions,
) -> dict[str, Any]:
    """What is special of a scorer with a head on features."""
    from qupath_hccmil.heads.head import load_head

    encoder = load_encoder(below)
    features = head.config.features
    assert features is not None, "the schema asks for it in a head"
    runtime = load_encoder_runtime(
        encoder, runtime=options.runtime, device=options.device, half=False
    )
    return {
        "below": {"encoder": encoder.name, "encoder_sha256": encoder.sha256},
        "geometry": encoder.geometry,
        "stain_target": None if features.stain == "none" else encoder.stain_target,
        "judge": HeadOnFeatures(runtime, load_head(head)),
        "precision": {"encoder_precision": TILE_PRECISION},
    }


def _check_pixels(*folders: ModelFolder) -> None:
    """Refuse models that expect other pixels than the pipeline produces."""
    for folder in folders:
        config = folder.config
        if config.resampler != RESAMPLER:
            raise ModelError(
                f"{folder.path}: resampler {config.resampler!r} is unknown; only {RESAMPLER!r} "
                "is supported"
            )
        if config.colour != "stain-normalised":
            raise ModelError(f"{folder.path}: colour {config.colour!r} cannot be scored")
        if config.geometry != folders[0].config.geometry:
            raise ModelError(f"{folder.path}: its tiles differ from those of {folders[0].path}")
