# -*- test-case-name: tests.client.test_sync_connection -*-
"""A UNIX socket with a deadline, for ``http.client``."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from time import monotonic, sleep
from typing import TYPE_CHECKING

from devlxd.client.errors import ProtocolError, Unavailable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

#: The maximum length of the head of a response, with all 1xx responses before it.
MAX_HEAD = 256 * 1024

#: What a server does that stops in the middle.
CLOSED = "it has closed the connection"

#: The pause before a server is tried again whose queue of connections is full.
_QUEUE_PAUSE = 0.02


class Interrupted(Exception):
    """Another thread, or a signal handler, has ended the wait."""


class GuestSocket(socket.socket):
    """A UNIX socket that stops waiting in time.

    A timeout of a socket is for each system call: a server that sends a byte now and
    then would never reach it. Here it is for all of them.

    :ivar deadline: until when to wait, as `time.monotonic` says; ``None``: for ever.
    :ivar waker: waiting also ends when this is readable.
    :ivar head_left: how much longer the head may be, in bytes; ``None`` after it.
    """

    deadline: float | None
    waker: socket.socket | None
    head_left: int | None = None

    def __init__(self, deadline: float, waker: socket.socket | None) -> None:
        super().__init__(socket.AF_UNIX)
        self.deadline, self.waker = deadline, waker

    def connect_in_time(self, path: str) -> None:
        """Connect, as soon as the server's queue has room.

        :raises OSError: if nobody listens at the path.
        """
        if "\0" in path:
            # The kernel would take what precedes it for the path.
            raise OSError("this cannot be the path of a socket")
        while True:
            self.settimeout(self._time_left())
            try:
                return self.connect(path)
            except BlockingIOError:
                # The kernel does not wait if there is a timeout.
                sleep(_QUEUE_PAUSE)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """See `socket.socket.sendall`."""
        self.settimeout(self._time_left())
        super().sendall(data, flags)

    def recv_into(
        self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0
    ) -> int:
        """See `socket.socket.recv_into`, which reads for ``makefile``.

        :raises Interrupted: when the waker is readable.
        :raises ProtocolError: if the head is too long.
        """
        if self.waker is not None:
            self._wait(self.waker)
        self.settimeout(self._time_left())
        received = super().recv_into(buffer, nbytes, flags)
        if self.head_left is not None:
            self._count(received)
        return received

    def _count(self, received: int) -> None:
        assert self.head_left is not None
        if not received:
            # http.client takes a part of a head for all of it.
            raise ConnectionResetError(CLOSED)
        self.head_left -= received
        if self.head_left < 0:
            raise ProtocolError("the head of the answer is too long")

    def _time_left(self) -> float | None:
        if self.deadline is None:
            return None
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _wait(self, waker: socket.socket) -> None:
        left = self._time_left()
        poll = select.poll()
        poll.register(self, select.POLLIN)
        poll.register(waker, select.POLLIN)
        ready = poll.poll(None if left is None else left * 1000)
        if waker.fileno() in dict(ready):
            raise Interrupted


def connect(
    paths: Iterable[str], deadline: float, waker: socket.socket | None = None
) -> tuple[str, GuestSocket]:
    """Connect to the first of several sockets at which a server listens.

    :return: the path, and the socket.
    :raises Unavailable: if there is none; the text names them all.
    :raises TimeoutError: at the deadline.
    """
    failures = []
    for path in paths:
        with ExitStack() as unused:
            candidate = unused.enter_context(GuestSocket(deadline, waker))
            try:
                candidate.connect_in_time(path)
            except TimeoutError:
                raise
            except OSError as error:
                failures.append(f"{path}: {error.strerror or error}")
            else:
                unused.pop_all()
                return path, candidate
    raise Unavailable(f"no server: {', '.join(failures)}")
