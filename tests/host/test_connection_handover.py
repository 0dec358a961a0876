"""Tests of `devlxd.host.connection_handover`."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host import connection_handover
from devlxd.host.connection_handover import TIMEOUT, ConnectionHandover
from devlxd.model import HandedOver
from devlxd.testing import MemoryHandoverStore


class FakeService:
    """A service that serves the connections of one dialect."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.connections: list[HandedOver] = []
        self.pending: Deferred[list[HandedOver]] | None = None

    def hand_over(self) -> Deferred[list[HandedOver]]:
        """See `DevLXDService.hand_over`."""
        return self.pending or succeed(self.connections)

    def adopt(self, connections: Sequence[HandedOver]) -> list[HandedOver]:
        """See `DevLXDService.adopt`."""
        self.connections = [
            each for each in connections if each.record["dialect"] == self.dialect
        ]
        return [each for each in connections if each not in self.connections]


class ConnectionHandoverTests(SynchronousTestCase):
    """The connections of a process with two services."""

    def setUp(self) -> None:
        self.store = MemoryHandoverStore()
        self.clock = Clock()
        self.services = [FakeService("a"), FakeService("b")]
        self.handover = ConnectionHandover(self.store, self.clock)
        for service in self.services:
            self.handover.add(service.hand_over, service.adopt)

    def connection(self, dialect: str) -> tuple[socket.socket, HandedOver]:
        """Return the peer's end of a new connection, and the connection."""
        peer, ours = socket.socketpair()
        peer.setblocking(False)
        self.addCleanup(peer.close)
        return peer, HandedOver(ours.detach(), {"dialect": dialect})

    def test_taken(self) -> None:
        """Each service continues its connections; the rest is closed, in one line."""
        pairs = [self.connection(dialect) for dialect in "abc"]
        self.store.connections = [connection for _peer, connection in pairs]
        with capturedLogs() as events:
            self.handover.take()
        self.assertEqual(self.services[0].connections, [pairs[0][1]])
        self.assertEqual(self.services[1].connections, [pairs[1][1]])
        self.assertEqual(pairs[2][0].recv(1), b"")
        (event,) = events
        self.assertIn("1 connections of the last process", formatEvent(event))
        for _peer, connection in pairs[:2]:
            os.close(connection.descriptor)

    def test_nothing(self) -> None:
        """Without connections there is nothing to log."""
        with capturedLogs() as events:
            self.handover.take()
        self.assertEqual(events, [])

    def test_saved(self) -> None:
        """The connections of all services stay open for the next process."""
        peers = []
        for service in self.services:
            peer, connection = self.connection(service.dialect)
            service.connections = [connection]
            peers.append(peer)
        with capturedLogs() as events:
            self.successResultOf(self.handover.save())
        self.assertIn("2 connections are left", formatEvent(events[0]))
        for peer, connection in zip(peers, self.store.connections, strict=True):
            self.assertRaises(BlockingIOError, peer.recv, 1)
            os.write(connection.descriptor, b"x")
            self.assertEqual(peer.recv(1), b"x")
            os.close(connection.descriptor)

    def listening(self, dialect: str) -> HandedOver:
        """Return a listening socket."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind("")
        listening.listen()
        return HandedOver(listening.detach(), {"dialect": dialect})

    def test_sockets_saved(self) -> None:
        """Listening sockets are counted in a line of their own."""
        peer, connection = self.connection("a")
        self.services[0].connections = [connection, self.listening("a")]
        with capturedLogs() as events:
            self.successResultOf(self.handover.save())
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "1 connections are left to the next process",
                "1 sockets of containers are left to the next process",
            ],
        )
        self.assertRaises(BlockingIOError, peer.recv, 1)
        for kept in self.store.connections:
            os.close(kept.descriptor)

    def test_sockets_not_continued(self) -> None:
        """Listening sockets that nobody continues are closed, with one line."""
        one = self.listening("c")
        self.store.connections = [one]
        with capturedLogs() as events:
            self.handover.take()
        (event,) = events
        self.assertIn("1 sockets of containers of the last", formatEvent(event) or "")
        self.assertRaises(OSError, os.fstat, one.descriptor)

    def test_not_saved(self) -> None:
        """If the store keeps nothing, the connections are closed."""
        self.store.keeps = False
        peer, connection = self.connection("a")
        self.services[0].connections = [connection]
        self.successResultOf(self.handover.save())
        self.assertEqual(peer.recv(1), b"")

    def test_too_much_data(self) -> None:
        """With too much data of all services, those with the least continue."""
        self.patch(connection_handover, "MAX_DATA", 100)
        peers = []
        for service, size in zip(self.services, (90, 60), strict=True):
            for unsent in ("", "x" * size):
                peer, one = self.connection(service.dialect)
                record = {**one.record, "unsent": unsent}
                service.connections.append(HandedOver(one.descriptor, record))
                peers.append(peer)
        with capturedLogs() as events:
            self.successResultOf(self.handover.save())
        self.assertIn("1 connections have too much data", formatEvent(events[0]))
        self.assertEqual(peers.pop(1).recv(1), b"")
        for peer in peers:
            self.assertRaises(BlockingIOError, peer.recv, 1)
        self.assertEqual(len(self.store.connections), 3)
        for kept in self.store.connections:
            os.close(kept.descriptor)

    def test_slow(self) -> None:
        """A service that does not return its connections delays no others' for long."""
        self.services[0].pending = Deferred()
        _peer, connection = self.connection("b")
        self.services[1].connections = [connection]
        with capturedLogs():
            saved = self.handover.save()
            self.assertNoResult(saved)
            self.clock.advance(TIMEOUT)
        self.successResultOf(saved)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        (kept,) = self.store.connections
        os.close(kept.descriptor)

    def test_handing_over_fails(self) -> None:
        """An exception of one service does not lose the connections of the others."""

        def fail() -> Deferred[list[HandedOver]]:
            raise ZeroDivisionError

        self.handover = ConnectionHandover(self.store, self.clock)
        self.handover.add(fail, self.services[0].adopt)
        self.handover.add(self.services[1].hand_over, self.services[1].adopt)
        _peer, connection = self.connection("b")
        self.services[1].connections = [connection]
        self.successResultOf(self.handover.save())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        (kept,) = self.store.connections
        os.close(kept.descriptor)

    def test_adopting_fails(self) -> None:
        """An exception of one service does not stop the process."""

        def fail(connections: Sequence[HandedOver]) -> list[HandedOver]:
            raise ZeroDivisionError

        self.handover = ConnectionHandover(self.store, self.clock)
        self.handover.add(self.services[0].hand_over, fail)
        _peer, connection = self.connection("a")
        self.store.connections = [connection]
        self.handover.take()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        os.close(connection.descriptor)
