"""The backups of our runs: their location, their manifests, and which are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from qupath_hccmil import held_files
from qupath_hccmil.qupath.writing.durable_files import read_json, there

BACKUPS = "hccmil-backups"
MANIFEST = "manifest.json"
NEXT_MANIFEST = "manifest-next.json"
"""The manifest as it will be when the present transaction is done."""
KEPT_RUNS = 5


def runs(folder: Path) -> list[dict[str, Any]]:
    """Manifests of the runs with backups in a project's folder, oldest first."""
    found = []
    for path in sorted((folder / BACKUPS).glob(f"*/{MANIFEST}")):
        manifest = read_json(path)
        # A manifest that was moved or damaged must not lead to another place.
        if isinstance(manifest, dict) and manifest.get("run") == path.parent.name:
            found.append(manifest)
    return found


def with_files(
    manifest: Mapping[str, Any], replaced: Mapping[str, tuple[str, str]], merged: Container[str]
) -> dict[str, Any]:
    """Return a run's manifest with more files.

    Parameters
    ----------
    manifest : mapping
        Its ``files`` give for each path the stamps ``before`` and ``after`` the run, and
        ``shared``: whether another program changed the file between two of the run's own changes.
    replaced : mapping of str to (str, str)
        For each path, the stamps before and after a transaction.
    merged : container of str
        Paths that another program changed during the transaction.
    """
    files = dict(manifest["files"])
    for path, (before, after) in replaced.items():
        known = files.get(path, {"before": before, "after": before, "shared": False})
        files[path] = {
            "before": known["before"],
            "after": after,
            "shared": known["shared"] or known["after"] != before or path in merged,
        }
    return {**manifest, "files": files}


def prune(folder: Path) -> None:
    """Delete old backups: the newest :data:`KEPT_RUNS` stay.

    The newest backup of a scoring run always stays, with all newer ones, however often it was
    undone and redone since.
    """
    kept = runs(folder)
    written = [number for number, each in enumerate(kept) if each["kind"] == "write"]
    last = written[-1] if written else len(kept)
    for manifest in kept[: min(max(len(kept) - KEPT_RUNS, 0), last)]:
        remove(folder / BACKUPS / manifest["run"])


def remove(home: Path) -> None:
    """Delete the backup of a run; if it is only partly deleted, it no longer counts as one."""
    held_files.remove(home / MANIFEST, missing_ok=True)
    held_files.remove_folder(home)


def sweep(folder: Path) -> None:
    """Delete what killed processes left in the backups; the caller holds the project's lock."""
    backups = folder / BACKUPS
    if not backups.is_dir():
        return
    for home in sorted(backups.iterdir()):
        if home.is_dir() and not there(home / MANIFEST):
            with contextlib.suppress(OSError):
                held_files.remove_folder(home)
        for left in (*home.glob("*.new"), home / NEXT_MANIFEST):
            held_files.remove(left, missing_ok=True)
    # the last backup may have been the only one
    with contextlib.suppress(OSError):
        backups.rmdir()
