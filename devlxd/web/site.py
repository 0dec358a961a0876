# -*- test-case-name: tests.web.test_site -*-
"""The site, its channel and its request: HTTP as hostile guests speak it.

twisted.web does the parsing. Here are the bounds on what it takes (times,
sizes, connections), the caller of each connection, and answers without HTML.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITransport
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import getChildForRequest
from twisted.web.server import Request, Site
from zope.interface import implementer

from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    ILifeObserver,
    IPeerSource,
    IStoreObserver,
    NotInContainer,
)
from devlxd.model import Caller, Container
from devlxd.web.answers import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    TOO_LARGE,
    Answer,
    AnswerCache,
    Headers,
)
from devlxd.web.dialects import Dialect
from devlxd.web.gate import Gate
from devlxd.web.loglimit import LimitedLog
from devlxd.web.resources import resource_tree

#: How long a guest may take to send a request, its first on a connection
#: counted from the connection, in seconds.
REQUEST_TIMEOUT = 10

#: How long a connection may be idle between two requests, and how long a
#: guest may take to read its last answer, in seconds.
IDLE_TIMEOUT = 30

#: How long closing may take when time is over already, in seconds.
CLOSE_TIMEOUT = 2

#: How long the body of a request may be, in bytes.
MAX_BODY = 64 * 1024

#: How many digits a Content-Length may have.
MAX_LENGTH_DIGITS = 18

#: ``http://HOST/PATH?QUERY``, all but ``http://HOST`` in a group.
_ABSOLUTE_FORM = re.compile(rb"http://[^/?]*(.*)", re.IGNORECASE | re.DOTALL)

#: How many connections the guests of one container may have open at a time.
MAX_CONNECTIONS = 1024


class GuestRequest(Request):
    """A request of a guest.

    :ivar container: the snapshot to answer from, put there by the gate.
    """

    defaultContentType = None
    channel: GuestChannel
    content: BytesIO
    site: DevLXDSite
    container: Container
    _log = Logger()
    _too_large = False

    @property
    def caller(self) -> Caller | None:
        """Who asks, ``None`` if it could not be placed."""
        return self.channel.caller

    def gotLength(self, length: int | None) -> None:
        """Make room for a body, in memory and bounded."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body, until it is too large."""
        if self.content.tell() + len(data) > MAX_BODY:
            self._too_large = True
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Take the request apart and process it.

        Twisted's own also parses forms, which no guest has to send.
        """
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, query = _origin_form(path).partition(b"?")
        self.args = http.parse_qs(query, keep_blank_values=True)
        self.process()

    def process(self) -> None:
        """Let the gate and the resources answer; never with a traceback."""
        self.site = self.channel.site
        self.prepath = []
        self.postpath = [unquote_to_bytes(s) for s in self.path[1:].split(b"/")]
        if not self.path.startswith(b"/"):
            self.send(BAD_REQUEST)
        elif self._too_large:
            self.send(TOO_LARGE)
        else:
            self._process()

    def _process(self) -> None:
        try:
            getChildForRequest(self.site.resource, self).render(self)
        except Exception:
            self._log.failure("request failed: {request}", request=self)
            if not self.startedWriting:
                self.send(INTERNAL_ERROR)
            elif self.channel is not None:
                self.channel.forceAbortClient()

    def send(self, answer: Answer) -> None:
        """Send ``answer`` whole, and be done."""
        self.setResponseCode(answer.code)
        for name, value in self.site.headers_of(answer):
            self.responseHeaders.setRawHeaders(name, [value])
        if answer.closes:
            self.channel.persistent = 0
        self.write(answer.body)
        self.finish()


def _origin_form(target: bytes) -> bytes:
    """Return the path and query of a request target (RFC 9112, 3.2).

    A guest behind a proxy sends ``http://lxd/1.0``; the host in it is of no
    consequence.
    """
    match = _ABSOLUTE_FORM.fullmatch(target)
    return b"/" + match[1].removeprefix(b"/") if match else target


def _ascii_request_line(line: bytes) -> bytes:
    """Percent-encode what is not ASCII in a request line.

    ``curl`` sends a URL as it was typed; Twisted refuses one in UTF-8.
    """
    if line.isascii():
        return line
    return b"".join(b"%c" % byte if byte < 128 else b"%%%02X" % byte for byte in line)


class GuestChannel(http.HTTPChannel):
    """One connection of a guest.

    :ivar caller: who is at the other end, worked out once when the
        connection is made; ``None`` if it could not be placed.
    """

    site: DevLXDSite
    # what a port of a UNIX socket or of TCP makes
    transport: Connection
    caller: Caller | None = None
    _log = Logger()
    _between_requests = False
    _at_request_line = True
    _turn: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Find out who calls, before the first byte is read."""
        self.caller = self.site.caller_of(self.transport)
        super().connectionMade()
        if not self.site.admit(self):
            self.forceAbortClient()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Make room for another connection."""
        self.site.release(self)
        if self._turn is not None:
            self._turn.cancel()
        super().connectionLost(reason)

    # Time. HTTPChannel starts its clock anew with every byte, so that a
    # trickle of them would keep a request open for ever. Here the first byte
    # of a request starts it.

    def resetTimeout(self) -> None:
        """Hear that bytes came in, which proves nothing."""

    def dataReceived(self, data: bytes) -> None:
        """Take what came in, and note when a request begins with it."""
        super().dataReceived(data)
        has_begun = self._buffer or not self._at_request_line
        is_free = not self.paused and not self._handlingRequest
        if self._between_requests and has_begun and is_free:
            self._between_requests = False
            self.setTimeout(REQUEST_TIMEOUT)

    def allContentReceived(self) -> None:
        """Hear that a request is complete: what comes next is idleness."""
        # HTTPChannel sets this time again when the request is done.
        self.timeOut = IDLE_TIMEOUT
        self._between_requests = True
        self._at_request_line = True
        super().allContentReceived()

    def timeoutConnection(self) -> None:
        """Close a connection whose time is over."""
        self.close()

    def loseConnection(self) -> None:
        """Close when everything is sent, if the guest reads it in time."""
        self._abort_after(IDLE_TIMEOUT)
        super().loseConnection()

    def close(self) -> None:
        """Close, for good within `CLOSE_TIMEOUT` even if nobody reads."""
        self._abort_after(CLOSE_TIMEOUT)
        if not self.transport.disconnecting:
            super().loseConnection()

    def _abort_after(self, seconds: float) -> None:
        if self._abortingCall is not None:
            self._abortingCall.cancel()
        self._abortingCall = self.callLater(seconds, self.forceAbortClient)

    def forceAbortClient(self) -> None:
        """Close at once."""
        self._abortingCall = None
        self.transport.abortConnection()

    # Size. A guest may send thousands of requests at once and read none of
    # the answers: what it has sent waits while its answers do. If it does read
    # them, each request waits for its turn, so that other guests have theirs.

    def requestDone(self, request: http.Request) -> None:
        """Hear that a request was answered; if there is a next one, it waits."""
        self.paused = True
        super().requestDone(request)
        has_more = self._waitingForTransport or self._buffer
        self.paused = bool(self.persistent and has_more)
        if self.paused:
            self._networkProducer.pauseProducing()
            self._turn = self.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if not self._waitingForTransport:
            self.paused = False
            self._networkProducer.resumeProducing()
            self.dataReceived(b"")

    def resumeProducing(self) -> None:
        """Hear that the guest reads its answers again."""
        super().resumeProducing()
        if self.paused and self._turn is None and not self._handlingRequest:
            self._take_turn()

    def lineReceived(self, line: bytes) -> None:
        """Take one line of the head of a request."""
        if self._at_request_line and line:
            self._at_request_line = False
            line = _ascii_request_line(line)
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long."""
        self._respondToBadRequestAndDisconnect()

    def headerReceived(self, line: bytes) -> bool:
        """Take one header; refuse a length that is no number to count with."""
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value) > MAX_LENGTH_DIGITS:
            self._respondToBadRequestAndDisconnect()
            return False
        received: bool = super().headerReceived(line)
        return received

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Answer what is not HTTP; Twisted's own answer has no body."""
        if not self.transport.disconnecting:
            code = http.BAD_REQUEST
            reason = http.RESPONSES[code]
            headers = self.site.headers_of(BAD_REQUEST)
            self.writeHeaders(b"HTTP/1.1", b"%d" % code, reason, headers)
            self.write(BAD_REQUEST.body)
            self.loseConnection()


