"""Tests of connections in memory."""

from __future__ import annotations

from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.model import Caller
from devlxd.testing.simulation.network import MemoryNetwork
from devlxd.testing.simulation.transport import MemoryTransport


class Recorder(Protocol):
    """An end that records what it receives."""

    transport: MemoryTransport

    def __init__(self) -> None:
        self.received = b""
        self.is_lost = False

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self.is_lost = True


class NetworkTests(SynchronousTestCase):
    """A connection behaves as one of a kernel does."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.client, self.server = Recorder(), Recorder()
        self.network.connect(self.client, self.server, Caller("c1", 0))

    def test_delivered(self) -> None:
        """Data is delivered by a pump, or when the clock advances; never at once."""
        self.client.transport.write(b"a")
        self.assertEqual(self.server.received, b"")
        self.network.pump()
        self.assertEqual(self.server.received, b"a")
        self.server.transport.write(b"b")
        self.clock.advance(0)
        self.assertEqual(self.client.received, b"b")

    def test_closed(self) -> None:
        """A connection closes when all data is delivered; then both ends know it."""
        self.client.transport.write(b"a")
        self.client.transport.loseConnection()
        self.network.pump()
        self.assertEqual(self.server.received, b"a")
        self.assertTrue(self.client.is_lost and self.server.is_lost)
        self.assertEqual(self.network.transports, [])

    def test_aborted(self) -> None:
        """Data that was not delivered is lost when a connection is aborted."""
        self.client.transport.write(b"a")
        self.client.transport.abortConnection()
        self.network.pump()
        self.assertEqual(self.server.received, b"")
        self.assertTrue(self.client.is_lost and self.server.is_lost)

    def test_paused(self) -> None:
        """An end that is paused receives nothing until it is resumed."""
        self.server.transport.pauseProducing()
        self.client.transport.write(b"a")
        self.network.pump()
        self.assertEqual(self.server.received, b"")
        self.server.transport.resumeProducing()
        self.network.pump()
        self.assertEqual(self.server.received, b"a")
