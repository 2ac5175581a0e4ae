"""``export-model``: a risk model for another program."""

from __future__ import annotations

from pathlib import Path

import click

from qupath_hccmil.cli import options


@click.command("export-model")
@click.argument("out", type=options.PathType)
@click.option("--model", type=options.Existing, help="Folder of a risk model; default: shipped.")
@options.quiet
def export_model(out: Path, model: Path | None, quiet: bool) -> None:
    """Write a risk model into the folder OUT for QuPath's WSInfer extension.

    OUT gets TorchScript from RGB to tile risk, and its config. Put it into the extension's
    directory of user models; its name is the model's there. For research use only.
    """
    from qupath_hccmil.scoring.scorer import ScorerSource
    from qupath_hccmil.scoring.wsinfer_export import export_wsinfer

    export = export_wsinfer(ScorerSource(model), out)
    if not quiet:
        click.echo(f"{export.folder}: for QuPath's WSInfer extension. Against `score` it loses:")
        for loss in export.losses:
            click.echo(f"- {loss}")
