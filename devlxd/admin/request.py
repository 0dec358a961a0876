# -*- test-case-name: tests.admin.test_site -*-
"""The requests of operators."""

from __future__ import annotations

from typing import Any

from twisted.web import http
from twisted.web.server import Request

from devlxd.admin.responses import AdminResponse, error_response

#: The maximum size of the body of a request, in bytes.
MAX_BODY = 4096

#: Headers of every response. The page adds its own ``Content-Security-Policy``.
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Server", "devlxd"),
)


class AdminRequest(Request):
    """A request of an operator.

    :ivar name: the last segment of the path, decoded, if the route has ``*`` in its
        place.
    """

    name = ""
    _is_refused = False

    def gotLength(self, length: int | None) -> None:
        """See `Request.gotLength`; a body that is too large is never stored."""
        self._received = 0
        super().gotLength(min(length or 0, MAX_BODY))
        if length is not None and length > MAX_BODY:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """See `Request.handleContentChunk`."""
        self._received += len(data)
        if self._received <= MAX_BODY:
            super().handleContentChunk(data)
        elif not self._is_refused:
            self._refuse_body()

    def _refuse_body(self) -> None:
        """Respond although the request is not complete, and close the connection."""
        self._is_refused = True
        body = error_response(http.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
        channel: Any = self.channel
        channel.transport.write(
            b"HTTP/1.1 413 Request Entity Too Large\r\n"
            b"Content-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body.body), body.body)
        )
        channel.loseConnection()

    def process(self) -> None:
        """See `Request.process`: let the site respond."""
        channel: Any = self.channel
        channel.request_received()
        channel.site.respond(self)

    def argument(self, name: str) -> str:
        """Return the first value of an argument of the query; ``""`` if missing."""
        values: list[bytes] = (self.args or {}).get(name.encode("ascii"), [b""])
        return values[0].decode("utf-8", "replace")

    # As bytes: Twisted keeps each name in the type in which it first occurs, and would
    # compare the names that guests send with text.

    def header(self, name: str) -> str | None:
        """Return the value of a header; ``None`` if it is missing."""
        value: bytes | None = self.getHeader(name.encode("ascii"))
        return None if value is None else value.decode("latin-1")

    def set_header(self, name: str, value: str) -> None:
        """Set a header of the response."""
        self.setHeader(name.encode("ascii"), value.encode("latin-1"))

    def begin(self, content_type: str, code: int = http.OK) -> None:
        """Prepare the head of the response; the first `write` sends it."""
        self.setResponseCode(code)
        self.set_header("Content-Type", content_type)
        for name, value in _HEADERS:
            self.set_header(name, value)

    def send(self, response: AdminResponse) -> None:
        """Send a whole response; do nothing if the client has disconnected."""
        channel: Any = self.channel
        if channel is None:
            return
        self.begin(response.content_type, response.code)
        for name, value in response.headers:
            self.set_header(name, value)
        self.set_header("Content-Length", str(len(response.body)))
        self.write(b"" if self.method == b"HEAD" else response.body)
        self.finish()
