# -*- test-case-name: tests.httpserver.test_site -*-
"""One connection, from the identification of its caller to the handover.

`twisted.web.http.HTTPChannel` parses requests. The base classes between it and
`DevLXDChannel` limit sizes and times. This module adds

* the caller, identified when the connection is made;
* turns, so that pipelined requests of one owner do not delay others;
* the handover to another protocol, for websockets.
"""

from __future__ import annotations

import os
from collections.abc import Hashable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IProtocol,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from devlxd.httpserver.compacting import compact
from devlxd.httpserver.connection_state import MAX_RECEIVED
from devlxd.httpserver.grammar import BodyTooLargeError
from devlxd.httpserver.responses import TOO_LARGE
from devlxd.httpserver.strict_channel import StrictChannel
from devlxd.interfaces import IConnection, ITurn

#: How much is read from a connection at a time, in bytes.
READ_SIZE = 4096


@implementer(IConnection, IFileDescriptorReceiver, IHalfCloseableProtocol)
class DevLXDChannel(StrictChannel):
    """One connection of a client.

    :ivar caller: the caller at the other end; ``None`` if it was not identified.
    :ivar owner: the owner whose limits and turns apply to the connection.
    """

    caller: object | None = None
    owner: Hashable = None
    _turn: ITurn | None = None
    _successor: IProtocol | None = None
    _is_half_closed = False
    _ready: Deferred[None] | None = None
    _ignored = 0
    _is_turn = False

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`: identify the caller before reading."""
        self.limit_reads(READ_SIZE)
        super().connectionMade()
        self.begin()

    def begin(self) -> None:
        """Begin with a new connection."""
        if self._admit() and self.caller is None:
            self._wait_until_ready()

    def _admit(self, is_retry: bool = False) -> bool:
        """Identify the caller; return whether its owner may have this connection."""
        admission = self.server.admission
        self.caller = admission.identify(self.transport, is_retry)
        self.owner = admission.owner(self.caller)
        if self.server.add(self, self.owner):
            return True
        self.forceAbortClient()
        admission.refused(self.owner)
        return False

    def _wait_until_ready(self) -> None:
        self._ready = self.server.admission.when_ready()
        if self._ready is not None:
            self._stop_reading()
            self._ready.addCallbacks(
                self._wait_to_admit, lambda failure: failure.trap(CancelledError)
            )

    def _wait_to_admit(self, _: object) -> None:
        """Identify the caller again in a turn: many connections may become ready."""
        self._ready = None
        self._turn = self.server.registry.take_turn(self.owner, self._admit_again)

    def _admit_again(self) -> None:
        self._turn = None
        self.server.remove(self, self.owner)
        if self._admit(is_retry=True):
            self._take_turn()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`: remove the channel from the registry."""
        for pending in (self._turn, self._ready):
            if pending is not None:
                pending.cancel()
        try:
            if self._successor is not None:
                self._successor.connectionLost(reason)
            super().connectionLost(reason)
        finally:
            # The service may have stopped with this: all timeouts are cancelled before.
            self.server.remove(self, self.owner)
        # Without reference cycles, the channel is freed immediately, not by the
        # garbage collector.
        self.response = self._successor = None
        self.release_references()

    def receive_now(self, is_turn: bool) -> None:
        """Receive what the client has sent already, before the reactor reports it.

        :param is_turn: whether this is a turn of the owner, so that the first request
            needs no other one.
        """
        if not self.paused:
            self._is_turn = is_turn
            self.transport.doRead()
            self._is_turn = False

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol.readConnectionLost`.

        The client sends nothing more. A pending response is still sent, but an endless
        stream is aborted.
        """
        self._is_half_closed = True
        if self.is_endless:
            self.forceAbortClient()
        elif self._is_done and self.is_sent:
            # Most clients close their connections after a response. This is what
            # Twisted does with them when it does not serve half-closed ones.
            self.transport.connectionLost(connectionDone)
        else:
            self._close_if_done()

    @property
    def _is_done(self) -> bool:
        is_closing = self.transport.disconnecting
        return not self.is_busy and not self.paused and not is_closing

    def _close_if_done(self) -> None:
        if self._is_half_closed and self._is_done:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol.writeConnectionLost`."""

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """See `IFileDescriptorReceiver.fileDescriptorReceived`.

        Abort the connection: HTTP transfers no file descriptors.
        """
        os.close(descriptor)
        self.forceAbortClient()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`: parse, now or in a turn of the owner."""
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        is_free = not self.paused and not self.is_busy
        if is_free and not self.may_serve_now():
            self._wait_for_turn()
        self._receive(data)

    def may_serve_now(self) -> bool:
        """Count a request; return whether it may be served without another turn."""
        return self._is_turn or self.server.registry.may_serve_now(self.owner)

    def _receive(self, data: bytes) -> None:
        """Parse ``data``, and start the timer of a request that begins with it.

        While the channel is paused, data is only buffered.
        """
        if self.incomplete is not None:
            room = MAX_RECEIVED + 1 - len(self.incomplete)
            self.incomplete += data[: max(room, 0)]
        begun = self.unparsed
        super().dataReceived(data)
        unparsed = self.unparsed
        if self.line_mode and not self.paused and b"\n" in unparsed:
            # Here only CR LF ends a line, as RFC 9112, 2.2, allows. A client that ends
            # a line with LF alone receives a 400 now, and not a timeout later.
            self.refuse_bad_request()
            return
        has_begun = unparsed or not self.at_request_line
        is_free = not self.paused and not self.is_busy
        if is_free and (has_begun or self.after_empty_line):
            if self.incomplete is None:
                self.incomplete = bytearray(begun + data)
            if self.between_requests and has_begun:
                self.between_requests = False
                self.setTimeout(self.server.limits.value.request_timeout)

    # Turns. A client may pipeline thousands of requests. While it does not read its
    # responses, its requests wait. While it reads them, each request waits for a turn.

    def requestDone(self, request: http.Request) -> None:
        """See `HTTPChannel.requestDone`: a pipelined request waits for its turn."""
        self.paused = True
        super().requestDone(request)
        has_more = self.is_transport_full or self.unparsed
        self.paused = bool(self.persistent and has_more)
        if self.paused:
            self._wait_for_turn()
        self._close_if_done()
        self.request_done()

    def request_done(self) -> None:
        """Called when a response is complete."""

    def _stop_reading(self) -> None:
        """Stop parsing and reading; received data stays in the buffer."""
        self.paused = True
        self.pause_reading()

    def _wait_for_turn(self) -> None:
        self._stop_reading()
        self._turn = self.server.registry.take_turn(self.owner, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if not self.is_transport_full:
            self.paused = False
            self.resume_reading()
            self._receive(b"")
            self._close_if_done()

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`: the client reads its responses again."""
        super().resumeProducing()
        if self.paused and not self.is_busy:
            if self._turn is None:
                self._wait_for_turn()
            else:
                # Twisted has resumed reading, too.
                self.pause_reading()

    def rawDataReceived(self, data: bytes) -> None:
        """See `LineReceiver.rawDataReceived`: a body, or data after a request."""
        if self._successor is not None:
            self._successor.dataReceived(data)
        else:
            try:
                super().rawDataReceived(data)
            except BodyTooLargeError:
                self.refuse(TOO_LARGE)
            self._pause_while_responding()

    def _pause_while_responding(self) -> None:
        """Stop reading while a response is pending.

        Reading continues during an endless stream, to notice that the client closes
        the connection.
        """
        is_responding = self.is_busy and not self.is_endless
        if is_responding and not self.transport.disconnecting:
            self.pause_reading()

    def ignore(self, data: bytes) -> None:
        """Ignore what a client sends while it receives an endless stream.

        A client that sends too much is aborted.
        """
        self._ignored += len(data)
        if self._ignored > self.server.limits.value.ignored_input_bytes:
            self.forceAbortClient()

    @property
    def is_handed_over(self) -> bool:
        """Whether another protocol has the connection."""
        return self._successor is not None

    def hand_over(self, protocol: IProtocol) -> None:
        """Hand the connection over to ``protocol``, which receives all further data.

        The channel is unregistered as the transport's producer, so that
        ``protocol`` may register one. The request, which is not finished, and all that
        only parsing needs are freed: the connection may stay open for months.
        """
        self.transport.unregisterProducer()
        self._successor = protocol
        self.requests.clear()
        compact(self)
        protocol.makeConnection(self.transport)
