"""Random changes of a crop, as by another scanner, stainer or file format.

The training images are dim, soft and sparse; clinical slides are bright, sharp and dense. Each
step below widens the range of one of these properties.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Ruifrok & Johnston 2001: optical density of haematoxylin, eosin and the residual, as rows.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)
# Chance that the cytoplasm of a crop is tinted, and that some of its nuclei are made pale.
TINTED = 0.3
PALE = 0.3


Crop = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""RGB ``(s, s, 3)``, and the share of each pixel in a nucleus ``(s, s)``, in [0, 1]."""
# Optical density above which a pixel is tissue and not glass, summed over the three channels.
_TISSUE = 0.15


def augment(crop: Crop, donor: Crop, rng: np.random.Generator) -> Crop:
    """Change a crop to look as if from another slide, scanner or file format.

    Parameters
    ----------
    crop : (s, s, 3) uint8, (s, s) float32
    donor : (s, s, 3) uint8, (s, s) float32
        Another crop of the same size, whose nuclei may be laid over this crop.
    rng : Generator

    Returns
    -------
    (s, s, 3) uint8, (s, s) float32
    """
    crop = _turn(crop, rng)
    if rng.random() < 0.3:
        crop = _densify(crop, donor if rng.random() < 0.5 else crop, rng)
    rgb, share = crop
    pixels = rgb.astype(np.float32)
    if rng.random() < TINTED:
        pixels = _tint_cytoplasm(pixels, share, rng)
    if rng.random() < PALE:
        pixels = _pale_nuclei(pixels, share, rng)
    if rng.random() < 0.9:
        pixels = _restain(pixels, rng)
    if rng.random() < 0.4:
        pixels = _contrast(pixels, rng)
    chance = rng.random()
    if chance < 0.4:
        pixels = _sharpen(pixels, rng)
    elif chance < 0.6:
        pixels = _blur(pixels, rng)
    if rng.random() < 0.2:
        pixels = pixels + rng.normal(0, rng.uniform(1, 6), pixels.shape).astype(np.float32)
    rgb = np.clip(pixels, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        rgb = _jpeg(rgb, rng)
    return rgb, share


def _turn(crop: Crop, rng: np.random.Generator) -> Crop:
    quarter = int(rng.integers(4))
    rgb, share = (np.rot90(part, quarter) for part in crop)
    if rng.random() < 0.5:
        rgb, share = rgb[:, ::-1], share[:, ::-1]
    return np.ascontiguousarray(rgb), np.ascontiguousarray(share)


def _densify(crop: Crop, donor: Crop, rng: np.random.Generator) -> Crop:
    """Lay rotated and shifted nuclei over a crop, dense and touching, in its own illumination."""
    rgb, share = crop
    over, nuclei = _turn(donor, rng)
    shift = tuple(int(v) for v in rng.integers(0, share.shape[0], 2))
    over, nuclei = np.roll(over, shift, (0, 1)), np.roll(nuclei, shift, (0, 1))
    around, outside = share < 0.5, nuclei < 0.5
    if not around.any() or not outside.any():
        return crop
    light = (rgb[around].mean(axis=0) + 1) / (over[outside].mean(axis=0) + 1)
    edge = cv2.GaussianBlur(nuclei, (0, 0), 0.7)[..., None]
    mixed = rgb * (1 - edge) + np.clip(over * light, 0, 255) * edge
    return mixed.round().astype(np.uint8), np.maximum(share, nuclei)


def _tint_cytoplasm(
    pixels: NDArray[np.float32], share: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add haematoxylin, unevenly, to the tissue between nuclei, as in basophilic cytoplasm."""
    side = pixels.shape[0]
    coarse = rng.uniform(0, 1, (int(rng.integers(2, 9)),) * 2).astype(np.float32)
    uneven = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    density = _density(pixels)
    tissue = density.sum(axis=2) > _TISSUE
    amount = np.float32(rng.uniform(0.1, 0.5)) * uneven * tissue * (1 - share)
    colour = np.abs(_STAINS[0] + rng.normal(0, 0.1, 3)).astype(np.float32)
    return _from_density(density + amount[..., None] * colour)


def _pale_nuclei(
    pixels: NDArray[np.float32], share: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Lighten the inside of some nuclei and keep their rim, as in vesicular chromatin."""
    mask = (share > 0.5).astype(np.uint8)
    count, labels = cv2.connectedComponents(mask)
    lightened = rng.uniform(0.2, 0.65) * (rng.random(count) < rng.uniform(0.3, 1))
    lightened[0] = 0
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_3)
    inside = np.clip((depth - rng.uniform(0.5, 1.5)) / 1.5, 0, 1)
    kept = 1 - lightened[labels] * inside
    return _from_density(_density(pixels) * kept[..., None].astype(np.float32))


def _density(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(-np.log((np.maximum(pixels, 0) + 1) / 256), dtype=np.float32)


def _from_density(density: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(256 * np.exp(-np.maximum(density, 0)) - 1, dtype=np.float32)


def _restain(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change the amounts and colours of the stains in optical density, as by another stainer."""
    density = _density(pixels)
    stains = _STAINS
    amounts = np.exp(rng.normal(0, (0.30, 0.35, 0.30))) * np.exp(rng.normal(0, 0.15))
    colours = np.abs(stains + rng.normal(0, 0.06, (3, 3)))
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    change = np.linalg.inv(stains) @ (amounts[:, None] * colours)
    light = rng.normal(0, 0.04, 3)
    return _from_density(density @ change.astype(np.float32) + light.astype(np.float32))


def _contrast(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    changed = mean + (pixels - mean) * np.float32(rng.uniform(0.7, 1.5))
    return np.asarray(changed + rng.uniform(-12, 12), dtype=np.float32)


def _sharpen(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    soft = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.6, 1.5))
    return np.asarray(pixels + (pixels - soft) * np.float32(rng.uniform(0.3, 2)), np.float32)


def _blur(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, 1.3)), dtype=np.float32)


def _jpeg(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
    _, code = cv2.imencode(".jpg", rgb[..., ::-1], quality)
    decoded = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
