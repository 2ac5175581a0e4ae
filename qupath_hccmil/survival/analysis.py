"""The whole analysis of a cohort: calls every part in order and keeps what each one found.

A part that cannot run on these data (one risk group, no events at a horizon, …) is left out with
its reason; the report says both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypedDict, TypeVar

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.auc import auc_over_time, clinical_times
from qupath_hccmil.survival.baseline import Baseline, cross_fitted, fit_baseline, read_baseline
from qupath_hccmil.survival.brier import Brier, brier_scores
from qupath_hccmil.survival.calibration import Calibration, calibration
from qupath_hccmil.survival.coding import DAYS
from qupath_hccmil.survival.cohort import CAUSE, GROUP, SCORE, Cohort
from qupath_hccmil.survival.competing_risks import (
    cause_specific,
    cumulative_incidence,
    incidence_at,
)
from qupath_hccmil.survival.cox import CoxFit, LikelihoodRatio, fit_cox, gain_of, univariable
from qupath_hccmil.survival.decision_curve import net_benefit
from qupath_hccmil.survival.discrimination import Discrimination, discrimination
from qupath_hccmil.survival.kaplan_meier import (
    LogRank,
    at_horizons,
    curves,
    follow_up,
    log_rank,
    medians,
)
from qupath_hccmil.survival.missing_data import ImputedCox, count_missing, imputed_cox
from qupath_hccmil.survival.outcome import EVENT, TIME, complete, outcome
from qupath_hccmil.survival.proportional_hazards import log_log, scaled_residuals, schoenfeld_test
from qupath_hccmil.survival.rmst import RestrictedMeans, restricted_means
from qupath_hccmil.survival.settings import Settings
from qupath_hccmil.survival.table_one import EventsPerVariable, events_per_variable, table_one
from qupath_hccmil.survival.tables_in import read_table
from qupath_hccmil.survival.tiles_of_interest import compare_counts, count_features
from qupath_hccmil.survival.variables import Variable

USUAL_HORIZONS = (1.0, 3.0, 5.0)  # years
FEWEST_AT_RISK = 10
FINE, COARSE, MANY = 25, 12, 20_000  # times of an AUC curve, and patients where it is coarser
SCORE_NAME = "Risk score"
CLINICAL_MODEL = "Clinical model"
Found = TypeVar("Found")


class CoxOptions(TypedDict):
    """What every Cox model of an analysis is fitted with."""

    confidence: float
    penalty: str


@dataclass(frozen=True)
class Stratum:
    """Kaplan-Meier curves of the risk groups inside one level of a variable."""

    variable: str
    level: str
    curves: pd.DataFrame
    test: LogRank
    patients: int
    events: int


@dataclass
class Survival:
    """Kaplan-Meier results: everyone, by risk group, and inside each level of each variable."""

    follow_up: dict[str, float]
    overall: pd.DataFrame
    groups: pd.DataFrame
    horizons: pd.DataFrame
    medians: pd.DataFrame
    test: LogRank
    strata: list[Stratum] = field(default_factory=list)
    stratified: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass
class Effects:
    """Cox models and the check of their assumption."""

    univariable: pd.DataFrame | None = None
    with_score: CoxFit | None = None
    with_group: CoxFit | None = None
    gain: LikelihoodRatio | None = None
    proportional: pd.DataFrame | None = None
    residuals: pd.DataFrame | None = None
    log_log: pd.DataFrame | None = None
    restricted: RestrictedMeans | None = None
    imputed: ImputedCox | None = None


@dataclass
class Performance:
    """How well the score tells patients apart, and how true its risks are."""

    auc_curve: pd.DataFrame | None = None
    auc: pd.DataFrame | None = None
    auc_differences: pd.DataFrame | None = None
    discrimination: Discrimination | None = None
    baseline: Baseline | None = None
    baseline_told: str = ""
    calibrations: list[Calibration] = field(default_factory=list)
    brier: Brier | None = None
    net_benefit: pd.DataFrame | None = None


@dataclass
class Competing:
    """Cumulative incidence and cause-specific hazards."""

    incidence: pd.DataFrame
    horizons: pd.DataFrame
    hazards: pd.DataFrame | None


@dataclass
class Analysis:
    """Everything that was found on a cohort.

    Attributes
    ----------
    cohort : Cohort
    settings : Settings
    horizons : tuple of float
        In the cohort's unit.
    problems : list of (part, reason)
        What could not be done.
    """

    cohort: Cohort
    settings: Settings
    horizons: tuple[float, ...]
    table_one: pd.DataFrame
    missing: pd.DataFrame
    events_per_variable: EventsPerVariable | None
    survival: Survival
    effects: Effects
    performance: Performance
    competing: Competing | None
    tiles: pd.DataFrame | None
    problems: list[tuple[str, str]]


def analyse(
    cohort: Cohort, settings: Settings, progress: Callable[[str], None] | None = None
) -> Analysis:
    """Run every part of the analysis.

    Parameters
    ----------
    cohort : Cohort
    settings : Settings
    progress : callable
        Is told the name of each part before it starts.

    Raises
    ------
    DataError
        There is no event, or the baseline or tiles file cannot be used. What only one part cannot
        do is among ``problems``.
    """
    progress = progress or _silent
    frame = cohort.frame
    _, event = outcome(frame, at_least=2)
    if not event.any():
        raise DataError(
            f"no event among {len(frame)} patients (column {settings.event!r}): nothing can be "
            "estimated; check the coding of events"
        )
    work = _Work(cohort, settings, progress)
    progress("tiles of interest")
    tiles = None
    if settings.tiles:
        tiles = compare_counts(
            count_features(read_table(settings.tiles)), confidence=settings.confidence
        )
    survival = work.survival()
    effects = work.effects()
    performance = work.performance()
    return Analysis(
        cohort,
        settings,
        work.horizons,
        table_one(frame, [*cohort.variables, cohort.score_variable], GROUP),
        count_missing(frame, cohort.variables),
        events_per_variable(frame, [*cohort.variables, cohort.score_variable]),
        survival,
        effects,
        performance,
        work.attempt("Competing risks", work.competing) if cohort.coding.competing else None,
        tiles,
        work.problems,
    )


def choose_horizons(
    frame: pd.DataFrame, asked: Sequence[float], unit: str
) -> tuple[tuple[float, ...], list[tuple[str, str]]]:
    """Keep the horizons that lie within follow-up, or choose usual ones.

    Returns
    -------
    horizons : tuple of float
        Ascending. Of 1, 3 and 5 years those that ten patients are followed to, when none is asked.
    problems : list of (part, reason)
        Horizons that were asked for and lie past the last follow-up.
    """
    time, event = outcome(frame)
    last = float(time.max())
    if asked:
        kept = tuple(sorted({horizon for horizon in asked if horizon <= last}))
        problems = [
            (
                f"Horizon {horizon:g} {unit}",
                f"past the last follow-up ({last:.2f} {unit}): left out",
            )
            for horizon in sorted(set(asked) - set(kept))
        ]
        if kept:
            return kept, problems
    else:
        problems = []
        scale = DAYS["years"] / DAYS[unit]
        kept = tuple(
            round(year * scale, 6)
            for year in USUAL_HORIZONS
            if (time >= year * scale).sum() >= FEWEST_AT_RISK
        )
        if kept:
            return kept, problems
    middle = float(np.median(time[event])) if event.any() else float(np.median(time))
    return (middle,), [
        *problems,
        ("Horizons", f"the median time to an event, {middle:.3g} {unit}, is used"),
    ]


def _silent(step: str) -> None:
    """Tell nobody."""
    del step


class _Work:
    def __init__(self, cohort: Cohort, settings: Settings, progress: Callable[[str], None]) -> None:
        self.cohort, self.settings, self.progress = cohort, settings, progress
        self.frame = cohort.frame
        self.problems: list[tuple[str, str]] = []
        self.horizons, told = choose_horizons(self.frame, settings.horizons, cohort.unit)
        self.problems += told
        self.confidence = settings.confidence
        self.score, self.group = cohort.score_variable, cohort.group_variable
        self.clinical = list(cohort.variables)

    def attempt(self, part: str, work: Callable[[], Found]) -> Found | None:
        """Do one part, or note why it cannot be done."""
        self.progress(part.lower())
        try:
            return work()
        except DataError as error:
            self.problems.append((part, str(error)))
            return None

    # -- Kaplan-Meier ---------------------------------------------------------------------------

    def survival(self) -> Survival:
        self.progress("Kaplan-Meier")
        frame, confidence = self.frame, self.confidence
        everyone = at_horizons(frame, self.horizons, confidence=confidence)
        groups = at_horizons(frame, self.horizons, GROUP, confidence=confidence)
        found = Survival(
            follow_up(frame, confidence=confidence),
            curves(frame, confidence=confidence),
            curves(frame, GROUP, confidence=confidence),
            pd.concat([everyone, groups], ignore_index=True),
            pd.concat(
                [
                    medians(frame, confidence=confidence),
                    medians(frame, GROUP, confidence=confidence),
                ],
                ignore_index=True,
            ),
            log_rank(frame, GROUP),
        )
        rows = []
        for variable in self.clinical:
            levels, name = _levels_of(frame, variable)
            strata = frame.assign(level__=levels)
            for level, part in strata.groupby("level__", sort=True, observed=True):
                found.strata.append(self._stratum(name, str(level), part))
            test = log_rank(strata, GROUP, strata="level__")
            rows.append((variable.name, name, test.statistic, test.degrees_of_freedom, test.p))
        names = ["variable", "label", "statistic", "degrees_of_freedom", "p"]
        found.stratified = pd.DataFrame(rows, columns=names)
        return found

    def _stratum(self, name: str, level: str, part: pd.DataFrame) -> Stratum:
        table = curves(part, GROUP, confidence=self.confidence)
        return Stratum(name, level, table, log_rank(part, GROUP), len(part), int(part[EVENT].sum()))

    # -- Cox ------------------------------------------------------------------------------------

    def effects(self) -> Effects:
        fit = partial(fit_cox, self.frame, **self._options())
        found = Effects()
        every = [self.group, self.score, *self.clinical]
        tables = [
            self.attempt(
                f"Univariable Cox, {variable.title}",
                partial(univariable, self.frame, [variable], **self._options()),
            )
            for variable in every
        ]
        present = [table for table in tables if table is not None]
        found.univariable = pd.concat(present, ignore_index=True) if present else None
        found.with_score = self.attempt(
            "Multivariable Cox with the score",
            partial(fit, [self.score, *self.clinical]),
        )
        if len(self.group.levels) > 1:
            found.with_group = self.attempt(
                "Multivariable Cox with the risk group",
                partial(fit, [self.group, *self.clinical]),
            )
        if self.clinical:
            found.gain = self.attempt(
                "Likelihood-ratio test of the score",
                lambda: gain_of(
                    self.frame, self.score, self.clinical, penalty=self.settings.penalty
                ),
            )
        self._assumption(found)
        if self.settings.imputations and self.clinical:
            found.imputed = self.attempt("Multiple imputation", self._imputed)
        return found

    def _options(self) -> CoxOptions:
        return {"confidence": self.confidence, "penalty": self.settings.penalty}

    def _assumption(self, found: Effects) -> None:
        fit = found.with_score
        if fit is not None:
            found.proportional = self.attempt(
                "Test of proportional hazards",
                lambda: schoenfeld_test(self.frame, fit.variables, fit.coefficients),
            )
            found.residuals = self.attempt(
                "Schoenfeld residuals",
                lambda: scaled_residuals(self.frame, fit.variables, fit.coefficients),
            )
        if len(self.group.levels) > 1:
            found.log_log = log_log(self.frame, GROUP)
            last = self.frame.groupby(GROUP, observed=True)[TIME].max().min()
            fitting = [horizon for horizon in self.horizons if horizon <= last]
            tau = max(fitting) if fitting else float(last)
            found.restricted = self.attempt(
                "Restricted mean survival",
                lambda: restricted_means(self.frame, tau, GROUP, confidence=self.confidence),
            )

    def _imputed(self) -> ImputedCox:
        return imputed_cox(
            self.frame,
            [self.score, *self.clinical],
            self.settings.imputations,
            seed=self.settings.seed,
            confidence=self.confidence,
            penalty=self.settings.penalty,
        )

    # -- Performance ----------------------------------------------------------------------------

    def performance(self) -> Performance:
        found = Performance()
        self.attempt("AUC over time", lambda: self._auc(found))
        found.discrimination = self.attempt("Discrimination", self._discrimination)
        risks = self._risks(found)
        if risks is not None:
            grid, predicted = risks
            self._calibrate(found, grid, predicted)
        return found

    def _auc(self, found: Performance) -> None:
        last = max(self.horizons)
        points = FINE if len(self.frame) < MANY else COARSE
        grid = clinical_times(self.frame, last, points)
        # A point of the grid just beside a horizon would only show as a kink.
        apart = np.abs(grid[:, None] - np.asarray(self.horizons)).min(axis=1)
        near = (grid[1] - grid[0]) / 2 if last > grid[0] else 0.0
        times = np.union1d(grid[apart > near], self.horizons)
        alone = self._markers(self.frame, {SCORE_NAME: self.frame[SCORE].to_numpy(float)}, times)
        tables, gaps = [alone[0]], []
        for name, variables in self._models():
            rows = complete(self.frame, [variable.name for variable in variables])
            fit = self.attempt(
                f"AUC over time of {name}",
                partial(fit_cox, rows, variables, penalty=self.settings.penalty),
            )
            if fit is None:
                continue
            markers = {
                SCORE_NAME: rows[SCORE].to_numpy(float),
                name: fit.linear_predictor(rows),
            }
            table, gap = self._markers(rows, markers, times)
            same = table[table["marker"] == SCORE_NAME].set_index("time")
            tables.append(table[table["marker"] == name].assign(patients=len(rows)))
            gaps.append(
                gap.assign(
                    patients=len(rows), score_auc=gap["time"].map(same["auc"]).to_numpy(float)
                )
            )
        tables[0] = tables[0].assign(patients=len(self.frame))
        curve = pd.concat(tables, ignore_index=True)
        found.auc_curve = curve
        found.auc = curve[curve["time"].isin(self.horizons)].reset_index(drop=True)
        if gaps:
            every = pd.concat(gaps, ignore_index=True)
            found.auc_differences = every[every["time"].isin(self.horizons)].reset_index(drop=True)

    def _models(self) -> list[tuple[str, list[Variable]]]:
        models = [(variable.title, [variable]) for variable in self.clinical]
        if len(self.clinical) > 1:
            models.append((CLINICAL_MODEL, self.clinical))
        return models

    def _markers(
        self, rows: pd.DataFrame, markers: dict[str, np.ndarray], times: np.ndarray
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        table = pd.DataFrame({TIME: rows[TIME], EVENT: rows[EVENT]}).assign(
            **{f"m{index}": values for index, values in enumerate(markers.values())}
        )
        names = dict(zip((f"m{index}" for index in range(len(markers))), markers, strict=True))
        found = auc_over_time(
            table,
            list(names),
            times.tolist(),
            confidence=self.confidence,
            seed=self.settings.seed,
        )
        gap = found.differences.replace({"marker": names, "reference": names})
        return found.table.replace({"marker": names}), gap

    def _discrimination(self) -> Discrimination:
        return discrimination(
            self.frame,
            SCORE,
            self.clinical,
            max(self.horizons),
            repeats=self.settings.bootstrap,
            seed=self.settings.seed,
            confidence=self.confidence,
        )

    def _risks(self, found: Performance) -> tuple[np.ndarray, np.ndarray] | None:
        time, event = outcome(self.frame)
        last = max(self.horizons)
        first = min(float(np.quantile(time[event], 0.1)), last / 2)
        grid = np.unique(np.linspace(first, last, 40))
        every = [*grid.tolist(), *self.horizons]
        value = self.frame[SCORE].to_numpy(float)
        if self.settings.baseline:
            found.baseline = read_baseline(self.settings.baseline)
            scale = DAYS[self.cohort.unit] / DAYS[found.baseline.unit]
            given = found.baseline
            found.baseline_told = (
                f"the baseline fitted on “{given.name}” ({given.patients} patients)"
            )
            survival = self.attempt(
                "Predicted risks",
                lambda: np.column_stack([given.survival(value, at * scale) for at in every]),
            )
        else:
            found.baseline = self.attempt(
                "Baseline",
                lambda: fit_baseline(
                    self.frame, SCORE, name=self._data_name(), unit=self.cohort.unit
                ),
            )
            found.baseline_told = (
                "a Cox baseline fitted on these patients, each predicted by the baseline of the "
                "other nine tenths (10-fold cross-fitting)"
            )
            survival = self.attempt(
                "Predicted risks",
                lambda: cross_fitted(self.frame, SCORE, every, seed=self.settings.seed),
            )
        if survival is None:
            return None
        return grid, np.clip(1 - survival, 1e-9, 1 - 1e-9)

    def _data_name(self) -> str:
        files = ", ".join(self.cohort.hashes)
        return f"{len(self.frame)} patients of {files}"

    def _calibrate(self, found: Performance, grid: np.ndarray, risks: np.ndarray) -> None:
        settings = self.settings
        curves_of_benefit = []
        for index, horizon in enumerate(self.horizons):
            table = self.frame.assign(risk__=risks[:, len(grid) + index])
            one = self.attempt(
                f"Calibration at {horizon:g} ({self.cohort.unit})",
                partial(
                    calibration,
                    table,
                    "risk__",
                    horizon,
                    repeats=settings.bootstrap,
                    seed=settings.seed,
                    confidence=self.confidence,
                ),
            )
            if one is not None:
                found.calibrations.append(one)
            benefit = self.attempt(
                f"Decision curve at {horizon:g} ({self.cohort.unit})",
                partial(net_benefit, table, "risk__", horizon, _thresholds(table["risk__"])),
            )
            if benefit is not None:
                curves_of_benefit.append(benefit.assign(horizon=horizon))
        if curves_of_benefit:
            found.net_benefit = pd.concat(curves_of_benefit, ignore_index=True)
        found.brier = self.attempt(
            "Brier score",
            lambda: brier_scores(
                self.frame,
                risks,
                grid.tolist(),
                self.horizons,
                repeats=settings.bootstrap,
                seed=settings.seed,
                confidence=self.confidence,
            ),
        )

    # -- Competing risks ------------------------------------------------------------------------

    def competing(self) -> Competing:
        causes = {1: self.settings.endpoint or "Event", 2: self.settings.competing_name}
        frame = self.frame.assign(**{EVENT: self.frame[CAUSE]})
        table = pd.concat(
            [
                cumulative_incidence(frame, causes, confidence=self.confidence),
                cumulative_incidence(frame, causes, GROUP, confidence=self.confidence),
            ],
            ignore_index=True,
        )
        variables = [self.group, self.score]
        if len(self.group.levels) < 2:
            variables = [self.score]
        hazards = self.attempt(
            "Cause-specific hazards",
            lambda: cause_specific(frame, causes, variables, confidence=self.confidence),
        )
        return Competing(table, incidence_at(table, self.horizons), hazards)


def _levels_of(frame: pd.DataFrame, variable: Variable) -> tuple[pd.Series, str]:
    """Choose the levels that curves are drawn in: a numeric variable is halved at its median."""
    if variable.levels:
        return frame[variable.name], variable.title
    middle = float(frame[variable.name].median())
    names = [f"≤ {middle:.4g}", f"> {middle:.4g}"]
    values = frame[variable.name].map(
        lambda value: None if pd.isna(value) else names[int(value > middle)]
    )
    levels = values.astype(pd.CategoricalDtype(names, ordered=True))
    return levels, f"{variable.title} (at the median)"


def _thresholds(risk: pd.Series) -> list[float]:
    """Thresholds from 0.02 to the highest risk that anybody has."""
    top = min(0.98, float(risk.quantile(0.995)))
    return [round(value, 2) for value in np.arange(0.02, max(top, 0.04) + 0.01, 0.02)]
