"""What workers do to slides: the one thing that the users of this package bring."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

Outcome = TypeVar("Outcome")

PRECISION = "precision"
"""Fact of a worker that may be another one than here: it follows from the worker's processor."""


@dataclass(frozen=True)
class Step:
    """What one process does for a slide.

    Attributes
    ----------
    kind : {"begin", "piece", "join"}
        ``begin`` does a slide that is not large as a whole.
    piece : int
        Number of the piece, from 0.
    """

    kind: Literal["begin", "piece", "join"] = "begin"
    piece: int = 0


@dataclass(frozen=True)
class SlideRow(Generic[Outcome]):
    """What became of a slide: all that travels from a worker.

    Attributes
    ----------
    project : str
    image_id : str
    outcome : dataclass
        With ``status``, which is ``unfinished`` where other steps are left, and ``seconds``.
    worker : str
        Where it was done; empty for this process.
    tries : int
        How often it was begun.
    overhead : float
        Seconds that were spent next to those of the outcome: opening, reading, waiting.
    pieces : int
        Pieces that the slide was done in; 0 for a slide that was done as a whole.
    """

    project: str
    image_id: str
    outcome: Outcome
    worker: str = ""
    tries: int = 1
    overhead: float = 0.0
    pieces: int = 0

    def facts(self) -> dict[str, Any]:
        """The row as plain data."""
        outcome: Any = self.outcome
        return {
            **asdict(outcome),
            "project": self.project,
            "image_id": self.image_id,
            "worker": self.worker,
            "tries": self.tries,
            "pieces": self.pieces,
            "overhead": round(self.overhead, 4),
        }


class PreparedWork(Protocol):
    """Work in a process that has loaded what it needs."""

    def do(self, task: Any, step: Step) -> SlideRow[Any]:
        """Do a slide, or one step of it; whatever is wrong with the slide is in the row."""
        ...


class Work(Protocol):
    """What is done to each slide, and what the processes that do it must have in common.

    It travels to workers. It is hashable, and a worker that gets an equal one again has prepared
    it already.
    """

    @property
    def folder(self) -> Path:
        """Where what is done goes."""
        ...

    @property
    def doing(self) -> str:
        """What happens to a slide, for messages: ``this slide was scored``."""
        ...

    @property
    def identify(self) -> Callable[[Any], dict[str, str]]:
        """Function of a module that finds the facts of a process that its results follow from.

        Its argument is :attr:`where`. Among the facts is :data:`PRECISION`. It raises `ModelError`.
        """
        ...

    @property
    def where(self) -> Hashable:
        """Where networks are and how they are run, as plain data.

        A worker of another version can read it.
        """
        ...

    def facts(self) -> Mapping[str, str]:
        """Those of this process, without :data:`PRECISION`.

        Raises
        ------
        ModelError
        """
        ...

    def prepared(self, threads: int | None) -> PreparedWork:
        """Load what is needed, once for a process; networks may use so many threads.

        Raises
        ------
        ModelError, PackageError
        """
        ...

    def failed(self, task: Any, reason: str, *, worker: str, tries: int) -> SlideRow[Any]:
        """Row of a slide whose worker was lost."""
        ...
