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


Crop = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""RGB ``(s, s, 3)`` and nuclei mask ``(s, s)``."""


def augment(crop: Crop, donor: Crop, rng: np.random.Generator) -> Crop:
    """Change a crop to look as if from another slide, scanner or file format.

    Parameters
    ----------
    crop : (s, s, 3) uint8, (s, s) bool
    donor : (s, s, 3) uint8, (s, s) bool
        Another crop of the same size, whose nuclei may be laid over this crop.
    rng : Generator

    Returns
    -------
    (s, s, 3) uint8, (s, s) bool
    """
    crop = _turn(crop, rng)
    if rng.random() < 0.3:
        crop = _densify(crop, donor if rng.random() < 0.5 else crop, rng)
    rgb, mask = crop
    pixels = rgb.astype(np.float32)
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
    return rgb, mask


def _turn(crop: Crop, rng: np.random.Generator) -> Crop:
    quarter = int(rng.integers(4))
    rgb, mask = (np.rot90(part, quarter) for part in crop)
    if rng.random() < 0.5:
        rgb, mask = rgb[:, ::-1], mask[:, ::-1]
    return np.ascontiguousarray(rgb), np.ascontiguousarray(mask)


def _densify(crop: Crop, donor: Crop, rng: np.random.Generator) -> Crop:
    """Lay rotated and shifted nuclei over a crop, dense and touching, in its own illumination."""
    rgb, mask = crop
    over, nuclei = _turn(donor, rng)
    shift = tuple(int(v) for v in rng.integers(0, mask.shape[0], 2))
    over, nuclei = np.roll(over, shift, (0, 1)), np.roll(nuclei, shift, (0, 1))
    if mask.all() or nuclei.all():
        return crop
    light = (rgb[~mask].mean(axis=0) + 1) / (over[~nuclei].mean(axis=0) + 1)
    edge = cv2.GaussianBlur(nuclei.astype(np.float32), (0, 0), 0.7)[..., None]
    mixed = rgb * (1 - edge) + np.clip(over * light, 0, 255) * edge
    return mixed.round().astype(np.uint8), mask | nuclei


def _restain(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change the amounts and colours of the stains in optical density, as by another stainer."""
    density = -np.log((pixels + 1) / 256)
    stains = _STAINS
    amounts = np.exp(rng.normal(0, (0.30, 0.35, 0.30))) * np.exp(rng.normal(0, 0.15))
    colours = np.abs(stains + rng.normal(0, 0.06, (3, 3)))
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    change = np.linalg.inv(stains) @ (amounts[:, None] * colours)
    light = rng.normal(0, 0.04, 3)
    changed = density @ change.astype(np.float32) + light.astype(np.float32)
    return np.asarray(256 * np.exp(-np.maximum(changed, 0)) - 1, dtype=np.float32)


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
