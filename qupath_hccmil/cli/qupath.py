"""``qupath``: install or remove the extension of QuPath's window."""

from __future__ import annotations

from pathlib import Path

import click

from qupath_hccmil.cli import exit_codes, options
from qupath_hccmil.cli.lazy import LazyGroup

_HERE = "qupath_hccmil.cli.qupath"

_folder = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="EXTENSIONS_FOLDER",
    help="QuPath's extensions folder; by default that of the user directory chosen in QuPath.",
)
_project = click.option(
    "--project",
    type=options.PathType,
    help="A QuPath project that gets scripts instead of the extension.",
)


@click.group(
    cls=LazyGroup,
    lazy={
        "install": (f"{_HERE}:install", "Install the menu HCC-MIL in QuPath."),
        "uninstall": (f"{_HERE}:uninstall", "Remove it."),
    },
)
def qupath() -> None:
    """Install the extension of QuPath's window, or remove it."""


@click.command()
@_folder
@_project
def install(folder: Path | None, project: Path | None) -> int:
    """Install the menu Extensions > HCC-MIL in QuPath 0.5.1 to 0.7.

    The path of this command is recorded, so QuPath finds it without the PATH. With --project the
    same entries become scripts of a project: Automate > Project scripts > HCC-MIL.
    """
    from qupath_hccmil.qupath.extension.extensions_folder import wanted_folders
    from qupath_hccmil.qupath.extension.installation import install as install_into
    from qupath_hccmil.qupath.extension.project_scripts import install_scripts

    if project is not None:
        click.echo(f"{install_scripts(project)}: scripts installed")
    if project is None or folder is not None:
        for each in wanted_folders(folder):
            click.echo(f"{install_into(each)}: installed; restart QuPath")
    return exit_codes.DONE


@click.command()
@_folder
@_project
def uninstall(folder: Path | None, project: Path | None) -> int:
    """Remove the extension, or the scripts of a project, and nothing else."""
    from qupath_hccmil.qupath.extension.extensions_folder import wanted_folders
    from qupath_hccmil.qupath.extension.installation import uninstall as uninstall_from
    from qupath_hccmil.qupath.extension.project_scripts import uninstall_scripts

    removed = [] if project is None else uninstall_scripts(project)
    if project is None or folder is not None:
        for each in wanted_folders(folder):
            removed += uninstall_from(each)
    for path in removed:
        click.echo(f"{path}: removed")
    if not removed:
        click.echo("Nothing was installed")
    return exit_codes.DONE
