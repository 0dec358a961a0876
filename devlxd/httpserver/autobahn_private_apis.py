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
``consumeData``               overridden, so that the frames of a client that
                              sends very many are processed in turns
``processData``               called for each step: the head of a frame, or what
                              is there of its payload
``sendCloseFrame``            hooked, to know when a close frame is sent
``onMessageBegin``,           overridden, so that messages of the client are not
``onMessageFrameBegin``,      collected in memory
``onMessageFrameData``,
``onMessageFrameEnd``,
``onMessageEnd``
``current_frame``,            `WebSocketBase.unparsed`
``current_frame_masker``,
``control_frame_data``,
``inside_message``, ``data``
``CONFIG_ATTRS``              the options that a protocol copies from its factory:
                              `WebSocketBase` reads them there, as autobahn formats
                              them for its log each time, and they need memory
``http_request_data``,        what only the handshake needs: dropped when it is
``send_queue``, ...           complete, see `_OF_HANDSHAKE`
``sendData``                  replaced during the handshake:
                              `WebSocketBase.discard_handshake`
============================  ==================================================

Nothing else in this package uses these names, or a private name of an autobahn class.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from devlxd.httpserver.compacting import compact
from devlxd.httpserver.framing import FIN

#: The opcode of a message, and the greatest opcode that is not that of a control frame
#: (RFC 6455, 5.2).
BINARY = 2
MAX_DATA_OPCODE = 7

#: How many frames of a client are processed at a time. Each takes a few microseconds,
#: even an empty one.
MAX_FRAMES = 32

#: The bit of the second byte that marks a frame with a mask.
_MASKED = 0x80


#: The attributes that autobahn uses during the handshake only, and its queue of data,
#: which stays empty.
_OF_HANDSHAKE = (
    "_transport_details",
    "_wskey",
    "http_headers",
    "http_request_data",
    "http_request_host",
    "http_request_params",
    "http_request_path",
    "http_request_uri",
    "http_response_data",
    "http_status_line",
    "send_queue",
    "websocket_extensions",
    "websocket_extensions_in_use",
    "websocket_origin",
    "websocket_protocol_in_use",
    "websocket_protocols",
)


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
    #: Only data that is sent in pieces is queued, for tests of autobahn.
    send_queue: deque[Any] = deque(maxlen=0)  # noqa: RUF012 # as autobahn types it
    CONFIG_ATTRS: list[str] = []  # noqa: RUF012 # autobahn says it is a list

    def __init__(
        self, factory: WebSocketServerFactory, headers: dict[str, str]
    ) -> None:
        super().__init__()
        self.factory = factory
        self._headers = headers
        self._received = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 # an option of any type
        """Return an option of the factory."""
        if name in WebSocketServerProtocol.CONFIG_ATTRS:
            return getattr(self.factory, name)
        raise AttributeError(name)

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

    def may_process(self) -> bool:
        """Return whether data that was received may be processed now."""
        return True

    def postpone(self) -> None:
        """Called when data is left: have `process_frames` called in a turn."""
        raise NotImplementedError

    # Processing what was received

    def consumeData(self) -> None:
        """See `WebSocketProtocol.consumeData`: process frames, now or in a turn."""
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
        elif self.may_process():
            self.process_frames()
        else:
            self.postpone()

    def process_frames(self) -> None:
        """Process a limited number of frames; postpone the rest."""
        # A frame has a head and a payload.
        for _ in range(2 * MAX_FRAMES):
            if not self.processData() or self.state == self.STATE_CLOSED:
                return
        self.postpone()

    # Handing the connection over

    @property
    def unparsed(self) -> bytes:
        """The frames that a new websocket must receive to continue with this one.

        Of a message, only what is missing counts. The payload of a ping is whole.
        """
        frame: Any = self.current_frame
        if frame is None:
            begun = _frame_head(BINARY, 0) if self.inside_message else b""
        elif frame.opcode > MAX_DATA_OPCODE:
            mask, payload = frame.mask, b"".join(self.control_frame_data)
            masked = bytes(one ^ mask[i % 4] for i, one in enumerate(payload))
            begun = _frame_head(frame.opcode | FIN, frame.length, mask) + masked
            if self.inside_message:
                begun = _frame_head(BINARY, 0) + begun
        else:
            rest = frame.length - self.current_frame_masker.pointer()
            begun = _frame_head(BINARY | (FIN if frame.fin else 0), rest)
        return begun + bytes(self.data)

    def discard_handshake(self) -> None:
        """Do not send the response to the handshake: the client has it already."""
        vars(self)["sendData"] = lambda *_, **__: None

    # Called by autobahn

    def onConnect(self, request: ConnectionRequest) -> tuple[None, dict[str, str]]:
        """See `IWebSocketChannel.onConnect`."""
        return None, self._headers

    def onOpen(self) -> None:
        """See `IWebSocketChannel.onOpen`."""
        for name in ("sendData", *_OF_HANDSHAKE):
            vars(self).pop(name, None)
        self._headers = {}
        compact(self)
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


def _frame_head(first: int, length: int, mask: bytes = bytes(4)) -> bytes:
    """Return the head of a frame of the client (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((first, _MASKED | length)) + mask
    if length < 2**16:
        return bytes((first, _MASKED | 126)) + struct.pack("!H", length) + mask
    return bytes((first, _MASKED | 127)) + struct.pack("!Q", length) + mask
