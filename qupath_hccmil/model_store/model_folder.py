"""A model folder: ``weights.safetensors``, ``config.json`` and a model card, checked on loading."""

from __future__ import annotations

import hashlib
import json
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
DEFAULT_MODELS: Mapping[ModelKind, str] = {"nuclei": "nuclei-unet", "mil": "hcc-risk-surrogate"}


@dataclass(frozen=True)
class ModelFolder:
    """A model folder whose config follows the schema and whose weights have its hash."""

    path: Path
    config: ModelConfig

    @property
    def reference(self) -> ModelReference:
        """Name and hash."""
        return ModelReference(self.config.name, self.config.weights_sha256)

    @property
    def identity(self) -> str:
        """All that scores follow from: the weights, and what turns logits into a risk."""
        risk = self.config.risk
        numbers = "" if risk is None else f" p={risk.p} t={risk.threshold} T={risk.temperature}"
        return self.config.weights_sha256 + numbers

    def weights(self) -> dict[str, Tensor]:
        """Read the state dict."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(self.path / WEIGHTS))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{self.path / WEIGHTS}: cannot be read ({error})") from error


def load_model_folder(path: Path, kind: ModelKind) -> ModelFolder:
    """Check a model folder.

    Parameters
    ----------
    path : Path
    kind : {"nuclei", "mil"}
        What it must be.

    Returns
    -------
    ModelFolder

    Raises
    ------
    ModelError
        A file is missing, the config is not valid (the field is named), the kind is another,
        or the weights don't have the config's hash.
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
    path: Path, config: ModelConfig, weights: Mapping[str, Tensor], card: str
) -> ModelFolder:
    """Write a model folder, all of it or nothing; an earlier one of the same path is replaced.

    Parameters
    ----------
    path : Path
    config : ModelConfig
        Its `weights_sha256` is filled in here.
    weights : mapping of str to Tensor
        The state dict.
    card : str
        The model card, Markdown.

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
        # safetensors writes for the owner alone; a model may be everybody's.
        (beside / WEIGHTS).chmod(0o644)
        config = replace(config, weights_sha256=file_sha256(beside / WEIGHTS))
        (beside / CONFIG).write_text(
            json.dumps(config.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (beside / CARD).write_text(card, encoding="utf-8")
    return ModelFolder(path, config)


def check_new_model(path: Path, config: ModelConfig) -> None:
    """Refuse what :func:`save_model_folder` would, before a long training and not after it.

    Raises
    ------
    ModelError
        The config is not valid, or `path` is a file or a folder of something else.
    """
    if path.exists() and not path.is_dir():
        raise ModelError(f"{path}: is a file, so no model folder can be written there")
    if path.exists() and any(path.iterdir()) and not (path / CONFIG).is_file():
        raise ModelError(f"{path}: contains other files and is not a model folder; choose another")
    no_weights_yet = replace(config, weights_sha256="0" * 64)
    ModelConfig.from_json(no_weights_yet.to_json(), path / CONFIG)


def default_model_dir(kind_or_name: str) -> Path:
    """Folder of a model that ships: in the installed package, else in the repository checkout.

    Parameters
    ----------
    kind_or_name : str
        ``nuclei``, ``mil``, or the name of a shipped model.

    Raises
    ------
    ModelError
        No model of that name ships.
    """
    name = DEFAULT_MODELS.get(kind_or_name, kind_or_name)  # type: ignore[call-overload]
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models" / name, package.parent / "models" / name):
        if (folder / CONFIG).is_file():
            return folder
    raise ModelError(f"{name}: no such model ships with this installation; give --model DIR")


def weights_identity(start: Path) -> str:
    """Hash of the weights that a training starts from: a model folder, or a file of weights.

    Raises
    ------
    ModelError
        The file can't be read.
    """
    try:
        return file_sha256(start / WEIGHTS if start.is_dir() else start)
    except OSError as error:
        raise ModelError(f"{start}: cannot be read ({error.strerror})") from error


def file_sha256(path: Path) -> str:
    """Hash of a file, hexadecimal."""
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
