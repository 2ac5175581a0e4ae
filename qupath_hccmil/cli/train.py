"""``train``: both models from what a user has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import options
from qupath_hccmil.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from qupath_hccmil.mil.train import MilSettings
    from qupath_hccmil.nuclei.train import NucleiSettings

_HERE = "qupath_hccmil.cli.train"


@click.group(
    cls=LazyGroup,
    lazy={
        "nuclei": (f"{_HERE}:nuclei", "Train the nuclei U-Net from images and masks."),
        "mil": (f"{_HERE}:mil", "Train the risk model from bags of images and outcomes."),
    },
)
def train() -> None:
    """Train the nuclei or the risk model. An interrupted training goes on where it was."""


@click.command()
@options.images_and_masks
@click.option("--out", type=options.PathType, required=True, help="Folder of the training.")
@options.image_mpp
@options.groups
@click.option("--held-out", multiple=True, metavar="GROUP", help="Groups that choose the epoch.")
@click.option("--start", type=options.Existing, help="Model folder, or ImageNet safetensors.")
@click.option(
    "--design",
    type=click.Choice(["mobilenet_unet", "unet"]),
    help="Network to start from random weights, or ImageNet's; default: the model that ships.",
)
@click.option("--base", type=click.IntRange(min=4), help="Channels of a unet's first level.")
@click.option("--epochs", type=click.IntRange(min=1), help="Default: 20.")
@click.option("--steps", type=click.IntRange(min=1), help="Batches an epoch; default: 120.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--name", default="nuclei", show_default=True, help="Of the model.")
@options.quiet
def nuclei(
    images: Path,
    masks: Path,
    out: Path,
    mpp: float | None,
    groups: Path | None,
    held_out: tuple[str, ...],
    start: Path | None,
    design: str | None,
    base: int | None,
    epochs: int | None,
    steps: int | None,
    seed: int,
    name: str,
    quiet: bool,
) -> None:
    """Train the nuclei U-Net from a folder of IMAGES and one of MASKS, paired by file name.

    OUT gets the checkpoint, log.csv, curve.png and the model folder.
    """
    from qupath_hccmil.training.nuclei import train_nuclei

    model = train_nuclei(
        images,
        masks,
        out,
        mpp=mpp,
        groups=groups,
        held_out=held_out,
        architecture=_architecture(design, base),
        start=start,
        settings=_nuclei_settings(epochs=epochs, steps=steps, seed=seed),
        name=name,
        progress=None if quiet else _show_epoch,
    )
    _finish(model.notes, quiet)
    if not quiet:
        click.echo(f"{model.folder.path}: held-out Dice {model.held_out.dice_pooled:.3f} (pooled)")


@click.command()
@click.argument("bags", type=options.Existing)
@click.argument("labels", type=options.Existing)
@click.option("--out", type=options.PathType, required=True, help="Folder of the training.")
@options.image_mpp
@options.time_unit
@click.option("--start", type=options.Existing, help="Model folder, or ImageNet safetensors.")
@options.nuclei_model
@click.option("--epochs", type=click.IntRange(min=1), help="Default: 30.")
@click.option("--tiles", type=click.IntRange(min=1), help="Random tiles a bag; default 100.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--name", default="hcc-risk", show_default=True, help="Of the model.")
@options.quiet
def mil(
    bags: Path,
    labels: Path,
    out: Path,
    mpp: float | None,
    time_unit: str,
    start: Path | None,
    nuclei: Path | None,
    epochs: int | None,
    tiles: int | None,
    seed: int,
    name: str,
    quiet: bool,
) -> None:
    """Train the risk model from BAGS (a subfolder of images a patient) and a table of LABELS.

    LABELS is a CSV with patient and label (good, poor), or patient, time and event, from which
    distinct outcomes are taken: good is 4 years or more without recurrence, poor a recurrence
    within 1.6 years. OUT gets the prepared bags, checkpoint, log.csv, curve.png and model folder.
    """
    from qupath_hccmil.training.mil import train_mil

    model = train_mil(
        bags,
        labels,
        out,
        mpp=mpp,
        time_unit=time_unit,
        start=start,
        nuclei=nuclei,
        settings=_mil_settings(epochs=epochs, tiles=tiles, seed=seed),
        name=name,
        progress=None if quiet else _show_epoch,
    )
    _finish(model.notes, quiet)
    if not quiet:
        click.echo(f"Patients: {model.cohort.summary()}")
        click.echo(f"{model.folder.path}: held-out AUC {model.held_out.auc.value:.3f}")


def _architecture(design: str | None, base: int | None) -> dict[str, Any] | None:
    if base is not None and design != "unet":
        raise click.UsageError("--base is for --design unet")
    if design is None:
        return None
    return {"name": design, **({} if base is None else {"base": base})}


def _nuclei_settings(**given: Any) -> NucleiSettings:
    from qupath_hccmil.nuclei.train import NucleiSettings

    return NucleiSettings(**{key: value for key, value in given.items() if value is not None})


def _mil_settings(**given: Any) -> MilSettings:
    from qupath_hccmil.mil.train import MilSettings

    return MilSettings(**{key: value for key, value in given.items() if value is not None})


def _show_epoch(row: Mapping[str, float]) -> None:
    """Print finished epochs; the steps within them are for progress bars."""
    if "step" in row or "bag" in row:
        return
    values = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch")
    click.echo(f"epoch {row['epoch']:.0f}: {values}")


def _finish(notes: list[str], quiet: bool) -> None:
    for note in notes:
        if not quiet:
            click.echo(f"note: {note}")
