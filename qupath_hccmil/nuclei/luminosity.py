"""Luminosity standardised to a white background, as staintools does it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

PERCENTILE = 95.0


def standardise_luminosity(
    rgb: NDArray[np.uint8], percentile: float = PERCENTILE
) -> NDArray[np.uint8]:
    """Scale LAB lightness so that its percentile becomes full scale.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
    percentile : float
        Of lightness, in [0, 100].

    Returns
    -------
    (h, w, 3) uint8
        RGB whose background is white.

    Notes
    -----
    The rule of staintools 2.1.2, ``LuminosityStandardizer``.
    """
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    lightness = lab[..., 0].astype(np.float64)
    full = max(float(np.percentile(lightness, percentile)), 1.0)
    lab[..., 0] = np.clip(255 * lightness / full, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)
