# -*- test-case-name: tests.client.test_events -*-
"""One connection that receives events, on autobahn."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectionResponse
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConsumer,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.client.errors import GuestError, ProtocolError, Unavailable
from devlxd.client.event_feed import MAX_EVENT, refusal
from devlxd.client.exchanges import Request
from devlxd.client.refused_upgrade import response_in

#: The header that asks for a websocket.
UPGRADE = b"\r\nUpgrade: websocket\r\n"

#: How much is read, in bytes, before the head of the response must be complete.
MAX_HEAD = 128 * 1024

#: The maximum number of frames of an event: each costs memory, also without content.
MAX_FRAMES = 100_000

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_SWITCHING = re.compile(rb"HTTP/1\.1 101[ \r]")


class _NullLogger:
    """A logger that discards everything: the server decides what autobahn logs."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


@implementer(IPushProducer)
class EventSocket(WebSocketClientProtocol):
    """A connection that receives events.

    It reads only while somebody waits for an event, and while the server reads.

    :ivar opened: fires with the headers of the response, by their names in lower case;
        fails with a `GuestError`.
    """

    log = _NullLogger()

    def __init__(self) -> None:
        super().__init__()
        self.opened: Deferred[Mapping[str, str]] = Deferred()
        self._head: bytearray | None = bytearray()
        self._messages: deque[bytes] = deque()
        self._waiting: Deferred[None] | None = None
        self._fault: GuestError | None = None
        self._frames = 0
        self._is_writing_blocked = False

    async def receive(self) -> bytes:
        """Wait for the next message.

        :raises Unavailable: if the connection has ended.
        :raises ProtocolError: if the server violates the protocol.
        """
        if not self._messages and self._fault is None:
            waiting: Deferred[None] = Deferred()
            self._waiting = waiting
            self._read_or_pause()
            try:
                await waiting
            finally:
                self._waiting = None
        if self._messages:
            return self._messages.popleft()
        assert self._fault is not None
        raise self._fault

    def close(self) -> None:
        """Close the connection."""
        self._end(Unavailable("the connection is closed"))

    # Called by Twisted

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`."""
        # A server that sends pings, and does not read, must not fill memory with pongs.
        cast(IConsumer, self.transport).registerProducer(self, True)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        try:
            received = data if self._head is None else self._handshake(data)
            if received and self._fault is None:
                super().dataReceived(received)
        except GuestError as error:
            self._end(error)
        except Exception:
            self._end(ProtocolError("the answer is not that of a websocket"))
        if self._head is None and self.state != self.STATE_OPEN:
            self._end(self._closed())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        if self._head and self._fault is None and _END_OF_HEAD.search(self._head):
            self._refuse(bytes(self._head), is_all=True)
        super().connectionLost(reason)
        self._end(Unavailable("the server has closed the connection"))

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`."""
        self._is_writing_blocked = True
        self._read_or_pause()

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`."""
        self._is_writing_blocked = False
        self._read_or_pause()

    def stopProducing(self) -> None:
        """See `IPushProducer.stopProducing`."""

    # Called by autobahn

    def sendData(
        self, data: bytes, sync: bool = False, chopsize: int | None = None
    ) -> None:
        """Send data; the upgrade's name in lower case, as LXD 5.0 wants it."""
        if self.state == self.STATE_CONNECTING:
            data = data.replace(b"\r\nUpgrade: WebSocket\r\n", UPGRADE, 1)
        super().sendData(data, sync, chopsize)

    def onConnect(self, response: ConnectionResponse) -> None:
        """See `IWebSocketChannel.onConnect`."""
        if not self.opened.called:
            self.opened.callback(response.headers)

    def onMessageBegin(self, isBinary: bool) -> None:
        """See `IWebSocketChannel.onMessageBegin`."""
        self._frames = 0
        super().onMessageBegin(isBinary)

    def onMessageFrameBegin(self, length: int) -> None:
        """See `IWebSocketChannel.onMessageFrameBegin`."""
        self._frames += 1
        if self._frames > MAX_FRAMES:
            raise ProtocolError(f"an event has more than {MAX_FRAMES} frames")
        super().onMessageFrameBegin(length)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """See `IWebSocketChannel.onMessage`."""
        self._messages.append(payload)
        self._wake()
        self._read_or_pause()

    def _handshake(self, data: bytes) -> bytes:
        """Return the data for autobahn, once the server has accepted the websocket."""
        assert self._head is not None
        self._head += data
        if not _END_OF_HEAD.search(self._head):
            if len(self._head) > MAX_HEAD:
                raise ProtocolError(f"the head is longer than {MAX_HEAD} bytes")
            return b""
        received = bytes(self._head)
        if _SWITCHING.match(received):
            self._head = None
            return received
        self._refuse(received, is_all=False)
        return b""

    def _refuse(self, received: bytes, is_all: bool) -> None:
        try:
            response = response_in(received, is_all)
        except ProtocolError as error:
            self._end(error)
        else:
            if response is not None:
                self._end(refusal(response))

    def _closed(self) -> GuestError:
        if self.failedByMe or not self.opened.called:
            return ProtocolError("the server violates the protocol of websockets")
        return Unavailable("the server has ended the events")

    def _read_or_pause(self) -> None:
        if self._fault is not None:
            return
        source = cast(IPushProducer, self.transport)
        if self._is_writing_blocked or (self._messages and not self._waiting):
            source.pauseProducing()
        else:
            source.resumeProducing()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)

    def _end(self, fault: GuestError) -> None:
        if self._fault is not None:
            return
        self._fault = fault
        cast(ITCPTransport, self.transport).abortConnection()
        if not self.opened.called:
            self.opened.errback(fault)
        self._wake()


def event_socket_factory(
    request: Request, reactor: IReactorTime
) -> WebSocketClientFactory:
    """Return a factory of connections that receive events.

    :param request: the request for them.
    """
    url = f"ws://lxd{request.path}"
    factory = WebSocketClientFactory(url, useragent=None, reactor=reactor)
    factory.protocol = EventSocket
    # autobahn's timeouts run on the global reactor; the caller has one of its own.
    factory.setProtocolOptions(
        openHandshakeTimeout=0,
        closeHandshakeTimeout=0,
        serverConnectionDropTimeout=0,
        maxMessagePayloadSize=MAX_EVENT,
        maxFramePayloadSize=MAX_EVENT,
    )
    return factory
