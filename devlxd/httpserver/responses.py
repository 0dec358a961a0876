# -*- test-case-name: tests.httpserver.test_responses -*-
"""The values that a request handler returns and the server sends."""

from __future__ import annotations

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.web import http

from devlxd.httpserver.entity_tags import EntityTag
from devlxd.interfaces import IStream

#: The names and values of header fields.
Headers = tuple[tuple[bytes, bytes], ...]

TEXT: Headers = ((b"Content-Type", b"text/plain; charset=utf-8"),)
NOSNIFF: Headers = ((b"X-Content-Type-Options", b"nosniff"),)
CLOSE: Headers = ((b"Connection", b"close"),)


@frozen
class Response:
    """A whole response; it may be sent any number of times.

    :ivar code: the status code.
    :ivar headers: the headers, except ``Connection``, ``Content-Length``, ``Date`` and
        ``ETag``.
    :ivar body: the body, which is sent piece by piece if it is long.
    :ivar closes: whether the connection is closed after the response.
    :ivar etag: the entity tag of the body, for GET and HEAD; ``None`` if the status
        code is not 200.
    """

    code: int
    headers: Headers
    body: bytes
    closes: bool = False
    etag: EntityTag | None = field(init=False, eq=False, repr=False)

    @etag.default
    def _etag_of_body(self) -> EntityTag | None:
        return EntityTag(self.body) if self.code == http.OK else None


@frozen
class StreamResponse:
    """A response whose body is written over time.

    :ivar code: the status code.
    :ivar headers: the headers, except ``Date``.
    :ivar stream: writes the body. It is always closed at the end.
    """

    code: int
    headers: Headers
    stream: IStream


@frozen
class MessageResponse:
    """An endless stream of messages, over a websocket if the client requests one.

    Otherwise the messages are the body of the response.

    :ivar headers: the headers in both cases.
    :ivar body_headers: further headers if the messages are the body.
    :ivar stream: writes the messages. It is always closed at the end.
    :ivar code: the status code if the messages are the body.
    """

    headers: Headers
    body_headers: Headers
    stream: IStream
    code: int = http.OK


@frozen
class PendingStream:
    """A response that is not available yet, and is usually a `StreamResponse`.

    While it is pending, its connection is treated as one that carries a stream:
    `IConnection.close` and `IConnection.interrupt` abort it. A plain Deferred stands
    for a whole response: while that is pending, `IConnection.interrupt` does nothing.

    :ivar response: fires with a `Response` or a `StreamResponse`. It is never
        cancelled: if the client has disconnected, the stream of the result is closed.
    """

    response: Deferred[Response | StreamResponse]


class ResponseError(Exception):
    """Raised to replace the response to a request by that of an error.

    :ivar response: the response to send, unless another one has already begun.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(response.code)
        self.response = response


def refusal(
    code: int, text: str, headers: Headers = (), *, closes: bool = False
) -> Response:
    """Return a response that refuses a request with one line of text."""
    return Response(
        code, TEXT + NOSNIFF + headers, text.encode("utf-8") + b"\n", closes
    )


def not_allowed(methods: tuple[bytes, ...]) -> Response:
    """Return the response to methods other than ``methods`` (RFC 9110, 15.5.6)."""
    allow = ((b"Allow", b", ".join(methods)),)
    return refusal(http.NOT_ALLOWED, "method not allowed", allow)


#: The response to a request that failed because of an error, which is logged.
INTERNAL_ERROR = refusal(
    http.INTERNAL_SERVER_ERROR, "internal server error", closes=True
)

#: The response to a request that is not valid HTTP.
BAD_REQUEST = refusal(http.BAD_REQUEST, "bad request", closes=True)

#: The response to a request whose body is too long.
TOO_LARGE = refusal(http.REQUEST_ENTITY_TOO_LARGE, "request too large", closes=True)
