"""``evaluate``: test either model on data that it was not trained on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import head_options, options
from qupath_hccmil.cli.lazy import LazyGroup
from qupath_hccmil.plain_words import count_of

if TYPE_CHECKING:
    from qupath_hccmil.mil.metrics import Estimate
    from qupath_hccmil.model_store.model_config import Colour

_HERE = "qupath_hccmil.cli.evaluate"


@click.group(
    cls=LazyGroup,
    lazy={
        "nuclei": (f"{_HERE}:nuclei", "Measure the Dice of a nuclei model on images and masks."),
        "mil": (f"{_HERE}:mil", "Compare a risk model with outcomes: AUC, calibration, C-index."),
    },
)
def evaluate() -> None:
    """Evaluate the nuclei or the risk model."""


@click.command()
@options.images_and_masks
@options.image_mpp
@click.option(
    "--colour",
    type=click.Choice(["luminosity-standardised", "stain-normalised"]),
    default="luminosity-standardised",
    show_default=True,
    help="Colours that the network sees; stains are fitted on each image by itself.",
)
@click.option("--model", type=options.Existing, help="Model folder; default: shipped.")
@options.groups
@options.as_json
def nuclei(
    images: Path,
    masks: Path,
    mpp: float | None,
    colour: Colour,
    model: Path | None,
    groups: Path | None,
    as_json: bool,
) -> None:
    """Compare a nuclei model with MASKS, which are paired with IMAGES by file name."""
    from qupath_hccmil.training.train_nuclei import evaluate_nuclei

    scores, notes = evaluate_nuclei(
        images, masks, mpp=mpp, model=model, colour=colour, groups=groups
    )
    if as_json:
        click.echo(json.dumps({**scores.as_dict(), "notes": notes}, indent=2))
        return
    for note in notes:
        click.echo(f"note: {note}")
    for group, dice in scores.by_group().items():
        click.echo(f"{group or 'all images'}: Dice {dice:.3f}")
    click.echo(
        f"{count_of(len(scores.images), 'image')}: Dice {scores.dice_pooled:.3f} pooled, "
        f"{scores.dice_mean:.3f} mean, precision {scores.precision:.3f}, recall {scores.recall:.3f}"
    )
    if scores.border_um is not None and scores.border_shift_um is not None:
        click.echo(
            f"border: {scores.border_um:.2f} µm from the drawn one on average; nuclei are "
            f"{abs(scores.border_shift_um):.2f} µm "
            f"{'wider' if scores.border_shift_um >= 0 else 'narrower'} on each side"
        )
    click.echo(f"expected calibration error of a pixel: {scores.calibration_error:.3f}")


@click.command()
@click.argument("source", type=options.Existing)
@click.argument("clinical", type=options.Existing)
@options.clinical_columns
@options.tiling
@click.option("--model", type=options.Existing, help="Model folder; default: shipped.")
@options.nuclei_model
@head_options.features
@options.patient_rule()
@click.option(
    "--bootstrap",
    "repeats",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Bootstrap samples of patients for the intervals; 0 for no intervals.",
)
@options.seed("Seed of all random draws.")
@options.device
@click.option("--out", type=options.PathType, help="Folder for the scores and the calibration.")
@options.as_json
def mil(
    source: Path,
    clinical: Path,
    out: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Compare a risk model with the outcomes in CLINICAL of patients it was not trained on.

    SOURCE is anything that `train mil` accepts, or a table of scores: an export of this program,
    or any table with patients and risks. For slides and images, random tiles are scored; to
    evaluate scores over all tiles, score the project and give its export. With --features, a head
    is evaluated on features of all tiles that its encoder computed. A cohort without distinct
    outcomes still gives a C-index, and one without events the other figures; what cannot be given
    is named. For research use only.
    """
    from qupath_hccmil.cli.train import clinical_columns, show_prepared, tiling
    from qupath_hccmil.training.evaluate_mil import FIGURES, evaluate_mil, write_evaluation

    head_options.check_together(given)
    names = ("model", "features", "nuclei", "repeats", "seed", "device", "patient_rule")
    found = evaluate_mil(
        source,
        clinical,
        columns=clinical_columns(given),
        tiling=tiling(given),
        keep=None if out is None else out / "bags",
        prepared=None if as_json or given["features"] else show_prepared,
        **{name: given[name] for name in names},
    )
    if out is not None:
        write_evaluation(out, found)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
        return
    for note in found.notes:
        click.echo(f"note: {note}")
    click.echo(f"Patients: {found.cohort.summary()}")
    click.echo(f"High risk above {found.threshold:.4f}; patients by {found.rule}")
    for name in FIGURES if found.scores is not None else ():
        if name not in found.not_given:
            estimate = getattr(found.scores, name)
            click.echo(f"{_words(name)}: {_with_interval(estimate, given['repeats'])}")
    if found.c_index is not None and "c_index" not in found.not_given:
        click.echo(
            f"C-index: {_with_interval(found.c_index, given['repeats'])}, "
            f"{count_of(found.followed, 'patient')}"
        )
    for reason in dict.fromkeys(found.not_given.values()):
        absent = ", ".join(_words(name) for name, why in found.not_given.items() if why == reason)
        click.echo(f"not given: {absent}: {reason}")
    if out is not None:
        picture = ", calibration.png" if found.scores is not None else ""
        click.echo(f"{out}: scores.csv, calibration.csv{picture}, evaluation.json")


def _words(figure: str) -> str:
    return "C-index" if figure == "c_index" else figure.replace("_", " ")


def _with_interval(estimate: Estimate, repeats: int) -> str:
    text = f"{estimate.value:.3f}"
    if not math.isnan(estimate.low):
        text += f" (95 % interval {estimate.low:.3f}–{estimate.high:.3f})"
    elif repeats > estimate.undefined:
        text += " (no interval: the same in all bootstrap samples)"
    if estimate.undefined:
        text += f"; {estimate.undefined} bootstrap samples without a value were left out"
    return text
