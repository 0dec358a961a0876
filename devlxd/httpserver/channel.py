# -*- test-case-name: tests.httpserver.test_site -*-
"""One connection of a guest: HTTP as hostile guests speak it.

twisted.web does the parsing. Here are the bounds on what it takes, the caller
of the connection, and what becomes of it when it is no longer HTTP.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IProtocol,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from devlxd.guestapi.responses import BAD_REQUEST, TOO_LARGE, Response
from devlxd.httpserver.request import MAX_BODY, BodyTooLargeError, tokens_of
from devlxd.interfaces import ITurn
from devlxd.model import Caller

if TYPE_CHECKING:
    from devlxd.httpserver.site import DevLXDSite

#: How long a guest may take to send a request, its first on a connection
#: counted from the connection, in seconds.
REQUEST_TIMEOUT = 10

#: How long a connection may be idle between two requests, and how long a
#: guest may take to read its last answer, in seconds.
IDLE_TIMEOUT = 30

#: How long closing may take when time is over already, in seconds.
CLOSE_TIMEOUT = 2

#: How much is read from a connection before others have their turn, in bytes.
READ_SIZE = 4096

#: How many headers a request may have, and how long their names may be:
#: twisted.web never forgets a name.
MAX_HEADERS = 100
MAX_NAME = 64

#: How many digits a Content-Length may have.
MAX_LENGTH_DIGITS = 18

#: How much a guest may send on a connection on which it has only to listen,
#: in bytes.
MAX_IGNORED = 64 * 1024


class Stream(Protocol):
    """What a connection carries when its answer takes its time.

    :ivar endless: whether the answer has no end of its own.
    """

    endless: bool

    def close(self) -> None:
        """End it, and the connection with it; harmless if that is under way."""


def _ascii_request_line(line: bytes) -> bytes:
    """Percent-encode what is not ASCII in a request line.

    ``curl`` sends a URL as it was typed; Twisted refuses one in UTF-8.
    """
    if line.isascii():
        return line
    return b"".join(b"%c" % byte if byte < 128 else b"%%%02X" % byte for byte in line)


@implementer(IFileDescriptorReceiver, IHalfCloseableProtocol)
class GuestChannel(http.HTTPChannel):
    """One connection of a guest.

    :ivar caller: who is at the other end, worked out once when the
        connection is made; ``None`` if it could not be placed.
    :ivar stream: what is sent on it for a long time, if that is so.
    """

    site: DevLXDSite
    # what a port of a UNIX socket or of TCP makes
    transport: Connection
    caller: Caller | None = None
    stream: Stream | None = None
    maxHeaders = MAX_HEADERS
    _log = Logger()
    _between_requests = False
    _at_request_line = True
    _turn: ITurn | None = None
    _successor: IProtocol | None = None
    _has_said_all = False
    _loaded: Deferred[None] | None = None
    _ignored = 0

    def connectionMade(self) -> None:
        """Find out who calls, before the first byte is read."""
        self.transport.bufferSize = READ_SIZE
        super().connectionMade()
        if self._place() and self.caller is None:
            self._wait_until_loaded()

    def _place(self) -> bool:
        """Find out who calls, and whether there is room for it."""
        self.caller = self.site.caller_of(self.transport)
        if self.site.admit(self):
            return True
        self.forceAbortClient()
        return False

    def _wait_until_loaded(self) -> None:
        self._loaded = self.site.when_loaded()
        if self._loaded is not None:
            self._hold()
            self._loaded.addCallbacks(
                self._place_again, lambda failure: failure.trap(CancelledError)
            )

    def _place_again(self, _: object) -> None:
        """Find out again who calls, now that it is known which containers there are."""
        self._loaded = None
        self.site.release(self)
        if self._place():
            self._take_turn()

    @property
    def owner(self) -> str | None:
        """The container whose connection this is; ``None`` if it is in none."""
        return self.caller.container if self.caller is not None else None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Make room for another connection."""
        self.site.release(self)
        for waited_for in (self._turn, self._loaded):
            if waited_for is not None:
                waited_for.cancel()
        if self._successor is not None:
            self._successor.connectionLost(reason)
        super().connectionLost(reason)
        # What refers to this is let go of, so that both are freed now, and not
        # when the garbage collector comes.
        self.stream = self._successor = None
        self._requestProducer = self._transferDecoder = None

    def readConnectionLost(self) -> None:
        """Hear that the guest will send no more: it is still owed its answer."""
        self._has_said_all = True
        if self.only_listens:
            self.forceAbortClient()
        else:
            self._close_if_done()

    def _close_if_done(self) -> None:
        is_done = not self._handlingRequest and not self.paused
        if self._has_said_all and is_done and not self.transport.disconnecting:
            self.loseConnection()

    @property
    def only_listens(self) -> bool:
        """Whether the guest has nothing more to say on this connection."""
        return self.stream is not None and self.stream.endless

    def writeConnectionLost(self) -> None:
        """Hear that the guest will read no more."""

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """Hear that the guest has sent a file descriptor, which it has no reason to."""
        os.close(descriptor)
        self.forceAbortClient()

    # Time. HTTPChannel starts its clock anew with every byte, so that a
    # trickle of them would keep a request open for ever. Here the first byte
    # of a request starts it.

    def resetTimeout(self) -> None:
        """Hear that bytes came in, which proves nothing."""

    def dataReceived(self, data: bytes) -> None:
        """Take what came in, now or when it is the container's turn."""
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        is_free = not self.paused and not self._handlingRequest
        if is_free and not self.site.registry.may_ask_now(self.owner):
            self._wait_for_turn()
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        """Take what came in, and note when a request begins with it.

        While this is paused it is only kept.
        """
        super().dataReceived(data)
        if self.line_mode and not self.paused and b"\n" in self._buffer:
            # Only CR LF ends a line here, which RFC 9112, 2.2, leaves to us.
            # Who ends them with a bare LF hears of it before time is over.
            self._respondToBadRequestAndDisconnect()
            return
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
        self.abort_within(IDLE_TIMEOUT)
        super().loseConnection()

    def close(self) -> None:
        """Close, for good within `CLOSE_TIMEOUT` even if nobody reads."""
        self.abort_within(CLOSE_TIMEOUT)
        if self.stream is not None:
            self.stream.close()
        elif not self.transport.disconnecting:
            super().loseConnection()

    def abort_within(self, seconds: float) -> None:
        """Close, whatever is still unsent, after ``seconds`` at the latest."""
        if self._abortingCall is not None:
            if self._abortingCall.getTime() <= self.site.reactor.seconds() + seconds:
                return
            self._abortingCall.cancel()
        self._abortingCall = self.callLater(seconds, self.forceAbortClient)

    def forceAbortClient(self) -> None:
        """Close at once."""
        if self._abortingCall is not None and self._abortingCall.active():
            self._abortingCall.cancel()
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
            self._wait_for_turn()
        self._close_if_done()

    def _hold(self) -> None:
        """Keep what comes in, and read no more of it."""
        self.paused = True
        self._networkProducer.pauseProducing()

    def _wait_for_turn(self) -> None:
        self._hold()
        self._turn = self.site.registry.take_turn(self.owner, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if not self._waitingForTransport:
            self.paused = False
            self._networkProducer.resumeProducing()
            self._receive(b"")
            self._close_if_done()

    def resumeProducing(self) -> None:
        """Hear that the guest reads its answers again."""
        super().resumeProducing()
        if self.paused and self._turn is None and not self._handlingRequest:
            self._wait_for_turn()

    def lineReceived(self, line: bytes) -> None:
        """Take one line of the head of a request."""
        if self._at_request_line:
            if line:
                self._at_request_line = False
                line = _ascii_request_line(line)
        elif line[:1] in (b" ", b"\t") or b"\n" in line:
            # Obsolete, and to be refused: RFC 9112, 5.2. A bare LF in a line ends
            # none; not every Twisted refuses it.
            self._respondToBadRequestAndDisconnect()
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long."""
        self._respondToBadRequestAndDisconnect()

    def headerReceived(self, line: bytes) -> bool:
        """Take one header, unless its name or its number has no measure."""
        name, _, value = line.partition(b":")
        is_length = name.lower() == b"content-length"
        if len(name) > MAX_NAME or (is_length and len(value) > MAX_LENGTH_DIGITS):
            self._respondToBadRequestAndDisconnect()
            return False
        received: bool = super().headerReceived(line)
        return received

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        """Return whether another request may follow (RFC 9112, 9.3).

        Twisted's own looks at the first ``Connection`` line only, and for
        blanks between its options.
        """
        if version != b"HTTP/1.1":
            return False
        if b"close" in tokens_of(request, b"connection"):
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return True

    def _send100Continue(self) -> None:
        """Ask for the body, unless it is refused anyway (RFC 9110, 10.1.1)."""
        if self.length is not None and self.length > MAX_BODY:
            self._refuse(TOO_LARGE)
        else:
            super()._send100Continue()

    def rawDataReceived(self, data: bytes) -> None:
        """Take what is not the head of a request."""
        if self._successor is not None:
            self._successor.dataReceived(data)
        elif self.only_listens:
            self._ignore(data)
        else:
            try:
                super().rawDataReceived(data)
            except BodyTooLargeError:
                self._refuse(TOO_LARGE)
            self._hold_back()

    def _hold_back(self) -> None:
        """Leave what is sent ahead with the guest until it is its turn.

        Of a guest that only listens it has still to be heard that it hangs up.
        """
        is_busy = self._handlingRequest and not self.only_listens
        if is_busy and not self.transport.disconnecting:
            self._networkProducer.pauseProducing()

    def _ignore(self, data: bytes) -> None:
        self._ignored += len(data)
        if self._ignored > MAX_IGNORED:
            self.forceAbortClient()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Answer what is not HTTP; Twisted's own answer has no body."""
        self._refuse(BAD_REQUEST)

    def _refuse(self, answer: Response) -> None:
        """Answer to what has not become a request, and close."""
        if not self.transport.disconnecting:
            reason = http.RESPONSES[answer.code]
            headers = self.site.headers_of(answer)
            self.writeHeaders(b"HTTP/1.1", b"%d" % answer.code, reason, headers)
            self.write(answer.body)
            self.loseConnection()

    def hand_over(self, protocol: IProtocol) -> None:
        """Let ``protocol`` have the connection; it is not HTTP any more.

        It is not a transport's producer any more either: who has the
        connection may register one of its own.
        """
        self.transport.unregisterProducer()
        self._successor = protocol
        protocol.makeConnection(self.transport)
