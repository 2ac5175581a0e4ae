"""The colour spaces of stain normalisation, as staintools 2.1.2 defines them.

Every function here depends on one pixel only, so a table of 256 or 2**24 entries can replace it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

LUMINOSITY_PERCENTILE = 95.0
"""Percentile of L that standardisation maps to white (staintools `LuminosityStandardizer`)."""

TISSUE_LUMINOSITY = 0.8
"""Tissue is darker than this share of full L (`LuminosityThresholdTissueLocator`)."""

_MIN_OD = 1e-6
# Intensity 0 has no optical density; like staintools, treat it as 1.
_OD = np.maximum(-np.log(np.maximum(np.arange(256), 1) / 255), _MIN_OD)


def optical_density(pixels: Pixels) -> NDArray[np.float64]:
    """Optical density ``-log(I / 255)``, at least 1e-6: (3, n) for (n, 3) RGB pixels."""
    return _OD.take(pixels.T)


def luminosity_percentile(pixels: Pixels) -> float:
    """Percentile :data:`LUMINOSITY_PERCENTILE` of L for (n, 3) RGB pixels, in [0, 255]."""
    return float(np.percentile(_to_lab(pixels)[0, :, 0], LUMINOSITY_PERCENTILE))


def standardise_luminosity(pixels: Pixels, percentile_value: float) -> Pixels:
    """Scale L so that `percentile_value` becomes white.

    Parameters
    ----------
    pixels : (n, 3) uint8
        RGB.
    percentile_value : float
        From :func:`luminosity_percentile`, in (0, 255].

    Returns
    -------
    (n, 3) uint8
        RGB. Equal to staintools' ``LuminosityStandardizer.standardize`` for an image whose own
        percentile is `percentile_value`.
    """
    scaled = np.clip(255 * np.arange(256, dtype=np.float64) / percentile_value, 0, 255)
    lab = _to_lab(pixels)
    lab[..., 0] = scaled.astype(np.uint8).take(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[0].astype(np.uint8, copy=False)


def tissue_mask(pixels: Pixels) -> NDArray[np.bool_]:
    """Which of (n, 3) luminosity-standardised RGB pixels are tissue."""
    mask: NDArray[np.bool_] = _to_lab(pixels)[0, :, 0] / 255.0 < TISSUE_LUMINOSITY
    return mask


def _to_lab(pixels: Pixels) -> Pixels:
    # One row of n pixels, because OpenCV has a cost for each row.
    return cv2.cvtColor(pixels[None], cv2.COLOR_RGB2LAB).astype(np.uint8, copy=False)
