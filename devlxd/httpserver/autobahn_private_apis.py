# -*- test-case-name: tests.httpserver.test_private_apis -*-
"""The names of autobahn beyond its documented API that this package depends on.

============================  ==================================================
autobahn's name               use here
============================  ==================================================
``_closeConnection``          called with ``abort`` by autobahn where a close
                              frame is still unsent; here it never aborts
``is_open``, ``is_closed``    Deferreds whose result is the protocol: dropped,
                              as they would keep a closed connection in a cycle
``log``                       replaced, on factories and protocols: a client could
                              fill the log with its messages
``sendFrame``                 `WebSocketBase.send_frame`
``sendCloseFrame``            hooked, to know when a close frame is sent
``onMessageBegin``,           overridden, so that messages of the client are not
``onMessageFrameBegin``,      collected in memory
``onMessageFrameData``,
``onMessageFrameEnd``,
``onMessageEnd``
============================  ==================================================

Nothing else in this package uses these names, or a private name of an autobahn class.
"""

from __future__ import annotations

from collections.abc import Callable

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure


class NullLogger:
    """A logger that discards everything."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a method that does nothing."""
        return lambda *_, **__: None


def websocket_factory(reactor: IReactorTime) -> WebSocketServerFactory:
    """Return a factory for websockets without the timeouts of autobahn."""
    factory = WebSocketServerFactory(reactor=reactor, server="")
    factory.log = NullLogger()
    factory.setProtocolOptions(
        versions=[13],
        webStatus=False,
        openHandshakeTimeout=0,
        closeHandshakeTimeout=0,
        # After a violation of the protocol the client receives a close frame.
        failByDrop=False,
    )
    return factory


class WebSocketBase(WebSocketServerProtocol):
    """A websocket that discards the client's messages, with hooks for subclasses.

    :param factory: see `websocket_factory`.
    :param headers: further headers of the response to the handshake.
    """

    log = NullLogger()

    #: Sends one frame of a message (RFC 6455, 5.4): its opcode, its payload, and
    #: whether it is the last one. It is called for each event and subscriber.
    send_frame = WebSocketServerProtocol.sendFrame

    def __init__(
        self, factory: WebSocketServerFactory, headers: dict[str, str]
    ) -> None:
        super().__init__()
        self.factory = factory
        self._headers = headers
        self._received = 0

    # Hooks for subclasses

    def opened(self) -> None:
        """Called when the handshake is complete."""

    def received(self, size: int) -> None:
        """Called for each frame of a message.

        :param size: the size of the message up to the end of this frame, in bytes.
        """

    def pinged(self, payload: bytes) -> None:
        """Called when a ping is received."""

    def ponged(self) -> None:
        """Called when a pong is received."""

    def closing(self) -> None:
        """Called before a close frame is sent; nothing may be sent after it."""

    # Called by autobahn

    def onConnect(self, request: ConnectionRequest) -> tuple[None, dict[str, str]]:
        """See `IWebSocketChannel.onConnect`."""
        return None, self._headers

    def onOpen(self) -> None:
        """See `IWebSocketChannel.onOpen`."""
        self.opened()

    def onMessageBegin(self, isBinary: bool) -> None:
        """See `WebSocketProtocol.onMessageBegin`."""
        self._received = 0

    def onMessageFrameBegin(self, length: int) -> None:
        """See `WebSocketProtocol.onMessageFrameBegin`."""
        self._received += length
        self.received(self._received)

    def onMessageFrameData(self, payload: bytes) -> None:
        """See `WebSocketProtocol.onMessageFrameData`: discard the data."""

    def onMessageFrameEnd(self) -> None:
        """See `WebSocketProtocol.onMessageFrameEnd`."""

    def onMessageEnd(self) -> None:
        """See `WebSocketProtocol.onMessageEnd`."""

    def onPing(self, payload: bytes) -> None:
        """See `IWebSocketChannel.onPing`."""
        self.pinged(payload)

    def onPong(self, payload: bytes) -> None:
        """See `IWebSocketChannel.onPong`."""
        self.ponged()

    def sendCloseFrame(
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,
        isReply: bool = False,
    ) -> None:
        """See `WebSocketProtocol.sendCloseFrame`."""
        self.closing()
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def _closeConnection(self, abort: bool = False) -> None:
        # Never abort: an unsent close frame has the reason (RFC 6455, 7.1.7).
        super()._closeConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`: drop references that make cycles.

        A closed connection is then freed immediately, not by the garbage collector.
        """
        super().connectionLost(reason)
        self.is_open = self.is_closed = None
