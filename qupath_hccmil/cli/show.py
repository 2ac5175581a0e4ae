"""Shows a scoring run to a person: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import click

from qupath_hccmil.plain_words import count_of

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from qupath_hccmil.scoring.score_project import ImageOutcome


def outcome_line(outcome: ImageOutcome) -> str:
    """Describe the outcome of one image in one line."""
    annotations = count_of(outcome.annotations, "annotation")
    tiles = count_of(outcome.tiles, "tile")
    if outcome.status == "failed":
        reason = outcome.reason.removeprefix(f"{outcome.image}: ")
        return f"{outcome.image}: FAILED: {reason}"
    if outcome.status == "up to date":
        return f"{outcome.image}: up to date, {annotations}"
    if outcome.status == "planned":
        return f"{outcome.image}: would score up to {tiles} in {annotations}"
    rate = (outcome.tiles - outcome.reused) / outcome.seconds if outcome.seconds else 0.0
    kept = f" ({outcome.reused} kept)" if outcome.reused else ""
    return (
        f"{outcome.image}: risk {outcome.risk:.4f} ({outcome.group} risk), {tiles}{kept} in "
        f"{annotations}, {outcome.seconds:.1f} s ({rate:.0f} tiles/s)"
    )


class ScoringDisplay:
    """Shows the progress that the batch reports.

    Parameters
    ----------
    quiet : bool
        Show failures only.
    lines : bool
        Print a line for each image; False where the caller prints JSON instead.
    slides : int
        How many there are, to count them in the lines; 0 does not.
    """

    def __init__(self, *, quiet: bool, lines: bool, slides: int = 0) -> None:
        self._slides = slides
        self._done = 0
        self._lines = lines and not quiet
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._wants_bar = not quiet and sys.stderr.isatty()

    def __enter__(self) -> ScoringDisplay:
        if self._wants_bar:
            self._bar = _progress_bar()
            self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, image: str, n_tiles: int) -> None:
        """Note that the tiles of an image are about to be read."""
        if self._bar is not None:
            self._task = self._bar.add_task(image, total=n_tiles)

    def advance(self, n_tiles: int) -> None:
        """Count this many more tiles as done."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, n_tiles)

    def finish(self, outcome: ImageOutcome) -> None:
        """Note that an image is done."""
        self.end(outcome_line(outcome), failed=outcome.status == "failed", notes=outcome.notes)

    def end(self, line: str, *, failed: bool, notes: Sequence[str] = ()) -> None:
        """Note that an image is done, and print a line about it."""
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self._done += 1
        counted = f"[{self._done}/{self._slides}] " if self._slides else ""
        if failed or self._lines:
            click.echo(counted + line, err=failed)
        if self._lines:
            for note in notes:
                click.echo(f"  note: {note}")


def _progress_bar() -> RichProgress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.0f} tiles/s")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
