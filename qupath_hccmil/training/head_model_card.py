"""The model card of a head, which fills itself in after the list of TRIPOD+AI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qupath_hccmil.method.research_use import RESEARCH_USE
from qupath_hccmil.mil.metrics import Estimate
from qupath_hccmil.model_store.model_config import FeatureConfig, ModelConfig, RiskConfig
from qupath_hccmil.survival.report.checklist import AUTHORS, ITEMS
from qupath_hccmil.training.head_figures import HeadFigures

_CARD = """# {name}

Risk of recurrence of hepatocellular carcinoma from the features of a slide's tiles, trained by
`qupath-hccmil train mil --features` on {data}: {counts}. {research}

## The model

| | |
|---|---|
{specification}

The logit S of a patient is the sum of one number per tile over the tiles of all slides; these
contributions are what QuPath shows. The risk is r = sigmoid(S/T), high above t.

## Patients

{table_one}

## Performance

| patients | C-index | AUC | accuracy | sensitivity | specificity | Brier |
|---|---|---|---|---|---|---|
{rows}

In parentheses: 95 % intervals, by bootstrap over patients; none where all samples give one value.
AUC and what follows are for patients
with a distinct outcome (4 years without recurrence, or recurrence within 1.6 years). The held-out
patients chose the epoch, so their figures are optimistic; out-of-fold figures come from patients on
whom nothing was chosen. Their C-index compares patients of one fold only, and its interval is wider
than that of the bootstrap (Nadeau and Bengio 2003), because the folds' training sets overlap.
{notes}
## TRIPOD+AI

Collins et al. 2024, BMJ 385:e078378; the items are worded shortly.

