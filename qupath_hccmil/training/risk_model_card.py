"""The model card for a risk model that a user trained."""

from __future__ import annotations

from qupath_hccmil.method.patient_score import rule_text
from qupath_hccmil.mil.cross_validation import CrossValidation
from qupath_hccmil.mil.risk_evaluation import RiskScores
from qupath_hccmil.model_store.model_config import ModelConfig

_CARD = """# {name}

Risk model for bags of tiles, trained by `qupath-hccmil train mil` on {data}: {cohort}.
Training started from {start}. For research use only.

The risk is r = sigmoid(S/T) with T = {temperature:.4g}; it is high above t = {threshold:.4f}
({derived}). Slides of a patient were joined by {rule}.

| patients | AUC | accuracy | sensitivity | specificity | Brier |
|---|---|---|---|---|---|
{rows}

In parentheses: 95 % intervals, by bootstrap over patients; none where all samples give one value.
The epoch was chosen on the held-out patients, so their figures are optimistic. Out-of-fold
figures come from patients on whom nothing was chosen.
{notes}"""


def model_card(
    config: ModelConfig, cohort: str, held_out: RiskScores, validated: CrossValidation | None
) -> str:
    """Write the card as Markdown."""
    assert config.risk is not None
    rows = [_row("held out", held_out)]
    if validated is not None:
        rows.append(_row(f"out of fold, {len(validated.folds)} folds", validated.pooled))
    derived = config.training.get("derived", {}).get("derive_threshold")
    return _CARD.format(
        name=config.name,
        data=", ".join(use.name for use in config.data),
        cohort=cohort,
        start=config.training.get("start", "unknown"),
        threshold=config.risk.threshold,
        temperature=config.risk.temperature,
        derived="by Youden's J on patients that no weight was fitted to" if derived else "as given",
        rule=rule_text("pool", config.risk.p),
        rows="\n".join(rows),
        notes="".join(f"\nNote: {note}.\n" for note in config.training.get("notes", [])),
    )


def _row(name: str, scores: RiskScores) -> str:
    figures = (scores.auc, scores.accuracy, scores.sensitivity, scores.specificity, scores.brier)
    cells = [f"{name} ({scores.good} good, {scores.poor} poor)", *map(str, figures)]
    return f"| {' | '.join(cells)} |"
