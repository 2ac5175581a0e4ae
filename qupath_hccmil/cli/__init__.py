"""Commands: parse, call, print. No logic, and no heavy import outside a command."""

from qupath_hccmil.cli.main import main

__all__ = ["main"]
