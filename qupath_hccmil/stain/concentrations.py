"""Concentrations of two stains in a pixel: non-negative lasso with two atoms, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REGULARISER = 0.01
"""λ of staintools' ``get_concentrations``."""


def concentrations(
    density: NDArray[np.float64], matrix: NDArray[np.float64], regulariser: float = REGULARISER
) -> NDArray[np.float64]:
    """Solve ``min ½‖x − c·M‖² + λ‖c‖₁`` with ``c ≥ 0`` for every pixel x.

    With two unit rows, c has four possible sign patterns: both positive (a 2×2 system), one of
    them, or none. The result is that of ``spams.lasso(mode=2, pos=True)``, which staintools calls.

    Parameters
    ----------
    density : (3, n) float64
        Optical density.
    matrix : (2, 3) float64
        Stain matrix with rows of length 1 that are neither negative nor parallel.
    regulariser : float
        λ.

    Returns
    -------
    (2, n) float64
        Concentrations, one row per stain.
    """
    # Term by term, not as a matrix product: BLAS may round the last columns differently from the
    # first, and then the result for a colour would depend on its position.
    red, green, blue = density
    pull = [row[0] * red + row[1] * green + row[2] * blue - regulariser for row in matrix]
    overlap = float(matrix[0] @ matrix[1])
    scale = 1.0 / (1.0 - overlap * overlap)
    first = (pull[0] - overlap * pull[1]) * scale
    second = (pull[1] - overlap * pull[0]) * scale
    # If one stain would be negative, it is absent and only the other is present.
    alone_first = second < 0
    alone_second = first < 0
    np.copyto(first, pull[0], where=alone_first)
    np.copyto(second, pull[1], where=alone_second)
    first[alone_second] = 0
    second[alone_first] = 0
    result = np.stack([first, second])
    return np.maximum(result, 0, out=result)
