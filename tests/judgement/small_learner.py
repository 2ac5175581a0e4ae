"""A learner in numpy: Cox regression on a patient's mean features, by gradient steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from qupath_hccmil.judgement.judged_cohort import JudgedCohort, SlideFacts, judged_cohort
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.tables.table_reader import UserTable

CENTRES = ("Aachen", "Bonn", "Cologne")


@dataclass
class SmallPredictor:
    """A linear score of features."""

    learner: SmallLearner
    coefficients: np.ndarray
    columns: slice
    epoch: int
    training: tuple[str, ...]
    choosing: tuple[str, ...]

    def predict(self, patients: Sequence[str]) -> np.ndarray:
        self.learner.predicted.append((self.training, self.choosing, tuple(patients)))
        rows = np.array([self.learner.features[patient] for patient in patients])
        total = np.zeros(len(rows))
        for column, weight in zip(rows[:, self.columns].T, self.coefficients, strict=True):
            total += column * weight
        return total


@dataclass
class SmallLearner:
    """Candidates see all features, or only the first half."""

    features: Mapping[str, np.ndarray]
    outcomes: Mapping[str, tuple[float, int]]
    candidates: Sequence[str] = ("all",)
    fingerprint: str = "small"
    epochs: int = 12
    fits: list[tuple[tuple[str, ...], tuple[str, ...], str, int]] = field(default_factory=list)
    predicted: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = field(
        default_factory=list
    )
    stop_after: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)

    def fit(
        self,
        training: Sequence[str],
        choosing: Sequence[str],
        candidate: str,
        seed: int,
        folder: Path | None = None,
    ) -> SmallPredictor:
        if self.stop_after is not None and len(self.fits) >= self.stop_after:
            raise KeyboardInterrupt
        self.fits.append((tuple(training), tuple(choosing), candidate, seed))
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "checkpoint").write_text("weights")
        width = len(next(iter(self.features.values())))
        columns = slice(0, width if candidate == "all" else width // 2)
        x, time, event = self._rows(training, columns)
        seen, seen_time, seen_event = self._rows(choosing, columns)
        weights = np.random.default_rng(seed).normal(size=x.shape[1]) * 0.01
        best, chosen, epoch = -1.0, weights, 0
        for number in range(1, self.epochs + 1):
            weights = weights + 0.5 * _gradient(x, time, event, weights)
            value = concordance(seen_time, seen_event, seen @ weights)
            if value > best + 1e-6:
                best, chosen, epoch = value, weights, number
        return SmallPredictor(self, chosen, columns, epoch, tuple(training), tuple(choosing))

    def with_outcomes_of(self, donors: Mapping[str, str]) -> SmallLearner:
        outcomes = {patient: self.outcomes[donor] for patient, donor in donors.items()}
        return SmallLearner(
            self.features, outcomes, self.candidates, self.fingerprint, self.epochs, self.fits,
            self.predicted, self.stop_after,
        )  # fmt: skip

    def _rows(
        self, patients: Sequence[str], columns: slice
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = np.array([self.features[patient] for patient in patients])[:, columns]
        time = np.array([self.outcomes[patient][0] for patient in patients])
        return x, time, np.array([bool(self.outcomes[patient][1]) for patient in patients])


def _gradient(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    relative = np.exp(np.clip(x @ weights, -20, 20))
    at_risk = (time[None, :] >= time[:, None]).astype(float)
    mean = at_risk @ (relative[:, None] * x) / (at_risk @ relative)[:, None]
    return (x - mean)[event].sum(axis=0) / len(time)


def small_cohort(
    patients: int = 120,
    *,
    strength: float = 1.2,
    seed: int = 5,
    confounded: str = "",
    scanner_of: Mapping[str, str] | None = None,
) -> tuple[SmallLearner, JudgedCohort]:
    """Three centres whose first feature carries the hazard and whose last carries the centre.

    In a confounded centre, nearly everybody has an event early, whatever the first feature.
    """
    rng = np.random.default_rng(seed)
    names = [f"P{number:03d}" for number in range(patients)]
    centre = rng.choice(CENTRES, patients)
    x = rng.normal(size=(patients, 4))
    x[:, 3] = 2.0 * np.array([CENTRES.index(name) for name in centre]) + 0.1 * x[:, 3]
    age = rng.normal(60, 9, patients).round()
    rate = 0.25 * np.exp(strength * x[:, 0] + 0.03 * (age - 60))
    waits, ends = rng.exponential(1 / rate), rng.uniform(2, 9, patients)
    if confounded:
        inside = centre == confounded
        waits[inside] = rng.exponential(0.2, inside.sum())
        ends[inside] = 9
    time, event = np.minimum(waits, ends).round(4), (waits <= ends).astype(int)
    outcomes = {n: (float(t), int(e)) for n, t, e in zip(names, time, event, strict=True)}
    table = pd.DataFrame(
        {
            "patient": names,
            "time": time.astype(str),
            "event": event.astype(str),
            "centre": centre,
            "age": age.astype(int).astype(str),
            "stage": rng.choice(["I", "II", "III"], patients),
        },
        dtype=object,
    )
    table.loc[3, "age"] = None
    scanners = dict(scanner_of or {})
    slides = [
        SlideFacts(
            name, f"{name}.svs", int(rng.integers(200, 900)),
            tuple((120 + 20 * rng.uniform(size=3)).round(2).tolist()), scanners.get(place, "S1"),
            f"pixels-{name}",
        )
        for name, place in zip(names, centre, strict=True)
    ]  # fmt: skip
    learner = SmallLearner(dict(zip(names, x, strict=True)), outcomes)
    cohort = judged_cohort(
        UserTable(Path("clinical.csv"), table), outcomes, slides, centre="centre"
    )
    return learner, cohort
