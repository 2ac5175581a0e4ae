"""A risk model and its nuclei model, ready to score tiles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import ModelError
from qupath_hccmil.method.aggregation import group_name
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_folder import (
    ModelFolder,
    default_model_dir,
    load_model_folder,
    nuclei_model_of,
)
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.scoring.fused_networks import ScoringNetwork
from qupath_hccmil.scoring.runtime import (
    DeviceName,
    Runtime,
    RuntimeName,
    load_runtime,
    precision,
)
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
    nuclei_name, nuclei_sha256 : str
    geometry : TileGeometry
    tissue_rule : TissueRule
    stain_target : StainFit
        Stains that slides are normalised to.
    p : float
        Exponent of the generalised mean.
    threshold : float
        A risk above it is high.
    temperature : float
        T of the calibration; the networks divide tile logits by it.
    runtime : Runtime
    """

    name: str
    weights_sha256: str
    identity: str
    surrogate: bool
    nuclei_name: str
    nuclei_sha256: str
    geometry: TileGeometry
    tissue_rule: TissueRule
    stain_target: StainFit
    p: float
    threshold: float
    temperature: float
    runtime: Runtime

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the scorer that are recorded with its scores."""
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "surrogate": self.surrogate,
            "nuclei_name": self.nuclei_name,
            "nuclei_weights_sha256": self.nuclei_sha256,
            "p": self.p,
            "threshold": self.threshold,
            "temperature": self.temperature,
            "runtime": f"{self.runtime.name} on {self.runtime.device}",
        }

    def group(self, risk: float) -> str:
        """Name of the risk group: ``high`` or ``low``."""
        return group_name(risk, self.threshold)


class ScorerSource:
    """A risk model and its nuclei model, checked at once but loaded only when needed.

    Parameters
    ----------
    model : Path, optional
        Folder of a risk model; by default the model that ships.
    runtime, device : str
        See :func:`load_runtime`.
    threads : int, optional
        See :func:`load_runtime`.

    Raises
    ------
    ModelError
        A folder is incomplete or has the wrong hash, or the two models do not belong together.
    """

    def __init__(
        self,
        model: Path | None = None,
        *,
        runtime: RuntimeName = "auto",
        device: DeviceName = "auto",
        threads: int | None = None,
    ) -> None:
        self._risk = load_model_folder(model or default_model_dir("mil"), "mil")
        self._nuclei = nuclei_model_of(self._risk)
        _check_pixels(self._risk, self._nuclei)
        self._where: tuple[RuntimeName, DeviceName, int | None] = (runtime, device, threads)
        self._scorer: Scorer | None = None

    @property
    def folders(self) -> tuple[ModelFolder, ModelFolder]:
        """Folders of the risk model and of its nuclei model."""
        return self._risk, self._nuclei

    @property
    def geometry(self) -> TileGeometry:
        """Geometry of the tiles that both models see."""
        return self._risk.config.geometry

    @property
    def identity(self) -> str:
        """Identity of the risk model, which names its nuclei model."""
        return self._risk.identity

    @property
    def precision(self) -> str:
        """``float32`` or ``float16``; known before the networks are loaded.

        Raises
        ------
        ModelError
            The device is not available here.
        """
        runtime, device, _ = self._where
        return precision(runtime, device)

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
        """
        if self._scorer is None:
            self._scorer = _load(self._risk.path, self._nuclei.path, self._identities, *self._where)
        return self._scorer

    @property
    def _identities(self) -> tuple[str, str]:
        return self._risk.identity, self._nuclei.identity


@lru_cache(maxsize=1)
def _load(
    risk: Path,
    nuclei: Path,
    identities: tuple[str, str],  # noqa: ARG001 - a changed model is loaded again
    runtime: RuntimeName,
    device: DeviceName,
    threads: int | None,
) -> Scorer:
    """Load networks, only once for several projects in one process."""
    risk_folder = load_model_folder(risk, "mil")
    nuclei_folder = load_model_folder(nuclei, "nuclei")
    config = risk_folder.config
    assert config.risk is not None, "the schema asks for it in a mil model"
    network = ScoringNetwork(load_nuclei_network(nuclei_folder), load_tile_network(risk_folder))
    return Scorer(
        name=config.name,
        weights_sha256=config.weights_sha256,
        identity=risk_folder.identity,
        surrogate=config.risk.surrogate,
        nuclei_name=nuclei_folder.config.name,
        nuclei_sha256=nuclei_folder.config.weights_sha256,
        geometry=config.geometry,
        tissue_rule=TissueRule(),
        stain_target=stored_reference(config.stain_reference, risk_folder.path),
        p=config.risk.p,
        threshold=config.risk.threshold,
        temperature=config.risk.temperature,
        runtime=load_runtime(
            network, config.geometry.tile_px, runtime=runtime, device=device, threads=threads
        ),
    )


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
