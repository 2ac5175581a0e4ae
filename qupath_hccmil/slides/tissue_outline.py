"""Outlines the tissue of a slide, which does not replace a pathologist's tumour outline."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.validation import make_valid

SMALLEST_SHARE = 0.01
"""Pieces and holes below this share of the whole picture are dropped."""

TOLERANCE_PX = 1.0
"""Largest distance of the simplified outline from the true one, thumbnail px."""


class TissueOutline(NamedTuple):
    """Outlines of tissue.

    Attributes
    ----------
    pieces : list of Polygon
        Pieces in level-0 px, largest first; empty if there is no contrast.
    share : float
        Share of all tissue in these pieces, in [0, 1]; small pieces are left out.
    """

    pieces: list[Polygon]
    share: float


def tissue_outline(thumbnail: NDArray[np.uint8], width: int, height: int) -> TissueOutline:
    """Outline the tissue in a thumbnail.

    Tissue is darker or more coloured than the glass: Otsu's threshold is applied to the smoothed
    stain strength ``max(saturation, 255 - luminosity)`` of each pixel. The result is closed, so
    that sinusoids and fat do not divide it.

    Parameters
    ----------
    thumbnail : (h, w, 3) uint8, RGB
        The whole slide at low resolution; a width of about 1000 px is enough.
    width, height : int
        Level-0 px of the slide.

    Returns
    -------
    TissueOutline
    """
    strength = _stain_strength(thumbnail)
    threshold, _ = cv2.threshold(strength, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if np.ptp(strength) < 16:  # only glass, or only tissue that fills the view
        threshold = 30
    stained = (strength > threshold).astype(np.uint8)
    radius = max(1, round(max(thumbnail.shape[:2]) * 0.006))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    pad = 2 * radius
    closed = cv2.morphologyEx(np.pad(stained, pad), cv2.MORPH_CLOSE, disc)
    mask = cv2.morphologyEx(closed, cv2.MORPH_OPEN, disc)
    mask = mask[pad:-pad, pad:-pad]
    pieces = _polygons(mask)
    held = sum(piece.area for piece in pieces)
    scale = np.array([width / thumbnail.shape[1], height / thumbnail.shape[0]])
    outlines = [
        Polygon(
            np.asarray(piece.exterior.coords) * scale,
            [np.asarray(hole.coords) * scale for hole in piece.interiors],
        )
        for piece in pieces
    ]
    return TissueOutline(outlines, min(held / max(int(mask.sum()), 1), 1.0))


def _stain_strength(thumbnail: NDArray[np.uint8]) -> NDArray[np.uint8]:
    smooth = cv2.GaussianBlur(np.ascontiguousarray(thumbnail), (0, 0), 1.5)
    saturation = cv2.cvtColor(smooth, cv2.COLOR_RGB2HSV)[..., 1]
    luminosity = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)[..., 0]
    return np.maximum(saturation, 255 - luminosity)


def _polygons(mask: NDArray) -> list[Polygon]:
    """Large pieces with their large holes, thumbnail px, largest first."""
    smallest = SMALLEST_SHARE * mask.size
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if tree is None:
        return []
    parents = tree[0][:, 3]
    rings = [contour[:, 0, :] + 0.5 for contour in contours]
    pieces: list[Polygon] = []
    for index, ring in enumerate(rings):
        if parents[index] >= 0 or len(ring) < 4:
            continue
        holes = [
            rings[k]
            for k in np.flatnonzero(parents == index)
            if len(rings[k]) >= 4 and Polygon(rings[k]).area >= smallest
        ]
        shape = make_valid(Polygon(ring, holes)).simplify(TOLERANCE_PX)
        parts = shape.geoms if isinstance(shape, MultiPolygon) else [shape]
        pieces += [p for p in parts if isinstance(p, Polygon) and p.area >= smallest]
    return sorted(pieces, key=lambda piece: -piece.area)
