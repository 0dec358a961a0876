"""Connections in memory, over which a guest and a server exchange data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IProducer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialects import DIALECTS
from devlxd.testing import MemoryDevLXDReactor, bus_for, site_for

#: How much a kernel reads at once, and holds for a reader, in bytes.
READ, HELD = 65536, 4 * 65536


def settle(clock: Clock) -> None:
    """Run the calls that are due, and those that become due by it."""
    while any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
        clock.advance(0)


@implementer(ITransport, IConsumer, IPushProducer)
class End:
    """One end of a connection.

    :ivar is_open: whether the protocol has not lost the connection yet.
    :ivar was_aborted: whether this end has aborted the connection.
    """

    disconnecting = False
    other: End

    def __init__(self, clock: Clock, protocol: IProtocol) -> None:
        self._clock = clock
        self._protocol = protocol
        self._arrived = bytearray()
        self._is_paused = self._is_full = self._is_scheduled = False
        self._ended: Exception | None = None
        self._producer: IPushProducer | None = None
        self.is_open = True
        self.was_aborted = False

    def held(self) -> int:
        """Return how many bytes have arrived that the protocol has not read."""
        return len(self._arrived)

    def write(self, data: bytes) -> None:
        """See `ITransport.write`."""
        if self.disconnecting or not self.is_open:
            return
        self.other._arrived += data
        self.other._schedule()
        if self._producer is not None and self.other.held() > HELD:
            self._is_full = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport.writeSequence`."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See `ITransport.loseConnection`."""
        self._leave(ConnectionDone())

    def abortConnection(self) -> None:
        """See `ITCPTransport.abortConnection`."""
        self.was_aborted = True
        self._arrived.clear()
        self._is_paused = False
        self._leave(ConnectionAborted())

    def getPeer(self) -> UNIXAddress:
        """See `ITransport.getPeer`."""
        return UNIXAddress("")

    def getHost(self) -> UNIXAddress:
        """See `ITransport.getHost`."""
        return UNIXAddress("")

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer.registerProducer`."""
        assert self._producer is None
        self._producer = IPushProducer(producer)

    def unregisterProducer(self) -> None:
        """See `IConsumer.unregisterProducer`."""
        self._producer = None

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`."""
        self._is_paused = False
        self._schedule()

    def stopProducing(self) -> None:
        """See `IProducer.stopProducing`."""
        self.loseConnection()

    def _leave(self, reason: Exception) -> None:
        if self.disconnecting:
            return
        self.disconnecting = True
        self.other._ended = self.other._ended or ConnectionDone()
        self.other._schedule()
        self._clock.callLater(0, self._lose, reason)

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._clock.callLater(0, self._deliver)

    def _deliver(self) -> None:
        self._is_scheduled = False
        if self._is_paused or not self.is_open or self.disconnecting:
            return
        data = bytes(self._arrived[:READ])
        del self._arrived[:READ]
        if data:
            self._protocol.dataReceived(data)
            self._schedule()
        elif self._ended is not None:
            self._lose(self._ended)
        if self.held() <= HELD:
            self.other._drained()

    def _drained(self) -> None:
        if self._is_full and self._producer is not None:
            self._is_full = False
            self._producer.resumeProducing()

    def _lose(self, reason: Exception) -> None:
        if self.is_open:
            self.is_open = False
            self.other._ended = self.other._ended or ConnectionLost()
            self.other._schedule()
            self._protocol.connectionLost(Failure(reason))


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """An endpoint in memory.

    :param serve: returns the server's protocol of a new connection.
    :ivar refusal: why no connection is accepted; ``None`` if they are.
    :ivar ends: the guest's ends of all connections.
    """

    def __init__(self, clock: Clock, serve: Callable[[], IProtocol]) -> None:
        self._clock = clock
        self._serve = serve
        self.refusal: Exception | None = None
        self.ends: list[End] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        if self.refusal is not None:
            return fail(self.refusal)
        guest, server = protocolFactory.buildProtocol(UNIXAddress("")), self._serve()
        assert guest is not None
        ends = End(self._clock, guest), End(self._clock, server)
        ends[0].other, ends[1].other = ends[1], ends[0]
        self.ends.append(ends[0])
        server.makeConnection(ends[1])
        guest.makeConnection(ends[0])
        return succeed(guest)

    def open_ends(self) -> list[End]:
        """Return the guest's ends that are open."""
        return [end for end in self.ends if end.is_open]


@implementer(IPushProducer)
class Endless(Protocol):
    """A server that sends a beginning, and then a piece without end.

    :ivar sent: how many bytes it has sent.
    """

    def __init__(self, beginning: bytes, piece: bytes) -> None:
        self._beginning = beginning
        self._piece = piece
        self._is_paused = self._is_lost = False
        self.sent = 0

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        assert self.transport is not None
        self.transport.write(self._beginning)
        IConsumer(self.transport).registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`."""
        self._is_paused = False
        while not self._is_paused and not self._is_lost:
            assert self.transport is not None
            self.transport.write(self._piece)
            self.sent += len(self._piece)

    def stopProducing(self) -> None:
        """See `IProducer.stopProducing`."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self._is_lost = True


class MemoryServer:
    """devlxd's site in memory, for the container ``c1``.

    :ivar clock: the clock of the server, and of guests.
    :ivar endpoint: connects to it.
    """

    def __init__(self, dialect: str = "lxd") -> None:
        self.clock = MemoryDevLXDReactor()
        self.store = MemoryStore()
        bus = bus_for(self.store, self.clock)
        self._site = site_for(
            self.store, "c1", DIALECTS[dialect], clock=self.clock, bus=bus
        )
        self.endpoint = MemoryEndpoint(
            self.clock, lambda: self._site.buildProtocol(UNIXAddress(""))
        )

    def settle(self) -> None:
        """Run the calls that are due."""
        settle(self.clock)

    def end_connections(self) -> None:
        """End all connections."""
        for end in self.endpoint.open_ends():
            end.other.abortConnection()
