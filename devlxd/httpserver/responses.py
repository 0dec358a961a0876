# -*- test-case-name: tests.httpserver.test_responses -*-
"""What a request handler returns: values that the server knows how to send."""

from __future__ import annotations

from attrs import frozen
from twisted.web import http

from devlxd.interfaces import IStream

Headers = tuple[tuple[bytes, bytes], ...]

TEXT: Headers = ((b"Content-Type", b"text/plain; charset=utf-8"),)
NOSNIFF: Headers = ((b"X-Content-Type-Options", b"nosniff"),)
CLOSE: Headers = ((b"Connection", b"close"),)


@frozen
class Response:
    """A whole response; it may be sent any number of times.

    :ivar code: its status code.
    :ivar headers: its headers, except ``Content-Length`` and ``Date``.
    :ivar body: its body; sent piece by piece if it is long.
    """

    code: int
    headers: Headers
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the connection is closed after it."""
        return CLOSE[0] in self.headers


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
    """Messages without end: sent over a websocket if the request asks for one.

    Otherwise they are the body of a response, one after the other.

    :ivar headers: its headers in both cases.
    :ivar body_headers: its further headers if the messages are a body.
    :ivar stream: writes the messages. It is closed in any case.
    :ivar code: the status code of a body.
    """

    headers: Headers
    body_headers: Headers
    stream: IStream
    code: int = http.OK


class ResponseError(Exception):
    """A request cannot be served as intended.

    :ivar response: what is sent instead, if nothing has been sent yet.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(response.code)
        self.response = response


def refusal(code: int, text: str, headers: Headers = ()) -> Response:
    """Return a response that refuses a request with one line of text."""
    return Response(code, TEXT + NOSNIFF + headers, text.encode("utf-8") + b"\n")


def not_allowed(methods: tuple[bytes, ...]) -> Response:
    """Return the refusal of any method but ``methods`` (RFC 9110, 15.5.6)."""
    allow = ((b"Allow", b", ".join(methods)),)
    return refusal(http.NOT_ALLOWED, "method not allowed", allow)


#: An error that only the log describes.
INTERNAL_ERROR = refusal(
    http.INTERNAL_SERVER_ERROR, "internal server error", headers=CLOSE
)

#: A request that is not HTTP.
BAD_REQUEST = refusal(http.BAD_REQUEST, "bad request", headers=CLOSE)

#: A request whose body is too long.
TOO_LARGE = refusal(http.REQUEST_ENTITY_TOO_LARGE, "request too large", headers=CLOSE)
