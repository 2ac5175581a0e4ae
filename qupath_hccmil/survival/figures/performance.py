"""Figures of performance: AUC over time, calibration, decision curve, scores, residuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from qupath_hccmil.survival.figures.style import (
    DASHES,
    GREY,
    HIGH,
    INK,
    LOW,
    MARKERS,
    canvas,
    group_colours,
    plain,
    styled,
)

MOST_DOTS = 1500


@styled
def auc_figure(curve: pd.DataFrame, *, unit: str) -> Figure:
    """Draw AUC over time of every marker, the first with its interval and simultaneous band.

    Parameters
    ----------
    curve : DataFrame
        From ``auc.auc_over_time``, with the score first.
    """
    names = list(dict.fromkeys(curve["marker"]))
    figure, axes = canvas(5.6, 3.7 + 0.16 * ((len(names) + 1) // 2))
    for index, name in enumerate(names):
        part = curve[curve["marker"] == name].dropna(subset=["auc"])
        colour = MARKERS[index % len(MARKERS)]
        if index == 0:
            axes.fill_between(
                part["time"], part["band_lower"], part["band_upper"], color=colour, alpha=0.10, lw=0
            )
            axes.fill_between(
                part["time"], part["lower"], part["upper"], color=colour, alpha=0.18, lw=0
            )
        axes.plot(
            part["time"],
            part["auc"],
            color=colour,
            ls=DASHES[index % len(DASHES)],
            lw=2.2 if index == 0 else 1.4,
            label=plain(name, 30),
            zorder=5 if index == 0 else 3,
        )
    axes.axhline(0.5, color=GREY, lw=0.9, ls=(0, (2, 2)))
    axes.set_ylim(min(0.3, _lowest(curve)), 1.0)
    axes.set_xlabel(f"Time ({unit})")
    axes.set_ylabel("AUC(t)")
    figure.legend(loc="outside lower center", ncols=2, handlelength=2.6)
    return figure


@styled
def calibration_figure(
    curve: pd.DataFrame, groups: pd.DataFrame, risks: np.ndarray, *, title: str
) -> Figure:
    """Draw the smoothed calibration curve, fifths of patients, and the distribution of risks.

    Parameters
    ----------
    curve, groups : DataFrame
        From ``horizon_calibration.Calibration``.
    risks : (n,) float64
        All predicted risks.
    """
    figure, axes = canvas(4.4, 4.4)
    top = min(1.0, max(float(curve["upper"].max()), float(groups["upper"].max()), 0.2) * 1.05)
    top = 1.0 if not np.isfinite(top) else top
    axes.plot([0, top], [0, top], color=GREY, lw=0.9, ls=(0, (2, 2)), label="ideal")
    if curve["lower"].notna().any():
        axes.fill_between(
            curve["predicted"], curve["lower"], curve["upper"], color=LOW, alpha=0.16, lw=0
        )
    axes.plot(curve["predicted"], curve["observed"], color=LOW, label="smoothed")
    error = np.abs(
        groups[["lower", "upper"]].to_numpy(float).T - groups["observed"].to_numpy(float)
    )
    axes.errorbar(
        groups["predicted"],
        groups["observed"],
        yerr=error,
        fmt="o",
        ms=4.5,
        color=HIGH,
        lw=1.1,
        capsize=2.5,
        label="fifths of patients",
    )
    counts, edges = np.histogram(risks, bins=40, range=(0, top))
    if counts.max():
        axes.bar(
            edges[:-1],
            counts / counts.max() * top * 0.08,
            width=np.diff(edges),
            align="edge",
            color=GREY,
            alpha=0.45,
            lw=0,
        )
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("Predicted risk")
    axes.set_ylabel("Observed risk")
    axes.set_title(plain(title))
    axes.legend(loc="upper left")
    return figure


@styled
def decision_figure(benefit: pd.DataFrame, *, title: str) -> Figure:
    """Draw net benefit against the threshold, compared with treating all and none."""
    figure, axes = canvas(4.6, 3.5)
    axes.plot(benefit["threshold"], benefit["model"], color=HIGH, label="by the score")
    axes.plot(benefit["threshold"], benefit["all"], color=LOW, ls=DASHES[1], label="treat all")
    axes.axhline(0, color=INK, lw=1.0, label="treat none")
    top = float(benefit[["model", "all"]].max().max())
    axes.set_ylim(-0.12 * max(top, 0.1), top * 1.1 + 0.01)
    axes.set_xlim(0, float(benefit["threshold"].max()))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("Threshold of risk")
    axes.set_ylabel("Net benefit")
    axes.set_title(plain(title))
    axes.legend(loc="upper right")
    return figure


@styled
def score_figure(
    score: pd.Series, groups: pd.Series, cuts: Sequence[float], *, label: str = "Risk score"
) -> Figure:
    """Draw the distribution of the score, coloured by risk group, with the cuts."""
    figure, axes = canvas(4.8, 2.6)
    names = [str(name) for name in groups.cat.categories]
    values = [score[groups.astype(str) == name].to_numpy(float) for name in names]
    edges = np.histogram_bin_edges(score.to_numpy(float), bins=30)
    axes.hist(
        values,
        bins=edges.tolist(),
        stacked=True,
        color=group_colours(len(names)),
        label=[plain(name) for name in names],
        edgecolor="white",
        linewidth=0.5,
    )
    for cut in cuts:
        axes.axvline(cut, color=INK, lw=1.1, ls=(0, (4, 2)))
    axes.set_xlabel(label)
    axes.set_ylabel("Patients")
    axes.legend(loc="upper right")
    return figure


@styled
def residuals_figure(points: pd.DataFrame, *, title: str, unit: str) -> Figure:
    """Draw scaled Schoenfeld residuals with a running mean, flat if the effect is constant."""
    figure, axes = canvas(4.8, 3.4)
    ordered = points.sort_values("time")
    window = max(5, len(ordered) // 5)
    smooth = ordered["beta"].rolling(window, center=True, min_periods=window // 2).mean()
    shown = slice(None, None, -(-len(ordered) // MOST_DOTS) or 1)
    axes.plot(ordered["time"][shown], ordered["beta"][shown], "o", color=GREY, ms=2.2, alpha=0.5)
    axes.plot(ordered["time"][shown], smooth[shown], color=HIGH)
    axes.axhline(float(ordered["beta"].mean()), color=INK, lw=0.9, ls=(0, (2, 2)))
    low, high = ordered["beta"].quantile([0.02, 0.98])
    room = 0.1 * (high - low) if high > low else 1.0
    axes.set_ylim(low - room, high + room)
    axes.set_xlabel(f"Time ({unit})")
    axes.set_ylabel("log HR(t)")
    axes.set_title(plain(title, 38))
    return figure


@styled
def hazard_curve_figure(curve: pd.DataFrame, *, title: str) -> Figure:
    """Draw the hazard ratio along a number, of ``nonlinearity.spline_curve``, on a log axis."""
    figure, axes = canvas(4.8, 3.4)
    axes.fill_between(curve["value"], curve["lower"], curve["upper"], color=INK, alpha=0.14, lw=0)
    axes.plot(curve["value"], curve["hazard_ratio"], color=INK)
    axes.axhline(1.0, color=GREY, lw=0.9, ls=(0, (2, 2)))
    axes.set_yscale("log")
    # The interval at the ends may be so wide that the curve would be flat next to it.
    low, high = float(curve["hazard_ratio"].min()), float(curve["hazard_ratio"].max())
    axes.set_ylim(
        max(float(curve["lower"].min()), low / 5), min(float(curve["upper"].max()), high * 5)
    )
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(plain(title, 38))
    axes.set_ylabel("Hazard ratio (log scale)")
    return figure


def _lowest(curve: pd.DataFrame) -> float:
    return float(curve["auc"].min()) - 0.05
