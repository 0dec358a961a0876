# -*- test-case-name: tests.httpserver.test_quick_requests -*-
"""Requests that are answered without being parsed: the fast path of questions.

Nearly all requests of guests are ``GET PATH HTTP/1.1`` with a few headers on which no
response depends, and are read from an idle connection in one piece. If the handler has
kept the response, it is sent from here. `DevLXDChannel` answers all other requests, and
would answer these ones with the same bytes: the tests compare both.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import cast

from attrs import frozen
from twisted.internet.interfaces import IProtocol
from twisted.web.http import OK, RESPONSES
from twisted.web.http_headers import Headers

from devlxd.httpserver.handover_channel import HandoverChannel
from devlxd.httpserver.registry import QUICK_COST
from devlxd.httpserver.request import SLICE
from devlxd.httpserver.responses import Response

#: How long such a request may be, in bytes: each connection keeps its last one.
MAX_REQUEST = 1024

_VALUE = rb"[\t ]*[!-~][\t -~]*"

#: A header field on which no response depends. Another one may be repeated, or refused,
#: or may change the response; none of these does.
_FIELD = (
    rb"(?i:(?:accept|accept-encoding|accept-language|user-agent):%b"
    rb"|connection:[\t ]*keep-alive[\t ]*)\r\n"
) % _VALUE

#: A whole request. The path, which is the group, has neither a query nor ``%``. There
#: are at most 15 fields: `devlxd.model.Limits.header_fields` may be 16.
_REQUEST = re.compile(
    rb"GET (/[\w.~/-]*) HTTP/1\.1\r\n(?:%b){0,7}(?i:host):%b\r\n(?:%b){0,7}\r\n"
    % (_FIELD, _VALUE, _FIELD)
)

#: The end of the head: everything after the date.
_END = b"\r\n\r\n"


def path_of(data: bytes) -> bytes | None:
    """Return the path of a request that may be answered without parsing it.

    :param data: what was received from an idle connection.
    :return: ``None`` if ``data`` is anything else than one such request.
    """
    if len(data) > MAX_REQUEST:
        return None
    match = _REQUEST.fullmatch(data)
    return match[1] if match else None


@frozen
class RenderedResponse:
    """A response to GET, as it is sent, except for its date.

    :ivar head: the head up to the value of ``Date``, its last field.
    :ivar body: the body.
    """

    head: bytes
    body: bytes

    def sent_at(self, date: bytes) -> bytes:
        """Return the bytes to send.

        :param date: the value of ``Date``.
        """
        return b"".join((self.head, date, _END, self.body))


def rendered(response: Response) -> RenderedResponse | None:
    """Render a response as `DevLXDRequest.send` does.

    :return: ``None`` if it cannot be sent at once: it is long, its entity tag is not
        known yet, it closes the connection, or its status is not 200.
    """
    etag = response.etag.value if response.etag is not None else None
    is_short = len(response.body) <= SLICE
    if etag is None or response.code != OK or response.closes or not is_short:
        return None
    headers = Headers()
    for name, value in ((b"ETag", etag), *response.headers):
        headers.setRawHeaders(name, [value])
    headers.setRawHeaders(b"Content-Length", [b"%d" % len(response.body)])
    headers.setRawHeaders(b"Date", [b""])
    lines = [b"HTTP/1.1 %d %b" % (OK, RESPONSES[OK])]
    for name, values in headers.getAllRawHeaders():
        lines += (b"%b: %b" % (name, value) for value in values)
    return RenderedResponse(b"\r\n".join(lines), response.body)


class QuickChannel(HandoverChannel):
    """A connection that answers some requests without parsing them."""

    # The last such request, and its path: most clients send the same head each time.
    _quick: bytes | None = None
    _quick_path = b""

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`.

        Each function that is called here costs a request about one percent.
        """
        began = perf_counter()
        if not (
            self.is_idle
            and (data == self._quick or self._is_quick(data))
            and self.incomplete is None
            and self._respond(began)
        ):
            super().dataReceived(data)

    def hand_over(self, protocol: IProtocol) -> None:
        """See `DevLXDChannel.hand_over`: no other request follows."""
        self._quick, self._quick_path = None, b""
        super().hand_over(protocol)

    def _is_quick(self, data: bytes) -> bool:
        """Return whether ``data`` is such a request; if it is, keep it."""
        path = path_of(data)
        if path is None:
            return False
        self._quick, self._quick_path = data, path
        return True

    def _respond(self, began: float) -> bool:
        """Send the response that the handler has kept; return whether it is sent.

        :param began: when the request was complete, see `DevLXDRequest.began`.
        """
        server, path, caller = self.server, self._quick_path, self.caller
        try:
            kept = cast("RenderedResponse | None", server.handler.kept(path, caller))
        except Exception:
            # `DevLXDRequest` reports it when the handler fails again.
            return False
        if kept is None:
            return False
        if not (self._is_turn or server.registry.may_serve_now(self.owner, QUICK_COST)):
            return False
        self.between_requests = True
        self.setTimeout(server.limits.value.idle_timeout)
        _, date = server.date()
        self.transport.write(kept.sent_at(date))
        server.handler.kept_sent(path, caller, began)
        if self.is_transport_full:
            # As after any response: the client has to read it first.
            self._wait_for_turn()
        return True
