"""The journal of a transaction: its plan is on the disk before anything is changed.

So another run can complete it. The journal is in the run's backup folder, and its name shows how
far the transaction has got:

- *preparing*: new files are being written next to the old ones; nothing has been changed yet.
- *ready*: all new files were flushed, read again and compared, and the old files are kept. From
  here on, a transaction that was interrupted is completed.
- *undoing*: the disk failed, and the changes are being undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

from qupath_hccmil.held_files import remove
from qupath_hccmil.qupath.writing.backups import BACKUPS
from qupath_hccmil.qupath.writing.durable_files import (
    move,
    read_json,
    sync_folder,
    there,
    write_json,
)

UNDO = ".undo"


class Phase(Enum):
    """How far a transaction has got; the value is the journal's file name."""

    PREPARING = "journal-preparing.json"
    READY = "journal-ready.json"
    UNDOING = "journal-undoing.json"


@dataclass
class Step:
    """One file that is replaced or deleted.

    Attributes
    ----------
    path : str
        In the project's folder, with slashes.
    beside : str
        Name of the new file in the same folder until it is renamed.
    before, after : str
        Stamps; "" for no file.
    deletes : bool
        Whether the file is deleted. This is not derived from stamps, because a disk that fails may
        report that any file does not exist.
    old : str
        Path of the old file's copy in the run's folder.
    """

    path: str
    beside: str
    before: str
    deletes: bool
    after: str = ""
    old: str = ""

    @property
    def image(self) -> str:
        """The folder of the image that the file belongs to, or else the file itself."""
        parts = PurePosixPath(self.path).parts
        return "/".join(parts[:2]) if parts[0] == "data" and len(parts) > 2 else self.path


@dataclass
class ListStep:
    """The change of our metadata of some entries in the project's list.

    Attributes
    ----------
    path : str
        The ``.qpproj``, in the project's folder.
    before, interim, after : str
        Stamps of the old file, of the file without our metadata of the entries (empty if that state
        is not needed), and of the file with the new metadata.
    interim_beside, after_beside : str
        Names of the latter two files until they are renamed.
    old : str
        Path of the old file's copy in the run's folder.
    old_metadata, new_metadata : dict of str to dict of str to str
        For each entry ID, our metadata.
    contradicting : list of str
        Entries with old metadata that must not be there together with the new data.
    """

    path: str
    interim_beside: str
    after_beside: str
    before: str = ""
    interim: str = ""
    after: str = ""
    old: str = ""
    old_metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    new_metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    contradicting: list[str] = field(default_factory=list)


@dataclass
class Journal:
    """The journal of a transaction, in the folder of its run.

    Attributes
    ----------
    home : Path
        Folder of the run.
    steps : list of Step
    listed : ListStep or None
    created : list of str
        Folders of the project that are created for it, parents first.
    """

    home: Path
    steps: list[Step]
    listed: ListStep | None = None
    created: list[str] = field(default_factory=list)

    def note(self, phase: Phase) -> None:
        """Write the journal, and remove that of the previous phase."""
        content = {
            "steps": [asdict(step) for step in self.steps],
            "list": None if self.listed is None else asdict(self.listed),
            "created": self.created,
        }
        write_json(self.home / phase.value, content)
        if phase is Phase.READY:
            remove(self.home / Phase.PREPARING.value)

    def turn_back(self) -> None:
        """Mark the transaction as being undone, which needs no space on the disk."""
        if there(self.home / Phase.READY.value):
            move(self.home / Phase.READY.value, self.home / Phase.UNDOING.value)

    def forget(self) -> None:
        """Remove the journal at the end of the transaction."""
        # For a moment both ready and preparing exist; preparing is removed first.
        for phase in (Phase.PREPARING, Phase.READY, Phase.UNDOING):
            remove(self.home / phase.value, missing_ok=True)
        sync_folder(self.home)


def unfinished(folder: Path) -> Iterator[tuple[Phase, Journal]]:
    """Yield unfinished transactions in a project's folder, oldest first."""
    for home in sorted((folder / BACKUPS).glob("*")):
        # If a process died between writing one and removing the other, the later phase counts.
        for phase in (Phase.UNDOING, Phase.READY, Phase.PREPARING):
            if there(home / phase.value):
                yield phase, _read(home, home / phase.value)
                break


def _read(home: Path, path: Path) -> Journal:
    content: Any = read_json(path)
    try:
        listed = content["list"]
        return Journal(
            home=home,
            steps=[Step(**_known(Step, each)) for each in content["steps"]],
            listed=None if listed is None else ListStep(**_known(ListStep, listed)),
            created=list(content["created"]),
        )
    except (KeyError, TypeError):
        # damaged, so nothing is known about it
        return Journal(home, [])


def _known(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {key: value for key, value in values.items() if key in names}
