# -*- test-case-name: tests.guestapi.test_event_streams -*-
"""Messages over a websocket (RFC 6455): the handshake, pings and closing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http import Request

from devlxd.httpserver.autobahn_private_apis import WebSocketBase
from devlxd.httpserver.channel import DevLXDChannel
from devlxd.httpserver.connection_state import WEBSOCKET
from devlxd.httpserver.framing import (
    CONTINUATION,
    FIN,
    PING_FRAME,
    TEXT,
    frame,
    whole_frame,
)
from devlxd.httpserver.grammar import tokens_of
from devlxd.httpserver.message_sink import TOO_SLOW, MessageSink
from devlxd.httpserver.responses import Headers, refusal
from devlxd.interfaces import IStream, ITurn
from devlxd.model import Limits

#: How often a client is pinged, in seconds.
PING_INTERVAL = 10

#: The codes of close frames (RFC 6455, 7.4). The second one is for private use.
CLOSE_NORMAL = 1000
CLOSE_TOO_SLOW = 4008

#: The response to a request for a websocket that is not a valid handshake.
NO_HANDSHAKE = refusal(
    http.BAD_REQUEST, "bad request", headers=((b"Sec-WebSocket-Version", b"13"),)
)

#: The request that autobahn parses instead of the client's. Only the key is the same.
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: %b\r\n\r\n"
)


def requests_websocket(request: Request) -> bool:
    """Return whether the header ``Upgrade`` has ``websocket`` (RFC 9110, 7.8)."""
    return b"websocket" in tokens_of(request, b"upgrade")


def websocket_key(request: Request) -> bytes | None:
    """Return the key of a handshake (RFC 6455, 4.2.1).

    :return: ``None`` if the request is not a valid handshake. A request with a body
        is not valid: a body of a GET has no defined meaning (RFC 9110, 9.3.1).
    """
    if (request.method, request.clientproto) != (b"GET", b"HTTP/1.1"):
        return None
    has_body = request.content is not None and request.content.read()
    if has_body or b"upgrade" not in tokens_of(request, b"connection"):
        return None
    if request.getHeader(b"sec-websocket-version") != b"13":
        return None
    key: bytes = request.getHeader(b"sec-websocket-key") or b""
    try:
        nonce = base64.b64decode(key, validate=True)
    except binascii.Error:
        return None
    return key if len(nonce) == 16 else None


class MessageWebSocket(WebSocketBase):
    """The websocket of a `WebSocketSink`."""

    sink: WebSocketSink
    _turn: ITurn | None = None

    def __init__(self, factory: WebSocketServerFactory, headers: Headers) -> None:
        super().__init__(
            factory, {n.decode("ascii"): v.decode("ascii") for n, v in headers}
        )

    def opened(self) -> None:
        """See `WebSocketBase.opened`."""
        self.sink.opened()

    def received(self, size: int) -> None:
        """See `WebSocketBase.received`: abort a client that sends too much."""
        if size > self.sink.limits.websocket_message_bytes:
            self.sink.abort()

    def pinged(self, payload: bytes) -> None:
        """See `WebSocketBase.pinged`: respond, unless the client does not read."""
        if self.sink.paused_for is None:
            self.sendPong(payload)

    def ponged(self) -> None:
        """See `WebSocketBase.ponged`."""
        self.sink.ponged()

    def closing(self) -> None:
        """See `WebSocketBase.closing`."""
        self.sink.closing()

    def may_process(self) -> bool:
        """See `WebSocketBase.may_process`: frames count like a request."""
        return self.sink.may_process()

    def postpone(self) -> None:
        """See `WebSocketBase.postpone`: read no more before the turn."""
        if self._turn is None:
            self._turn = self.sink.pause_reading_until(self._use_turn)

    def _use_turn(self) -> None:
        self._turn = None
        self.process_frames()
        if self._turn is None:
            self.sink.resume_reading()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        if self._turn is not None:
            self._turn.cancel()
        self.sink.detach()
        super().connectionLost(reason)
        # The sink and the websocket refer to each other.
        del self.sink


class WebSocketSink(MessageSink):
    """A sink that sends messages over a websocket.

    Each slice of a message is sent as a frame, so that control frames may be sent
    between them (RFC 6455, 5.4).
    """

    __slots__ = ("_pinged_at", "_websocket")

    interval = PING_INTERVAL

    def __init__(
        self, channel: DevLXDChannel, stream: IStream, websocket: MessageWebSocket
    ) -> None:
        super().__init__(channel, stream)
        self._websocket = websocket
        websocket.sink = self
        self._pinged_at: float | None = None

    @property
    def limits(self) -> Limits:
        """The limits that are in force."""
        return self._channel.server.limits.value

    @property
    def protocol(self) -> str:
        """See `MessageSink.protocol`."""
        return WEBSOCKET

    @property
    def frame(self) -> Callable[[bytes], bytes]:
        """See `MessageSink.frame`."""
        return whole_frame

    @property
    def unparsed(self) -> bytes:
        """See `MessageSink.unparsed`."""
        return self._websocket.unparsed

    def start(self, key: bytes) -> None:
        """Take over the connection, and respond to the handshake.

        :param key: see `websocket_key`.
        """
        self.attach()
        self.take_over(self._websocket)
        self._websocket.dataReceived(_HANDSHAKE % key)

    def opened(self) -> None:
        """Called when the handshake is complete: send messages from now on."""
        self.begin()

    def ponged(self) -> None:
        """Called when the client has responded to a ping."""
        self._pinged_at = None

    def may_process(self) -> bool:
        """Count what was received; return whether it may be processed now."""
        return self._channel.may_serve_now()

    def pause_reading_until(self, turn: Callable[[], None]) -> ITurn:
        """Read nothing for now, and call ``turn`` in a turn of the owner."""
        self._channel.pause_reading()
        return self._channel.server.registry.take_turn(self._channel.owner, turn)

    def resume_reading(self) -> None:
        """Read from the client again."""
        self._channel.resume_reading()

    def check(self) -> None:
        """See `MessageSink.check`."""
        now, paused_for = self._channel.server.reactor.seconds(), self.paused_for
        if self._pinged_at is None:
            self._pinged_at = now
        if paused_for is not None:
            self._pinged_at = None
            if paused_for >= self.limits.ping_timeout:
                self.cut_off(TOO_SLOW)
        elif now - self._pinged_at >= self.limits.ping_timeout:
            self.abort()
        else:
            self._transport.write(PING_FRAME)

    def write_slice(self, data: bytes, *, is_first: bool, is_last: bool) -> None:
        """See `MessageSink.write_slice`."""
        opcode = TEXT if is_first else CONTINUATION
        self._transport.write(frame(opcode | (FIN if is_last else 0), data))

    def cut_off(self, reason: str) -> None:
        """See `ISink.cut_off`."""
        self._send_close(CLOSE_TOO_SLOW, reason, self.limits.idle_timeout)

    def finish(self, reason: str = "") -> None:
        """See `ISink.finish`."""
        self._send_close(CLOSE_NORMAL, reason, self.limits.close_timeout)

    def close(self) -> None:
        """See `ActiveResponse.close`."""
        self.finish()

    def _send_close(self, code: int, reason: str, seconds: float) -> None:
        self._channel.abort_within(seconds)
        self.end_with(lambda: self._websocket.sendClose(code, reason or None))

    def closing(self) -> None:
        """Called before a close frame is sent; nothing is written after it."""
        self._channel.abort_within(self.limits.idle_timeout)
        self.detach()
