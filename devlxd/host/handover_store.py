# -*- test-case-name: tests.host.test_handover_store -*-
"""Connections in systemd's descriptor store, for the next process.

All descriptors of one process are one entry of the store: they are sent into a
socket, and the store keeps its other end. systemd compares each new entry with all
that it has, so that an entry for each connection would take seconds for thousands
(``FileDescriptorStoreMax=`` in ``systemd.service(5)``).

The first descriptor in the socket is that of the record, see
`devlxd.host.handover_record`; the others are those of the connections, in its order.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence

from twisted.logger import Logger
from zope.interface import implementer

from devlxd.host.handover_record import RecordError, read_record, write_record
from devlxd.host.notify_socket import NotifySocket
from devlxd.interfaces import IHandoverStore
from devlxd.model import HandedOver, JSONValue

#: The name of the entry in the store.
NAME = "devlxd-connections"

#: How many descriptors a message can carry (``SCM_MAX_FD`` in the kernel).
_MESSAGE = 253

#: How long systemd may take to store the entry, in seconds.
_TIMEOUT = 2.0

#: The payload of each message: one without a payload would look like the end.
_PAYLOAD = b"+"

#: The size of the sending buffer, in bytes: it holds more than 300 messages.
_BUFFER = 1 << 20

#: The size of a descriptor in a message, in bytes.
_RIGHT_SIZE = array.array("i").itemsize


@implementer(IHandoverStore)
class SystemdHandoverStore:
    """The connections that systemd keeps while this service restarts.

    :param notify_socket: the socket of systemd.
    :param stored: the descriptors of the entries that the last processes left.
    """

    _log = Logger()

    def __init__(self, notify_socket: NotifySocket, stored: Iterable[int] = ()) -> None:
        self._socket = notify_socket
        self._stored = list(stored)

    def save(self, connections: Sequence[HandedOver]) -> bool:
        """See `IHandoverStore.save`."""
        if not connections:
            return True
        writing, reading = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with writing:
            with reading:
                try:
                    _send_all(writing, connections)
                except (OSError, RecordError) as error:
                    self._log.error(
                        "{count} connections cannot be handed over to the next "
                        "process: {reason}",
                        count=len(connections),
                        reason=str(error),
                    )
                    return False
                self._store(reading)
            return self._is_kept(writing)

    def _store(self, reading: socket.socket) -> None:
        # FDPOLL=0: otherwise systemd removes the entry, as its other end is closed.
        self._socket.send(
            *("FDSTORE=1", f"FDNAME={NAME}", "FDPOLL=0"),
            descriptors=[reading.fileno()],
            timeout=_TIMEOUT,
        )
        self._socket.barrier(_TIMEOUT)

    def _is_kept(self, writing: socket.socket) -> bool:
        """Return whether systemd has kept the other end of ``writing``.

        It has not if the unit has ``FileDescriptorStoreMax=0``, the default.
        """
        poll = select.poll()
        poll.register(writing, 0)
        if not poll.poll(0):
            return True
        self._log.error("systemd keeps no connections: set FileDescriptorStoreMax=")
        return False

    def take(self) -> Sequence[HandedOver]:
        """See `IHandoverStore.take`."""
        stored, self._stored = self._stored, []
        if stored:
            # Now, as an entry that ends this process must not end the next one.
            self._socket.send("FDSTOREREMOVE=1", f"FDNAME={NAME}", timeout=_TIMEOUT)
        return [taken for entry in stored for taken in self._take(entry)]

    def _take(self, entry: int) -> Sequence[HandedOver]:
        """Return the connections of one entry, and close it."""
        received: list[int] = []
        try:
            received.extend(_receive_all(entry))
            records = _read_and_close(received)
            if len(received) > len(records):
                raise RecordError("it describes fewer connections")
        except (OSError, ValueError, RecordError, RecursionError) as error:
            self._log.error(
                "{count} connections of the last process are closed, as their record "
                "cannot be read: {reason}",
                count=len(received),
                reason=str(error),
            )
            for descriptor in received:
                close_connection(descriptor)
            return []
        if len(received) < len(records):
            self._log.error(
                "{count} connections of the last process are closed: too many open "
                "files",
                count=len(records) - len(received),
            )
        return [HandedOver(*each) for each in zip(received, records, strict=False)]


def _read_and_close(received: list[int]) -> Sequence[Mapping[str, JSONValue]]:
    """Remove the first descriptor, that of the record; return what it contains.

    :raises RecordError: if it cannot be read.
    :raises OSError: if it cannot be read.
    """
    if not received:
        raise RecordError("it is missing")
    record = received.pop(0)
    try:
        return read_record(record)
    finally:
        os.close(record)


def close_connection(descriptor: int) -> None:
    """Close a connection, of which systemd may still have a copy."""
    connection = socket.socket(fileno=descriptor)
    with connection, contextlib.suppress(OSError):
        # close(2) of one copy ends nothing.
        connection.shutdown(socket.SHUT_RDWR)


def _send_all(writing: socket.socket, connections: Sequence[HandedOver]) -> None:
    """Send connections and their record into a socket.

    :raises OSError: if that is not possible: ``ETOOMANYREFS`` if this user has
        more descriptors on their way than the limit of open files.
    """
    writing.setblocking(False)
    writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    record = write_record([connection.record for connection in connections])
    try:
        descriptors = [record, *(connection.descriptor for connection in connections)]
        for start in range(0, len(descriptors), _MESSAGE):
            rights = array.array("i", descriptors[start : start + _MESSAGE])
            ancillary = (socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)
            writing.sendmsg([_PAYLOAD], [ancillary])
    finally:
        os.close(record)


def _receive_all(entry: int) -> Iterator[int]:
    """Return the descriptors that `_send_all` has sent, and close the socket.

    With too many open files, the last ones are missing.

    :raises OSError: if they cannot be received.
    """
    space = socket.CMSG_SPACE(_MESSAGE * _RIGHT_SIZE)
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    with socket.socket(fileno=entry) as reading:
        while True:
            payload, ancillary, got, _address = reading.recvmsg(1, space, flags)
            for _level, _kind, data in ancillary:
                rights = array.array("i")
                rights.frombytes(data[: len(data) // _RIGHT_SIZE * _RIGHT_SIZE])
                yield from rights
            if not payload or got & socket.MSG_CTRUNC:
                return
