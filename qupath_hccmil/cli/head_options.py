"""Options of ``train mil`` and ``evaluate mil`` for heads on features, and what excludes what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qupath_hccmil.cli import options

if TYPE_CHECKING:
    from qupath_hccmil.heads.head_settings import HeadSettings

F = TypeVar("F", bound=Callable[..., Any])

features: Callable[[F], F] = click.option(
    "--features",
    type=options.Existing,
    help="Folder of features of the slides, for a head; of `features`, CLAM, TRIDENT or STAMP.",
)
_HEAD = (
    features,
    click.option(
        "--encoder",
        type=options.Existing,
        help="Folder of the encoder of the features; copied into the model if its licence allows.",
    ),
    click.option(
        "--head",
        type=click.Choice(["published", "mean", "abmil", "additive", "transformer"]),
        help="Head on the features; default: published.",
    ),
    click.option(
        "--loss",
        type=click.Choice(["outcome", "cox", "discrete-time"]),
        help="Loss of the head, on labels or on follow-up; default: outcome.",
    ),
    click.option(
        "--batch", type=click.IntRange(min=1), help="Patients in a step of a head; default: 32."
    ),
    click.option(
        "--bins",
        type=click.IntRange(min=1),
        help="Most intervals of the discrete-time loss; default: 8.",
    ),
    click.option(
        "--weight-decay",
        type=click.FloatRange(min=0),
        help="Weight decay of a head's training; default: 0.01.",
    ),
)
# For tiles alone, and for features alone, by name of the parameter.
_TILES_ONLY = {
    "mpp": "--mpp",
    "tiles_per_patient": "--tiles-per-patient",
    "annotation_classes": "--annotation-class",
    "slides": "--slides",
    "start": "--start",
    "nuclei": "--nuclei",
    "alpha": "--alpha",
    "penalised": "--penalised",
}
_FEATURES_ONLY = {
    "encoder": "--encoder",
    "head": "--head",
    "loss": "--loss",
    "batch": "--batch",
    "bins": "--bins",
    "weight_decay": "--weight-decay",
}
_TILE_FIGURES = ("cross_entropy", "auc")


def head(command: F) -> F:
    """Options of a training on features."""
    for option in reversed(_HEAD):
        command = option(command)
    return command


def check_together(arguments: Mapping[str, Any]) -> None:
    """Refuse options that do not go with, or not without, ``--features``.

    Raises
    ------
    click.UsageError
    """
    with_features = arguments["features"] is not None
    wrong = _TILES_ONLY if with_features else _FEATURES_ONLY
    for name, option in wrong.items():
        if _given(name):
            advice = "leave one of the two out" if with_features else "give the folder of features"
            relation = "does not go with" if with_features else "needs"
            raise click.UsageError(f"{option} {relation} --features; {advice}")
    chosen_by = arguments.get("chosen_by")
    if chosen_by is not None:
        known = ("loss", "auc", "c_index") if with_features else _TILE_FIGURES
        if chosen_by not in known:
            where = "with" if with_features else "without"
            raise click.UsageError(
                f"--chosen-by {chosen_by} is not possible {where} --features; there are: "
                f"{', '.join(known)}"
            )


def check_settings(settings: HeadSettings, also: Sequence[str] = ()) -> None:
    """Refuse options that neither the chosen head, the others to choose from, nor the loss use.

    Raises
    ------
    click.UsageError
    """
    for name, option, needed, used in (
        ("p", "--power", "--head published", "published" in (settings.head, *also)),
        ("threshold", "--threshold", "--loss outcome", settings.loss == "outcome"),
        ("bins", "--bins", "--loss discrete-time", settings.loss == "discrete-time"),
    ):
        if _given(name) and not used:
            raise click.UsageError(f"{option} is used by {needed} only; leave one of the two out")


def _given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE
