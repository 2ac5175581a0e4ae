"""Random-effects pooling of estimates from several centres or cohorts, by statsmodels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from qupath_hccmil.errors import DataError
from qupath_hccmil.plain_words import count_of


@dataclass(frozen=True)
class Pooled:
    """A pooled estimate and its heterogeneity.

    Attributes
    ----------
    count : int
        Number of estimates.
    estimate, se, lower, upper : float
        Random-effects mean, its standard error, and its interval by Hartung, Knapp, Sidik and
        Jonkman on the t distribution.
    prediction_lower, prediction_upper : float
        Interval for the true value in a new centre or cohort; NaN for fewer than three.
    tau : float
        SD of the true values between centres.
    q, degrees_of_freedom, p : float, int, float
        Cochran's test of heterogeneity.
    i_squared : float
        Share of the variance that is due to heterogeneity, in [0, 1).
    """

    count: int
    estimate: float
    se: float
    lower: float
    upper: float
    prediction_lower: float
    prediction_upper: float
    tau: float
    q: float
    degrees_of_freedom: int
    p: float
    i_squared: float


def pool(estimates: np.ndarray, errors: np.ndarray, *, confidence: float = 0.95) -> Pooled:
    """Pool estimates on a scale on which they are roughly normal.

    The variance between them is Paule and Mandel's (1982). The standard error is Hartung and
    Knapp's (2001, Statistics in Medicine 20:3875), never smaller than the usual one (the "ad hoc"
    rule, Röver et al. 2015, BMC Medical Research Methodology 15:99), as ``rma(method = "PM", test =
    "adhoc")`` of R's metafor. The prediction interval is that of Higgins et al. (2009, JRSS A
    172:137) on ``k − 1`` degrees of freedom, as in metafor.

    Parameters
    ----------
    estimates, errors : (k,) float64
        Estimates and their standard errors; pairs that are not finite are left out.
    confidence : float

    Raises
    ------
    DataError
        There are fewer than two estimates.
    """
    known = np.isfinite(estimates) & np.isfinite(errors) & (errors > 0)
    estimates, variances = estimates[known], errors[known] ** 2
    count = len(estimates)
    if count < 2:
        raise DataError(f"{count_of(count, 'estimate')} cannot be pooled; two are needed")
    found = combine_effects(estimates, variances, method_re="iterated", atol=1e-8)
    tau2 = max(float(found.tau2), 0.0)
    weight = 1 / (variances + tau2)
    mean = float(weight @ estimates / weight.sum())
    scale = float(weight @ (estimates - mean) ** 2) / (count - 1)
    error = float(np.sqrt(max(scale, 1.0) / weight.sum()))
    critical = float(stats.t.ppf(0.5 + confidence / 2, count - 1))
    reach = critical * float(np.hypot(error, np.sqrt(tau2))) if count > 2 else np.nan
    fixed = 1 / variances
    q = float(fixed @ (estimates - fixed @ estimates / fixed.sum()) ** 2)
    # The typical variance within, as Higgins and Thompson 2002 define I².
    typical = (count - 1) * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())
    return Pooled(
        count,
        mean,
        error,
        mean - critical * error,
        mean + critical * error,
        mean - reach,
        mean + reach,
        float(np.sqrt(tau2)),
        q,
        count - 1,
        float(stats.chi2.sf(q, count - 1)),
        tau2 / (tau2 + typical),
    )
