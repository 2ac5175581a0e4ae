"""Options that several commands share, each worded once."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from qupath_hccmil.method.published_numbers import LEARNING_RATE, POWER, THRESHOLD, WEIGHT_PENALTY

EngineChoice = Literal["auto", "paquo", "native"]
F = TypeVar("F", bound=Callable[..., Any])


def together(*given: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in this order in the help."""

    def add(command: F) -> F:
        for option in reversed(given):
            command = option(command)
        return command

    return add


PathType = click.Path(path_type=Path)
Existing = click.Path(path_type=Path, exists=True)
TimeUnit = click.Choice(["days", "months", "years"])

engine: Callable[[F], F] = click.option(
    "--engine",
    type=click.Choice(["auto", "paquo", "native"]),
    default="auto",
    show_default=True,
    help="paquo uses your QuPath, native needs no Java. auto: paquo if a QuPath is found.",
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
precision: Callable[[F], F] = click.option(
    "--precision",
    type=click.Choice(["auto", "f32", "bf16"]),
    default="auto",
    show_default=True,
    help="Precision of the nuclei network. auto: bf16 on a processor or GPU with instructions for "
    "it, which is about twice as fast and moves a risk by less than 0.005. The tile network is "
    "always f32.",
)
slides: Callable[[F], F] = click.option(
    "--slides",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder in which to look, by file name, for slides that have moved.",
)
wait: Callable[[F], F] = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="How long to wait for another run on the same project; default: name that run and stop.",
)
images: Callable[[F], F] = click.option(
    "--image",
    "images",
    multiple=True,
    metavar="NAME",
    help="Image to use: its name, a glob pattern, or id: and the entry ID; repeatable.",
)
annotation_classes: Callable[[F], F] = click.option(
    "--annotation-class",
    "annotation_classes",
    multiple=True,
    metavar="NAME",
    help="Class of the tumour outlines; repeatable. Default: Tumor, Tumour, HCC.",
)
patient_key: Callable[[F], F] = click.option(
    "--patient-key",
    help="Metadata key of the patient in a QuPath project; default: Patient ID and similar.",
)
image_mpp: Callable[[F], F] = click.option(
    "--mpp", type=click.FloatRange(min=0, min_open=True), help="µm per pixel of the images."
)
groups: Callable[[F], F] = click.option(
    "--groups",
    type=Existing,
    help="CSV with the columns image and group; a group (slide, organ, patient) is never split.",
)
event_values: Callable[[F], F] = click.option(
    "--event-value",
    "event_values",
    multiple=True,
    help="Status that counts as an event; repeatable.",
)
censored_values: Callable[[F], F] = click.option(
    "--censored-value",
    "censored_values",
    multiple=True,
    help="Status that counts as censored; repeatable.",
)
missing: Callable[[F], F] = click.option(
    "--missing", multiple=True, help="Text that means a missing value; repeatable."
)
_READING = (
    click.option("--sheet", help="Sheet of an Excel file; default: the first that has values."),
    click.option(
        "--delimiter", help="Delimiter of a CSV file: one character, or tab; default: detected."
    ),
    click.option(
        "--decimal",
        type=click.Choice([".", ","]),
        help="Decimal mark of the tables; default: detected.",
    ),
)
match: Callable[[F], F] = click.option(
    "--match",
    type=click.Choice(["exact", "case", "zeros", "tcga"]),
    help="How to match patients of two tables: as written, ignoring case, ignoring leading zeros "
    "and .0, or by the patient in a TCGA barcode.  [default: exact]",
)


def dates(*names: tuple[str, ...]) -> Callable[[F], F]:
    """Two dates in place of a time; `names` are those of the options for the start and the end."""
    start, end = names or (("--start-date",), ("--end-date",))
    return together(
        click.option(*start, help="Column of the date at which follow-up begins."),
        click.option(*end, help="Column of the date of the event or of the last contact."),
        click.option(
            "--date-order",
            type=click.Choice(["dmy", "mdy"]),
            help="Whether day or month comes first in 03/04/2015; default: as the dates show.",
        ),
    )


_CLINICAL = (
    click.option("--patient", help="Column of the patient; default: patient, case or similar."),
    click.option("--slides-column", help="Column of the slides; default: slides or slide."),
    click.option("--label", help="Column of the outcome, good or poor; default: label."),
    click.option("--time", help="Column of the follow-up time; default: time."),
    click.option("--event", help="Column of the event; default: event."),
    dates(),
    click.option(
        "--time-unit",
        "--unit",
        "time_unit",
        type=TimeUnit,
        help="Unit of the time column; default: taken from the column's name.",
    ),
    event_values,
    censored_values,
    missing,
    match,
    *_READING,
)


