"""The tile network: torchvision's MobileNetV2, from RGB and nuclei heat map to one logit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from qupath_hccmil.errors import ModelError
from qupath_hccmil.learning.mobilenet import read_weights, torchvision_models
from qupath_hccmil.model_store.model_folder import ModelFolder


class TileNetwork(nn.Module):
    """MobileNetV2 with four input channels and one output.

    The input is ``(n, 4, h, w)`` float in [0, 1], RGB and heat map; the output is ``(n,)`` logits.

    Notes
    -----
    RGB is scaled to [-1, 1] within the network, the range of the ImageNet weights. The heat map
    stays in [0, 1], so that the network sees only RGB where there is no nucleus.

    Logits are divided by the temperature of the model's calibration (1 while it is trained). The
    generalised mean is homogeneous, ``S(s/T) = S(s)/T``, so that dividing tile logits divides the
    slide's logit too, and tile values still reproduce the slide's score.

    Batch normalisation always uses its running statistics. A training batch is one bag, that is one
    patient; normalised by its own statistics, it would lose what distinguishes it from other
    patients.
    """

    scale: Tensor
    shift: Tensor
    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mobilenet = torchvision_models().mobilenet_v2(weights=None, num_classes=1)
        first = self.mobilenet.features[0][0]
        self.mobilenet.features[0][0] = nn.Conv2d(
            4, first.out_channels, kernel_size=3, stride=2, padding=1, bias=False
        )
        self.register_buffer("scale", torch.tensor([2.0, 2, 2, 1]).view(1, 4, 1, 1), False)
        self.register_buffer("shift", torch.tensor([-1.0, -1, -1, 0]).view(1, 4, 1, 1), False)
        self.register_buffer("temperature", torch.tensor(1.0), False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``(n,)`` from ``(n, 4, h, w)`` in [0, 1]."""
        logits: Tensor = self.mobilenet(x * self.scale + self.shift)
        return logits[:, 0] / self.temperature

    def features(self, x: Tensor) -> Tensor:
        """Compute the vectors ``(n, 1280)`` that the logits follow from, for features."""
        maps: Tensor = self.mobilenet.features(x * self.scale + self.shift)
        return maps.mean(dim=(2, 3))

    def train(self, mode: bool = True) -> TileNetwork:
        """Set the mode of all layers except batch normalisation."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def imagenet_network(weights: Path, seed: int = 0) -> TileNetwork:
    """Make a tile network that starts from ImageNet weights.

    Parameters
    ----------
    weights : Path
        Safetensors file: the state dict of torchvision's MobileNetV2, for RGB in [-1, 1].
    seed : int
        Seed of the new output layer.

    Returns
    -------
    TileNetwork

    Raises
    ------
    ModelError
        The file is not such a state dict.

    Notes
    -----
    The RGB filters of the first convolution are kept. The filter for the heat map is minus the mean
    of these three: a nucleus is dark in RGB and bright in the heat map, so both respond to its edge
    with the same sign.
    """
    state = read_weights(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TileNetwork()
    own = network.mobilenet.state_dict()
    for name in own:
        if name.startswith("classifier"):
            continue
        if name not in state:
            raise ModelError(f"{weights}: not a MobileNetV2 state dict, {name} is missing")
        own[name] = _with_heat_filter(state[name]) if name == "features.0.0.weight" else state[name]
    _load(network.mobilenet, own, weights)
    return network


def load_tile_network(folder: ModelFolder) -> TileNetwork:
    """Build the network of a mil model folder, in evaluation mode, with its temperature.

    Raises
    ------
    ModelError
        The weights do not fit the architecture.
    """
    if folder.config.architecture["name"] != "mobilenet_v2":
        raise ModelError(
            f"{folder.path}: architecture.name is {folder.config.architecture['name']!r}, "
            "but a tile network must be 'mobilenet_v2'"
        )
    network = TileNetwork()
    _load(network, folder.weights(), folder.path)
    if folder.config.risk is not None:
        network.temperature.fill_(folder.config.risk.temperature)
    return network.eval()


def _with_heat_filter(rgb: Tensor) -> Tensor:
    return torch.cat([rgb, -rgb.mean(dim=1, keepdim=True)], dim=1)


def _load(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f"{path}: the weights do not fit MobileNetV2 ({reason})") from error
