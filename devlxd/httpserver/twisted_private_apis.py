# -*- test-case-name: tests.httpserver.test_private_apis -*-
"""The names of Twisted beyond its documented API that this package depends on.

=======================================  =======================================
Twisted's name                           name here
=======================================  =======================================
``_handlingRequest``                     `HTTPChannelBase.is_busy`
``_waitingForTransport``                 `HTTPChannelBase.is_transport_full`
``_buffer``                              `HTTPChannelBase.unparsed`
``_networkProducer``                     `HTTPChannelBase.pause_reading`,
                                         `HTTPChannelBase.resume_reading`
``_abortingCall``                        `HTTPChannelBase.abort_call`
``_requestProducer``,                    `HTTPChannelBase.release_references`
``_transferDecoder``
``_respondToBadRequestAndDisconnect``    `HTTPChannelBase.refuse_bad_request`
``_send100Continue``                     `HTTPChannelBase.send_continue`,
                                         `HTTPChannelBase.accept_body`
``length``                               `HTTPChannelBase.body_length`
``bufferSize``, of the transport         `HTTPChannelBase.limit_reads`
``dataBuffer``, ``offset`` and           `HTTPChannelBase.unsent`
``_tempDataBuffer``, of the transport
``_tempDataLen``, of the transport       `TransportBase.is_queued`
``_shouldShutdown``, of the transport    `HTTPChannelBase.detach`
=======================================  =======================================

Nothing else in this package uses these names, or a private name of a Twisted class.
"""

from __future__ import annotations

import os
import socket

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorFDSet
from twisted.internet.tcp import Connection
from twisted.internet.unix import Server
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from devlxd.interfaces import IAcceptedTransport
from devlxd.model import Peer
from devlxd.socket_options import refuses_descriptors


class HTTPChannelBase(http.HTTPChannel):
    """`HTTPChannel` with public names for the private ones that subclasses need."""

    # The transports of UNIX and TCP sockets have this base class.
    transport: Connection

    @property
    def is_busy(self) -> bool:
        """Whether a request is being handled, until its whole response is written."""
        return bool(self._handlingRequest)

    @property
    def is_idle(self) -> bool:
        """Whether no data waits to be parsed, and the next one begins a request.

        This is false if data was parsed of a request that is not complete, unless that
        was an empty line.
        """
        return not (
            self._handlingRequest
            or self.paused
            or self._buffer
            or not self.persistent
            or self.transport.disconnecting
        )

    @property
    def is_transport_full(self) -> bool:
        """Whether writing is paused because the client does not read."""
        return bool(self._waitingForTransport)

    @property
    def unparsed(self) -> bytes:
        """The data that was received but not parsed yet."""
        return bytes(self._buffer)

    @property
    def body_length(self) -> int | None:
        """The ``Content-Length`` of the request; ``None`` if its body is chunked."""
        length: int | None = self.length
        return length

    def limit_reads(self, size: int) -> None:
        """Read at most ``size`` bytes at a time from the transport."""
        self.transport.bufferSize = size

    def pause_reading(self) -> None:
        """Read nothing from the transport until `resume_reading` is called."""
        self._networkProducer.pauseProducing()

    def resume_reading(self) -> None:
        """Continue to read from the transport."""
        self._networkProducer.resumeProducing()

    @property
    def unsent(self) -> bytes:
        """The data that was written to the transport, but not to the socket."""
        transport = self.transport
        unsent = bytes(transport.dataBuffer[transport.offset :])
        return b"".join((unsent, *transport._tempDataBuffer))

    def detach(self) -> int:
        """Lose the connection, while the client's end stays connected.

        :return: a new file descriptor of the connection. It has nothing to do with
            the reactor.
        :raises OSError: if there can be no more file descriptors.
        """
        descriptor = os.dup(self.transport.fileno())
        # shutdown(2) ends the connection for all copies of the descriptor.
        self.transport._shouldShutdown = False
        self.transport.connectionLost(Failure(ConnectionDone()))
        return descriptor

    @property
    def is_sent(self) -> bool:
        """Whether all data that was written to the transport is known to be sent."""
        transport = self.transport
        return isinstance(transport, TransportBase) and not transport.is_queued

    @property
    def abort_call(self) -> IDelayedCall | None:
        """The scheduled call that aborts the connection, if there is one."""
        call: IDelayedCall | None = self._abortingCall
        return call

    @abort_call.setter
    def abort_call(self, call: IDelayedCall | None) -> None:
        self._abortingCall = call

    def release_references(self) -> None:
        """Drop the references that would keep a closed channel in a cycle."""
        self._requestProducer = self._transferDecoder = None

    def refuse_bad_request(self) -> None:
        """Refuse data that is not a valid request, and close the connection."""
        super()._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse_bad_request()

    def send_continue(self) -> None:
        """Send the interim response 100 (RFC 9110, 15.2.1)."""
        super()._send100Continue()

    def accept_body(self) -> None:
        """Called when the client waits for a 100 before the body (RFC 9110, 10.1.1)."""
        self.send_continue()

    def _send100Continue(self) -> None:
        self.accept_body()


@implementer(IAcceptedTransport)
class TransportBase(Server):
    """Twisted's transport, for a connection that was accepted without Twisted.

    :param connection: the connection, which the transport owns from now on.
    :param protocol: the protocol, which has not been connected yet.
    :param reactor: notifies of data to read, and of room to write.
    """

    accepted_peer: Peer | None = None

    def __init__(
        self,
        connection: socket.socket,
        protocol: IProtocol,
        reactor: IReactorFDSet,
    ) -> None:
        super().__init__(connection, protocol, "", None, 0, reactor)
        self.repstr = f"<{type(self).__name__} of {type(protocol).__name__}>"
        self.may_have_descriptors = not refuses_descriptors(connection)

    def doRead(  # type: ignore[override] # Twisted wraps this class without types
        self,
    ) -> ConnectionLost | ConnectionDone | None:
        """See `IReadDescriptor.doRead`.

        Where the kernel refuses file descriptors that the client sends, they are not
        looked for: that takes most of the time of a read.
        """
        if self.may_have_descriptors:
            found: ConnectionLost | ConnectionDone | None = super().doRead()
            return found
        return Connection.doRead(self)

    def getPeer(self) -> UNIXAddress:
        """See `ITransport.getPeer`: the address to which the client has bound."""
        return UNIXAddress(self.socket.getpeername() or None)

    @property
    def is_queued(self) -> bool:
        """Whether data was written that is not sent yet."""
        return bool(self._tempDataLen or self.dataBuffer)
