# -*- test-case-name: tests.httpserver.test_site -*-
"""One request, and the sending of its response."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from http import HTTPStatus
from io import BytesIO
from time import perf_counter
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

# Imported directly: Twisted wraps the module `http`, which makes look-ups slow.
from twisted.web.http import SWITCHING, parse_qs
from twisted.web.server import Request

from devlxd.httpserver.body_message_sink import BodyMessageSink
from devlxd.httpserver.body_sink import BodySink
from devlxd.httpserver.channel import DevLXDChannel
from devlxd.httpserver.conditions import under_conditions
from devlxd.httpserver.file_sink import body_sink
from devlxd.httpserver.grammar import MAX_PIECES, BodyTooLargeError, origin_form
from devlxd.httpserver.paced_body import PacedBody
from devlxd.httpserver.responses import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    NOSNIFF,
    Headers,
    MessageResponse,
    PendingStream,
    Response,
    ResponseError,
    StreamResponse,
)
from devlxd.httpserver.websocket import (
    NO_HANDSHAKE,
    MessageWebSocket,
    WebSocketSink,
    requests_websocket,
    websocket_key,
)
from devlxd.model import Limits

#: How much of a response is written at a time, in bytes. No more than this is buffered
#: for a client that does not read. Larger slices are not faster.
SLICE = 32 * 1024

#: How much of the method and path of a request is logged, in characters.
MAX_LOGGED = 200

#: The reason phrases that Twisted does not know.
_REASONS: dict[int, bytes] = {HTTPStatus.TOO_MANY_REQUESTS: b"Too Many Requests"}


class _PendingResponse:
    """The response of a connection whose `PendingStream` has no result yet."""

    #: See `devlxd.httpserver.closing_channel.ActiveResponse.endless`.
    endless = False

    def __init__(self, channel: DevLXDChannel) -> None:
        self.close = channel.forceAbortClient


class DevLXDRequest(Request):
    """A request of a client.

    :ivar is_disconnected: whether the connection was lost before the response ended.
    :ivar owner: the owner of the connection.
    :ivar began: when the request was complete, in seconds of `time.perf_counter`.
    :ivar attachment: any object that the handler keeps with the request.
    """

    defaultContentType = None
    channel: DevLXDChannel
    content: BytesIO
    is_disconnected = False
    _logger = Logger()
    owner: Hashable = None
    began: float
    attachment: object = None
    _pending: Deferred[Any] | None = None
    _pieces = 0

    @property
    def _limits(self) -> Limits:
        return self.channel.server.limits.value

    def connectionLost(self, reason: Failure) -> None:
        """See `Request.connectionLost`: cancel the Deferred of a pending response.

        The reference to the producer is dropped, as it would make a cycle.
        """
        self.is_disconnected = True
        self.producer = None
        super().connectionLost(reason)
        if self._pending is not None:
            self._pending.cancel()

    def gotLength(self, length: int | None) -> None:
        """See `Request.gotLength`: keep the body in memory, with a limited length."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """See `Request.handleContentChunk`.

        :raises BodyTooLargeError: if the body is too long.
        """
        self._pieces += 1
        most = self._limits.request_body_bytes
        if self._pieces > MAX_PIECES or self.content.tell() + len(data) > most:
            raise BodyTooLargeError
        self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """See `Request.requestReceived`, which also parses forms; this does not."""
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, query = origin_form(path).partition(b"?")
        self.args = parse_qs(query, keep_blank_values=True) if query else {}
        self.process()

    def process(self) -> None:
        """See `Request.process`: pass the request to the handler."""
        self.began = perf_counter()
        self.owner = self.channel.owner
        self.prepath = []
        self.postpath = self.path[1:].split(b"/")
        if b"%" in self.path:
            self.postpath = [unquote_to_bytes(segment) for segment in self.postpath]
        if not self.path.startswith(b"/") or not self._has_one_host():
            self.send(BAD_REQUEST)
            return
        try:
            handler = self.channel.server.handler
            self._deliver(handler.respond(self, self.channel.caller))
        except Exception:
            self.fail(Failure())

    def _has_one_host(self) -> bool:
        """Return whether there is one ``Host``, or none in HTTP/1.0 (RFC 9112, 3.2)."""
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        return len(hosts) == 1 or (not hosts and self.clientproto == b"HTTP/1.0")

    def _deliver(self, response: object) -> None:
        """Send a response of any kind; see `IRequestHandler.respond`."""
        if isinstance(response, Response):
            self._send_tagged(response)
        elif isinstance(response, StreamResponse):
            self._send_stream(response)
        elif isinstance(response, MessageResponse):
            self._send_messages(response)
        elif isinstance(response, PendingStream):
            self.channel.response = _PendingResponse(self.channel)
            self._deliver_later(response.response.addBoth(self._not_pending))
        else:
            assert isinstance(response, Deferred)
            self._pending = response
            self._deliver_later(response)

    def _send_tagged(self, response: Response) -> None:
        """Send a response with its entity tag, as soon as that is known."""
        if response.etag is None or response.etag.value is not None:
            self.send(response)
        else:
            take_turn = partial(self.channel.server.registry.take_turn, self.owner)
            tagged = response.etag.when_known(take_turn)
            self._deliver(tagged.addCallback(lambda _: response))

    def _deliver_later(self, response: Deferred[Any]) -> None:
        response.addCallback(self._deliver_late).addErrback(self.fail)

    def _not_pending(self, result: object) -> object:
        if not self.is_disconnected:
            self.channel.response = None
        return result

    def _deliver_late(self, response: object) -> None:
        if not self.is_disconnected:
            self._deliver(response)
        elif isinstance(response, (StreamResponse, MessageResponse)):
            response.stream.close()

    def write(self, data: bytes) -> None:
        """See `Request.write`: notify the handler when the head is sent."""
        was_started = self.startedWriting
        super().write(data)
        if self.startedWriting and not was_started:
            self._notify(self.code)

    def _notify(self, code: int) -> None:
        channel = self.channel
        channel.server.handler.responded(self, channel.caller, code)

    def send(self, response: Response) -> None:
        """Send a whole response, or instead the 304 or 412 of a condition."""
        response, etag = under_conditions(self, response)
        headers = self.channel.server.headers_of(response)
        self._begin(response.code, etag + headers)
        if response.closes:
            self.channel.persistent = 0
        if len(response.body) <= SLICE or self.method == b"HEAD":
            self.write(response.body)
            self.finish()
        else:
            self._send_long(response.body)

    def _begin(self, code: int, headers: Headers) -> None:
        """Set status and headers; they are sent with the first data of the body."""
        self.setResponseCode(code, _REASONS.get(code))
        for name, value in headers:
            self.responseHeaders.setRawHeaders(name, [value])

    def _send_long(self, body: bytes) -> None:
        async def read(start: int, size: int) -> bytes:
            return body[start : start + size]

        paced = PacedBody(0, len(body), read, SLICE)
        BodySink(self, paced, self._limits.read_timeout).start()

    def _send_stream(self, response: StreamResponse) -> None:
        self._begin(response.code, (*response.headers, self.channel.server.date()))
        if self.method == b"HEAD":
            response.stream.close()
            self.finish()
        else:
            # The client's disk may be slow.
            timeout = self._limits.stall_timeout
            body_sink(self, response.stream, timeout).start()

    def _send_messages(self, response: MessageResponse) -> None:
        if not requests_websocket(self):
            self._send_message_body(response)
            return
        key = websocket_key(self)
        if key is None:
            response.stream.close()
            self.send(NO_HANDSHAKE)
            return
        websocket = self._make_websocket(response)
        WebSocketSink(self.channel, response.stream, websocket).start(key)
        self._notify(SWITCHING)

    def _make_websocket(self, response: MessageResponse) -> MessageWebSocket:
        return MessageWebSocket(self.channel.server.websockets, response.headers)

    def _send_message_body(self, response: MessageResponse) -> None:
        # If the connection does not persist, its end is also the end of the response
        # (RFC 9112, 6.3).
        connection = b"keep-alive" if self.channel.persistent else b"close"
        headers = ((b"Connection", connection), *response.body_headers)
        self._begin(response.code, (*headers, *response.headers, *NOSNIFF))
        if self.method == b"HEAD":
            response.stream.close()
            self.finish()
        else:
            BodyMessageSink(self, response.stream).start(self)

    def fail(self, failure: Failure) -> None:
        """End the response because of an error.

        The client receives the response of a `ResponseError`. Any other error is
        logged, and the client receives a 500 without details. If the head of a response
        was already sent, the connection is aborted instead.
        """
        if self.is_disconnected and failure.check(CancelledError):
            return
        if isinstance(failure.value, ResponseError):
            self._replace(failure.value.response)
        else:
            self._logger.failure(
                "request {request!r} of {owner} failed; the client receives a 500, or "
                "its connection is closed",
                failure,
                request=(self.method + b" " + self.path).decode("latin-1")[:MAX_LOGGED],
                owner=self.owner,
            )
            self._replace(INTERNAL_ERROR)

    def _replace(self, response: Response) -> None:
        """Send ``response`` instead of the current one, or abort if that has begun."""
        if self.is_disconnected:
            return
        if self.startedWriting or self.channel.is_handed_over:
            self.channel.forceAbortClient()
            return
        for name, _ in list(self.responseHeaders.getAllRawHeaders()):
            if name.lower() != b"connection":
                self.responseHeaders.removeHeader(name)
        self.send(response)
