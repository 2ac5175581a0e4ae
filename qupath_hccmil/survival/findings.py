"""The results of an analysis, part by part."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from qupath_hccmil.survival.analysis_cohort import Cohort
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.statistics.baseline import Baseline
from qupath_hccmil.survival.statistics.brier import Brier
from qupath_hccmil.survival.statistics.centres import Centres
from qupath_hccmil.survival.statistics.cox import CoxFit, LikelihoodRatio
from qupath_hccmil.survival.statistics.discrimination import Discrimination
from qupath_hccmil.survival.statistics.fine_gray import FineGrayFit
from qupath_hccmil.survival.statistics.horizon_calibration import Calibration
from qupath_hccmil.survival.statistics.kaplan_meier import LogRank
from qupath_hccmil.survival.statistics.multiple_imputation import ImputedCox
from qupath_hccmil.survival.statistics.rmst import RestrictedMeans
from qupath_hccmil.survival.statistics.subgroups import Subgroups
from qupath_hccmil.survival.statistics.table_one import EventsPerVariable

SCORE_NAME = "Risk score"
CLINICAL_MODEL = "Clinical model"
IMPUTED = "After multiple imputation"


@dataclass(frozen=True)
class Stratum:
    """Kaplan-Meier curves of the risk groups within one level of a variable."""

    variable: str
    level: str
    curves: pd.DataFrame
    horizons: pd.DataFrame
    medians: pd.DataFrame
    test: LogRank
    patients: int
    events: int


@dataclass
class GroupTests:
    """Variants of the log-rank test of the risk groups; trend and pairs need three groups."""

    weighted: pd.DataFrame | None = None
    trend: LogRank | None = None
    pairwise: pd.DataFrame | None = None


@dataclass
class Survival:
    """Kaplan-Meier results: overall, by risk group, and within each level of each variable."""

    follow_up: dict[str, float]
    overall: pd.DataFrame
    groups: pd.DataFrame
    horizons: pd.DataFrame
    medians: pd.DataFrame
    test: LogRank
    strata: list[Stratum] = field(default_factory=list)
    stratified: pd.DataFrame = field(default_factory=pd.DataFrame)
    group_tests: GroupTests = field(default_factory=GroupTests)


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
class Groups:
    """The effect of the score in subgroups and in centres."""

    subgroups: Subgroups | None = None
    centres: Centres | None = None


@dataclass
class Sensitivity:
    """The effect of the score under other choices.

    Attributes
    ----------
    effects : DataFrame
        ``analysis, model, patients, events, coefficient, se, hazard_ratio, lower, upper, p`` of the
        score, per SD of all patients.
    nonlinearity : DataFrame
        From ``nonlinearity.nonlinearity_tests``.
    curve : DataFrame
        From ``nonlinearity.spline_curve``.
    influence : DataFrame
        ``patient, time, event, score, change, in_standard_errors``: change of the score's
        coefficient (per SD) by each patient of the multivariable model, largest first.
    """

    effects: pd.DataFrame | None = None
    nonlinearity: pd.DataFrame | None = None
    curve: pd.DataFrame | None = None
    influence: pd.DataFrame | None = None


@dataclass
class WithinFolds:
    """Discrimination of scores out of fold, from pairs of patients of one fold.

    Attributes
    ----------
    table : DataFrame
        As ``within_folds.Compared.table``: C-index, and AUC at the horizons, of the score and of
        each model of clinical variables.
    differences : DataFrame or None
        As ``within_folds.Compared.differences``, with the number of ``patients``.
    by_fold : dict of str to float
        C-index of the score in each fold; NaN where no pair is usable.
    curve : DataFrame or None
        From ``within_folds.auc_curve``, of the score.
    """

    table: pd.DataFrame
    differences: pd.DataFrame | None
    by_fold: dict[str, float]
    curve: pd.DataFrame | None = None


@dataclass
class Performance:
    """Discrimination of the score, and calibration of its predicted risks.

    `discrimination` compares models on patients who have every variable; `score_alone` is computed
    on all patients. Of scores out of fold, there is `within_folds` and nothing else.
    """

    within_folds: WithinFolds | None = None
    auc_curve: pd.DataFrame | None = None
    auc: pd.DataFrame | None = None
    auc_differences: pd.DataFrame | None = None
    discrimination: Discrimination | None = None
    score_alone: Discrimination | None = None
    baseline: Baseline | None = None
    baseline_told: str = ""
    calibrations: list[Calibration] = field(default_factory=list)
    brier: Brier | None = None
    net_benefit: pd.DataFrame | None = None


@dataclass
class CompetingPerformance:
    """Performance of the score, and of risks by Fine and Gray's model, if events compete."""

    auc: pd.DataFrame | None = None
    auc_differences: pd.DataFrame | None = None
    calibrations: list[Calibration] = field(default_factory=list)
    brier: Brier | None = None
    net_benefit: pd.DataFrame | None = None


@dataclass
class Competing:
    """Cumulative incidence, hazards of both kinds, and predicted risks."""

    incidence: pd.DataFrame
    horizons: pd.DataFrame
    hazards: pd.DataFrame | None
    gray: pd.DataFrame | None = None
    fine_gray: pd.DataFrame | None = None
    fine_gray_model: FineGrayFit | None = None
    performance: CompetingPerformance = field(default_factory=CompetingPerformance)


@dataclass
class CohortResult:
    """A prediction in one cohort.

    Attributes
    ----------
    cohort : Cohort
    patients, events : int
    follow_up : dict
        Median with its interval, and the longest.
    score_mean, score_sd, linear_mean, linear_sd : float
        Of the score, and of the linear predictor of the baseline.
    table : DataFrame
        From ``external_validation.validate``.
    risks : (n, horizons) float64
    curve, net_benefit : DataFrame or None
        Smoothed calibration and decision curve, with a column ``horizon``.
    """

    cohort: Cohort = field(metadata={"in_results": False})
    patients: int
    events: int
    follow_up: dict[str, float]
    score_mean: float
    score_sd: float
    linear_mean: float
    linear_sd: float
    table: pd.DataFrame
    risks: np.ndarray = field(metadata={"in_results": False})
    curve: pd.DataFrame | None
    net_benefit: pd.DataFrame | None


@dataclass
class External:
    """External validation.

    Attributes
    ----------
    first : str
        Name of the first cohort.
    given : bool
        Whether the baseline was given, so that the first cohort is external, too.
    cohorts, recalibrated : dict
        By name.
    pooled : DataFrame or None
        From ``external_validation.pool_cohorts``.
    """

    first: str
    given: bool
    cohorts: dict[str, CohortResult] = field(default_factory=dict)
    pooled: pd.DataFrame | None = None
    recalibrated: dict[str, pd.DataFrame] = field(default_factory=dict)


@dataclass
class Analysis:
    """All results for a cohort.

    Attributes
    ----------
    cohort : Cohort
    settings : Settings
    horizons : tuple of float
        In the unit of the cohort.
    problems : list of (part, reason)
        Parts that could not be done.
    command : str
        Command line of the run; empty if it was called from Python.
    """

    cohort: Cohort
    settings: Settings
    horizons: tuple[float, ...]
    table_one: pd.DataFrame | None
    missing: pd.DataFrame | None
    events_per_variable: EventsPerVariable | None
    survival: Survival
    effects: Effects
    groups: Groups
    performance: Performance
    competing: Competing | None
    external: External | None
    tiles: pd.DataFrame | None
    problems: list[tuple[str, str]]
    command: str = ""
    sensitivity: Sensitivity = field(default_factory=Sensitivity)
