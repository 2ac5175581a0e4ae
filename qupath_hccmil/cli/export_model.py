"""``export-model``: write a risk model for another program."""

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

    OUT will hold a TorchScript model that turns RGB into tile risk, and its configuration. Put
    the folder into the extension's directory of user models, which shows the model under the
    folder's name. For research use only.
    """
    from qupath_hccmil.scoring.scorer import ScorerSource
    from qupath_hccmil.scoring.wsinfer_export import export_wsinfer

    export = export_wsinfer(ScorerSource(model), out)
    if not quiet:
        click.echo(
            f"{export.folder}: written for QuPath's WSInfer extension. What `score` does and it "
            "does not:"
        )
        for loss in export.losses:
            click.echo(f"- {loss}")
