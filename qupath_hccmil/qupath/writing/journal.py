"""What a transaction is about to do, on disk before it does it, so that another can finish it.

The journal lies in the run's backup folder under a name that tells how far the transaction got:

- *preparing*: new files are being written beside the old ones; nothing was touched yet.
- *ready*: all of them were flushed, read again and compared; the old files are kept. From here on
  a transaction that was interrupted is completed.
- *undoing*: the disk failed on the way, and what was done is being taken back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

from qupath_hccmil.qupath.writing.backups import BACKUPS
from qupath_hccmil.qupath.writing.durable_files import read_json, sync_folder, there, write_json

UNDO = ".undo"


class Phase(Enum):
    """How far a transaction got; the value is the journal's file name."""

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
        Name of the new file until it is renamed, in the same folder; gone afterwards.
    before, after : str
        Stamps; "" for no file.
    deletes : bool
        Whether there shall be no file. A disk that fails may say of any file that it is not
        there, so no stamp says it.
    old : str
        Where the run's folder keeps the file as it was.
    """

    path: str
    beside: str
    before: str
    deletes: bool
    after: str = ""
    old: str = ""

    @property
    def image(self) -> str:
        """What the file belongs to: the folder of its image, else itself."""
        parts = PurePosixPath(self.path).parts
        return "/".join(parts[:2]) if parts[0] == "data" and len(parts) > 2 else self.path


@dataclass
class ListStep:
    """The change of the project's list: our metadata of some of its entries.

    Attributes
    ----------
    path : str
        The ``.qpproj``, in the project's folder.
    before, interim, after : str
        Stamps of the file as it was, without our metadata of the entries (empty where that
        state is not needed), and with the new ones.
    interim_beside, after_beside : str
        Names of the latter two until they are renamed.
    old : str
        Where the run's folder keeps the file as it was.
    old_metadata, new_metadata : dict of str to dict of str to str
        Entry id to our metadata.
    contradicting : list of str
        Entries whose old metadata must not stand beside the new data.
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
    """A transaction's journal, in the folder of its run.

    Attributes
    ----------
    home : Path
        The run's folder.
    steps : list of Step
    listed : ListStep or None
    created : list of str
        Folders of the project that are made for it, parents first.
    """

    home: Path
    steps: list[Step]
    listed: ListStep | None = None
    created: list[str] = field(default_factory=list)

    def note(self, phase: Phase) -> None:
        """Write the journal down, and remove that of the phase before."""
        content = {
            "steps": [asdict(step) for step in self.steps],
            "list": None if self.listed is None else asdict(self.listed),
            "created": self.created,
        }
        write_json(self.home / phase.value, content)
        if phase is Phase.READY:
            (self.home / Phase.PREPARING.value).unlink()

    def turn_back(self) -> None:
        """Say that the transaction is being undone; needs no space on the disk."""
        if there(self.home / Phase.READY.value):
            os.replace(self.home / Phase.READY.value, self.home / Phase.UNDOING.value)
            sync_folder(self.home)

    def forget(self) -> None:
        """Remove the journal: the transaction is over."""
        # ready and preparing are both there for a moment, and preparing says the less
        for phase in (Phase.PREPARING, Phase.READY, Phase.UNDOING):
            (self.home / phase.value).unlink(missing_ok=True)
        sync_folder(self.home)


def unfinished(folder: Path) -> Iterator[tuple[Phase, Journal]]:
    """Transactions of a project's folder that did not end, oldest first."""
    for home in sorted((folder / BACKUPS).glob("*")):
        # the later phase counts where a process died between writing one and removing the other
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
        # damaged: nothing can be told from it
        return Journal(home, [])


def _known(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {key: value for key, value in values.items() if key in names}
