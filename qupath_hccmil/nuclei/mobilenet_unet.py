"""The nuclei network that ships: a U-Net with a MobileNetV2 encoder from ImageNet.

A nucleus measures about ten pixels at the model's resolution, so the encoder stops at 1/16. The
decoder ends at half resolution, where four logits become 2×2 pixels (Shi et al. 2016), since layers
at full resolution cost the most and add the least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from qupath_hccmil.errors import ModelError
from qupath_hccmil.learning.mobilenet import read_weights, torchvision_models
from qupath_hccmil.nuclei.unet import double_convolution

# Layers at which torchvision's MobileNetV2 is cut, and the channels there, at 1/2, 1/4, 1/8 and
# 1/16 of the input's resolution.
_CUTS = (2, 4, 7, 14)
_CHANNELS = (16, 24, 32, 96)


class MobileNetUNet(nn.Module):
    """U-Net with the encoder of MobileNetV2 (Sandler et al. 2018).

    Parameters
    ----------
    widths : sequence of int
        Channels of the decoder at 1/2, 1/4 and 1/8 of the internal resolution.
    zoom : float
        Internal resolution divided by that of the input, 1 or more. A nucleus of ten pixels is
        small for layers that were trained on photographs; enlarged, it is recognised better, at
        ``zoom²`` times the cost.

    Notes
    -----
    The input is ``(n, 3, h, w)`` float RGB in [0, 1], where `zoom` times height and width must be
    multiples of 16; the output is ``(n, 1, h, w)`` logits, whose sigmoid is the heat map. RGB is
    scaled to [-1, 1] within the network, the range of the ImageNet weights.
    """

    def __init__(self, widths: Sequence[int] = (24, 40, 64), zoom: float = 1.5) -> None:
        super().__init__()
        self.zoom = zoom
        if len(widths) != len(_CUTS) - 1:
            raise TypeError(f"widths must be {len(_CUTS) - 1} numbers")
        if not zoom >= 1:
            raise TypeError(f"zoom must be 1 or more, and is {zoom}")
        layers = list(torchvision_models().mobilenet_v2(weights=None).features)
        self.encoder = nn.ModuleList(
            nn.Sequential(*layers[start:end])
            for start, end in zip([0, *_CUTS[:-1]], _CUTS, strict=True)
        )
        below = (*widths[1:], _CHANNELS[-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(w_in, w_out, kernel_size=2, stride=2)
            for w_in, w_out in zip(below[::-1], widths[::-1], strict=True)
        )
        self.decoder = nn.ModuleList(
            double_convolution(skip + width, width)
            for skip, width in zip(_CHANNELS[-2::-1], widths[::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], 4, kernel_size=1)
        # Modules, so that a runtime may compute the same in another way.
        self.enlarge: nn.Module = Bilinear()
        self.reduce: nn.Module = Bilinear()

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``(n, 1, h, w)`` from ``(n, 3, h, w)`` RGB in [0, 1]."""
        levels: list[Tensor] = []
        size = x.shape[-2:]
        if self.zoom != 1:
            x = self.enlarge(x, self.enlarged(size))
        x = x * 2 - 1
        for stage in self.encoder:
            x = stage(x)
            levels.append(x)
        levels.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([levels.pop(), up(x)], dim=1))
        logits = pixel_shuffle(self.head(x), 2)
        return logits if self.zoom == 1 else self.reduce(logits, size)

    def enlarged(self, size: Sequence[int]) -> tuple[int, int]:
        """Internal height and width, px, for those of the input."""
        height, width = (math.floor(side * self.zoom) for side in size)
        return height, width


class Bilinear(nn.Module):
    """Changes the resolution of (n, c, h, w) by bilinear interpolation."""

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Return ``(n, c, *size)``."""
        return interpolate(x, size=tuple(size), mode="bilinear")


def start_from_imagenet(network: MobileNetUNet, weights: Path, rgb: Tensor) -> None:
    """Load ImageNet weights into the encoder.

    Parameters
    ----------
    network : MobileNetUNet
        Changed in place.
    weights : Path
        Safetensors file: the state dict of torchvision's MobileNetV2, for RGB in [-1, 1].
    rgb : (n, 3, h, w) Tensor
        Training images in [0, 1].

    Raises
    ------
    ModelError
        The file is not such a state dict.

    Notes
    -----
    If batch normalisation was folded into the convolutions, the weights are right for fixed
    statistics, but not for training, which normalises by the statistics of the batch. So every
    batch normalisation gets the statistics of `rgb`, and the scale and shift that undo them: the
    function stays the same, and training can continue from it.
    """
    state = read_weights(weights)
    own = network.encoder.state_dict()
    for name, (stage, layer, rest) in ((n, _layer(n)) for n in own):
        source = f"features.{layer + (0, *_CUTS)[stage]}.{rest}"
        if source not in state:
            raise ModelError(f"{weights}: not a MobileNetV2 state dict, {source} is missing")
        own[name] = state[source]
    network.encoder.load_state_dict(own)
    _absorb_statistics(network, rgb)


def _layer(name: str) -> tuple[int, int, str]:
    stage, layer, rest = name.split(".", 2)
    return int(stage), int(layer), rest


@torch.no_grad()
def _absorb_statistics(network: MobileNetUNet, rgb: Tensor) -> None:
    norms = [m for m in network.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def measure(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        statistics[module] = (inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3)))

    hooks = [norm.register_forward_hook(measure) for norm in norms]
    network.eval()
    network(rgb)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, variance = statistics[norm]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        norm.bias.add_(scale * (mean - norm.running_mean))
        norm.weight.copy_(scale * torch.sqrt(variance + norm.eps))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
