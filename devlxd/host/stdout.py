# -*- test-case-name: tests.host.test_stdout -*-
"""A standard output that keeps nobody waiting: twistd's log, with ``-n``."""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable
from io import TextIOBase
from threading import Lock
from typing import TextIO, cast

#: As much is written to a pipe at once, or nothing (``pipe(7)``).
_PIPE_BUF = select.PIPE_BUF

#: Writes some bytes, and returns how many: as many as there is room for.
_Write = Callable[[bytes], int]


def without_waiting(file: TextIO) -> TextIO:
    """Return a file that writes to where ``file`` does, and never waits.

    :return: ``file`` itself where nobody has to read what is written: a
        regular file, say.
    """
    try:
        write = _writer_to(file.fileno())
    except (AttributeError, OSError, ValueError):
        # Closed: before Python started, if there is no file at all.
        return file
    return file if write is None else cast(TextIO, DroppingFile(write))


class DroppingFile(TextIOBase):
    """Writes whole lines, and drops those that there is no room for.

    How many they were is told with the next line for which there is room.

    :param write: writes some bytes, and returns how many.
    """

    def __init__(self, write: _Write) -> None:
        self._write = write
        # Threads log too.
        self._lock = Lock()
        # What is left of a line that was written in part.
        self._rest = b""
        self._dropped = 0

    def write(self, text: str) -> int:
        """See `io.TextIOBase.write`; ``text`` is one line, or more."""
        with self._lock:
            if self._dropped and self._put(f"{self._dropped} log lines were dropped\n"):
                self._dropped = 0
            if self._dropped or not self._put(text):
                self._dropped += max(text.count("\n"), 1)
        return len(text)

    def _put(self, text: str) -> bool:
        """Write ``text``, or nothing of it; return whether it was written."""
        self._rest = self._rest[self._write(self._rest) :]
        if self._rest:
            return False
        data = text.encode("utf-8", "backslashreplace")
        written = self._write(data)
        self._rest = data[written:] if written else b""
        return written > 0


def _writer_to(descriptor: int) -> _Write | None:
    """Return what writes without waiting; ``None`` where nobody is waited for."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return _SocketWriter(descriptor)
    if stat.S_ISFIFO(mode) or os.isatty(descriptor):
        return _PipeWriter(descriptor)
    return None


class _SocketWriter:
    """Writes to a socket, as journald gives one, what it has room for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, data: bytes) -> int:
        """Write some of ``data``."""
        # Not kept: twistd forks, and closes its standard output.
        with socket.socket(fileno=os.dup(self._descriptor)) as connection:
            try:
                return connection.send(data, socket.MSG_DONTWAIT) if data else 0
            except OSError:
                return 0


class _PipeWriter:
    """Writes to a pipe or a terminal what it has room for."""

    def __init__(self, descriptor: int) -> None:
        self._inherited = descriptor
        self._descriptor: int | None = None

    def __call__(self, data: bytes) -> int:
        """Write some of ``data``."""
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
        """Open it once more.

        What was inherited is shared with other processes, which do not expect
        that writing fails. Where it cannot be opened, as another user's pipe,
        it is used all the same: there is room for ``PIPE_BUF`` when it is ready.
        """
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return os.open(f"/proc/self/fd/{self._inherited}", flags)
        except OSError:
            return self._inherited
