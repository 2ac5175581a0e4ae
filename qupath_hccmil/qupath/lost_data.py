"""Missing data of an image: whether any were lost, what they were, and where a copy is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qupath_hccmil.errors import ConflictError, ProjectError
from qupath_hccmil.qupath.bounded_json import parse_json
from qupath_hccmil.qupath.writing.backups import BACKUPS, runs
from qupath_hccmil.qupath.writing.durable_files import there

SUMMARY = "summary.json"
_ROOT = "Root objects"


def require_nothing_lost(path: Path, project: Path, metadata: Mapping[str, str]) -> None:
    """Distinguish an image that was never saved from one with missing data.

    Parameters
    ----------
    path : Path
        The image's ``data.qpdata``, which does not exist.
    project : Path
        The ``.qpproj``.
    metadata : mapping of str to str
        Our metadata in the project's list; an image with such metadata was scored.

    Raises
    ------
    ProjectError
        The data are lost, or the whole project is missing, for example with a network drive.
    ConflictError
        QuPath has renamed the data while it saves new ones, or the file is back again.
    """
    if not there(project):
        raise ProjectError(f"{project}: no longer exists; is its drive still connected?")
    if there(path):
        raise ConflictError(f"{path}: was missing a moment ago and is back now; run again")
    aside = _aside(path)
    if there(aside):
        raise ConflictError(
            f"{path}: QuPath is saving it, or was stopped while it saved (then open the image in "
            f"QuPath, which recovers it from {aside.name}); run again"
        )
    lost = _what_is_lost(path, metadata)
    if lost:
        raise ProjectError(f"{path}: is missing, and {lost}; {_what_to_do(path)}")


def require_not_empty(path: Path, metadata: Mapping[str, str]) -> None:
    """Refuse an empty data file; parameters as for :func:`require_nothing_lost`.

    Raises
    ------
    ProjectError
        The file is empty.
    """
    if not path.stat().st_size:
        lost = _what_is_lost(path, metadata) or "what was in it is not known"
        raise ProjectError(f"{path}: is empty, and {lost}; {_what_to_do(path)}")


def note_of_no_folder(folder: Path) -> tuple[str, ...]:
    """Note for an image without data if its data folder does not exist either."""
    if there(folder):
        return ()
    return (
        f"{folder}: does not exist; that is fine if the image was never opened in QuPath, "
        "otherwise its data are lost",
    )


def objects_listed(folder: Path) -> str:
    """Object counts in the ``summary.json`` of an image, such as ``3 annotations, 40 cells``."""
    try:
        content = parse_json((folder / SUMMARY).read_bytes())
        counts = content["hierarchy"]["objectTypeCounts"]
        found = {str(kind): int(number) for kind, number in counts.items() if kind != _ROOT}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return ", ".join(
        f"{number} {(kind if number != 1 else kind.removesuffix('s')).lower()}"
        for kind, number in found.items()
    )


def also_a_copy(path: Path) -> str:
    """Text with the copy of an image's damaged data, to append to a message; empty if none."""
    kept = _backed_up(path)
    copies = [str(_aside(path))] if there(_aside(path)) else []
    copies += [str(kept[1])] if kept else []
    return f" (a copy: {', '.join(copies)})" if copies else ""


def _what_is_lost(path: Path, metadata: Mapping[str, str]) -> str:
    """Describe the data that an image had; empty if nothing is known."""
    listed = objects_listed(path.parent)
    if listed:
        return f"{SUMMARY} says that it had {listed}"
    if metadata:
        return "the project's list says that it was scored"
    if _backed_up(path) is not None:
        return "this program wrote it in an earlier run"
    return ""


def _what_to_do(path: Path) -> str:
    if there(_aside(path)):
        return f"open the image in QuPath, which recovers it from its own copy {_aside(path)}"
    kept = _backed_up(path)
    if kept is not None:
        run, copy = kept
        return f"restore {copy} (the file before our run {run}) and score the image again"
    return "restore it from your own backup"


def _aside(path: Path) -> Path:
    """Path to which QuPath renames the data while it saves new ones."""
    return path.with_name(f"{path.name}.bkp")


def _backed_up(path: Path) -> tuple[str, Path] | None:
    """Return our newest run that has a copy of the data, and the path of the copy."""
    project = path.parents[2]
    inside = path.relative_to(project)
    for manifest in reversed(runs(project)):
        copy = project / BACKUPS / manifest["run"] / inside
        if inside.as_posix() in manifest["files"] and there(copy):
            return manifest["run"], copy
    return None
