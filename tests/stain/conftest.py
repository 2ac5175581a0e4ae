"""Real H&E pixels, and H&E-like ones that are made here."""

from pathlib import Path

import numpy as np
import openslide
import pytest

STAINS = np.array([[0.65, 0.70, 0.29], [0.27, 0.83, 0.48]])


@pytest.fixture(scope="session")
def slide_pixels(data_dir: Path) -> np.ndarray:
    """The whole of CMU-1-Small-Region: (2967, 2220, 3) uint8."""
    with openslide.OpenSlide(data_dir / "slides" / "CMU-1-Small-Region.svs") as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))


@pytest.fixture(scope="session")
def drawn_tiles() -> np.ndarray:
    """Eight tiles of two known stains on white: (8, 64, 64, 3) uint8."""
    rng = np.random.default_rng(7)
    shape = (8, 64, 64)
    eosin = rng.gamma(4.0, 0.15, shape)
    haematoxylin = np.where(rng.random(shape) < 0.3, rng.gamma(6.0, 0.2, shape), 0.02)
    glass = rng.random(shape) < 0.15
    amounts = np.stack([haematoxylin, eosin], axis=-1) * ~glass[..., None]
    unit = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
    return (255 * np.exp(-amounts @ unit)).astype(np.uint8)
