# -*- test-case-name: tests.guestapi.test_event_streams -*-
"""Endless streams of messages as the body of a response."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IProtocol, ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.httpserver.body_sink import Exchange
from devlxd.httpserver.framing import LAST_CHUNK, chunk, whole_chunk, whole_line
from devlxd.httpserver.message_sink import TOO_SLOW, MessageSink
from devlxd.interfaces import IStream

#: How often an empty line is sent in a stream of lines, in seconds: it shows that the
#: connection is open. A client that does not read for as long is disconnected.
KEEP_ALIVE = 30

_EMPTY_LINE = b"\n"
_EMPTY_CHUNK = chunk(_EMPTY_LINE)


@implementer(IProtocol)
class BodyMessageSink(MessageSink):
    """A sink that writes messages as the body of an endless response.

    Once the head of the response is sent, the request is no longer needed: the sink
    receives the data and the end of the connection itself.
    """

    __slots__ = ("_is_chunked",)

    interval = KEEP_ALIVE

    def __init__(self, request: Exchange, stream: IStream) -> None:
        super().__init__(request.channel, stream)
        self._is_chunked = request.clientproto == b"HTTP/1.1"

    @property
    def protocol(self) -> str:
        """See `MessageSink.protocol`."""
        return "HTTP/1.1" if self._is_chunked else "HTTP/1.0"

    @property
    def frame(self) -> Callable[[bytes], bytes]:
        """See `MessageSink.frame`."""
        return whole_chunk if self._is_chunked else whole_line

    def start(self, request: Exchange) -> None:
        """Send the head of the response, then the messages."""
        self.attach()
        request.write(b"")
        self.take_over(self)
        self.begin()

    def check(self) -> None:
        """See `MessageSink.check`.

        Writing an empty line fails if the connection is no longer open.
        """
        paused_for = self.paused_for
        if paused_for is None:
            self._transport.write(_EMPTY_CHUNK if self._is_chunked else _EMPTY_LINE)
        elif paused_for >= KEEP_ALIVE:
            self.cut_off(TOO_SLOW)

    def write_slice(self, data: bytes, *, is_first: bool, is_last: bool) -> None:
        """See `MessageSink.write_slice`."""
        self._transport.write(chunk(data) if self._is_chunked else data)

    def cut_off(self, reason: str) -> None:
        """See `ISink.cut_off`: abort, as nothing more can be written."""
        self.abort()

    def finish(self, reason: str = "") -> None:
        """See `ISink.finish`: close the connection, with a time limit."""
        self._channel.close()

    def close(self) -> None:
        """See `ActiveResponse.close`: finish the response."""
        self.end_with(self._finish)

    def _finish(self) -> None:
        if self._is_chunked:
            self._transport.write(LAST_CHUNK)
        self._channel.loseConnection()

    # The connection

    def makeConnection(self, transport: ITransport) -> None:
        """See `IProtocol.makeConnection`."""

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`."""

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`: ignore the data, within limits."""
        self._channel.ignore(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self.detach()
