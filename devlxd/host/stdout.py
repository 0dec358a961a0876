# -*- test-case-name: tests.host.test_stdout -*-
"""A standard output that never blocks: ``twistd -n`` writes the log to it.

A pipe that no process reads, or a terminal that was stopped with Ctrl-S, would
otherwise stop the whole server at the next log line.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable
from io import TextIOBase
from threading import RLock
from typing import TextIO, cast

#: How much a pipe that is ready accepts in one write, in bytes (``pipe(7)``).
_PIPE_BUF = select.PIPE_BUF

#: A function that writes as many bytes as possible of its argument without blocking,
#: and returns their number.
_Write = Callable[[bytes], int]


def dropped_line(count: int) -> str:
    """Return the line that states how many log lines were dropped."""
    return f"{count} log lines were dropped\n"


def nonblocking(file: TextIO, dropped: Callable[[int], str] = dropped_line) -> TextIO:
    """Return a file that writes to the descriptor of ``file`` and never blocks.

    :param dropped: see `DroppingFile`.
    :return: ``file`` itself when writing to it cannot block for long, as to a
        regular file, or when it is closed.
    """
    try:
        write = _writer_to(file.fileno())
    except (AttributeError, OSError, ValueError):
        # Closed, or None: then descriptor 1 was closed when Python started.
        return file
    return file if write is None else cast(TextIO, DroppingFile(write, dropped))


class DroppingFile(TextIOBase):
    """A text file that drops lines while its reader is too slow.

    Each line is written whole or not at all. The number of dropped lines is
    written before the next line that is written.

    :param write: writes as many bytes as possible without blocking, and returns
        their number.
    :param dropped: returns the line that states how many lines were dropped.
    """

    def __init__(
        self, write: _Write, dropped: Callable[[int], str] = dropped_line
    ) -> None:
        self._dropped_line = dropped
        self._write = write
        # Threads log too, and so do signal handlers, while this thread has the lock.
        self._lock = RLock()
        # The rest of a line of which the first part has been written.
        self._rest = b""
        self._dropped = 0

    def write(self, text: str) -> int:
        """See `io.TextIOBase.write`; ``text`` consists of whole lines."""
        with self._lock:
            if self._dropped and self._put(self._dropped_line(self._dropped)):
                self._dropped = 0
            if self._dropped or not self._put(text):
                self._dropped += max(text.count("\n"), 1)
        return len(text)

    def _put(self, text: str) -> bool:
        """Write ``text``, or a part of it and later the rest.

        :return: whether it is written, at least in part. If not, it is dropped.
        """
        self._rest = self._rest[self._write(self._rest) :]
        if self._rest:
            return False
        data = text.encode("utf-8", "backslashreplace")
        written = self._write(data)
        self._rest = data[written:] if written else b""
        return written > 0


def _writer_to(descriptor: int) -> _Write | None:
    """Return a function that writes without blocking; ``None`` if none is needed."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return _SocketWriter(descriptor)
    if stat.S_ISFIFO(mode) or os.isatty(descriptor):
        return _PipeWriter(descriptor)
    return None


class _SocketWriter:
    """A function that writes to a socket, such as journald's, without blocking."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, data: bytes) -> int:
        """Write some of ``data``; return how many bytes."""
        # The duplicate is not kept open: a daemon closes its standard output.
        with socket.socket(fileno=os.dup(self._descriptor)) as connection:
            try:
                return connection.send(data, socket.MSG_DONTWAIT) if data else 0
            except OSError:
                return 0


class _PipeWriter:
    """A function that writes to a pipe or a terminal without blocking."""

    def __init__(self, descriptor: int) -> None:
        self._inherited = descriptor
        self._descriptor: int | None = None

    def __call__(self, data: bytes) -> int:
        """Write some of ``data``; return how many bytes."""
        written = 0
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            while written < len(data) and poll.poll(0):
                piece = data[written : written + _PIPE_BUF]
                written += os.write(self._descriptor, piece)
        except OSError:
            pass
        return written

    def _open(self) -> int:
        """Open the pipe or terminal again, in non-blocking mode.

        The inherited open file description (``open(2)``) is shared with other
        processes, which do not expect non-blocking mode. If the pipe cannot be opened
        again, for example because it belongs to another user, the inherited
        descriptor is used: a pipe that is ready accepts ``PIPE_BUF`` bytes.
        """
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return os.open(f"/proc/self/fd/{self._inherited}", flags)
        except OSError:
            return self._inherited
