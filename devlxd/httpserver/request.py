# -*- test-case-name: tests.httpserver.test_site -*-
"""One request of a guest, and how it is answered."""

from __future__ import annotations

import re
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import getChildForRequest
from twisted.web.server import Request

from devlxd.guestapi.responses import BAD_REQUEST, INTERNAL_ERROR, Headers, Response
from devlxd.httpserver.paced_body import PacedBody
from devlxd.model import Caller, Container

if TYPE_CHECKING:
    from devlxd.httpserver.channel import GuestChannel
    from devlxd.httpserver.site import DevLXDSite

#: How long the body of a request may be, in bytes, and in how many pieces.
MAX_BODY = 16 * 1024
MAX_PIECES = 256

#: How much of an answer is sent at once, in bytes: what the guest does not
#: read of the rest is not kept for each connection. With more it is not faster.
SLICE = 32 * 1024

#: How long a guest may stop to read an answer, in seconds.
READ_TIMEOUT = 30

#: The reason phrases that Twisted does not know.
_REASONS: dict[int, bytes] = {HTTPStatus.TOO_MANY_REQUESTS: b"Too Many Requests"}

#: ``http://HOST/PATH?QUERY``, all but ``http://HOST`` in a group.
_ABSOLUTE_FORM = re.compile(rb"http://[^/?]*(.*)", re.IGNORECASE | re.DOTALL)


def tokens_of(request: http.Request, header: bytes) -> list[bytes]:
    """Return the members of a list of tokens, in lower case.

    A list may be spread over any number of lines (RFC 9110, 5.3 and 5.6.1).
    """
    values = request.requestHeaders.getRawHeaders(header, [])
    return [token.strip(b" \t").lower() for token in b",".join(values).split(b",")]


class BodyTooLargeError(Exception):
    """A request has a body of more than a guest has to say."""


class GuestRequest(Request):
    """A request of a guest.

    :ivar container: the snapshot to answer from, put there by the gate.
    :ivar is_gone: whether the guest has gone before the end of the answer.
    """

    defaultContentType = None
    channel: GuestChannel
    content: BytesIO
    site: DevLXDSite
    container: Container
    is_gone = False
    _log = Logger()
    _pieces = 0

    @property
    def caller(self) -> Caller | None:
        """Who asks, ``None`` if it could not be placed."""
        return self.channel.caller

    def connectionLost(self, reason: Failure) -> None:
        """Hear that the guest is gone, and let go of what refers to this."""
        self.is_gone = True
        self.producer = None
        super().connectionLost(reason)

    def gotLength(self, length: int | None) -> None:
        """Make room for a body, in memory and bounded."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body.

        :raises BodyTooLargeError: when there is too much of it.
        """
        self._pieces += 1
        if self._pieces > MAX_PIECES or self.content.tell() + len(data) > MAX_BODY:
            raise BodyTooLargeError
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
        if not self.path.startswith(b"/") or not self._names_its_host():
            self.send(BAD_REQUEST)
        else:
            self._process()

    def _names_its_host(self) -> bool:
        """Return whether there is a ``Host`` header, and one (RFC 9112, 3.2)."""
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        return len(hosts) == 1 or (not hosts and self.clientproto == b"HTTP/1.0")

    def _process(self) -> None:
        try:
            getChildForRequest(self.site.resource, self).render(self)
        except Exception:
            self.fail(Failure())

    def begin(self, code: int, headers: Headers) -> None:
        """Make the head of a response; it is sent with the first of its body."""
        self.setResponseCode(code, _REASONS.get(code))
        for name, value in headers:
            self.responseHeaders.setRawHeaders(name, [value])

    def send(self, answer: Response) -> None:
        """Send ``answer`` whole, and be done."""
        self.begin(answer.code, self.site.headers_of(answer))
        if answer.closes:
            self.channel.persistent = 0
        if len(answer.body) <= SLICE or self.method == b"HEAD":
            self.write(answer.body)
            self.finish()
        else:
            self._send_paced(answer.body)

    def _send_paced(self, body: bytes) -> None:
        """Send a long body: what the guest does not read is not kept for it."""

        async def read(start: int, size: int) -> bytes:
            return body[start : start + size]

        async def send() -> None:
            with PacedBody(self, SLICE, READ_TIMEOUT) as paced:
                await paced.send(0, len(body), read)

        Deferred.fromCoroutine(send()).addErrback(self.fail)

    def fail(self, failure: Failure) -> None:
        """Log that something went wrong, and give the guest no more than that."""
        self._log.failure("request failed: {request}", failure, request=self)
        self.break_off(INTERNAL_ERROR)

    def break_off(self, answer: Response) -> None:
        """Send ``answer`` instead of what was begun, or no more if that is too late."""
        if self.is_gone:
            return
        if self.startedWriting:
            self.channel.forceAbortClient()
            return
        for name, _ in list(self.responseHeaders.getAllRawHeaders()):
            if name.lower() != b"connection":
                self.responseHeaders.removeHeader(name)
        self.send(answer)


def _origin_form(target: bytes) -> bytes:
    """Return the path and query of a request target (RFC 9112, 3.2).

    A guest behind a proxy sends ``http://lxd/1.0``; the host in it is of no
    consequence.
    """
    match = _ABSOLUTE_FORM.fullmatch(target)
    return b"/" + match[1].removeprefix(b"/") if match else target
