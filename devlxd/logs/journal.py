# -*- test-case-name: tests.logs.test_journal -*-
"""The log in the journal of systemd, in its native protocol.

See `the specification <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>`_: each event is
one datagram.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from threading import RLock

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from devlxd.logs.json_lines import FOR_PEOPLE
from devlxd.logs.records import (
    bounded,
    container_of,
    fields_of,
    level_of,
    location_of,
    message_of,
    name_of,
    traceback_of,
)

#: Where journald listens.
JOURNAL = "/run/systemd/journal/socket"

#: The priorities of ``syslog(3)``.
PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}

#: The maximum length of a datagram, in bytes: less than the default of a socket's
#: buffer (``net.core.wmem_default``).
MAX_DATAGRAM = 128 * 1024


def has_journal(path: str = JOURNAL) -> bool:
    """Return whether there is a socket of journald."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


@implementer(ILogObserver)
class JournalObserver:
    """An observer that sends events to journald.

    :param send: sends one datagram without blocking; raises `OSError` if it cannot.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        # Threads log too, and so do signal handlers, while this thread has the lock.
        self._lock = RLock()
        self._dropped = 0

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver.__call__`; an event is dropped if journald is too slow."""
        if name_of(event) in FOR_PEOPLE:
            return
        datagram = _datagram(event)
        with self._lock:
            try:
                if self._dropped:
                    self._send(_dropped(self._dropped))
                    self._dropped = 0
                self._send(datagram)
            except OSError:
                self._dropped += 1


def encoded(name: str, value: str) -> bytes:
    """Return one field of a datagram."""
    data = value.encode("utf-8", "backslashreplace")
    key = name.encode("ascii")
    if b"\n" in data:
        return key + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return key + b"=" + data + b"\n"


def _datagram(event: LogEvent) -> bytes:
    """Return the datagram of an event, without the last fields if it is too long."""
    datagram = b""
    for name, value in _fields(event):
        field = encoded(name, value)
        if len(datagram) + len(field) <= MAX_DATAGRAM:
            datagram += field
    return datagram


def _dropped(count: int) -> bytes:
    return (
        encoded("MESSAGE", f"{count} log lines were dropped")
        + encoded("PRIORITY", "4")
        + encoded("SYSLOG_IDENTIFIER", "devlxd")
    )


def _fields(event: LogEvent) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", "\n".join([message_of(event), *traceback_of(event)])
    yield "PRIORITY", str(PRIORITIES[level_of(event)])
    yield "SYSLOG_IDENTIFIER", "devlxd"
    yield "DEVLXD_LOGGER", bounded(str(event.get("log_namespace", "")))
    name, container, location = name_of(event), container_of(event), location_of(event)
    if name is not None:
        yield "DEVLXD_EVENT", name
    if container is not None:
        yield "DEVLXD_CONTAINER", container
    if location is not None:
        file, line, function = location
        yield "CODE_FILE", file
        yield "CODE_LINE", str(line)
        yield "CODE_FUNC", function
    for field, value in fields_of(event).items():
        yield f"DEVLXD_{field.upper()}", str(value)


class JournalSocket:
    """A function that sends one datagram to journald without blocking.

    It sends to the path each time, so that a new journald receives it as well.

    :param path: the path of the socket of journald.
    """

    def __init__(self, path: str = JOURNAL) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __call__(self, datagram: bytes) -> None:
        """Send ``datagram``.

        :raises OSError: if journald does not receive it now.
        """
        self._socket.sendto(datagram, socket.MSG_DONTWAIT, self._path)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
