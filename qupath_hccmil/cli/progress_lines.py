"""``score --progress json``: prints progress for a program, such as QuPath's extension.

docs/reference/progress.md describes the lines.
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
    """Print a line of JSON on standard output at once, in ASCII to be safe from encodings."""
    click.echo(json.dumps(facts))
    sys.stdout.flush()


def end_when_told(source: int | None = None) -> None:
    """Interrupt the run, as Ctrl+C does, when the line ``cancel`` is read.

    The end of the input is ignored, because a run in the background may have no input.

    Parameters
    ----------
    source : int, optional
        File descriptor to read, by default that of standard input.
    """
    if source is None and sys.stdin is not None:
        with suppress(OSError, ValueError):
            source = sys.stdin.fileno()
    if source is not None:
        threading.Thread(target=_listen, args=(source,), daemon=True).start()


def _listen(source: int) -> None:
    # Not sys.stdin itself, because Python cannot end while a thread waits in a buffered file.
    said = b""
    with suppress(OSError):
        while block := os.read(source, 1024):
            said += block
            *lines, said = said.split(b"\n")
            if CANCEL in (line.strip() for line in lines):
                _thread.interrupt_main()
                return


class ProgressLines:
    """Prints a line of JSON for each event of a batch.

    Parameters
    ----------
    images : sequence of ImageEntry
        All images of the run.
    clock : callable, optional
        Present time in seconds, for the rate.
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
        """Print that the tiles of an image will be read."""
        self._done, self._of = 0, n_tiles
        self._started = self._printed = self._clock()
        print_line(
            event="image", image=image, number=self._number + 1, images=self._images, of=n_tiles
        )

    def advance(self, n_tiles: int) -> None:
        """Count tiles that are done; print at most a few lines a second."""
        # With a random sample of tiles, background tiles are counted in addition to the sample.
        self._done = min(self._done + n_tiles, self._of)
        now = self._clock()
        if now - self._printed < _BETWEEN_S and self._done < self._of:
            return
        self._printed = now
        passed = now - self._started
        rate = round(self._done / passed, 1) if passed > 0 else None
        print_line(event="tiles", done=self._done, of=self._of, tiles_per_second=rate)

    def finish(self, outcome: ImageOutcome) -> None:
        """Print the outcome of an image."""
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
