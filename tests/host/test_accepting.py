"""Tests of `devlxd.host.accepting`."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from itertools import repeat

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.host.accepting import (
    RETRY,
    SLICE,
    Acceptor,
)
from devlxd.testing import MemoryDevLXDReactor


class FailingSocket(socket.socket):
    """A listening socket whose `accept` fails.

    :ivar errors: the error number of each call.
    """

    errors: Iterator[int] = repeat(errno.EMFILE)

    def accept(self) -> tuple[socket.socket, object]:
        """See `socket.socket.accept`."""
        error = next(self.errors)
        raise OSError(error, os.strerror(error))


class AcceptorTests(SynchronousTestCase):
    """Accepting connections."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.now = 0.0
        self.accepted: list[socket.SocketType] = []
        self.listening = self.listen(socket.socket(socket.AF_UNIX))
        self.acceptor = self.make_acceptor(self.listening)

    def listen(self, listening: socket.socket) -> socket.socket:
        """Make a socket listen on an address that the kernel chooses."""
        self.addCleanup(listening.close)
        listening.setblocking(False)
        # Linux binds it to an unused abstract address (unix(7), "Autobind").
        listening.bind("")
        listening.listen(100)
        return listening

    def make_acceptor(self, listening: socket.socket) -> Acceptor:
        """Return an acceptor; handling each connection takes a tenth of a slice."""

        def on_connection(connection: socket.SocketType) -> None:
            self.addCleanup(connection.close)
            self.accepted.append(connection)
            self.now += SLICE / 10

        return Acceptor(listening, on_connection, self.reactor, lambda: self.now)

    def connect(self, count: int) -> None:
        """Connect some clients."""
        for _ in range(count):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.connect(self.listening.getsockname())

    def test_interface(self) -> None:
        """An acceptor provides `IReadDescriptor`."""
        self.assertTrue(verifyObject(IReadDescriptor, self.acceptor))

    def test_all(self) -> None:
        """All queued connections are accepted in one call; none is lost."""
        self.acceptor.start()
        self.assertIn(self.acceptor, self.reactor.getReaders())
        self.connect(5)
        self.acceptor.doRead()
        self.assertEqual(len(self.accepted), 5)
        self.acceptor.doRead()
        self.assertEqual(len(self.accepted), 5)

    def test_slice(self) -> None:
        """A flood of connections is accepted in slices."""
        self.connect(25)
        counts = []
        for _ in range(3):
            self.acceptor.doRead()
            counts.append(len(self.accepted))
        self.assertEqual(counts, [10, 20, 25])

    def test_no_descriptors(self) -> None:
        """When there are too many open files, accepting is retried later."""
        acceptor = self.make_acceptor(self.listen(FailingSocket(socket.AF_UNIX)))
        acceptor.start()
        with capturedLogs() as events:
            acceptor.doRead()
        self.assertEqual(events[0]["reason"], os.strerror(errno.EMFILE))
        self.assertEqual(self.reactor.getReaders(), [])
        self.reactor.advance(RETRY)
        self.assertEqual(self.reactor.getReaders(), [acceptor])

    def test_closed_already(self) -> None:
        """A connection that is closed before it is accepted does not delay others."""
        listening = FailingSocket(socket.AF_UNIX)
        listening.errors = iter([errno.ECONNABORTED, errno.EPROTO, errno.EAGAIN])
        self.make_acceptor(self.listen(listening)).doRead()
        self.assertEqual(list(listening.errors), [])

    def test_failure(self) -> None:
        """A connection for which the callback fails is closed; others are accepted."""

        def fail(connection: socket.SocketType) -> None:
            self.accepted.append(connection)
            raise ValueError

        self.connect(2)
        Acceptor(self.listening, fail, self.reactor, lambda: self.now).doRead()
        self.assertEqual([one.fileno() for one in self.accepted], [-1, -1])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_stop(self) -> None:
        """A stopped acceptor accepts nothing, and does not retry."""
        acceptor = self.make_acceptor(self.listen(FailingSocket(socket.AF_UNIX)))
        acceptor.start()
        acceptor.doRead()
        acceptor.stop()
        acceptor.stop()
        self.reactor.advance(RETRY)
        self.assertEqual(self.reactor.getReaders(), [])
