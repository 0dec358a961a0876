# -*- test-case-name: tests.web.test_site -*-
"""One request of a guest, and how it is answered."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import getChildForRequest
from twisted.web.server import Request
from zope.interface import implementer

from devlxd.model import Caller, Container
from devlxd.web.answers import BAD_REQUEST, INTERNAL_ERROR, Answer

if TYPE_CHECKING:
    from devlxd.web.channel import GuestChannel
    from devlxd.web.site import DevLXDSite

#: How long the body of a request may be, in bytes, and in how many pieces.
MAX_BODY = 16 * 1024
MAX_PIECES = 256

#: How much of an answer is sent at once, in bytes: what the guest does not
#: read of the rest is not kept for each connection.
SLICE = 64 * 1024

#: How long a guest may stop to read an answer, in seconds.
READ_TIMEOUT = 30

#: ``http://HOST/PATH?QUERY``, all but ``http://HOST`` in a group.
_ABSOLUTE_FORM = re.compile(rb"http://[^/?]*(.*)", re.IGNORECASE | re.DOTALL)


class BodyTooLargeError(Exception):
    """A request has a body of more than a guest has to say."""


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
    _pieces = 0

    @property
    def caller(self) -> Caller | None:
        """Who asks, ``None`` if it could not be placed."""
        return self.channel.caller

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
        if not self.path.startswith(b"/"):
            self.send(BAD_REQUEST)
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
        if len(answer.body) <= SLICE or self.method == b"HEAD":
            self.write(answer.body)
            self.finish()
        else:
            _SlicedBody(self, answer.body).start()


@implementer(IPushProducer)
class _SlicedBody:
    """Sends a large body as fast as the guest reads it."""

    def __init__(self, request: GuestRequest, body: bytes) -> None:
        self._request = request
        self._body = body
        self._sent = 0
        self._paused = False
        self._waiting: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to send."""
        self._request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Send until there is nothing more to send, or no room for it."""
        self._stop_waiting()
        self._paused = False
        while not self._paused and self._sent < len(self._body):
            end = self._sent + SLICE
            part, self._sent = self._body[self._sent : end], end
            self._request.write(part)
        if self._sent >= len(self._body):
            self._stop_waiting()
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        """Wait until the guest reads, but not without end."""
        self._paused = True
        channel = self._request.channel
        if self._waiting is None:
            self._waiting = channel.callLater(READ_TIMEOUT, channel.forceAbortClient)

    def stopProducing(self) -> None:
        """Hear that the guest is gone."""
        self._paused = True
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.active():
            waiting.cancel()


def _origin_form(target: bytes) -> bytes:
    """Return the path and query of a request target (RFC 9112, 3.2).

    A guest behind a proxy sends ``http://lxd/1.0``; the host in it is of no
    consequence.
    """
    match = _ABSOLUTE_FORM.fullmatch(target)
    return b"/" + match[1].removeprefix(b"/") if match else target
