"""Entry point: the list of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import logging
import signal
import sys
import traceback
from collections.abc import Sequence

import click

from qupath_hccmil import __version__
from qupath_hccmil.cli import exit_codes
from qupath_hccmil.cli.lasting_output import lasting_output
from qupath_hccmil.cli.lazy import LazyGroup
from qupath_hccmil.errors import one_line

COMMANDS = {
    "demo": (
        "qupath_hccmil.cli.demo:demo",
        "Make a QuPath project with an H&E slide and score it.",
    ),
    "score": (
        "qupath_hccmil.cli.score:score",
        "Score the tumour annotations of a QuPath project.",
    ),
    "export": (
        "qupath_hccmil.cli.export:export",
        "Write the scores as CSV, Parquet or GeoJSON.",
    ),
    "tiles": (
        "qupath_hccmil.cli.tiles:tiles",
        "Show the highest and lowest tiles of a cohort, and compare their reviews.",
    ),
    "survival": (
        "qupath_hccmil.cli.survival:survival",
        "Test the scores against follow-up and write a report.",
    ),
    "project": (
        "qupath_hccmil.cli.project:project",
        "Make, inspect or check a project, clear results, restore a backup.",
    ),
    "qupath": (
        "qupath_hccmil.cli.qupath:qupath",
        "Install the extension of QuPath's window, or remove it.",
    ),
    "features": (
        "qupath_hccmil.cli.features:features",
        "Compute features of tiles with frozen encoders.",
    ),
    "train": ("qupath_hccmil.cli.train:train", "Train the nuclei or the risk model."),
    "evaluate": ("qupath_hccmil.cli.evaluate:evaluate", "Evaluate the nuclei or the risk model."),
    "export-model": (
        "qupath_hccmil.cli.export_model:export_model",
        "Write a risk model for QuPath's WSInfer extension.",
    ),
    "doctor": ("qupath_hccmil.cli.doctor:doctor", "Show what is installed and usable."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="qupath-hccmil")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Risk of recurrence of hepatocellular carcinoma, scored inside QuPath projects.

    For research use only.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 bad input, 2 bad usage, 3 some images of a batch failed, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # a request to end, by another program or at the system's shutdown, is as good as Ctrl+C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; a failure to print never ends the run."""
    with lasting_output() as printed:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        if printed is not None and printed.failure:
            click.echo(
                f"Error: standard output: {printed.failure}; part of the output is lost", err=True
            )
            return code or exit_codes.BAD_INPUT
    return code


def _run(arguments: Sequence[str]) -> int:
    debug = "--debug" in arguments
    if debug:
        # A batch logs each image that failed, with its traceback.
        logging.basicConfig(format="%(message)s")
        logging.getLogger("qupath_hccmil").setLevel(logging.DEBUG)
    # --debug may be anywhere on the line, not only before the command.
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = cli.main(arguments, prog_name="qupath-hccmil", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. Everything written so far is complete.", err=True)
        return exit_codes.INTERRUPTED
    except Exception as error:
        return _report(one_line(error), debug)
    return code if isinstance(code, int) else exit_codes.DONE


def _report(message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    click.echo(f"Error: {message}", err=True)
    return exit_codes.BAD_INPUT
