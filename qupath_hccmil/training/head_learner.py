"""Training of heads as judgement sees it: patients by name, one candidate for each head."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from qupath_hccmil.errors import ModelError
from qupath_hccmil.heads.feature_bag import FeatureBag
from qupath_hccmil.heads.fitted_head import FittedHead
from qupath_hccmil.heads.head import make_head
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.heads.head_training import fit_head
from qupath_hccmil.heads.outcomes import Outcome
from qupath_hccmil.learning.checkpoint import load_checkpoint, save_checkpoint

KEPT = "head.safetensors"
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class HeadPredictor:
    """A fitted head that looks up the bags of patients."""

    head: FittedHead
    bags: Mapping[str, FeatureBag]

    @property
    def epoch(self) -> int:
        """The chosen epoch, from 1."""
        return self.head.epoch

    def predict(self, patients: Sequence[str]) -> NDArray[np.float64]:
        """Logits ``(patients,)``; higher means higher risk."""
        return self.head.predict([self.bags[patient] for patient in patients])


@dataclass(frozen=True)
class HeadLearner:
    """Trains heads on features; see :class:`~qupath_hccmil.judgement.learner.Learner`.

    Attributes
    ----------
    bags : mapping of str to FeatureBag
    outcomes : mapping of str to Outcome
        Of every patient with a bag. Those that the loss cannot use are not trained on, but they
        are predicted.
    heads : mapping of str to HeadSettings
        Settings of each candidate, by its name; their seeds are not used.
    origin : str
        Changes if the features do.
    device : torch.device
    """

    bags: Mapping[str, FeatureBag]
    outcomes: Mapping[str, Outcome]
    heads: Mapping[str, HeadSettings]
    origin: str
    device: torch.device = field(default=_CPU)

    @property
    def candidates(self) -> Sequence[str]:
        """Names of the heads."""
        return tuple(self.heads)

    @property
    def labels(self) -> Mapping[str, int]:
        """Labels of the patients with one, if a head is trained on labels; otherwise none."""
        if all(one.loss != "outcome" for one in self.heads.values()):
            return {}
        return {p: one.label for p, one in self.outcomes.items() if one.label is not None}

    @property
    def fingerprint(self) -> str:
        """Hash of features, outcomes and settings."""
        settings = {name: asdict(replace(one, seed=0)) for name, one in self.heads.items()}
        outcomes = {patient: asdict(one) for patient, one in sorted(self.outcomes.items())}
        content = [self.origin, settings, outcomes, str(self.device.type)]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()

    def fit(
        self,
        training: Sequence[str],
        choosing: Sequence[str],
        candidate: str,
        seed: int,
        folder: Path | None = None,
    ) -> HeadPredictor:
        """Train a head on some patients, with the epoch chosen by others.

        A training takes seconds to minutes, so only the finished head is kept in the folder; a
        log with its curves, drawn after each epoch, would take longer than small trainings.

        Raises
        ------
        DataError
            See :func:`~qupath_hccmil.heads.head_training.fit_head`.
        """
        settings = replace(self.heads[candidate], seed=seed)
        learned, chosen_by = (
            [self.bags[p] for p in side if self.outcomes[p].usable_for(settings.loss)]
            for side in (training, choosing)
        )
        key = self._key(training, choosing, candidate, seed)
        kept = None if folder is None else self._kept(folder / KEPT, key, settings)
        if kept is not None:
            return HeadPredictor(kept, self.bags)
        fitted = fit_head(
            learned, chosen_by, self.outcomes, settings, device=self.device, origin=self.origin
        )
        if folder is not None:
            state = {"key": key, "epoch": fitted.epoch}
            save_checkpoint(folder / KEPT, fitted.head.state_dict(), state)
        return HeadPredictor(fitted, self.bags)

    def _key(
        self, training: Sequence[str], choosing: Sequence[str], candidate: str, seed: int
    ) -> str:
        content = [self.fingerprint, list(training), list(choosing), candidate, seed]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _kept(self, path: Path, key: str, settings: HeadSettings) -> FittedHead | None:
        """Read a head that was finished with the same key; None if there is none."""
        if not path.is_file():
            return None
        try:
            weights, state = load_checkpoint(path)
        except ModelError:
            return None
        if state.get("key") != key:
            return None
        width = next(iter(self.bags.values())).read(np.arange(1)).shape[1]
        head = make_head(settings.head, width, **settings.head_arguments)
        head.load_state_dict(weights)
        return FittedHead(head.to(self.device).eval(), int(state["epoch"]), [])

    def with_outcomes_of(self, donors: Mapping[str, str]) -> HeadLearner:
        """Return a learner with the outcomes of other patients."""
        return replace(self, outcomes={p: self.outcomes[donor] for p, donor in donors.items()})
