"""Which tiles show tissue in focus."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

# Rounding to whole grey levels adds 1/12 to the variance of a pixel. The sums of squared weights of
# the Laplacian (20) and of the two Sobel kernels (2 × 12) multiply this in their mean squares.
_LAPLACIAN_NOISE = 20 / 12
_GRADIENT_NOISE = 24 / 12


@dataclass(frozen=True)
class TissueRule:
    """When a tile is background or out of focus, with all thresholds.

    A pixel is tissue if it has colour (largest minus smallest of R, G and B at least
    `min_colour`) and absorbs green, as both stains do (G below `max_green`). So glass is never
    tissue, however dim, nor are shadows and black ink.

    A tile is blurred if its *detail*, the energy of its Laplacian divided by that of its gradient,
    is below `min_detail`. Detail falls with the square of the size of the finest structure and does
    not depend on the strength of the stain. Its unit is 1/px² for a tile of 128 µm in 224 px.

    Notes
    -----
    Measured on tiles of 128 µm: detail is at least 0.026 for CMU-1-Small-Region and at least 0.014
    for NuInsSeg's images scaled to that size. After a Gaussian blur of 1.5 px (0.9 µm) both are at
    most 0.0085, after 3 px at most 0.0056. So every tile blurred by 1.5 px or more is detected, and
    no sharp one. CMU-1-Small-Region reduced to 1 µm/px still has 0.012, to 2 µm/px 0.006: such a
    slide cannot show finer detail, so above `full_detail_mpp` the requirement is lower.

    Attributes
    ----------
    min_tissue : float
        Smallest share of tissue pixels in a tile that is not background. A quarter still accepts
        fatty liver, in which the vacuoles are white.
    min_colour, max_green : int
        Grey levels, 0 to 255.
    min_detail : float
        Smallest detail of a tile in focus, 1/px².
    full_detail_mpp : float
        µm/px of the slide; for coarser slides `min_detail` falls with the square of the ratio.
    """

    min_tissue: float = 0.25
    min_colour: int = 15
    max_green: int = 225
    min_detail: float = 0.010
    full_detail_mpp: float = 1.0

    def judge(
        self, tiles: NDArray[np.uint8], mpp: float = 0.25
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Decide which tiles to leave out.

        Parameters
        ----------
        tiles : (n, height, width, 3) uint8
            RGB.
        mpp : float
            Pixel size of the slide, µm/px.

        Returns
        -------
        background, blurred : (n,) bool
            No tile is both: a tile that is background is not called blurred.
        """
        background = self.tissue_fraction(tiles) < self.min_tissue
        blurred = ~background
        min_detail = self.min_detail * min(1.0, self.full_detail_mpp / mpp) ** 2
        blurred[blurred] = detail(tiles[blurred]) < min_detail
        return background, blurred

    def tissue_fraction(self, tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Share of tissue pixels of (n, height, width, 3) uint8 RGB tiles: (n,), in [0, 1]."""
        pixels = tiles.shape[1] * tiles.shape[2]
        counts = [np.count_nonzero(self.mask(tile)) for tile in tiles]
        return np.array(counts, dtype=np.float64) / pixels

    def mask(self, rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which pixels of an RGB image (height, width, 3) uint8 are tissue: (height, width)."""
        red, green, blue = cv2.split(rgb)
        colour = cv2.subtract(
            cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
        )
        return np.asarray((colour >= self.min_colour) & (green < self.max_green))


def detail(tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Energy of the Laplacian divided by that of the gradient, for each tile.

    Both are computed from the grey tile, minus what rounding to whole grey levels adds.

    Parameters
    ----------
    tiles : (n, h, w, 3) uint8
        RGB.

    Returns
    -------
    (n,) float64
        In 1/px²; 0 for a tile without a gradient.
    """
    return np.array(
        [_detail(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY)) for tile in tiles], dtype=np.float64
    )


def _detail(grey: MatLike) -> float:
    gradient = _energy(cv2.Sobel(grey, cv2.CV_16S, 1, 0)) + _energy(
        cv2.Sobel(grey, cv2.CV_16S, 0, 1)
    )
    curvature = _energy(cv2.Laplacian(grey, cv2.CV_16S))
    if gradient <= _GRADIENT_NOISE:
        return 0.0
    return max(curvature - _LAPLACIAN_NOISE, 0.0) / (gradient - _GRADIENT_NOISE)


def _energy(filtered: MatLike) -> float:
    """Mean square."""
    return float(cv2.norm(filtered, cv2.NORM_L2SQR)) / filtered.size
