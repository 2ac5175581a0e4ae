"""``doctor``: show what is installed and usable."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from qupath_hccmil.cli import exit_codes, options


@click.command()
@options.as_json
def doctor(as_json: bool) -> int:
    """Show what is installed and usable: QuPath, OpenSlide, device, runtime, models.

    The exit code is 1 if something is missing that scoring needs.
    """
    from qupath_hccmil.scoring.environment import findings

    found = []
    for finding in findings():
        found.append(finding)
        if not as_json:
            mark = "ok" if finding.ok else ("MISSING" if finding.needed else "-")
            click.echo(f"{mark:8}{finding.what}: {finding.found}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    broken = any(finding.needed and not finding.ok for finding in found)
    return exit_codes.BAD_INPUT if broken else exit_codes.DONE
