"""Drawn H&E: round nuclei in haematoxylin on eosin, with their exact masks."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
_EOSIN = np.array([0.10, 0.95, 0.30])


def blob_image(seed: int, side: int = 96, count: int = 12, radius: int = 6):
    """RGB ``(side, side, 3)`` uint8 and instance labels ``(side, side)`` int32."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), dtype=np.int32)
    for label in range(1, count + 1):
        centre = tuple(int(v) for v in rng.integers(radius, side - radius, 2))
        cv2.circle(labels, centre, int(rng.integers(radius - 1, radius + 2)), label, cv2.FILLED)
    eosin = cv2.GaussianBlur(rng.normal(0.35, 0.25, (side, side)), (0, 0), 2) * (labels == 0)
    # A glass edge keeps the background white.
    eosin[:, : side // 8] = 0
    labels[:, : side // 8] = 0
    haematoxylin = (labels > 0) * rng.uniform(0.8, 1.2, (side, side))
    density = np.maximum(eosin, 0)[..., None] * _EOSIN + haematoxylin[..., None] * _HAEMATOXYLIN
    density += rng.uniform(0, 0.02, density.shape)
    return np.clip(255 * np.exp(-density), 0, 255).astype(np.uint8), labels


def blob_folder(folder: Path, count: int, **drawing: int) -> tuple[Path, Path]:
    """Write `count` drawn images and masks; returns their two folders."""
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    for seed in range(count):
        rgb, labels = blob_image(seed, **drawing)
        Image.fromarray(rgb).save(images / f"{seed}.png")
        Image.fromarray(labels.astype(np.uint16)).save(masks / f"{seed}.png")
    return images, masks
