"""Stain normalisation by staintools itself with a fit for every tile: a slow reference.

`qupath_hccmil.stain.vahadane` fits once per slide and is tested against this. staintools learns the
stains of each tile for one second of wall-clock time on all cores, so two runs differ a little,
depending on how far they get. Nothing here changes what staintools computes.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import PackageError
from qupath_hccmil.stain.colour import Pixels
from qupath_hccmil.stain.vahadane import DICTIONARY_LOCK, StainFit


class StaintoolsNormalizer:
    """Normalises the colours of each tile to those of a target with staintools' Vahadane.

    A tile is standardised by ``LuminosityStandardizer`` and normalised by
    ``StainNormalizer("vahadane")``. Threads may share a normalizer; they take turns.

    Parameters
    ----------
    target : StainFit
        Stains of the reference, used in place of those that ``StainNormalizer.fit`` would estimate.

    Raises
    ------
    PackageError
        staintools is not installed.
    """

    def __init__(self, target: StainFit) -> None:
        check_installed()
        from staintools import LuminosityStandardizer, StainNormalizer

        self._standardize = LuminosityStandardizer.standardize
        self._normalizer = StainNormalizer(method="vahadane")
        self._normalizer.stain_matrix_target = target.matrix
        self._normalizer.maxC_target = target.max_concentration.reshape(1, 2)

    def transform(self, batch: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
        """Normalise a batch, tile by tile.

        Parameters
        ----------
        batch : (n, height, width, 3) uint8
            RGB.

        Returns
        -------
        normalised : (k, height, width, 3) uint8
            RGB of the tiles that can be normalised.
        possible : (n,) bool
            Which tiles these are. In the others, staintools finds no tissue or only one stain.
        """
        found = [self._tile(tile) for tile in batch]
        possible = np.array([each is not None for each in found], dtype=np.bool_)
        normalised = [each for each in found if each is not None]
        return np.stack(normalised) if normalised else batch[:0], possible

    def _tile(self, tile: Pixels) -> Pixels | None:
        from staintools.miscellaneous.exceptions import TissueMaskException

        try:
            # If a stain is absent, staintools divides by 0 and gives noise.
            with DICTIONARY_LOCK, np.errstate(divide="raise", invalid="raise"):
                result: Pixels = self._normalizer.transform(self._standardize(tile))
        except (TissueMaskException, FloatingPointError):
            return None
        return result


def check_installed() -> None:
    """Refuse with one line that says what to do if staintools is not installed.

    Raises
    ------
    PackageError
        staintools is not installed.
    """
    try:
        import staintools  # noqa: F401
    except ImportError as error:
        raise PackageError(
            f"--stain staintools: staintools cannot be used here ({error}); install it "
            "(pip install staintools), or leave the option out"
        ) from error


def identity() -> dict[str, str]:
    """Versions of the packages that determine the result, for the record of a run."""
    return {name: version(name) for name in ("staintools", "spams-bin")}
