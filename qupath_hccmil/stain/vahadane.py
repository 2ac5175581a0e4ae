"""Vahadane stain normalisation: fitted once per slide, then a table lookup for every pixel.

The method is that of Vahadane et al., IEEE Trans Med Imaging 35:1962 (2016), as implemented in
staintools 2.1.2, with two differences. The stain matrix, the luminosity percentile and the
concentration percentile belong to the slide and not to each tile. Dictionary learning runs for a
fixed number of iterations and not for a second of wall-clock time, so that two fits of the same
pixels agree bit for bit.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import SlideError
from qupath_hccmil.stain.colour import (
    Pixels,
    luminosity_percentile,
    optical_density,
    standardise_luminosity,
    tissue_mask,
)
from qupath_hccmil.stain.concentrations import concentrations

CONCENTRATION_PERCENTILE = 99.0
"""Percentile of each stain's concentrations that is matched to the target."""

MIN_TISSUE_PIXELS = 1_000
"""Smallest number of tissue pixels from which the stains of a slide can be estimated."""

_MAX_PERCENTILE_PIXELS = 1_000_000
_REGULARISER = 0.1
# staintools learns for one second, which is 3,000 to 5,000 of these iterations on an idle core. On
# CMU-1-Small-Region 4,000 come within 0.007 of its matrix; different thirds of the tissue of that
# slide give matrices that differ by 0.013 (standard deviation).
_ITERATIONS = 4_000
_MINIBATCH = 512
# Single images of faint H&E reach 0.997 (NuInsSeg); above this limit the two atoms are the same.
_MAX_COSINE = 0.999
_MIN_CONCENTRATION = 0.01

_RGB_BYTES = np.array([255, 255, 255, 0], dtype=np.uint8).view(np.uint32)[0]

