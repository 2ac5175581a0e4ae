"""The backups of our runs: where they are, what each says, and which are kept."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from qupath_hccmil.qupath.writing.durable_files import read_json, there

BACKUPS = "hccmil-backups"
MANIFEST = "manifest.json"
NEXT_MANIFEST = "manifest-next.json"
"""The manifest as it will be when the transaction that is under way is done."""
KEPT_RUNS = 5


def runs(folder: Path) -> list[dict[str, Any]]:
    """Manifests of the runs whose backups are kept in a project's folder, oldest first."""
    found = []
    for path in sorted((folder / BACKUPS).glob(f"*/{MANIFEST}")):
        manifest = read_json(path)
        # a manifest that was moved or damaged must not lead elsewhere
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
        Its ``files`` say, by path: ``before`` the run and ``after`` it, as stamps; and ``shared``,
        whether another program changed the file between two of the run's own changes.
    replaced : mapping of str to (str, str)
        Path to the stamps before and after a transaction.
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

    The newest of a scoring run always stays, with all that are newer, however often it was taken
    back and forth since.
    """
    kept = runs(folder)
    written = [number for number, each in enumerate(kept) if each["kind"] == "write"]
    last = written[-1] if written else len(kept)
    for manifest in kept[: min(max(len(kept) - KEPT_RUNS, 0), last)]:
        remove(folder / BACKUPS / manifest["run"])


def remove(home: Path) -> None:
    """Delete the backup of a run; one that is left half deleted is no backup any more."""
    (home / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(home)


def sweep(folder: Path) -> None:
    """Delete what killed processes left among the backups; the caller holds the project's lock."""
    backups = folder / BACKUPS
    if not backups.is_dir():
        return
    for home in sorted(backups.iterdir()):
        if home.is_dir() and not there(home / MANIFEST):
            shutil.rmtree(home, ignore_errors=True)
        for left in (*home.glob("*.new"), home / NEXT_MANIFEST):
            left.unlink(missing_ok=True)
    # the last backup may have been the only one
    with contextlib.suppress(OSError):
        backups.rmdir()
