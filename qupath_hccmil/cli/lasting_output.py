"""Standard output and error that end no run: not by a character, a reader that left, a full disk.

A Windows console of code page 1252 or 936 cannot say every name, and ``head`` closes its end of the
pipe while slides are still being scored.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# A reader that has left is no failure; Windows has another number for it.
_READER_LEFT = (errno.EPIPE, errno.EINVAL)


class Sink(io.RawIOBase):
    """Bytes on their way to a stream; from its first failure on they are dropped.

    Parameters
    ----------
    stream : binary file
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._failure: OSError | None = None

    @property
    def failure(self) -> str:
        """Why bytes were dropped; empty where none were, or where the reader had left."""
        error = self._failure
        if error is None or error.errno in _READER_LEFT:
            return ""
        return error.strerror or str(error)

    def writable(self) -> bool:
        """Whether bytes are taken: always."""
        return True

    def isatty(self) -> bool:
        """Whether a person reads the stream."""
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        """Descriptor of the stream."""
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
        """Let what the stream still holds go nowhere, so that the interpreter's end is quiet."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[Sink | None]:
    """Let nothing that is printed within end the run; what a stream cannot say becomes ``?``.

    Yields
    ------
    Sink or None
        Of standard output; None where the process has none of its own.
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
    """Wrap a stream of bytes; a notebook's is none, and a service may have none at all."""
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