def settings_file(*earlier: str) -> Callable[[F], F]:
    """TOML of settings; `earlier` are names that the option had before."""
    return click.option(
        "--settings",
        *earlier,
        "settings_file",
        type=PathType,
        metavar="FILE.toml",
        help="TOML file with any of the settings; options override it.",
    )


def settings_given(kind: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that the user gave to the running command: by option, else in the file.

    Parameters
    ----------
    kind : type
        A dataclass. Options have the names of its fields; those that were left at their default
        are not among what was given.
    arguments : mapping of str to Any
        Of the command, with ``settings_file``.

    Raises
    ------
    DataError
        The file cannot be used.
    """
    from qupath_hccmil.settings_file import read_settings

    path = arguments["settings_file"]
    given = {} if path is None else read_settings(path, kind)
    source = click.get_current_context().get_parameter_source
    by_option = click.core.ParameterSource.COMMANDLINE
    names = [each.name for each in fields(kind) if source(each.name) is by_option]
    return given | {name: arguments[name] for name in names}


def command_line() -> str:
    """The running command with everything that was given to it, as it would be typed again."""
    context = click.get_current_context()
    words = context.command_path.split()
    for parameter in context.command.params:
        name = str(parameter.name)
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        values = value if isinstance(value, tuple) else (value,)
        if isinstance(parameter, click.Argument):
            words += [str(each) for each in values]
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            words += [word for each in values for word in (parameter.opts[0], str(each))]
    return shlex.join(words)


def patient_rule(default: str | None = None) -> Callable[[F], F]:
    """How the slides of a patient become one score; the same words for every command."""
    return click.option(
        "--patient-rule",
        type=click.Choice(["pool", "max", "mean"]),
        default=default,
        show_default=default is not None,
        help="How the slides of a patient become one score: pool all their tiles as the model "
        "does, or take the highest (max) or the mean of the slides' risks.",
    )


encoders: Callable[[F], F] = click.option(
    "--encoder",
    "encoders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Folder of a head's encoder, where it is not in or next to the model folder; repeatable.",
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
        help="µm per pixel of images; for slides, overrides the value of QuPath and of the file.",
    ),
    click.option(
        "--tiles-per-patient",
        type=click.IntRange(min=1),
        default=100,
        show_default=True,
        help="Random tiles to prepare for each patient.",
    ),
    engine,
    images,
    annotation_classes,
    slides,
    patient_key,
)


def seed(what: str) -> Callable[[F], F]:
    """Seed of random draws, 0 unless given."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help=what
    )


_TILE_CHOICE = (
    click.option(
        "--mpp",
        type=click.FloatRange(min=0, min_open=True),
        help="µm per level-0 px, overriding QuPath's and the slide's.",
    ),
    click.option(
        "--min-inside",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.5,
        show_default=True,
        help="Smallest share of a tile that must be inside an outline.",
    ),
    click.option(
        "--max-tiles", type=click.IntRange(min=1), help="Use this many random tiles of a slide."
    ),
    seed("Seed of the random tiles."),
)


_POSITIVE = click.FloatRange(min=0, min_open=True)
_METHOD = (
    # Below 1 the gradient of a logit at 0 is infinite.
    click.option(
        "--power",
        "p",
        type=click.FloatRange(min=1),
        help=f"Power p of the generalised mean; default: {POWER:g}.",
    ),
    click.option(
        "--threshold",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help=f"Threshold t of the loss; a risk above it is high; default: {THRESHOLD:g}.",
    ),
    click.option(
        "--alpha",
        type=click.FloatRange(min=0),
        help=f"Factor α of the penalty on weights; default: {WEIGHT_PENALTY:g}.",
    ),
    click.option(
        "--penalised",
        type=click.Choice(["output layer", "all weights"]),
        help="Weights that are penalised; default: output layer.",
    ),
    click.option(
        "--learning-rate",
        type=_POSITIVE,
        help=f"Learning rate of the first epochs; default: {LEARNING_RATE:g}.",
    ),
    click.option(
        "--halve-every",
        type=click.IntRange(min=1),
        help="Halve the learning rate after this many epochs; default: 10.",
    ),
    click.option("--clip", type=_POSITIVE, help="Clip the gradient to this norm; default: 1."),
)


# Numbers of the published method; each is stored with the model.
method: Callable[[F], F] = together(*_METHOD)
# Which tiles of a slide are used: the settings of `TileChoice`.
tile_choice: Callable[[F], F] = together(*_TILE_CHOICE)
# How tiles are taken from a project, slides or images.
tiling: Callable[[F], F] = together(*_TILING)
# How a table is written; what is not given is detected.
reading: Callable[[F], F] = together(*_READING)
# Which column of a clinical table holds what; columns that are not named are recognised.
clinical_columns: Callable[[F], F] = together(*_CLINICAL)
