# -*- test-case-name: tests.guestapi.test_event_streams -*-
"""``/1.0/events``: changes as they happen.

To a guest that asks for it as a websocket; to others as a stream of lines.
Both say the same, one JSON and a newline for each event, and both keep to the
pace of the guest: the bus knows how far each has
read in its one list of events, and cuts off who is too far behind.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from devlxd.guestapi.base import GuestResource
from devlxd.guestapi.dialects import Dialect
from devlxd.guestapi.responses import NOSNIFF, ResponseCache, refusal
from devlxd.httpserver.channel import CLOSE_TIMEOUT, IDLE_TIMEOUT, GuestChannel
from devlxd.httpserver.request import tokens_of
from devlxd.interfaces import IEventBus, ISubscriber, ISubscription
from devlxd.model import End, Event
from devlxd.timestamps import timestamp_of, timestamp_text

if TYPE_CHECKING:
    from devlxd.httpserver.request import GuestRequest

#: What a guest may ask for: the types of events of spec/lxd.md.
TYPES = frozenset(("config", "device"))

#: How often a line stream is kept alive with an empty line, in seconds.
KEEP_ALIVE = 30

#: How often a websocket is pinged, and for how long it may stay without an
#: answer, in seconds.
PING_INTERVAL = 10
PING_TIMEOUT = 30

#: How much a guest may say on a websocket at a time, in bytes; none of it is
#: heard.
MAX_MESSAGE = 64 * 1024

#: How much of an event is written at a time, in bytes: more than that is not
#: kept for a guest that does not read.
SLICE = 16 * 1024

#: The opcodes of the frames of a message: RFC 6455, 5.2.
CONTINUATION = 0
TEXT = 1

#: The close codes of a websocket: RFC 6455, 7.4, and one of our own.
CLOSE_NORMAL = 1000
CLOSE_TOO_SLOW = 4008

#: The last time that a journal can tell of.
_LAST_TIMESTAMP = 2**63 - 1

#: The present timestamp, good as ``since``.
TIMESTAMP = "X-Devlxd-Timestamp"

_NO_HANDSHAKE = refusal(
    http.BAD_REQUEST, "bad request", headers=((b"Sec-WebSocket-Version", b"13"),)
)


class Events(GuestResource):
    """``/1.0/events``.

    ``type`` says which types of events, separated by commas. ``since`` says
    after which time: what the guest has missed comes first.
    """

    def __init__(
        self,
        dialect: Dialect,
        cache: ResponseCache,
        bus: IEventBus,
        reactor: IReactorTime,
    ) -> None:
        super().__init__(dialect, cache)
        self._bus = bus
        self._reactor = reactor
        self._websockets = WebSocketServerFactory(reactor=reactor, server="")
        self._websockets.log = _Silence()
        self._websockets.setProtocolOptions(
            versions=[13],
            webStatus=False,
            # What has to be timed is timed here, by the reactor that we have.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            # What is wrong with what the guest sends it is told.
            failByDrop=False,
        )

    def render(self, request: GuestRequest) -> int:
        """Begin to tell, unless there is something to say against it."""
        if request.method not in self.methods:
            return super().render(request)
        try:
            types, since = _types_of(request), _since_of(request)
        except ValueError as error:
            request.send(refusal(http.BAD_REQUEST, str(error)))
            return NOT_DONE_YET
        timestamp = timestamp_text(self._bus.latest(request.container.name))
        if _asks_for_websocket(request):
            self._begin_websocket(request, types, since, timestamp)
        else:
            self._begin_lines(request, types, since, timestamp)
        return NOT_DONE_YET

    def _begin_lines(
        self,
        request: GuestRequest,
        types: Collection[str],
        since: int | None,
        timestamp: str,
    ) -> None:
        # Where nothing may follow on the connection, its end is the only end
        # that the response has: RFC 9112, 6.3.
        connection = b"keep-alive" if request.channel.persistent else b"close"
        request.begin(
            http.OK,
            (
                (b"Connection", connection),
                (b"Content-Type", b"application/json"),
                (TIMESTAMP.encode("ascii"), timestamp.encode("ascii")),
                *NOSNIFF,
            ),
        )
        if request.method == b"HEAD":
            request.finish()
            return
        stream = LineStream(request, self._reactor)
        stream.begin(self._subscribe(request, stream, types, since))

    def _begin_websocket(
        self,
        request: GuestRequest,
        types: Collection[str],
        since: int | None,
        timestamp: str,
    ) -> None:
        key = _websocket_key(request)
        if key is None:
            request.send(_NO_HANDSHAKE)
            return
        protocol = _EventsProtocol(self._websockets, {TIMESTAMP: timestamp})
        stream = WebSocketStream(request.channel, protocol, self._reactor)
        stream.begin(self._subscribe(request, stream, types, since), key)

    def _subscribe(
        self,
        request: GuestRequest,
        stream: ISubscriber,
        types: Collection[str],
        since: int | None,
    ) -> ISubscription:
        return self._bus.subscribe(request.container.name, stream, types, since)


def _argument(request: GuestRequest, name: bytes) -> str:
    """Return the first value of an argument; ``""`` where there is none."""
    values: list[bytes] = request.args.get(name, [b""])
    return values[0].decode("utf-8", "replace")


def _types_of(request: GuestRequest) -> Collection[str]:
    """Return the types of events that are asked for; all of them by default.

    :raises ValueError: when there is no such type.
    """
    asked = {piece.strip() for piece in _argument(request, b"type").split(",")} - {""}
    if not asked <= TYPES:
        raise ValueError("no such event type")
    return asked or TYPES


def _since_of(request: GuestRequest) -> int | None:
    """Return the time after which events are asked for, in nanoseconds since 1970.

    :raises ValueError: when it is no time.
    """
    since = _argument(request, b"since")
    if not since:
        return None
    try:
        # A + that was not encoded has become a blank.
        timestamp = timestamp_of(since.replace(" ", "+"))
    except (ValueError, OverflowError):
        raise ValueError("since is not a time") from None
    return min(max(timestamp, 0), _LAST_TIMESTAMP)


def _asks_for_websocket(request: GuestRequest) -> bool:
    """Return whether ``websocket`` is among what is asked for (RFC 9110, 7.8)."""
    return b"websocket" in tokens_of(request, b"upgrade")


def _websocket_key(request: GuestRequest) -> bytes | None:
    """Return the key of a handshake; ``None`` if it is none (RFC 6455, 4.2.1).

    One with a body is none: no server has to know what a GET means by that
    (RFC 9110, 9.3.1), and it is not clear whether frames come before it.
    """
    if (request.method, request.clientproto) != (b"GET", b"HTTP/1.1"):
        return None
    if b"upgrade" not in tokens_of(request, b"connection") or request.content.read():
        return None
    if request.getHeader(b"sec-websocket-version") != b"13":
        return None
    key: bytes = request.getHeader(b"sec-websocket-key") or b""
    try:
        nonce = base64.b64decode(key, validate=True)
    except binascii.Error:
        return None
    return key if len(nonce) == 16 else None


class _Stream:
    """Sends events at the pace at which the guest reads.

    A long event is written in slices. Those that the guest has no room for are
    not copied: what is left of it is a reference to the text that all listeners
    share.

    :param channel: what it is sent on.
    :param interval: how often the guest is looked after, in seconds.
    """

    #: See `devlxd.httpserver.channel.Stream.endless`.
    endless = True

    def __init__(
        self, channel: GuestChannel, reactor: IReactorTime, interval: float
    ) -> None:
        self._channel = channel
        self._reactor = reactor
        self._interval = interval
        self._subscription: ISubscription | None = None
        self._looking_after: IDelayedCall | None = None
        self._paused_at: float | None = None
        self._text = b""
        self._sent = 0
        self._last_word: Callable[[], None] | None = None

    @property
    def paused_for(self) -> float | None:
        """For how long the guest has not read, in seconds; ``None`` if it reads."""
        if self._paused_at is None:
            return None
        return self._reactor.seconds() - self._paused_at

    def _look_after_later(self) -> None:
        self._looking_after = self._reactor.callLater(self._interval, self._look)

    def _look(self) -> None:
        self._look_after_later()
        self.look_after()

    def look_after(self) -> None:
        """Find out whether the guest is still there."""
        raise NotImplementedError

    def write(self, piece: bytes, *, is_first: bool, is_last: bool) -> None:
        """Write a piece of an event."""
        raise NotImplementedError

    def pauseProducing(self) -> None:
        """Hear that the guest does not read."""
        if self._paused_at is None:
            self._paused_at = self._reactor.seconds()
        if self._subscription is not None:
            self._subscription.pause()

    def resumeProducing(self) -> None:
        """Hear that it does."""
        self._paused_at = None
        if not self._write_slices():
            return
        if self._last_word is not None:
            last_word, self._last_word = self._last_word, None
            last_word()
        elif self._subscription is not None:
            self._subscription.resume()

    def receive(self, event: Event) -> None:
        """See `ISubscriber.receive`."""
        if len(event.text) < SLICE and self._paused_at is None:
            self.write(event.text + b"\n", is_first=True, is_last=True)
        else:
            self._text, self._sent = event.text, 0
            self._write_slices()

    def _write_slices(self) -> bool:
        """Write what is left of an event; return whether there is room for more."""
        while self._text and self._paused_at is None:
            start, self._sent = self._sent, self._sent + SLICE
            piece = self._text[start : self._sent]
            is_last = self._sent >= len(self._text)
            if is_last:
                piece += b"\n"
                self._text = b""
            self.write(piece, is_first=start == 0, is_last=is_last)
        return self._paused_at is None

    def _end_with(self, last_word: Callable[[], None]) -> None:
        """Say ``last_word`` when what is left of an event is written."""
        self._stop()
        if self._channel.transport.disconnecting:
            return
        if self._text:
            self._last_word = last_word
        else:
            last_word()

    def _stop(self) -> None:
        """Tell nothing any more, and let go of who refers to this."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.cancel()
        looking_after, self._looking_after = self._looking_after, None
        if looking_after is not None and looking_after.active():
            looking_after.cancel()

    def break_off(self) -> None:
        """Send not even the rest of an event."""
        self._stop()
        self._text, self._last_word = b"", None

    def stopProducing(self) -> None:
        """Hear that the guest is gone."""
        self.break_off()