@implementer(IStoreObserver, ILifeObserver)
class DevLXDSite(Site):
    """The site of one dialect.

    While it is listened for, it closes the connections of a container that
    goes, is made anew under its name, or comes to its life's end: who called
    from one run of a container is nobody to the next.

    :param dialect: the generation of the API that it speaks.
    :param store: the containers that may ask.
    :param identifier: finds out who asks.
    :param peers: tells what the kernel says of who asks.
    :param reactor: for timeouts.
    :param max_connections: how many connections one container may have open;
        connections that cannot be placed have as many, all together.
    """

    # Without the wrapper that would switch to HTTP/2: what is asked of a request's
    # channel must be the channel itself.
    protocol = GuestChannel  # type: ignore[assignment]
    requestFactory = GuestRequest
    _log = Logger()

    def __init__(
        self,
        dialect: Dialect,
        store: IContainerStore,
        identifier: ICallerIdentifier,
        peers: IPeerSource,
        reactor: IReactorTime,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._cache = AnswerCache()
        tree = resource_tree(dialect, self._cache)
        super().__init__(
            Gate(dialect, store, tree), timeout=REQUEST_TIMEOUT, reactor=reactor
        )
        self.dialect = dialect
        self._store = store
        self._identifier = identifier
        self._peers = peers
        self._max_connections = max_connections
        self._channels: set[GuestChannel] = set()
        self._open: Counter[str | None] = Counter()
        self._closed: list[Deferred[None]] = []
        # Two, so that a container with too many connections mutes nobody else.
        self._unplaced_log = LimitedLog(self._log, reactor)
        self._crowded_log = LimitedLog(self._log, reactor)

    def headers_of(self, answer: Answer) -> Headers:
        """Return all the headers that ``answer`` is sent with."""
        return (
            *answer.headers,
            (b"Content-Length", b"%d" % len(answer.body)),
            (b"Date", http.datetimeToString(self.reactor.seconds())),
        )

    def caller_of(self, transport: ITransport) -> Caller | None:
        """Find out who is at the other end; the log hears why if that fails."""
        try:
            with self._peers.hold(transport) as peer:
                return self._identifier.identify(peer)
        except NotInContainer as refused:
            self._unplaced_log.warn("not in a container: {reason}", reason=str(refused))
        except Exception:
            self._log.failure("a peer could not be placed")
        return None

    def admit(self, channel: GuestChannel) -> bool:
        """Count a connection in, unless its container has too many."""
        key = _counted_as(channel)
        if self._open[key] >= self._max_connections:
            self._crowded_log.warn("too many connections of {container}", container=key)
            return False
        self._open[key] += 1
        self._channels.add(channel)
        return True

    def release(self, channel: GuestChannel) -> None:
        """Count a connection out."""
        if channel in self._channels:
            self._channels.remove(channel)
            key = _counted_as(channel)
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
        self._tell_if_closed()

    def close_connections(self) -> Deferred[None]:
        """Close every connection, also those whose guest does not read.

        :return: a Deferred that fires when the last one is closed.
        """
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        for channel in list(self._channels):
            channel.close()
        self._tell_if_closed()
        return closed

    def _tell_if_closed(self) -> None:
        if not self._channels:
            waiting, self._closed = self._closed, []
            for closed in waiting:
                closed.callback(None)

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        if new is None:
            self._cache.forget(name)
        if old is not None and (new is None or new.is_another_than(old)):
            self._close_where(lambda caller: caller.container == name)

    def ended(self, life: int) -> None:
        """See `ILifeObserver.ended`."""
        self._close_where(lambda caller: caller.life == life)

    def _close_where(self, is_meant: Callable[[Caller], bool]) -> None:
        for channel in list(self._channels):
            if channel.caller is not None and is_meant(channel.caller):
                channel.close()

    # There is no access log: what a guest asks for is nobody's business, and
    # Site would wake the reactor every second to know the time for it.

    def startFactory(self) -> None:
        """Hear of containers that go."""
        self._store.watch(self)
        self._identifier.watch(self)

    def stopFactory(self) -> None:
        """Hear of them no more."""
        self._store.unwatch(self)
        self._identifier.unwatch(self)

    def log(self, request: http.Request) -> None:
        """Log no access."""


def _counted_as(channel: GuestChannel) -> str | None:
    return channel.caller.container if channel.caller else None
