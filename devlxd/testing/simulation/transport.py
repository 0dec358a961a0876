# -*- test-case-name: tests.testing.test_network -*-
"""One end of a connection in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProducer,
    IProtocol,
    IPushProducer,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.model import Caller

#: How much is delivered at a time, in bytes, unless the receiving protocol sets
#: ``bufferSize``; and from how much on a producer is paused.
SIZE = 64 * 1024


@implementer(ITransport, IConsumer, IPushProducer)
class MemoryTransport:
    """One end of a connection in memory, with the backpressure of a real one.

    :ivar caller: who is at the client's end.
    :ivar is_open: whether the protocol of this end has not been told that the
        connection is lost.
    :ivar disconnecting: whether it is being closed from this end.
    :ivar bufferSize: how much is delivered to this end at a time, in bytes.
    """

    bufferSize = SIZE

    def __init__(
        self, protocol: IProtocol, caller: Caller, changed: Callable[[], None]
    ) -> None:
        self.protocol = protocol
        self.caller = caller
        self.is_open = True
        self.disconnecting = False
        self.peer: MemoryTransport
        self._changed = changed
        self._unsent = bytearray()
        self._producer: IProducer | None = None
        self._is_streaming = False
        self._producer_paused = False
        self._is_paused = False
        self._lost: Failure | None = None

    def write(self, data: bytes) -> None:
        """See `ITransport.write`."""
        if not self.is_open or self._lost is not None:
            return
        self._unsent += data
        self._changed()
        if self._is_streaming and len(self._unsent) > SIZE:
            self._pause_producer()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport.writeSequence`."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See `ITransport.loseConnection`: close when all data is delivered."""
        self.disconnecting = True
        self._changed()

    def abortConnection(self) -> None:
        """See `ITCPTransport.abortConnection`: close now; data is lost."""
        self.disconnecting = True
        self._unsent.clear()
        self._end(ConnectionLost())

    def getPeer(self) -> IAddress:
        """See `ITransport.getPeer`."""
        return UNIXAddress("")

    def getHost(self) -> IAddress:
        """See `ITransport.getHost`."""
        return UNIXAddress("")

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer.registerProducer`."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self.is_open:
            producer.stopProducing()
            return
        self._producer, self._is_streaming = producer, streaming
        self._producer_paused = not streaming
        self._changed()

    def unregisterProducer(self) -> None:
        """See `IConsumer.unregisterProducer`."""
        self._producer = None
        self._is_streaming = self._producer_paused = False
        self._changed()

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`: receive nothing for now."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`: receive again."""
        self._is_paused = False
        self._changed()

    def stopProducing(self) -> None:
        """See `IProducer.stopProducing`: close."""
        self.loseConnection()

    def deliver(self) -> bool:
        """Do the next thing that is to be done at this end.

        :return: whether there was anything to do.
        """
        if self._lost is not None:
            self._tell_lost()
            return True
        if self._unsent:
            return self._send()
        if self._producer is not None and self._producer_paused:
            # A pull producer writes once for each call.
            self._producer_paused = not self._is_streaming
            cast(IPushProducer, self._producer).resumeProducing()
            return self._is_streaming or bool(self._unsent)
        if self.disconnecting and self._producer is None:
            self._end(ConnectionDone())
            return True
        return False

    def _send(self) -> bool:
        peer = self.peer
        if not peer.is_open or peer._lost is not None or peer._is_paused:
            return False
        data = bytes(self._unsent[: peer.bufferSize])
        del self._unsent[: len(data)]
        peer.protocol.dataReceived(data)
        return True

    def _pause_producer(self) -> None:
        if self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            IPushProducer(self._producer).pauseProducing()

    def _end(self, reason: Exception) -> None:
        """Notify both protocols soon that the connection is lost."""
        if not self.is_open:
            return
        for end in (self, self.peer):
            if end._lost is None:
                end._lost = Failure(reason)
        self._changed()

    def _tell_lost(self) -> None:
        assert self._lost is not None
        self.is_open = False
        reason = self._lost
        self._unsent.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(reason)


def connected_pair(
    client: IProtocol, server: IProtocol, caller: Caller, changed: Callable[[], None]
) -> tuple[MemoryTransport, MemoryTransport]:
    """Return both ends of a new connection, without telling the protocols.

    :param changed: called when there is something to deliver.
    """
    near = MemoryTransport(client, caller, changed)
    far = MemoryTransport(server, caller, changed)
    near.peer, far.peer = far, near
    return near, far
