"""What judgement asks of a training: learn from some patients, predict others.

Judgement knows neither networks nor slides. Whatever is judged is a :class:`Learner`, which gets
names of patients and looks up their data and outcomes itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Predictor(Protocol):
    """What a training gave."""

    @property
    def epoch(self) -> int:
        """The epoch that the choosing patients chose, from 1; 0 if there are no epochs."""

    def predict(self, patients: Sequence[str]) -> NDArray[np.float64]:
        """Logits of patients, in their order; a higher logit means a higher risk.

        Returns
        -------
        (patients,) float64
        """


class Learner(Protocol):
    """A way to train a model, with candidates (such as heads) to choose from."""

    @property
    def candidates(self) -> Sequence[str]:
        """Names of the candidates, at least one; judgement chooses among them in inner folds."""

    @property
    def fingerprint(self) -> str:
        """Changes if a setting or any input of the training changes.

        So kept folds of another training are not taken for those of this one.
        """

    @property
    def labels(self) -> Mapping[str, int]:
        """Label (1 good, 0 poor) of each patient with one, if labels are what is learned from.

        Folds then spread them evenly, and each side of an inner split has both. Empty for a
        training on follow-up.
        """

    def fit(
        self,
        training: Sequence[str],
        choosing: Sequence[str],
        candidate: str,
        seed: int,
        folder: Path | None = None,
    ) -> Predictor:
        """Train a candidate on some patients, with the epoch chosen by others.

        Parameters
        ----------
        training, choosing : sequence of str
            Patients, without overlap. No other patient's data or outcome may be used.
        candidate : str
            One of `candidates`.
        seed : int
            Decides everything random, so that the same call gives the same predictor.
        folder : Path, optional
            Where the training may keep its checkpoint, to be continued after a kill. It belongs to
            this training alone, and is removed when its predictions are kept.
        """

    def with_outcomes_of(self, donors: Mapping[str, str]) -> Learner:
        """Return the same way to train, with the outcomes of other patients.

        With the outcomes permuted, whatever can still be predicted is leakage.

        Parameters
        ----------
        donors : mapping of str to str
            For each patient, the one whose outcome (follow-up and label) is used.
        """
