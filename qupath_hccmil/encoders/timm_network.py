"""A network of timm, from tiles as they are read to vectors of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qupath_hccmil.encoders.encoder_folder import EncoderFolder
from qupath_hccmil.errors import ModelError, PackageError

if TYPE_CHECKING:
    from types import ModuleType

# Arguments of timm that take a class, which JSON cannot hold.
_LAYER = "_layer"


class TimmEncoder(nn.Module):
    """Normalises RGB, runs a network without its head, and pools.

    Parameters
    ----------
    folder : EncoderFolder

    Raises
    ------
    PackageError
        timm is not installed.
    ModelError
        The architecture is unknown to timm, the arguments or the weights do not fit it, or it
        does not turn a tile of this size into a vector.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, folder: EncoderFolder) -> None:
        super().__init__()
        config = folder.config
        self.pooling = config.pooling
        self.network = _network(folder)
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), False)
        self._check(folder)

    def forward(self, rgb: Tensor) -> Tensor:
        """Compute (n, d) float features of (n, h, w, 3) uint8 RGB."""
        image = rgb.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        image = (image - self.mean) / self.std
        if self.pooling == "model":
            pooled: Tensor = self.network(image)
            return pooled
        tokens: Tensor = self.network.forward_features(image)  # type: ignore[operator]
        first = tokens[:, 0]
        if self.pooling == "class token":
            return first
        mean = tokens[:, self.network.num_prefix_tokens :].mean(dim=1)
        return mean if self.pooling == "mean" else torch.cat([first, mean], dim=1)

    def _check(self, folder: EncoderFolder) -> None:
        """Try a tile, so that what does not fit is known before the first slide is read."""
        config = folder.config
        tile = torch.zeros((1, config.tile_px, config.tile_px, 3), dtype=torch.uint8)
        try:
            with torch.inference_mode():
                found = self(tile)
        except Exception as error:
            # Each network of timm has its own checks of its input, and its own errors.
            reason = " ".join(str(error).split())
            raise ModelError(
                f"{folder.path}: {config.architecture!r} cannot take tiles of {config.tile_px} px "
                f"({reason:.200}); change tile_px and mpp, or the arguments"
            ) from error
        if found.ndim != 2:
            shape = " × ".join(map(str, found.shape[1:]))
            raise ModelError(
                f"{folder.path}: {config.architecture!r} gives {shape} numbers for a tile, not one "
                f"vector; use another pooling than {config.pooling!r}, or leave out the argument "
                "global_pool"
            )


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise PackageError(
            "encoders from a folder need timm, which is not installed; run: "
            "pip install 'qupath-hccmil[features]'"
        ) from error
    module: ModuleType = timm
    return module


def _network(folder: EncoderFolder) -> nn.Module:
    config, where = folder.config, folder.path
    timm = _timm()
    arguments = {name: _layer(name, value, folder) for name, value in config.arguments.items()}
    try:
        # pretrained=False: timm makes the network and fetches nothing.
        network: nn.Module = timm.create_model(
            config.architecture, pretrained=False, num_classes=0, **arguments
        )
    except Exception as error:
        # Each network of timm has its own arguments, and its own errors about them.
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{where}: timm {timm.__version__} cannot make {config.architecture!r} with these "
            f"arguments: {reason:.200}"
        ) from error
    if config.pooling != "model" and not hasattr(network, "num_prefix_tokens"):
        raise ModelError(
            f"{where}: pooling {config.pooling!r} is for vision transformers, which "
            f"{config.architecture!r} is not; use pooling 'model'"
        )
    if config.pooling.startswith("class token") and not network.num_prefix_tokens:
        raise ModelError(f"{where}: {config.architecture!r} has no class token; use pooling 'mean'")
    _load(network, folder.weights(), folder)
    return network.eval()


def _load(network: nn.Module, weights: Mapping[str, Tensor], folder: EncoderFolder) -> None:
    """Load the weights; those of a classifier, which is left out here, may be among them."""
    classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    used = {
        name: tensor
        for name, tensor in weights.items()
        if not any(name.startswith(f"{head}.") for head in heads)
    }
    try:
        network.load_state_dict(used)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(
            f"{folder.path}: the weights do not fit {folder.config.architecture!r} ({reason:.200})"
        ) from error


def _layer(name: str, value: Any, folder: EncoderFolder) -> Any:
    """The class that a name stands for, where timm wants a class."""
    if not (name.endswith(_LAYER) and isinstance(value, str)):
        return value
    layers = _timm().layers
    found = getattr(layers, value, None) or getattr(nn, value, None)
    if callable(found):
        return found
    if name in ("act_layer", "norm_layer"):
        return value  # timm knows names of its own for these
    raise ModelError(
        f"{folder.path}: arguments: {name} {value!r} is neither in timm.layers nor in torch.nn"
    )
