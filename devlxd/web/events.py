# -*- test-case-name: tests.web.test_events -*-
"""``/1.0/events``: changes as they happen.

To a guest that asks for it as a websocket; to others as a stream of lines.
Both say the same, one JSON and a newline for each event, and both keep to the
pace of the guest: the bus has a queue for each, and bounds it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.web import http
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from devlxd.interfaces import IEventBus, ISubscriber, ISubscription
from devlxd.model import End, Event
from devlxd.timestamps import timestamp_of
from devlxd.web.answers import NOSNIFF, Answer, AnswerCache, Headers, refusal
from devlxd.web.channel import CLOSE_TIMEOUT, IDLE_TIMEOUT, GuestChannel
from devlxd.web.dialects import Dialect
from devlxd.web.resource import GuestResource

if TYPE_CHECKING:
    from devlxd.web.request import GuestRequest

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

#: The close codes of a websocket: RFC 6455, 7.4, and one of our own.
CLOSE_NORMAL = 1000
CLOSE_TOO_SLOW = 4008

#: The last time that a journal can tell of.
_LAST_TIMESTAMP = 2**63 - 1

_HEADERS: Headers = (
    (b"Connection", b"keep-alive"),
    (b"Content-Type", b"application/json"),
    *NOSNIFF,
)

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
        cache: AnswerCache,
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
        )

    def render(self, request: GuestRequest) -> int:
        """Begin to tell, unless there is something to say against it."""
        if request.method != b"GET":
            return super().render(request)
        try:
            types, since = _types_of(request), _since_of(request)
        except ValueError as error:
            request.send(refusal(http.BAD_REQUEST, str(error)))
            return NOT_DONE_YET
        if _asks_for_websocket(request):
            self._begin_websocket(request, types, since)
        else:
            stream = LineStream(request, self._reactor)
            stream.begin(self._subscribe(request, stream, types, since))
        return NOT_DONE_YET

    def answer(self, request: GuestRequest) -> Answer:
        """Answer a HEAD."""
        return Answer(http.OK, _HEADERS, b"")

    def _begin_websocket(
        self, request: GuestRequest, types: Collection[str], since: int | None
    ) -> None:
        key = _websocket_key(request)
        if key is None:
            request.send(_NO_HANDSHAKE)
            return
        protocol = _EventsProtocol()
        protocol.factory = self._websockets
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
    upgrade = request.getHeader(b"upgrade") or b""
    return upgrade.strip().lower() == b"websocket"


def _websocket_key(request: GuestRequest) -> bytes | None:
    """Return the key of a handshake; ``None`` if it is none (RFC 6455, 4.2.1)."""
    connection = (request.getHeader(b"connection") or b"").lower()
    if b"upgrade" not in (token.strip() for token in connection.split(b",")):
        return None
    if request.clientproto != b"HTTP/1.1":
        return None
    if request.getHeader(b"sec-websocket-version") != b"13":
        return None
    key: bytes = request.getHeader(b"sec-websocket-key") or b""
    try:
        nonce = base64.b64decode(key, validate=True)
    except binascii.Error:
        return None
    return key if len(nonce) == 16 else None


class _Paced:
    """Keeps a subscription to the pace at which the guest reads."""

    #: See `devlxd.web.channel.Stream.endless`.
    endless = True

    _subscription: ISubscription

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._paused_at: float | None = None

    @property
    def paused_for(self) -> float | None:
        """For how long the guest has not read, in seconds; ``None`` if it reads."""
        if self._paused_at is None:
            return None
        return self._reactor.seconds() - self._paused_at

    def pauseProducing(self) -> None:
        """Hear that the guest does not read."""
        if self._paused_at is None:
            self._paused_at = self._reactor.seconds()
        self._subscription.pause()

    def resumeProducing(self) -> None:
        """Hear that it does."""
        self._paused_at = None
        self._subscription.resume()


@implementer(ISubscriber, IPushProducer)
class LineStream(_Paced):
    """Events as lines of a response that has no end of its own."""

    def __init__(self, request: GuestRequest, reactor: IReactorTime) -> None:
        super().__init__(reactor)
        self._request = request
        self._channel = request.channel
        self._keep_alive = LoopingCall(self._stay_alive)
        self._keep_alive.clock = reactor

    def begin(self, subscription: ISubscription) -> None:
        """Send the head, then what there is to tell."""
        self._subscription = subscription
        self._channel.stream = self
        self._request.notifyFinish().addBoth(lambda _: self._stop())
        for name, value in _HEADERS:
            self._request.responseHeaders.setRawHeaders(name, [value])
        self._request.registerProducer(self, True)
        self._request.write(b"")
        self._keep_alive.start(KEEP_ALIVE, now=False)
        self.resumeProducing()

    def _stay_alive(self) -> None:
        paused_for = self.paused_for
        if paused_for is None:
            self._request.write(b"\n")
        elif paused_for >= KEEP_ALIVE:
            self.end(End.TOO_SLOW)

    def receive(self, event: Event) -> None:
        """See `ISubscriber.receive`."""
        self._request.write(event.text + b"\n")

    def end(self, reason: End) -> None:
        """See `ISubscriber.end`."""
        if reason is End.GONE:
            self._channel.close()
        else:
            # To end it well there would have to be room for the end.
            self._channel.forceAbortClient()

    def close(self) -> None:
        """Finish the response."""
        self._stop()
        self._channel.persistent = 0
        self._request.unregisterProducer()
        self._request.finish()

    def _stop(self) -> None:
        self._subscription.cancel()
        if self._keep_alive.running:
            self._keep_alive.stop()

    def stopProducing(self) -> None:
        """Hear that it is gone."""
        self._stop()


class _Silence:
    """A log that nobody keeps: a guest could fill it with what it sends."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a method that says nothing."""
        return lambda *_, **__: None


