"""``export-model``: write a risk model for another program."""

from __future__ import annotations

from pathlib import Path

import click

from qupath_hccmil.cli import options


@click.command("export-model")
@click.argument("out", type=options.PathType)
@click.option("--model", type=options.Existing, help="Folder of a risk model; default: shipped.")
@click.option(
    "--encoder",
    type=options.Existing,
    help="Folder of a head's encoder; default: the one in the model folder, or the shipped one.",
)
@options.quiet
def export_model(out: Path, model: Path | None, encoder: Path | None, quiet: bool) -> None:
    """Write a risk model into the folder OUT for QuPath's WSInfer extension.

    OUT will hold a TorchScript model that turns RGB into tile risk, and its configuration. Put
    the folder into the extension's directory of user models, which shows the model under the
    folder's name. WSInfer judges each tile by itself, so it can run all heads on features but
    the transformer. For research use only.
    """
    from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
    from qupath_hccmil.scoring.scorer import ScorerSource
    from qupath_hccmil.scoring.wsinfer_export import export_head, export_wsinfer

    folder = load_model_folder(model or default_model_dir("mil"), "mil")
    if folder.config.is_head:
        export = export_head(folder, encoder, out)
    elif encoder is not None:
        raise click.UsageError("--encoder is for heads on features; leave it out")
    else:
        export = export_wsinfer(ScorerSource(model), out)
    if not quiet:
        click.echo(
            f"{export.folder}: written for QuPath's WSInfer extension. What `score` does and it "
            "does not:"
        )
        for loss in export.losses:
            click.echo(f"- {loss}")
