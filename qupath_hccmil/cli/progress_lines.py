"""``score --progress json``: what happens, line by line, for a program that runs the command.

QuPath's extension is one. docs/reference/progress.md says what each line holds.
"""

from __future__ import annotations

import _thread
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from qupath_hccmil.qupath.data_types import ImageEntry
    from qupath_hccmil.scoring.score_project import ImageOutcome

CANCEL = b"cancel"
_BETWEEN_S = 0.2


def print_line(**facts: Any) -> None:
    """Print one line of JSON on standard output, at once; in ASCII, which no pipe mistakes."""
    click.echo(json.dumps(facts))
    sys.stdout.flush()


def end_when_told(source: int | None = None) -> None:
    """Interrupt the run, as Ctrl+C does, when the line ``cancel`` comes.

    The end of the input means nothing: a run that was started in the background has none.

    Parameters
    ----------
    source : int, optional
        Descriptor to read; default: standard input's.
    """
    if source is None and sys.stdin is not None:
        with suppress(OSError, ValueError):
            source = sys.stdin.fileno()
    if source is not None:
        threading.Thread(target=_listen, args=(source,), daemon=True).start()


def _listen(source: int) -> None:
    # not sys.stdin itself: Python can't end while a thread waits in a buffered file
    said = b""
    with suppress(OSError):
        while block := os.read(source, 1024):
            said += block
            *lines, said = said.split(b"\n")
            if CANCEL in (line.strip() for line in lines):
                _thread.interrupt_main()
                return


class ProgressLines:
    """Told by the batch what goes on; prints a line of JSON for each.

    Parameters
    ----------
    images : sequence of ImageEntry
        All that the run is about.
    clock : callable, optional
        Seconds; for the rate.
    """

    def __init__(
        self, images: Sequence[ImageEntry], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._images = len(images)
        self._clock = clock
        self._number = 0
        self._done = self._of = 0
        self._started = self._printed = 0.0

    def __enter__(self) -> ProgressLines:
        print_line(event="run", images=self._images)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def start(self, image: str, n_tiles: int) -> None:
        """An image's tiles are about to be read."""
        self._done, self._of = 0, n_tiles
        self._started = self._printed = self._clock()
        print_line(
            event="image", image=image, number=self._number + 1, images=self._images, of=n_tiles
        )

    def advance(self, n_tiles: int) -> None:
        """So many more tiles are dealt with; a few lines a second are enough."""
        # where tiles are chosen at random, background is dealt with on top of those
        self._done = min(self._done + n_tiles, self._of)
        now = self._clock()
        if now - self._printed < _BETWEEN_S and self._done < self._of:
            return
        self._printed = now
        passed = now - self._started
        rate = round(self._done / passed, 1) if passed > 0 else None
        print_line(event="tiles", done=self._done, of=self._of, tiles_per_second=rate)

    def finish(self, outcome: ImageOutcome) -> None:
        """An image is done."""
        self._number += 1
        print_line(
            event="finished",
            image=outcome.image,
            image_id=outcome.image_id,
            number=self._number,
            images=self._images,
            status=outcome.status,
            reason=outcome.reason,
            risk=outcome.risk,
            group=outcome.group,
            tiles=outcome.tiles,
            annotations=outcome.annotations,
            seconds=round(outcome.seconds, 3),
            notes=outcome.notes,
        )
