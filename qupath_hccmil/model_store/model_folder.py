"""Model folders: ``weights.safetensors``, ``config.json`` and a model card, checked on loading."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qupath_hccmil.atomic_files import atomic_folder
from qupath_hccmil.errors import ModelError, WriteError
from qupath_hccmil.model_store.model_config import ModelConfig, ModelKind, ModelReference

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, CONFIG, CARD = "weights.safetensors", "config.json", "README.md"
ENCODER = "encoder"
DEFAULT_MODELS: Mapping[ModelKind, str] = {"nuclei": "nuclei-unet", "mil": "hcc-risk-surrogate"}


@dataclass(frozen=True)
class ModelFolder:
    """A model folder with a valid config and weights that match the hash in it."""

    path: Path
    config: ModelConfig

    @property
    def reference(self) -> ModelReference:
        """Name and hash of the model."""
        return ModelReference(self.config.name, self.config.weights_sha256)

    @property
    def identity(self) -> str:
        """Everything that determines scores: the weights, and the numbers that give the risk."""
        risk = self.config.risk
        numbers = "" if risk is None else f" p={risk.p} t={risk.threshold} T={risk.temperature}"
        return self.config.weights_sha256 + numbers

    def weights(self) -> dict[str, Tensor]:
        """Read the weights as a state dict."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(self.path / WEIGHTS))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{self.path / WEIGHTS}: cannot be read ({error})") from error


def load_model_folder(path: Path, kind: ModelKind) -> ModelFolder:
    """Load a model folder after checking it.

    Parameters
    ----------
    path : Path
    kind : {"nuclei", "mil"}
        The kind that the model must have.

    Returns
    -------
    ModelFolder

    Raises
    ------
    ModelError
        A file is missing, the config is not valid (the message names the field), the kind is
        wrong, or the weights do not match the hash in the config.
    """
    path = Path(path)
    if not path.is_dir():
        raise ModelError(f"{path}: there is no such model folder")
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise ModelError(f"{path}: not a model folder, {name} is missing")
    config = _read_config(path / CONFIG)
    if config.kind != kind:
        raise ModelError(f"{path}: is a {config.kind} model, but a {kind} model is needed")
    found = file_sha256(path / WEIGHTS)
    if found != config.weights_sha256:
        raise ModelError(
            f"{path / WEIGHTS}: sha256 {found[:12]}… is not the {config.weights_sha256[:12]}… of "
            f"{CONFIG}; copy the model folder again"
        )
    return ModelFolder(path, config)


def save_model_folder(
    path: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    card: str,
    encoder: Path | None = None,
) -> ModelFolder:
    """Write a model folder completely or not at all, replacing an earlier one at the same path.

    Parameters
    ----------
    path : Path
    config : ModelConfig
        Its `weights_sha256` is filled in here.
    weights : mapping of str to Tensor
        The state dict.
    card : str
        The model card, Markdown.
    encoder : Path, optional
        Encoder folder of a head, which is copied into the folder `ENCODER`.

    Returns
    -------
    ModelFolder

    Raises
    ------
    ModelError
        See :func:`check_new_model`.
    WriteError
        The system refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    check_new_model(path, config)
    with atomic_folder(path) as beside:
        tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
        try:
            save_file(tensors, beside / WEIGHTS)
        except SafetensorError as error:
            raise WriteError(f"{path / WEIGHTS}: cannot be written: {error}") from error
        # safetensors makes the file private to its owner; other users should be able to read it.
        (beside / WEIGHTS).chmod(0o644)
        config = replace(config, weights_sha256=file_sha256(beside / WEIGHTS))
        (beside / CONFIG).write_text(
            json.dumps(config.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (beside / CARD).write_text(card, encoding="utf-8")
        if encoder is not None:
            shutil.copytree(encoder, beside / ENCODER)
    return ModelFolder(path, config)


def check_new_model(path: Path, config: ModelConfig) -> None:
    """Refuse, before a long training, whatever :func:`save_model_folder` would refuse after it.

    Raises
    ------
    ModelError
        The config is not valid, or `path` is a file or a folder with other content.
    """
    if path.exists() and not path.is_dir():
        raise ModelError(f"{path}: is a file, so no model folder can be written there")
    if path.exists() and any(path.iterdir()) and not (path / CONFIG).is_file():
        raise ModelError(f"{path}: contains other files and is not a model folder; choose another")
    no_weights_yet = replace(config, weights_sha256="0" * 64)
    ModelConfig.from_json(no_weights_yet.to_json(), path / CONFIG)


def default_model_dir(kind_or_name: str) -> Path:
    """Folder of a model that ships, in the installed package or in the repository checkout.

    Parameters
    ----------
    kind_or_name : str
        ``nuclei``, ``mil``, or the name of a shipped model.

    Raises
    ------
    ModelError
        No model with that name ships.
    """
    name = DEFAULT_MODELS.get(kind_or_name, kind_or_name)  # type: ignore[call-overload]
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models" / name, package.parent / "models" / name):
        if (folder / CONFIG).is_file():
            return folder
    raise ModelError(f"{name}: no such model ships with this installation; give --model DIR")


def nuclei_model_of(risk_folder: ModelFolder) -> ModelFolder:
    """Find the nuclei model that a risk model names: next to it, or among those that ship.

    Raises
    ------
    ModelError
        It is not there, or is another one of this name.
    """
    wanted = risk_folder.config.nuclei_model
    beside = risk_folder.path.resolve().parent / wanted.name
    path = beside if beside.is_dir() else default_model_dir(wanted.name)
    folder = load_model_folder(path, "nuclei")
    if folder.config.weights_sha256 != wanted.sha256:
        raise ModelError(
            f"{risk_folder.path}: was trained with nuclei model {wanted.name} "
            f"{wanted.sha256[:12]}…, but {path} is {folder.config.weights_sha256[:12]}…; "
            "put the right one next to it"
        )
    return folder


def weights_identity(start: Path) -> str:
    """Hash of the weights that a training starts from; `start` is a model folder or a file.

    Raises
    ------
    ModelError
        The file cannot be read.
    """
    try:
        return file_sha256(start / WEIGHTS if start.is_dir() else start)
    except OSError as error:
        raise ModelError(f"{start}: cannot be read ({error.strerror})") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_config(path: Path) -> ModelConfig:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    return ModelConfig.from_json(content, path)
