"""A folder of results: the files of a run replace those of an earlier run, and no others.

A record in the folder lists what a run wrote. A file that no record lists is the user's: it is
never overwritten or removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

from qupath_hccmil.errors import DataError, WriteError
from qupath_hccmil.held_files import remove


class ResultFolder:
    """The files that an earlier run wrote into a folder, and those that a new run may write.

    Parameters
    ----------
    folder : Path
        It need not exist.
    record : str
        Name of the JSON file whose ``files`` lists what a run wrote.
    ours : compiled pattern
        Names that our files may have. Nothing else is ever removed, whatever the record says.

    Raises
    ------
    DataError
        The record does not list the files of its run.
    """

    def __init__(self, folder: Path, record: str, ours: re.Pattern[str]) -> None:
        self.folder = folder
        self.before = _written_before(folder, record, ours)

    def require_free(self, names: Collection[str]) -> None:
        """Refuse to overwrite files of the user.

        Raises
        ------
        DataError
            One of the files exists and no earlier run wrote it.
        """
        for name in names:
            if name not in self.before and (self.folder / name).exists():
                raise DataError(
                    f"{self.folder / name}: exists, but no earlier run wrote it; use another "
                    "--out, or move it away"
                )

    def remove_others(self, names: Collection[str], keep: Collection[Path] = ()) -> None:
        """Remove files that an earlier run wrote and this one does not.

        Parameters
        ----------
        names : collection of str
            Files that this run writes.
        keep : collection of Path
            Resolved paths of files that are inputs of this run.

        Raises
        ------
        WriteError
            A file cannot be removed.
        """
        for name in self.before - set(names):
            path = self.folder / name
            if path.resolve() not in keep:
                _remove(path)


def _remove(path: Path) -> None:
    try:
        remove(path, missing_ok=True)
    except OSError as error:
        raise WriteError(f"{path}: cannot be removed: {error.strerror or error}") from error


def _written_before(folder: Path, record: str, ours: re.Pattern[str]) -> set[str]:
    path = folder / record
    if not path.exists():
        return set()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {name for name in names if ours.fullmatch(name)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder}: has a {record} that does not list the files of its run; use another "
            "--out, or remove the folder"
        ) from error
