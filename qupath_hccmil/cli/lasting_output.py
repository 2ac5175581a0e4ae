"""Standard output and standard error that never end a run.

A Windows console with code page 1252 or 936 cannot show every character, ``head`` closes its end of
the pipe while slides are still being scored, and a disk that output is redirected to can fill up.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# A reader that has closed the pipe is not a failure; Windows uses another number for it.
_READER_LEFT = (errno.EPIPE, errno.EINVAL)


class Sink(io.RawIOBase):
    """Passes bytes on to a stream, and drops them after the stream's first failure.

    Parameters
    ----------
    stream : binary file
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._failure: OSError | None = None

    @property
    def failure(self) -> str:
        """Why bytes were dropped; empty if none were, or if the reader closed the pipe."""
        error = self._failure
        if error is None or error.errno in _READER_LEFT:
            return ""
        return error.strerror or str(error)

    def writable(self) -> bool:
        """Whether bytes can be written: always."""
        return True

    def isatty(self) -> bool:
        """Whether a person reads the stream."""
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        """File descriptor of the stream."""
        return int(self._stream.fileno())

    def write(self, data: Any) -> int:
        """Pass bytes on, or drop them."""
        if self._failure is None:
            try:
                self._stream.write(bytes(data))
                self._stream.flush()
            except OSError as error:
                self._failure = error
                self._forget()
        return memoryview(data).nbytes

    def _forget(self) -> None:
        """Send what the stream still buffers to the null device, so that Python exits quietly."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[Sink | None]:
    """Keep printing from ending the run; characters that a stream cannot encode become ``?``.

    Yields
    ------
    Sink or None
        The sink behind standard output; None if the process has no standard output of its own.
    """
    before = sys.stdout, sys.stderr
    (sys.stdout, sink), (sys.stderr, _) = map(_lasting, before)
    try:
        yield sink
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def _lasting(stream: Any) -> tuple[Any, Sink | None]:
    """Wrap a byte stream; a notebook's is not one, and a service may have no stream at all."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream, None
    with suppress(OSError):
        stream.flush()
    sink = Sink(stream.buffer)
    wrapped = io.TextIOWrapper(
        io.BufferedWriter(sink),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    return wrapped, sink