@implementer(ISubscriber, IPushProducer)
class LineStream(_Stream):
    """Events as lines of a response that has no end of its own."""

    def __init__(self, request: GuestRequest, reactor: IReactorTime) -> None:
        super().__init__(request.channel, reactor, KEEP_ALIVE)
        self._request = request

    def begin(self, subscription: ISubscription) -> None:
        """Send the head, then what there is to tell."""
        self._subscription = subscription
        self._channel.stream = self
        self._request.notifyFinish().addErrback(lambda _: self.break_off())
        self._request.registerProducer(self, True)
        self._request.write(b"")
        self._look_after_later()
        self.resumeProducing()

    def look_after(self) -> None:
        """See `_Stream.look_after`."""
        paused_for = self.paused_for
        if paused_for is None:
            self._request.write(b"\n")
        elif paused_for >= KEEP_ALIVE:
            self.end(End.TOO_SLOW)

    def write(self, piece: bytes, *, is_first: bool, is_last: bool) -> None:
        """See `_Stream.write`."""
        self._request.write(piece)

    def end(self, reason: End) -> None:
        """See `ISubscriber.end`."""
        if reason in (End.GONE, End.STOPPED):
            self._channel.close()
        else:
            # To end it well there would have to be room for the end.
            self._channel.forceAbortClient()

    def close(self) -> None:
        """Finish the response."""
        self._end_with(self._finish)

    def _finish(self) -> None:
        self._channel.persistent = 0
        self._request.unregisterProducer()
        self._request.finish()


