# -*- test-case-name: tests.httpserver.test_responses -*-
"""The values that a request handler returns and the server sends."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.web import http

from devlxd.interfaces import IStream

#: The names and values of header fields.
Headers = tuple[tuple[bytes, bytes], ...]

TEXT: Headers = ((b"Content-Type", b"text/plain; charset=utf-8"),)
NOSNIFF: Headers = ((b"X-Content-Type-Options", b"nosniff"),)
CLOSE: Headers = ((b"Connection", b"close"),)


@frozen
class Response:
    """A whole response; it may be sent any number of times.

    :ivar code: its status code.
    :ivar headers: its headers, except ``Connection``, ``Content-Length`` and ``Date``.
    :ivar body: its body; sent piece by piece if it is long.
    :ivar closes: whether the connection is closed after it.
    """

    code: int
    headers: Headers
    body: bytes
    closes: bool = False


@frozen
class StreamResponse:
    """A response whose body is written over time.

    :ivar code: its status code.
    :ivar headers: its headers, except ``Date``.
    :ivar stream: writes the body. It is closed in any case.
    """

    code: int
    headers: Headers
    stream: IStream


@frozen
class MessageResponse:
    """An endless sequence of messages, over a websocket if the client requests one.

    Otherwise the body of the response consists of the messages.

    :ivar headers: its headers in both cases.
    :ivar body_headers: its further headers if the messages are a body.
    :ivar stream: writes the messages. It is closed in any case.
    :ivar code: the status code if the messages are a body.
    """

    headers: Headers
    body_headers: Headers
    stream: IStream
    code: int = http.OK


@frozen
class PendingStream:
    """A response that is not available yet, and is usually a `StreamResponse`.

    Its connection is treated as one that carries a stream: when it is closed, it is
    aborted. A Deferred alone stands for a whole response, which is still sent on a
    connection that is being closed.

    :ivar response: fires with a `Response` or a `StreamResponse`. It is never
        cancelled, and the stream is closed if the client has disconnected.
    """

    response: Deferred[Response | StreamResponse]


class ResponseError(Exception):
    """Raised to replace a response by that of an error.

    :ivar response: the response to send, unless a part of another one is sent.
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
    """Return the response to any method but ``methods`` (RFC 9110, 15.5.6)."""
    allow = ((b"Allow", b", ".join(methods)),)
    return refusal(http.NOT_ALLOWED, "method not allowed", allow)


#: The response to an error whose details are only logged.
INTERNAL_ERROR = refusal(
    http.INTERNAL_SERVER_ERROR, "internal server error", closes=True
)

#: The response to a request that is not valid HTTP.
BAD_REQUEST = refusal(http.BAD_REQUEST, "bad request", closes=True)

#: The response to a request whose body is too long.
TOO_LARGE = refusal(http.REQUEST_ENTITY_TOO_LARGE, "request too large", closes=True)
