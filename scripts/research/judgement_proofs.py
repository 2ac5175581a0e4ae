"""Proofs of training and judgement on a simulated cohort whose hazard is known.

    python scripts/research/judgement_proofs.py recovery OUT    # order of tiles, C-index
    python scripts/research/judgement_proofs.py permuted OUT    # 20 runs without a signal
    python scripts/research/judgement_proofs.py confounded OUT  # the centre that is its outcome
    python scripts/research/judgement_proofs.py coverage OUT    # how often intervals hold the truth

Each prints its figures and writes them to OUT/<proof>.json. Finished folds are kept in OUT, so a
proof that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from simulated_features import SimulatedPatient, clinical_table, simulate

from qupath_hccmil.heads.feature_bag import ArrayBag
from qupath_hccmil.heads.head_settings import HeadSettings
from qupath_hccmil.heads.outcomes import Outcome
from qupath_hccmil.judgement.judge import PERMUTATIONS, PERMUTED, Judgement, judge
from qupath_hccmil.judgement.judged_cohort import JudgedCohort, SlideFacts, judged_cohort
from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.judgement.nested_splits import inner_splits, outer_folds, seed_of
from qupath_hccmil.judgement.output_folder import write_judgement
from qupath_hccmil.judgement.permuted_outcomes import permuted_cohorts, predict_permuted
from qupath_hccmil.survival.statistics.cox import refit
from qupath_hccmil.survival.statistics.within_folds import (
    C_INDEX,
    FoldOutcomes,
    compare_within_folds,
    widening,
)
from qupath_hccmil.tables.table_reader import UserTable
from qupath_hccmil.training.head_learner import HeadLearner

HEAD = HeadSettings(head="additive", loss="cox", epochs=10, tiles=32, batch=64)
RUNS = 20


def prepared(
    cohort: Sequence[SimulatedPatient], head: HeadSettings
) -> tuple[HeadLearner, JudgedCohort]:
    """Make a learner and the judged cohort of simulated patients."""
    bags = {one.name: ArrayBag(one.name, one.features) for one in cohort}
    follow_up = {one.name: (one.time, one.event) for one in cohort}
    outcomes = {name: Outcome(time, bool(event)) for name, (time, event) in follow_up.items()}
    digest = hashlib.sha256()
    for one in cohort:
        digest.update(one.features.tobytes())
    slides = [
        SlideFacts(
            one.name, f"{one.name}.h5", len(one.features), tuple(one.colour.tolist()),
            pixels=hashlib.sha256(one.features.tobytes()).hexdigest(),
        )
        for one in cohort
    ]  # fmt: skip
    table = clinical_table(list(cohort)).astype(str).astype(object)
    judged = judged_cohort(
        UserTable(Path("clinical.csv"), table),
        follow_up,
        slides,
        centre="tissue_source_site",
        variables=["age", "ajcc_stage"],
    )
    return HeadLearner(bags, outcomes, {head.head: head}, digest.hexdigest()), judged


def recovery(out: Path, patients: int, head: HeadSettings, seed: int = 0) -> dict[str, object]:
    """The order of tiles in held-out centres, and the C-index against the planted one."""
    cohort = simulate(patients, seed=seed, strength=1.0)
    learner, judged = prepared(cohort, head)
    settings = NestedSettings(inner=3, by_centre=True, seed=seed)
    found = judge(learner, judged, out / "recovery", settings, told={"Head": "additive, cox"})
    write_judgement(found, out / "recovery" / "judgement")
    by_name = {one.name: one for one in cohort}
    orders = []
    for fold in found.repeats[0]:
        # The same call again gives the same head: that of the first inner split.
        place = seed_of(seed, fold.repeat, fold.number)
        event = {name: one.event for name, one in by_name.items()}
        split = inner_splits(sorted(fold.inner_logits), event, settings.inner, place)[0]
        fitted = learner.fit(split.training, split.choosing, fold.candidate, seed_of(place, 1))
        for name in fold.logits:
            contributions = fitted.head.contributions(learner.bags[name])
            orders.append(stats.spearmanr(contributions, by_name[name].tile_hazard)[0])
    planted = _planted(found, {name: one.hazard for name, one in by_name.items()})
    value, low, high = found.concordance()
    return {
        "patients": len(cohort),
        "events": int(judged.frame["event"].sum()),
        "planted_c_index": planted,
        "c_index": value,
        "interval": [low, high],
        "difference": planted - value,
        "spearman_of_tiles": float(np.mean(orders)),
        "spearman_of_tiles_lowest_tenth": float(np.quantile(orders, 0.1)),
        "permuted": found.concordance(PERMUTED),
        "cautions": found.cautions,
    }


def permuted(out: Path, patients: int, head: HeadSettings, runs: int = RUNS) -> dict[str, object]:
    """Twenty permutations of outcomes within centres: 0.5 lies in the interval of each."""
    cohort = simulate(patients, seed=0, strength=1.0)
    learner, judged = prepared(cohort, head)
    intervals = []
    for run in range(runs):
        settings = NestedSettings(folds=5, inner=2, seed=run)
        outcomes, score = predict_permuted(
            permuted_cohorts(learner, judged, settings),
            out / f"permuted-{run}" / PERMUTATIONS,
            settings,
            lambda line: None,
        )
        row = compare_within_folds(outcomes, {PERMUTED: score}, [], seed=run).table.iloc[0]
        intervals.append(tuple(row[["estimate", "lower", "upper"]]))
        print(f"run {run + 1}: C-index %.3f (%.3f to %.3f)" % intervals[-1], flush=True)
    held = [low <= 0.5 <= high for _, low, high in intervals]
    return {"runs": runs, "held": sum(held), "intervals": intervals}


def confounded(out: Path, patients: int, head: HeadSettings) -> dict[str, object]:
    """The confounded centre is named, and leaks into random folds but not across centres."""
    cohort = simulate(patients, seed=0, strength=1.0, confounded=True)
    learner, judged = prepared(cohort, head)
    figures: dict[str, object] = {}
    for name, by_centre in (("random folds", False), ("leave one centre out", True)):
        folder = out / name.replace(" ", "-")
        settings = NestedSettings(folds=5, inner=2, by_centre=by_centre)
        found = judge(learner, judged, folder, settings)
        write_judgement(found, folder / "judgement")
        figures[name] = {
            "c_index": found.concordance(),
            "permuted": found.concordance(PERMUTED),
            "cautions": found.cautions,
        }
    return figures


def coverage(cohorts: int = 100, patients: int = 150) -> dict[str, object]:
    """How often the interval of a cross-validated Cox model holds the C-index that it estimates.

    Without a signal that is 0.5; with one, the mean over cohorts.
    """
    rows = []
    for strength in (0.0, 0.4, 0.8):
        for folds in (3, 5):
            for width in (1, 3, 10):
                found = np.array([
                    _cross_validated(seed, strength, folds, width, patients)
                    for seed in range(cohorts)
                ])  # fmt: skip
                truth = found[:, 0].mean() if strength else 0.5
                plain, wide = (
                    float(((found[:, k] <= truth) & (truth <= found[:, k + 1])).mean())
                    for k in (3, 1)
                )
                rows.append({
                    "log_hazard_ratio": strength, "folds": folds, "variables": width,
                    "c_index": float(found[:, 0].mean()), "bootstrap_alone": plain,
                    "as_reported": wide,
                })  # fmt: skip
                print(rows[-1], flush=True)
    return {"cohorts": cohorts, "patients": patients, "rows": rows}


def _cross_validated(
    seed: int, strength: float, folds: int, width: int, patients: int
) -> tuple[float, ...]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(patients, width))
    waits = rng.exponential(np.exp(-strength * x[:, 0]))
    ends = rng.exponential(2.0, patients)
    time, event = np.minimum(waits, ends), waits <= ends
    names = [f"{number:05d}" for number in range(patients)]
    score, fold = np.zeros(patients), np.zeros(patients, int)
    for one in outer_folds(dict(zip(names, event.astype(int).tolist(), strict=True)), folds, seed):
        test, train = (np.array(list(map(int, part))) for part in (one.held_out, one.others))
        score[test] = x[test] @ refit(time[train], event[train], x[train])
        fold[test] = one.number
    outcomes = FoldOutcomes(time[None], event[None], fold[None])
    row = compare_within_folds(outcomes, {"m": score[None]}, [], repeats=200, seed=seed).table
    value, low, high = row.loc[0, ["estimate", "lower", "upper"]]
    factor = widening(fold[None])
    return value, low, high, value - (value - low) / factor, value + (high - value) / factor


def _planted(found: Judgement, hazard: Mapping[str, float]) -> float:
    """C-index of the planted hazard within the same folds."""
    frame = found.cohort.frame
    fold = {name: one.number for one in found.repeats[0] for name in one.logits}
    outcomes = FoldOutcomes(
        frame["time"].to_numpy(float)[None],
        frame["event"].to_numpy(bool)[None],
        np.array([[fold[name] for name in frame.index]]),
    )
    values = np.array([[hazard[name] for name in frame.index]])
    table = compare_within_folds(outcomes, {"planted": values}, [], repeats=0).table
    rows: pd.DataFrame = table[table["statistic"] == C_INDEX]
    return float(rows["estimate"].iloc[0])


def main() -> None:
    """Run a proof."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("proof", choices=("recovery", "permuted", "confounded", "coverage"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=300)
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, object]
    if given.proof == "recovery":
        figures = recovery(given.out, given.patients, HEAD)
    elif given.proof == "permuted":
        figures = permuted(given.out, given.patients, HEAD)
    elif given.proof == "confounded":
        figures = confounded(given.out, given.patients, HEAD)
    else:
        figures = coverage()
    given.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (given.out / f"{given.proof}.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
