"""The classic nuclei network: a U-Net from RGB to a heat map of nuclei.

Every convolution is followed by batch normalisation, which inference runtimes fold into the
convolution. The decoder uses transposed convolutions, which OpenVINO runs faster on a CPU than
bilinear upsampling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with batch normalisation.

    Parameters
    ----------
    base : int
        Channels of the first level; each level down doubles them.
    depth : int
        Number of levels below the first. Height and width of the input must be multiples of
        ``2 ** depth``, or of twice that with `half`.
    half : bool
        Work at half resolution: 2×2 pixels become the channels of one pixel at the input, and four
        logits become 2×2 pixels at the output (Shi et al. 2016).

    Notes
    -----
    The input is ``(n, 3, h, w)`` float RGB in [0, 1]; the output is ``(n, 1, h, w)`` logits, whose
    sigmoid is the heat map.
    """

    def __init__(self, base: int = 16, depth: int = 4, half: bool = False) -> None:
        super().__init__()
        self.step = 2 if half else 1
        widths = [base * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(
            double_convolution(w_in, w_out)
            for w_in, w_out in zip([3 * self.step**2, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(w_in, w_out, kernel_size=2, stride=2)
            for w_in, w_out in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.decoder = nn.ModuleList(
            double_convolution(2 * width, width) for width in widths[-2::-1]
        )
        self.head = nn.Conv2d(base, self.step**2, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``(n, 1, h, w)`` from ``(n, 3, h, w)`` RGB in [0, 1]."""
        levels: list[Tensor] = []
        if self.step > 1:
            x = pixel_unshuffle(x, self.step)
        for level, block in enumerate(self.encoder):
            x = block(self.pool(x) if level else x)
            levels.append(x)
        levels.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([levels.pop(), up(x)], dim=1))
        logits: Tensor = self.head(x)
        return pixel_shuffle(logits, self.step) if self.step > 1 else logits


def double_convolution(w_in: int, w_out: int) -> nn.Sequential:
    """Two 3×3 convolutions that keep the size, the block of the classic U-Net."""
    layers: list[nn.Module] = []
    for channels in (w_in, w_out):
        layers += [
            nn.Conv2d(channels, w_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(w_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
