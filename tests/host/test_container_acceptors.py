"""Tests of `devlxd.host.container_acceptors`."""

from __future__ import annotations

import errno
import os
import socket

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.host.accepting import RETRY, ListeningSocket
from devlxd.host.container_acceptors import (
    PAUSE,
    USELESS,
    ContainerAcceptors,
    ContainerSocket,
)
from devlxd.testing import MemoryDevLXDReactor


class FullSocket(ListeningSocket):
    """A listening socket whose `accept` fails for want of descriptors."""

    def accept(self) -> tuple[socket.SocketType, object]:  # type: ignore[override] # as the base class
        """See `socket.socket.accept`."""
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class ContainerAcceptorsTests(SynchronousTestCase):
    """The readers of the sockets of containers."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.accepted: list[tuple[str, socket.SocketType]] = []
        self.is_useful = True
        self.acceptors = ContainerAcceptors(self.on_connection, self.reactor)

    def on_connection(self, connection: socket.SocketType, name: str) -> bool:
        """Record a connection."""
        self.addCleanup(connection.close)
        self.accepted.append((name, connection))
        return self.is_useful

    def listen(
        self, name: str, kind: type[ListeningSocket] = ListeningSocket
    ) -> ContainerSocket:
        """Return a socket that listens on an address that the kernel chooses."""
        listening = kind(socket.AF_UNIX)
        self.addCleanup(listening.close)
        listening.setblocking(False)
        listening.bind("")
        listening.listen(100)
        return self.acceptors.start(name, listening, 1)

    def connect(self, to: ContainerSocket, count: int = 1) -> None:
        """Connect clients to a socket."""
        for _ in range(count):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.connect(to.listening.getsockname())

    def test_interface(self) -> None:
        """Each socket provides `IReadDescriptor`, and is one of the readers."""
        one = self.listen("c1")
        self.assertTrue(verifyObject(IReadDescriptor, one))
        self.assertEqual(self.reactor.getReaders(), [one])
        self.acceptors.stop(one)
        self.assertEqual(self.reactor.getReaders(), [])

    def test_accepted(self) -> None:
        """Connections arrive with the name of the container that was called."""
        for name in ("c1", "c2"):
            one = self.listen(name)
            self.connect(one)
            one.doRead()
        self.assertEqual([name for name, _ in self.accepted], ["c1", "c2"])

    def test_many(self) -> None:
        """One connection of a socket is accepted before it is the others' turn."""
        one = self.listen("c1")
        self.connect(one, 3)
        for number in range(1, 4):
            one.doRead()
            self.assertEqual(len(self.accepted), number)
        self.assertEqual(self.reactor.getReaders(), [one])

    def test_useless(self) -> None:
        """A socket with many useless connections is left alone for a moment."""
        self.is_useful = False
        one, other = self.listen("c1"), self.listen("c2")
        self.connect(one, USELESS + 1)
        one.doRead()
        self.assertEqual(len(self.accepted), USELESS)
        self.assertEqual(self.reactor.getReaders(), [other])
        self.reactor.advance(PAUSE)
        self.assertCountEqual(self.reactor.getReaders(), [one, other])
        one.doRead()
        self.assertEqual(len(self.accepted), USELESS + 1)
        self.assertCountEqual(self.reactor.getReaders(), [one, other])

    def test_no_descriptors(self) -> None:
        """When there are too many open files, all such sockets are retried later."""
        failing = [self.listen(name, FullSocket) for name in ("c1", "c2")]
        with capturedLogs() as events:
            for one in failing:
                one.doRead()
        self.assertEqual(
            [event["reason"] for event in events], ["Too many open files"] * 2
        )
        self.assertEqual(self.reactor.getReaders(), [])
        self.reactor.advance(RETRY)
        self.assertCountEqual(self.reactor.getReaders(), failing)

    def test_stopped(self) -> None:
        """A socket that is stopped meanwhile is not retried."""
        one = self.listen("c1", FullSocket)
        one.doRead()
        self.acceptors.stop(one)
        self.reactor.advance(RETRY)
        self.assertEqual(self.reactor.getReaders(), [])
        one.doRead()
        self.acceptors.stop(one)
        self.acceptors.stop_retrying()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """A connection for which the callback fails is closed; others are accepted."""

        def fail(connection: socket.SocketType, name: str) -> bool:
            self.on_connection(connection, name)
            raise ValueError

        self.acceptors = ContainerAcceptors(fail, self.reactor)
        one = self.listen("c1")
        self.connect(one, 2)
        one.doRead()
        self.assertEqual([each.fileno() for _, each in self.accepted], [-1, -1])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
