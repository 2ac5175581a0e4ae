"""Smooth random fields on a coarse grid, from which tissue is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Field = NDArray[np.float32]


def _spectrum_noise(
    rng: np.random.Generator, shape: tuple[int, int], gain: NDArray[np.float64]
) -> Field:
    """White noise of `shape`, coloured by `gain` over its half spectrum; mean 0, variance 1."""
    spectrum = fft.rfft2(rng.standard_normal(shape)) * gain
    spectrum[0, 0] = 0
    noise = fft.irfft2(spectrum, s=shape)
    return (noise / noise.std()).astype(np.float32)


def _frequencies(shape: tuple[int, int], step: float) -> NDArray[np.float64]:
    """Radial frequency of each bin of ``rfft2``, in cycles per unit of `step`."""
    fy = fft.fftfreq(shape[0], step)[:, None]
    fx = fft.rfftfreq(shape[1], step)[None, :]
    return np.hypot(fy, fx)


def _padded(shape: tuple[int, int]) -> tuple[int, int]:
    """Choose a size that transforms fast and keeps opposite edges different."""
    height, width = (fft.next_fast_len(int(n * 1.1) + 32) for n in shape)
    return height, width


def band_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    step: float,
    wavelength: float,
    *,
    bandwidth: float = 0.22,
) -> Field:
    """Noise of one wavelength, with winding zero lines at half that distance, like sinusoids.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (height, width)
        Samples.
    step, wavelength : float
        Distance between samples, and wavelength, in the same unit.
    bandwidth : float
        Relative width of the band.

    Returns
    -------
    (height, width) float32
        Mean 0, variance 1.
    """
    big = _padded(shape)
    ratio = _frequencies(big, step) * wavelength
    gain = np.exp(-(((ratio - 1) / bandwidth) ** 2))
    return _spectrum_noise(rng, big, gain)[: shape[0], : shape[1]]


def soft_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    step: float,
    wavelength: float,
    *,
    falloff: float = 2.0,
) -> Field:
    """Cloudy noise: flat up to one over `wavelength`, then falling with power `falloff`.

    Parameters and result as :func:`band_noise`.
    """
    big = _padded(shape)
    ratio = _frequencies(big, step) * wavelength
    gain = 1 / (1 + ratio**falloff)
    return _spectrum_noise(rng, big, gain)[: shape[0], : shape[1]]


def distance_to_zero(field: Field, step: float) -> Field:
    """First-order distance to the nearest zero line, in the unit of `step`, never negative.

    ``|f| / |grad f|``, with the gradient kept off zero so that saddles stay finite.
    """
    gy, gx = np.gradient(field, step)
    slope = np.hypot(gy, gx)
    floor = 0.35 * float(np.median(slope)) + 1e-9
    return (np.abs(field) / np.maximum(slope, floor)).astype(np.float32)


def smoothstep(x: Field | float, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, with a smooth passage (Hermite)."""
    t = np.clip((np.asarray(x, dtype=np.float32) - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