| item | section | asks | answer |
|---|---|---|---|
{tripod}
"""
_HEADS = {
    "published": "signed generalised mean of tile logits (Liu et al. 2021)",
    "mean": "mean of tile logits",
    "abmil": "gated attention (Ilse et al. 2018)",
    "additive": "additive attention (Javed et al. 2022)",
    "transformer": "transformer with induced attention (Lee et al. 2019), additive",
}
_LOSSES = {
    "outcome": "cross-entropy of distinct outcomes (Liu et al. 2021)",
    "cox": "Cox partial likelihood, ties by Efron",
    "discrete-time": "discrete-time hazards (Gensheimer and Narasimhan 2019)",
}
_OUTCOMES = {
    "outcome": "Distinct outcomes: no recurrence in 4 years or more, or recurrence within 1.6 "
    "years; or the labels of the table.",
    "cox": "Time to recurrence in years, censored at the end of follow-up.",
    "discrete-time": "Time to recurrence in years, censored at the end of follow-up.",
}


def head_model_card(
    config: ModelConfig, counts: str, figures: Mapping[str, HeadFigures], table_one: str
) -> str:
    """Write the card as Markdown.

    Parameters
    ----------
    config : ModelConfig
        Of the trained head.
    counts : str
        Patients that were used, by outcome.
    figures : mapping of str to HeadFigures
        For each group of patients, how well they are predicted.
    table_one : str
        Table 1 as Markdown.
    """
    assert config.risk is not None
    assert config.features is not None
    answers = _answers(config, config.features, config.risk, counts, figures)
    return _CARD.format(
        name=config.name,
        data=", ".join(use.name for use in config.data),
        counts=counts,
        research=RESEARCH_USE,
        specification=_rows(_specification(config, config.features, config.risk)),
        table_one=table_one,
        rows="\n".join(_performance(name, one) for name, one in figures.items()),
        notes="".join(f"\nNote: {note}.\n" for note in config.training.get("notes", [])),
        tripod=_rows([(*item, answers.get(item[0], AUTHORS)) for item in ITEMS]),
    )


def _specification(
    config: ModelConfig, features: FeatureConfig, risk: RiskConfig
) -> list[tuple[str, str]]:
    training = config.training
    tile = "size not in the files of features"
    if features.tile_um is not None:
        tile = f"{features.tile_um:g} µm"
    return [
        ("head", _HEADS[config.architecture["name"]]),
        ("loss", _LOSSES[training["loss"]]),
        ("encoder", f"{_or_unknown(features.encoder)} ({features.width} features per tile)"),
        ("encoder's SHA-256", _or_unknown(features.encoder_sha256)),
        ("tiles", f"{tile}, stain normalisation: {_or_unknown(features.stain)}"),
        ("temperature T", f"{risk.temperature:.4g}"),
        ("threshold t", f"{risk.threshold:.4f} ({_threshold_from(training)})"),
        ("epoch", f"{training['best_epoch']}, chosen by {training['chosen_by']}"),
    ]


def _answers(
    config: ModelConfig,
    features: FeatureConfig,
    risk: RiskConfig,
    counts: str,
    figures: Mapping[str, HeadFigures],
) -> dict[str, str]:
    """Answers to the items that are known when a head has been trained."""
    training = config.training
    folds = [name for name in figures if name.startswith("out of fold")]
    validation = f"; {folds[0]}" if folds else "; no cross-validation"
    return {
        "1": f"Development of a model of recurrence of HCC: {config.name}. {AUTHORS}",
        "4": "Development; an external evaluation is made with `evaluate mil`.",
        "5a": f"{', '.join(use.name for use in config.data)}. {AUTHORS}",
        "7": f"Tiles by encoder {_or_unknown(features.encoder)}, stain normalisation: "
        f"{_or_unknown(features.stain)}; features standardised on the training tiles. left_out.csv "
        "lists what was not used.",
        "8a": f"{_OUTCOMES[training['loss']]} {AUTHORS}",
        "9a": "Features of all tiles; no clinical variable is used.",
        "9b": f"{features.width} features for each tile. {AUTHORS}",
        "10": f"{counts}. {AUTHORS}",
        "11": "Patients without outcome or features were left out.",
        "12a": "Patients that fit the weights and patients that choose the epoch, split at random "
        f"within outcomes (seed {training['seed']}){validation}.",
        "12b": "Random tiles of each patient in each epoch; all tiles in evaluation.",
        "12c": f"{_HEADS[config.architecture['name']]}; {_LOSSES[training['loss']]}; AdamW, "
        f"learning rate {training['learning_rate']:g}, weight decay {training['weight_decay']:g}.",
        "12e": "Harrell's C-index; AUC, accuracy, sensitivity, specificity and Brier score.",
        "12g": "r = sigmoid(S/T), with S from the tiles of all slides of a patient.",
        "13": "Batches with outcomes in equal proportion; no reweighting.",
        "15": f"A risk in [0, 1] ({risk.label}), high above {risk.threshold:.4f} "
        f"({_threshold_from(training)}).",
        "18f": "qupath-hccmil is free software (GPL-3.0-or-later).",
        "20a": f"{counts}; see left_out.csv. {AUTHORS}",
        "20b": "See “Patients”.",
        "21": "; ".join(f"{name}: {one.patients} patients" for name, one in figures.items()) + ".",
        "22": "weights.safetensors and config.json in this folder.",
        "23a": "See “Performance”.",
        "27a": "Slides without features or tumour are left out and named. "
        "Tiles of another size or encoder are refused.",
    }


def _threshold_from(training: Mapping[str, Any]) -> str:
    if training["derived"]["derive_threshold"]:
        return "by Youden's J on patients that no weight was fitted to"
    if training["loss"] == "outcome":
        return "as given"
    return "the median risk of patients that no weight was fitted to"


def _performance(name: str, figures: HeadFigures) -> str:
    scores = figures.scores
    outcomes = "" if scores is None else f", {scores.good} good, {scores.poor} poor"
    cells = [f"{name} ({figures.patients} patients{outcomes})", _figure(figures.c_index)]
    names = ("auc", "accuracy", "sensitivity", "specificity", "brier")
    cells += [_figure(None if scores is None else getattr(scores, each)) for each in names]
    return f"| {' | '.join(cells)} |"


def _figure(estimate: Estimate | None) -> str:
    return "–" if estimate is None else str(estimate)


def _or_unknown(text: str | None) -> str:
    return "not in the files of features" if text is None else text


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
