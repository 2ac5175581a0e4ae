"""A head that was trained, and what it says of patients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.feature_bag import FeatureBag
from qupath_hccmil.heads.head import Head, HeadOutput
from qupath_hccmil.method.aggregation import risk
from qupath_hccmil.mil.risk_evaluation import BagScore


@dataclass(frozen=True)
class FittedHead:
    """A head with the weights of its best epoch.

    Attributes
    ----------
    head : Head
        In evaluation mode.
    epoch : int
        Number of the best epoch, from 1; 0 if it was loaded from a model folder.
    log : list of dict
        One row per epoch: epoch, loss, held_out_loss, auc, c_index, learning_rate.
    """

    head: Head
    epoch: int
    log: list[dict[str, float]]

    def predict(self, bags: Iterable[FeatureBag]) -> NDArray[np.float64]:
        """Logits ``(patients,)`` of bags, from all their tiles; a higher one means a higher risk.

        Raises
        ------
        DataError
            Features are not numbers or of another width than those the head was trained on.
        """
        return np.array([self.score(bag).logit for bag in bags], dtype=np.float64)

    def score(self, bag: FeatureBag) -> BagScore:
        """Tiles, logit and risk of a patient."""
        logit = float(self._output(bag).logit)
        return BagScore(bag.patient, len(bag), logit, float(risk(logit)))

    def contributions(self, bag: FeatureBag) -> NDArray[np.float64]:
        """Contributions ``(n,)`` of the tiles of a bag; they sum to its logit."""
        return np.asarray(self._output(bag).contributions.cpu().numpy(), dtype=np.float64)

    def _output(self, bag: FeatureBag) -> HeadOutput:
        features = torch.from_numpy(read_features(bag, self.head.width))
        with torch.inference_mode():
            output: HeadOutput = self.head(features.to(self.head.mean.device))
        if not torch.isfinite(output.logit):
            raise DataError(
                f"{bag.patient}: the head gives a logit that is not a number, so its training "
                "diverged; lower --learning-rate or --clip"
            )
        return output


def read_features(
    bag: FeatureBag, width: int, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Read features of a bag and check them.

    Parameters
    ----------
    bag : FeatureBag
    width : int
        Number of features that a tile must have.
    rows : (k,) int64, optional
        By default all tiles.

    Returns
    -------
    (k, width) float32

    Raises
    ------
    DataError
        There are no tiles, or the features are not numbers or of another width.
    """
    features = np.ascontiguousarray(bag.read(rows), dtype=np.float32)
    if not len(features):
        raise DataError(f"patient {bag.patient!r} has no tiles")
    if features.shape[1:] != (width,):
        raise DataError(
            f"patient {bag.patient!r} has {features.shape[-1]} features for each tile, but "
            f"{width} are needed; use the features of one encoder"
        )
    if not np.isfinite(features).all():
        raise DataError(
            f"patient {bag.patient!r} has features that are not numbers (NaN or infinite); "
            "compute them again"
        )
    return features
