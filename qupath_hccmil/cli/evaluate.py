"""``evaluate``: both models against data that they were not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qupath_hccmil.cli import options
from qupath_hccmil.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from qupath_hccmil.mil.metrics import Estimate

_HERE = "qupath_hccmil.cli.evaluate"


@click.group(
    cls=LazyGroup,
    lazy={
        "nuclei": (f"{_HERE}:nuclei", "Dice of a nuclei model on images and masks."),
        "mil": (f"{_HERE}:mil", "AUC and accuracy of a risk model on bags and outcomes."),
    },
)
def evaluate() -> None:
    """Evaluate the nuclei or the risk model."""


@click.command()
@options.images_and_masks
@options.image_mpp
@click.option("--model", type=options.Existing, help="Model folder; default: shipped.")
@options.groups
@options.as_json
def nuclei(
    images: Path,
    masks: Path,
    mpp: float | None,
    model: Path | None,
    groups: Path | None,
    as_json: bool,
) -> None:
    """Compare a nuclei model with MASKS, paired with IMAGES by file name."""
    from qupath_hccmil.training.nuclei import evaluate_nuclei

    scores, notes = evaluate_nuclei(images, masks, mpp=mpp, model=model, groups=groups)
    if as_json:
        click.echo(json.dumps({**scores.as_dict(), "notes": notes}, indent=2))
        return
    for note in notes:
        click.echo(f"note: {note}")
    for group, dice in scores.by_group().items():
        click.echo(f"{group or 'all images'}: Dice {dice:.3f}")
    click.echo(
        f"{len(scores.images)} images: Dice {scores.dice_pooled:.3f} pooled, "
        f"{scores.dice_mean:.3f} mean, precision {scores.precision:.3f}, recall {scores.recall:.3f}"
    )


@click.command()
@click.argument("bags", type=options.Existing)
@click.argument("labels", type=options.Existing)
@options.image_mpp
@options.time_unit
@click.option("--model", type=options.Existing, help="Model folder; default: shipped.")
@options.nuclei_model
@options.as_json
def mil(
    bags: Path,
    labels: Path,
    mpp: float | None,
    time_unit: str,
    model: Path | None,
    nuclei: Path | None,
    as_json: bool,
) -> None:
    """Compare a risk model with the outcomes in LABELS of patients it was not trained on."""
    from qupath_hccmil.training.mil import evaluate_mil

    scores, cohort, notes = evaluate_mil(
        bags, labels, mpp=mpp, time_unit=time_unit, model=model, nuclei=nuclei
    )
    if as_json:
        content = {**scores.as_dict(), "excluded": dict(cohort.excluded), "notes": notes}
        click.echo(json.dumps(content, indent=2))
        return
    for note in notes:
        click.echo(f"note: {note}")
    click.echo(f"Patients: {cohort.summary()}")
    for name in ("auc", "accuracy", "sensitivity", "specificity"):
        click.echo(f"{name}: {_with_interval(getattr(scores, name))}")


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} (95 % interval {estimate.low:.3f}–{estimate.high:.3f})"
