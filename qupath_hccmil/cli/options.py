"""Options that several commands share, so that each is worded once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from qupath_hccmil.method.published_numbers import LEARNING_RATE, POWER, THRESHOLD, WEIGHT_PENALTY

EngineChoice = Literal["auto", "paquo", "native"]
F = TypeVar("F", bound=Callable[..., Any])

PathType = click.Path(path_type=Path)
Existing = click.Path(path_type=Path, exists=True)
TimeUnit = click.Choice(["days", "months", "years"])

engine: Callable[[F], F] = click.option(
    "--engine",
    type=click.Choice(["auto", "paquo", "native"]),
    default="auto",
    show_default=True,
    help="Through paquo and your QuPath, or without Java. auto: paquo where a QuPath is found.",
)
quiet: Callable[[F], F] = click.option("--quiet", is_flag=True, help="Print errors only.")
as_json: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON."
)
project: Callable[[F], F] = click.argument("project", type=PathType)
device: Callable[[F], F] = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
)
runtime: Callable[[F], F] = click.option(
    "--runtime",
    type=click.Choice(["auto", "openvino", "torch"]),
    default="auto",
    show_default=True,
    help="auto: OpenVINO on a CPU, torch on a GPU.",
)
slides: Callable[[F], F] = click.option(
    "--slides",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder in which slides that have moved are looked for by file name.",
)
wait: Callable[[F], F] = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for another run that writes the project; default: say who it is and stop.",
)
images: Callable[[F], F] = click.option(
    "--image",
    "images",
    multiple=True,
    metavar="NAME",
    help="Name, glob, or id: and the entry ID; repeatable.",
)
annotation_classes: Callable[[F], F] = click.option(
    "--annotation-class",
    "annotation_classes",
    multiple=True,
    metavar="NAME",
    help="Class of tumour outlines; repeatable. Default: Tumor, Tumour, HCC.",
)
image_mpp: Callable[[F], F] = click.option(
    "--mpp", type=click.FloatRange(min=0, min_open=True), help="µm per pixel of the images."
)
groups: Callable[[F], F] = click.option(
    "--groups",
    type=Existing,
    help="CSV with the columns image and group: what must stay together (slide, organ, patient).",
)
event_values: Callable[[F], F] = click.option(
    "--event-value", "event_values", multiple=True, help="Status that is an event."
)
censored_values: Callable[[F], F] = click.option(
    "--censored-value", "censored_values", multiple=True, help="Status that is censored."
)
missing: Callable[[F], F] = click.option(
    "--missing", multiple=True, help="Text that means missing (repeat)."
)
_READING = (
    click.option("--sheet", help="Of an Excel file; else the first that has values."),
    click.option("--delimiter", help="Of a CSV, one character or tab; else found."),
    click.option(
        "--decimal", type=click.Choice([".", ","]), help="Decimal mark of the tables; else found."
    ),
)
match: Callable[[F], F] = click.option(
    "--match",
    type=click.Choice(["exact", "case", "zeros", "tcga"]),
    help="How patients of two tables are matched: as written, whatever their case, without leading "
    "zeros and .0, or by the patient in a TCGA barcode.  [default: exact]",
)
_CLINICAL = (
    click.option("--patient", help="Column of the patient; else patient, case or the like."),
    click.option("--slides-column", help="Column of slide names; else slides or slide."),
    click.option("--label", help="Column of good and poor; else label."),
    click.option("--time", help="Column of the follow-up time; else time."),
    click.option("--event", help="Column of the event; else event."),
    click.option(
        "--time-unit",
        "--unit",
        "time_unit",
        type=TimeUnit,
        help="Of the time; else its column's name says it.",
    ),
    event_values,
    censored_values,
    missing,
    match,
    *_READING,
)


def patient_rule(default: str | None = None) -> Callable[[F], F]:
    """How the slides of a patient become one score, the same words for every command."""
    return click.option(
        "--patient-rule",
        type=click.Choice(["pool", "max", "mean"]),
        default=default,
        show_default=default is not None,
        help="Joins the slides of a patient: pool all their tiles as the model does, or take the "
        "slides' highest (max) or mean risk.",
    )


nuclei_model: Callable[[F], F] = click.option(
    "--nuclei", type=Existing, help="Folder of a nuclei model; default: shipped."
)


def images_and_masks(command: F) -> F:
    """Two folders, paired by file name."""
    masks = click.argument("masks", type=Existing)
    return click.argument("images", type=Existing)(masks(command))


_TILING = (
    click.option(
        "--mpp",
        type=click.FloatRange(min=0, min_open=True),
        help="µm per pixel: of images, or over what QuPath and the file say of a slide.",
    ),
    click.option(
        "--tiles-per-patient",
        type=click.IntRange(min=1),
        default=100,
        show_default=True,
        help="Random tiles prepared of each patient.",
    ),
    engine,
    images,
    annotation_classes,
    slides,
    click.option("--patient-key", help="Metadata key of a QuPath project that names the patient."),
)


_POSITIVE = click.FloatRange(min=0, min_open=True)
_METHOD = (
    # Below 1 the gradient of a logit at 0 is infinite.
    click.option(
        "--power",
        "p",
        type=click.FloatRange(min=1),
        help=f"p of the generalised mean; default {POWER:g}.",
    ),
    click.option(
        "--threshold",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help=f"t in the loss, above which a risk is high; default {THRESHOLD:g}.",
    ),
    click.option(
        "--alpha",
        type=click.FloatRange(min=0),
        help=f"α of the penalty on weights; default {WEIGHT_PENALTY:g}.",
    ),
    click.option(
        "--penalised",
        type=click.Choice(["output layer", "all weights"]),
        help="What the penalty sums over; default: output layer.",
    ),
    click.option(
        "--learning-rate",
        type=_POSITIVE,
        help=f"Learning rate of the first epochs; default {LEARNING_RATE:g}.",
    ),
    click.option("--halve-every", type=click.IntRange(min=1), help="Epochs; default 10."),
    click.option("--clip", type=_POSITIVE, help="Largest norm of a gradient; default 1."),
)


def method(command: F) -> F:
    """Numbers of the published method; each is kept with the model."""
    for option in reversed(_METHOD):
        command = option(command)
    return command


def tiling(command: F) -> F:
    """How tiles are taken from a project, slides or images."""
    for option in reversed(_TILING):
        command = option(command)
    return command


def reading(command: F) -> F:
    """How a table is written; what isn't said is found."""
    for option in reversed(_READING):
        command = option(command)
    return command


def clinical_columns(command: F) -> F:
    """Which columns of a clinical table hold what; empty ones are recognised."""
    for option in reversed(_CLINICAL):
        command = option(command)
    return command
