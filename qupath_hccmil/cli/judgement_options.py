"""Options of ``train mil`` for judging the training of a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qupath_hccmil.cli import options

if TYPE_CHECKING:
    from qupath_hccmil.training.judge_training import JudgementRequest

F = TypeVar("F", bound=Callable[..., Any])
HEADS = ("published", "mean", "abmil", "additive", "transformer")

_OPTIONS = (
    click.option(
        "--judge",
        is_flag=True,
        help="First judge the training of a head, by nested cross-validation with a report.",
    ),
    click.option(
        "--group-column",
        metavar="COLUMN",
        help="Column of the centre: judge by leaving one centre out instead of --folds.",
    ),
    click.option(
        "--inner-folds", "inner", type=click.IntRange(min=2), default=4, show_default=True,
        help="Splits within an outer fold; they choose head, epoch, threshold and temperature.",
    ),
    click.option(
        "--repeats", type=click.IntRange(min=1), default=1, show_default=True,
        help="Cross-validations of a judgement, each with another seed.",
    ),
    click.option(
        "--permutations", type=click.IntRange(min=1), default=1, show_default=True,
        help="Cross-validations of a judgement with outcomes permuted within centres.",
    ),
    click.option(
        "--also-head", "also", type=click.Choice(HEADS), multiple=True,
        help="Another head from which the inner folds may choose; repeatable.",
    ),
    click.option(
        "--variable", "variables", multiple=True, metavar="COLUMN",
        help="Clinical variable to compare with; repeatable; 'none' for none. Default: columns "
        "with the usual name of one.",
    ),
    click.option(
        "--scanner-column", metavar="COLUMN",
        help="Column of the scanner; by default what the slides say.",
    ),
)  # fmt: skip
_WITH_JUDGE = {
    "inner": "--inner-folds",
    "repeats": "--repeats",
    "permutations": "--permutations",
    "also": "--also-head",
    "variables": "--variable",
    "scanner_column": "--scanner-column",
}


def judgement(command: F) -> F:
    """Options of a judgement."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def asked(given: Mapping[str, Any]) -> bool:
    """Whether a judgement is asked for.

    Raises
    ------
    click.UsageError
        It is asked for without features, or an option of it is given without asking for it.
    """
    option = "--group-column" if given["group_column"] else "--judge" if given["judge"] else ""
    if option and given["features"] is None:
        raise click.UsageError(f"{option} needs --features; give the folder of features")
    if not option:
        source = click.get_current_context().get_parameter_source
        for name, other in _WITH_JUDGE.items():
            if source(name) is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{other} needs --judge or --group-column; give one of them")
    return bool(option)


def request(given: Mapping[str, Any], seed: int) -> JudgementRequest:
    """Turn the options into what is asked of a judgement."""
    from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
    from qupath_hccmil.training.judge_training import JudgementRequest

    if given["group_column"] and given["folds"]:
        raise click.UsageError(
            "--folds does not go with --group-column, whose folds are the centres; leave one out"
        )
    names = given["variables"]
    none = len(names) == 1 and names[0].lower() == "none"
    return JudgementRequest(
        NestedSettings(
            folds=given["folds"] or NestedSettings.folds,
            inner=given["inner"],
            repeats=given["repeats"],
            permutations=given["permutations"],
            seed=seed,
        ),
        group_column=given["group_column"] or "",
        scanner_column=given["scanner_column"] or "",
        variables=() if none else (names or None),
        command=options.command_line(),
    )
