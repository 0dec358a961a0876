"""A guest that listens to events, and is checked against what was written."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from tests.integration.etcd_writer import COUNTER
from tests.integration.processes import TIMEOUT, wait_until

#: Opens a connection in a guest.
Connect = Callable[[], socket.socket]


def over(path: str) -> Connect:
    """Return what connects to a socket."""

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT)
        connection.connect(path)
        return connection

    return connect


def ask(connect: Connect, path: str) -> tuple[int, str]:
    """Ask as a guest; return the status and the body."""
    connection = HTTPConnection("lxd")
    connection.sock = connect()
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


class GuestListener:
    """A guest that listens in a thread.

    :ivar heard: the changes of `COUNTER`: the number before, and the new one.
    :ivar timestamp: that of the latest event.
    :ivar other: other events that it has heard.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.heard: list[tuple[str, str]] = []
        self.other: list[dict[str, Any]] = []
        self.timestamp = ""
        self.has_ended = True

    def listen(self) -> None:
        """Begin to listen, or go on after the latest event."""
        connection = HTTPConnection("lxd")
        connection.sock = self._connect()
        # A stream is quiet for as long as nothing changes.
        connection.sock.settimeout(None)
        self._socket = connection.sock
        since = f"?since={quote(self.timestamp)}" if self.timestamp else ""
        connection.request("GET", f"/1.0/events{since}")
        response = connection.getresponse()
        if response.status != 200:
            raise AssertionError(f"{response.status} instead of events")
        self.timestamp = self.timestamp or response.headers["X-Devlxd-Timestamp"]
        self.has_ended = False
        self._thread = threading.Thread(
            target=self._read, args=(response.readline,), daemon=True
        )
        self._thread.start()

    def _read(self, readline: Callable[[], bytes]) -> None:
        with contextlib.suppress(OSError, HTTPException, ValueError):
            while line := readline():
                if line.strip():
                    self._hear(json.loads(line))
        self.has_ended = True

    def _hear(self, event: dict[str, Any]) -> None:
        self.timestamp = event["timestamp"]
        metadata = event["metadata"]
        if metadata.get("key") == COUNTER:
            self.heard.append((metadata["old_value"], metadata["value"]))
        else:
            self.other.append(event)

    def stop(self) -> None:
        """Stop to listen."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(TIMEOUT)
        self._socket.close()

    def wait_for_more(self) -> None:
        """Wait until it hears of a change that it has not heard of yet."""
        count = len(self.heard)
        wait_until(lambda: len(self.heard) > count, "another change is heard")

    def wait_for(self, number: int) -> None:
        """Wait until it has heard of the change ``number`` as the latest one.

        :raises AssertionError: after the timeout, or if the stream has ended.
        """
        wanted = str(number)

        def is_there() -> bool:
            # In this order: the thread appends before it ends.
            has_ended = self.has_ended
            if self.heard and self.heard[-1][1] == wanted:
                return True
            if has_ended:
                raise AssertionError(f"the stream has ended: {self.heard[-3:]}")
            return False

        try:
            wait_until(is_there, f"the change {number} is heard")
        except AssertionError as error:
            raise AssertionError(f"{error}; heard: {self.heard[-3:]}") from None


def every_change(first: int, last: int) -> Sequence[tuple[str, str]]:
    """Return what a guest hears that misses nothing after the change ``first``."""
    return [(str(n), str(n + 1)) for n in range(first, last)]


def gaps(heard: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return the pairs of neighbours of which the second does not follow the first."""
    return [(a[1], b[0]) for a, b in pairwise(heard) if a[1] != b[0]]