class _Silence:
    """A log that nobody keeps: a guest could fill it with what it sends."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a method that says nothing."""
        return lambda *_, **__: None


class _EventsProtocol(WebSocketServerProtocol):
    """A websocket on which the guest only listens."""

    log = _Silence()
    stream: WebSocketStream

    def __init__(
        self, factory: WebSocketServerFactory, headers: dict[str, str]
    ) -> None:
        super().__init__()
        self.factory = factory
        self._headers = headers

    def onConnect(self, request: ConnectionRequest) -> tuple[None, dict[str, str]]:
        """Take the handshake, and answer it with these headers."""
        return None, self._headers

    def onOpen(self) -> None:
        """Hear that the handshake is done."""
        self.stream.opened()

    def onMessageBegin(self, isBinary: bool) -> None:
        """Hear that the guest says something, none of which is heard."""
        self._said = 0

    def onMessageFrameBegin(self, length: int) -> None:
        """Hear how much of it there is."""
        self._said += length
        if self._said > MAX_MESSAGE:
            self.stream.said_too_much()

    def onMessageFrameData(self, payload: bytes) -> None:
        """Keep none of it."""

    def onMessageFrameEnd(self) -> None:
        """Do nothing about it."""

    def onMessageEnd(self) -> None:
        """Do nothing about it."""

    def onPing(self, payload: bytes) -> None:
        """Hear that the guest wants to know whether we are there."""
        if self.stream.paused_for is None:
            self.sendPong(payload)

    def onPong(self, payload: bytes) -> None:
        """Hear that the guest is there."""
        self.stream.heard_from()

    def sendCloseFrame(
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,
        isReply: bool = False,
    ) -> None:
        """Send a Close frame, and nothing after it (RFC 6455, 5.5.1)."""
        self.stream.closing()
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def _closeConnection(self, abort: bool = False) -> None:
        """Close when the last frame is sent: it says why (RFC 6455, 7.1.7)."""
        super()._closeConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go of whatever refers to this.

        Without these cycles a closed connection is freed at once, and not when
        the garbage collector comes. autobahn makes two of them: its Deferreds
        have the protocol for a result.
        """
        self.stream.break_off()
        super().connectionLost(reason)
        self.is_open = self.is_closed = None
        del self.stream


@implementer(ISubscriber, IPushProducer)
class WebSocketStream(_Stream):
    """Events as messages of a websocket.

    Each slice of an event is a frame, so that whatever else is to be said may
    be said between them (RFC 6455, 5.4).
    """

    def __init__(
        self,
        channel: GuestChannel,
        protocol: _EventsProtocol,
        reactor: IReactorTime,
    ) -> None:
        super().__init__(channel, reactor, PING_INTERVAL)
        self._protocol = protocol
        protocol.stream = self
        self._ping_sent: float | None = None

    def begin(self, subscription: ISubscription, key: bytes) -> None:
        """Take the connection over, and shake hands."""
        self._subscription = subscription
        self._channel.stream = self
        self._channel.hand_over(self._protocol)
        self._channel.transport.registerProducer(self, True)
        # autobahn parses a request of its own. It gets one in which nothing
        # is the guest's but the key.
        self._protocol.dataReceived(
            b"GET /1.0/events HTTP/1.1\r\nHost: lxd\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: %b\r\n\r\n" % key
        )

    def opened(self) -> None:
        """Tell what there is to tell."""
        self._look_after_later()
        self.resumeProducing()

    def heard_from(self) -> None:
        """Note that the guest has answered."""
        self._ping_sent = None

    def said_too_much(self) -> None:
        """Cut off a guest that has only to listen."""
        self._channel.forceAbortClient()

    def look_after(self) -> None:
        """See `_Stream.look_after`."""
        now, paused_for = self._reactor.seconds(), self.paused_for
        if self._ping_sent is None:
            self._ping_sent = now
        if paused_for is not None:
            self._ping_sent = None
            if paused_for >= PING_TIMEOUT:
                self.end(End.TOO_SLOW)
        elif now - self._ping_sent >= PING_TIMEOUT:
            self._channel.forceAbortClient()
        else:
            self._protocol.sendPing()

    def write(self, piece: bytes, *, is_first: bool, is_last: bool) -> None:
        """See `_Stream.write`."""
        self._protocol.sendFrame(TEXT if is_first else CONTINUATION, piece, is_last)

    def end(self, reason: End) -> None:
        """See `ISubscriber.end`."""
        if reason is End.TOO_SLOW:
            self._say_good_bye(CLOSE_TOO_SLOW, reason, IDLE_TIMEOUT)
        elif reason is End.FAILED:
            self._channel.forceAbortClient()
        else:
            self._say_good_bye(CLOSE_NORMAL, reason, CLOSE_TIMEOUT)

    def close(self) -> None:
        """Say good-bye."""
        self._say_good_bye(CLOSE_NORMAL, None, CLOSE_TIMEOUT)

    def _say_good_bye(self, code: int, reason: End | None, seconds: float) -> None:
        self._channel.abort_within(seconds)
        text = reason.value if reason else None
        self._end_with(lambda: self._protocol.sendClose(code, text))

    def closing(self) -> None:
        """Hear that a Close frame is sent, after which nothing may follow."""
        self._channel.abort_within(IDLE_TIMEOUT)
        self.break_off()
