"""The features of the tiles of one patient, which a head is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FeatureBag(Protocol):
    """The features of one patient; the tiles of several slides are joined."""

    @property
    def patient(self) -> str:
        """Name of the patient."""
        ...

    def __len__(self) -> int:
        """Return the number of tiles, which is known without reading them."""
        ...

    def read(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read the features ``(n, d)`` of some tiles, by default of all, in the given order."""
        ...


@dataclass(frozen=True)
class ArrayBag:
    """A bag whose features are in an array.

    Attributes
    ----------
    patient : str
    features : (n, d) float32
    """

    patient: str
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.features)

    def read(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Features ``(n, d)``."""
        return self.features if rows is None else self.features[rows]