# spams draws its minibatches from the single random state of the C library, which it seeds at the
# start of a fit; two fits at the same time would share it and would not be reproducible.
DICTIONARY_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class StainFit:
    """The stains of one slide, or of the reference to which slides are normalised.

    Attributes
    ----------
    matrix : (2, 3) float64
        Optical density of haematoxylin and eosin in R, G and B; rows of length 1.
    max_concentration : (2,) float64
        Percentile :data:`CONCENTRATION_PERCENTILE` of the concentration of each stain.
    luminosity : float
        The value of L, in (0, 255], that is mapped to white in the first step.
    """

    matrix: NDArray[np.float64]
    max_concentration: NDArray[np.float64]
    luminosity: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON; :meth:`from_dict` restores the same bits."""
        return {
            "matrix": self.matrix.tolist(),
            "max_concentration": self.max_concentration.tolist(),
            "luminosity": self.luminosity,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StainFit:
        """Read what :meth:`to_dict` wrote.

        Raises
        ------
        ValueError
            A key is missing, or a value has the wrong shape or is not a positive finite number.
        """
        try:
            matrix = np.array(values["matrix"], dtype=np.float64)
            maximum = np.array(values["max_concentration"], dtype=np.float64)
            luminosity = float(values["luminosity"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a stain fit: {error!r}") from error
        if matrix.shape != (2, 3) or maximum.shape != (2,):
            raise ValueError(
                f"not a stain fit: matrix is {matrix.shape}, max_concentration {maximum.shape}"
            )
        if not (_positive(maximum) and _positive(luminosity) and np.isfinite(matrix).all()):
            raise ValueError(f"not a stain fit: {values!r} has values that are not positive")
        if not np.allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-6):
            raise ValueError(f"not a stain fit: the rows of {matrix.tolist()} are not of length 1")
        return cls(matrix, maximum, luminosity)


def fit(pixels: Pixels, *, name: str = "slide") -> StainFit:
    """Fit the stains of a slide to pixels pooled from some of its tiles.

    Luminosity and concentration percentiles are computed from all `pixels`, including background,
    and the stain matrix from the tissue among them, as staintools does for an image.

    Parameters
    ----------
    pixels : (..., 3) uint8
        RGB, for example (n_tiles, 224, 224, 3). The same pixels in another order give other
        minibatches and so a slightly different matrix: shuffling the tiles of CMU-1-Small-Region
        changes the matrix by 0.004 and the normalised pixels by 0.4 grey levels. A fit takes 0.8 s
        on one core.
    name : str
        Name of the slide, for messages.

    Raises
    ------
    SlideError
        There is too little tissue, or it has only one stain.
    """
    pool = np.ascontiguousarray(pixels, dtype=np.uint8).reshape(-1, 3)
    if len(pool) < MIN_TISSUE_PIXELS:
        raise _too_little_tissue(name, len(pool), len(pool))
    luminosity = luminosity_percentile(pool)
    if luminosity <= 0:
        raise SlideError(
            f"{name}: the stains cannot be fitted because the pixels are black; check the slide"
        )
    pool = standardise_luminosity(pool, luminosity)
    tissue = tissue_mask(pool)
    if tissue.sum() < MIN_TISSUE_PIXELS:
        raise _too_little_tissue(name, int(tissue.sum()), len(pool))
    matrix = _stain_matrix(optical_density(pool[tissue]), name)
    step = -(-len(pool) // _MAX_PERCENTILE_PIXELS)
    amounts = concentrations(optical_density(pool[::step]), matrix)
    maximum = np.percentile(amounts, CONCENTRATION_PERCENTILE, axis=1)
    if maximum.min() < _MIN_CONCENTRATION:
        raise _one_stain(name)
    return StainFit(matrix, maximum, luminosity)


class Normalizer:
    """Normalises the colours of one slide to those of a target.

    The result for a pixel depends only on its colour, so each of the 2**24 colours is computed
    once, when it first occurs, and looked up from then on. The table takes up to 64 MB, of which
    the system provides only the parts that are used.

    Threads may share a normalizer: two threads that compute a new colour write the same value.

    Parameters
    ----------
    source : StainFit
        Stains of the slide.
    target : StainFit
        Stains of the reference.
    """

    def __init__(self, source: StainFit, target: StainFit) -> None:
        self._source = source
        scale = target.max_concentration / source.max_concentration
        self._stains = target.matrix * scale[:, None]
        # The four bytes of an entry are R, G, B and whether it has been computed.
        self._table = np.zeros((1 << 24, 4), dtype=np.uint8).view(np.uint32)[:, 0]

    def transform(self, batch: Pixels) -> Pixels:
        """Normalise a batch.

        Parameters
        ----------
        batch : (n, height, width, 3) uint8
            RGB.

        Returns
        -------
        (n, height, width, 3) uint8
            RGB. A tile's result does not depend on the rest of the batch.
        """
        result = np.empty(batch.shape, dtype=np.uint8)
        for tile, normalised in zip(batch, result, strict=True):
            colours = _colours(tile)
            values = self._table.take(colours, mode="clip")
            # Entries that are not computed are 0, computed ones have their last byte set.
            if values.min() == 0:
                self._compute(colours[values == 0])
                values = self._table.take(colours, mode="clip")
            rgba = values.view(np.uint8).reshape(*tile.shape[:2], 4)
            cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB, dst=normalised)
        return result

    def _compute(self, colours: NDArray[np.uint32]) -> None:
        pixels = np.ascontiguousarray(colours.view(np.uint8).reshape(-1, 4)[:, :3])
        density = optical_density(standardise_luminosity(pixels, self._source.luminosity))
        first, second = concentrations(density, self._source.matrix)
        values = np.full((len(pixels), 4), 255, dtype=np.uint8)
        for channel, (of_first, of_second) in enumerate(self._stains.T):
            light = np.exp(-(first * of_first + second * of_second))
            values[:, channel] = 255 * light
        self._table[colours] = values.view(np.uint32)[:, 0]


def _colours(tile: Pixels) -> NDArray[np.uint32]:
    """Index of each pixel's colour into a table of 2**24: its R, G, B and 0 as one word."""
    words = cv2.cvtColor(tile, cv2.COLOR_RGB2RGBA).view(np.uint32).reshape(-1)
    return np.bitwise_and(words, _RGB_BYTES, out=words)


def _stain_matrix(density: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Two sparse non-negative atoms of (3, n) densities: (2, 3), haematoxylin first, unit rows."""
    # Only a fit needs it; a stored fit is applied without.
    import spams

    with DICTIONARY_LOCK:
        atoms = spams.trainDL(
            X=np.asfortranarray(density),
            K=2,
            lambda1=_REGULARISER,
            mode=2,
            modeD=0,
            posAlpha=True,
            posD=True,
            iter=_ITERATIONS,
            batchsize=_MINIBATCH,
            numThreads=1,
            verbose=False,
        ).T
    length = np.linalg.norm(atoms, axis=1, keepdims=True)
    if not _positive(length):
        raise _one_stain(name)
    matrix: NDArray[np.float64] = atoms / length
    if matrix[0] @ matrix[1] > _MAX_COSINE:
        raise _one_stain(name)
    # Haematoxylin absorbs more red light than eosin. As in staintools, the atoms are compared
    # before they are scaled to unit length.
    return matrix[::-1].copy() if atoms[0, 0] < atoms[1, 0] else matrix.copy()


def _positive(values: NDArray[np.float64] | float) -> bool:
    return bool(np.all(np.isfinite(values) & (np.asarray(values) > 0)))


def _too_little_tissue(name: str, found: int, of: int) -> SlideError:
    return SlideError(
        f"{name}: the stains cannot be fitted: {found} of {of} pixels are tissue, but "
        f"{MIN_TISSUE_PIXELS} are needed; outline more tissue"
    )


def _one_stain(name: str) -> SlideError:
    return SlideError(
        f"{name}: the stains cannot be fitted: these pixels do not show two different stains; "
        "check that the slide is H&E and that the outlines contain nuclei"
    )
