"""The closed form is the lasso that staintools calls."""

import numpy as np
import pytest
import spams

from qupath_hccmil.stain.concentrations import REGULARISER, concentrations

H_AND_E = np.array([[0.75, 0.59, 0.29], [0.27, 0.84, 0.47]])
NEARLY_PARALLEL = np.array([[0.60, 0.70, 0.39], [0.55, 0.72, 0.42]])
ORTHOGONAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])


@pytest.mark.parametrize("matrix", [H_AND_E, NEARLY_PARALLEL, ORTHOGONAL])
@pytest.mark.parametrize("regulariser", [REGULARISER, 0.1])
def test_equals_spams_lasso(matrix: np.ndarray, regulariser: float) -> None:
    matrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    density = np.concatenate(
        [
            rng.gamma(1.0, 0.5, (3, 20_000)),  # all over, so each sign pattern occurs
            matrix.T @ rng.gamma(1.0, 0.5, (2, 20_000)),
            np.full((3, 1), 1e-6),
            np.full((3, 1), np.log(255)),
        ],
        axis=1,
    )
    expected = spams.lasso(
        X=np.asfortranarray(density),
        D=np.asfortranarray(matrix.T),
        mode=2,
        lambda1=regulariser,
        pos=True,
        numThreads=1,
    ).toarray()
    patterns = {tuple(column) for column in (expected > 0).T}
    assert len(patterns) == 4
    np.testing.assert_allclose(concentrations(density, matrix, regulariser), expected, atol=2e-5)
