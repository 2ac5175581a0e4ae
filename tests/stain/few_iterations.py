"""Makes staintools repeat: so many iterations on one thread, not as many as fit into a second."""

from typing import Any

import numpy as np
import pytest
import spams


def few_iterations(monkeypatch: pytest.MonkeyPatch, count: int = 200) -> None:
    """Only where nothing is said of it, as staintools does; our own fits say how many they want."""
    train = spams.trainDL

    def trained(**arguments: Any) -> np.ndarray:
        return train(**{"iter": count, "numThreads": 1, **arguments})

    monkeypatch.setattr(spams, "trainDL", trained)