class _EventsProtocol(WebSocketServerProtocol):
    """A websocket on which the guest only listens."""

    log = _Silence()
    stream: WebSocketStream

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

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Hear that it is over."""
        self.stream.closed()


@implementer(ISubscriber, IPushProducer)
class WebSocketStream(_Paced):
    """Events as messages of a websocket."""

    def __init__(
        self,
        channel: GuestChannel,
        protocol: _EventsProtocol,
        reactor: IReactorTime,
    ) -> None:
        super().__init__(reactor)
        self._channel = channel
        self._protocol = protocol
        protocol.stream = self
        self._pings = LoopingCall(self._ping)
        self._pings.clock = reactor
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
        self._pings.start(PING_INTERVAL, now=False)
        self.resumeProducing()

    def heard_from(self) -> None:
        """Note that the guest has answered."""
        self._ping_sent = None

    def said_too_much(self) -> None:
        """Cut off a guest that has only to listen."""
        self._channel.forceAbortClient()

    def _ping(self) -> None:
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

    def receive(self, event: Event) -> None:
        """See `ISubscriber.receive`."""
        self._protocol.sendMessage(event.text + b"\n")

    def end(self, reason: End) -> None:
        """See `ISubscriber.end`."""
        if reason is End.TOO_SLOW:
            self._finish(CLOSE_TOO_SLOW, reason, IDLE_TIMEOUT)
        elif reason is End.GONE:
            self._finish(CLOSE_NORMAL, reason, CLOSE_TIMEOUT)
        else:
            self._channel.forceAbortClient()

    def close(self) -> None:
        """Say good-bye."""
        self._finish(CLOSE_NORMAL, None, CLOSE_TIMEOUT)

    def _finish(self, code: int, reason: End | None, seconds: float) -> None:
        self._channel.abort_within(seconds)
        self.closed()
        self._protocol.sendClose(code, reason.value if reason else None)

    def closed(self) -> None:
        """Tell nothing any more."""
        self._subscription.cancel()
        if self._pings.running:
            self._pings.stop()

    def stopProducing(self) -> None:
        """Hear that it is gone."""
        self.closed()
