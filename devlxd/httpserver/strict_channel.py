# -*- test-case-name: tests.httpserver.test_site -*-
"""Strict parsing of requests, and limits on their parts."""

from __future__ import annotations

from twisted.web import http

from devlxd.httpserver.closing_channel import ClosingChannel
from devlxd.httpserver.grammar import is_bounded_header, tokens_of, with_ascii_target
from devlxd.httpserver.responses import BAD_REQUEST, TOO_LARGE, Response


class StrictChannel(ClosingChannel):
    """A connection that parses requests strictly, and limits their parts.

    :ivar at_request_line: whether the next line begins a request.
    :ivar between_requests: whether nothing was received since the last request.
    :ivar after_empty_line: whether an empty line was received since then.
    :ivar incomplete: the data of a request that is not complete; ``None`` if there is
        no such request. If it is longer than `MAX_RECEIVED`, its end is missing. A
        request that arrives in one piece is not copied.
    :ivar is_continued: whether the interim response 100 was sent for that request.
    """

    at_request_line = True
    between_requests = False
    after_empty_line = False
    incomplete: bytearray | None = None
    is_continued = False

    def lineReceived(self, line: bytes) -> None:
        """See `LineReceiver.lineReceived`: check a line of the head of a request."""
        if self.at_request_line:
            if line:
                self.at_request_line = False
                line = with_ascii_target(line)
            else:
                self.after_empty_line = True
        elif line[:1] in (b" ", b"\t") or b"\n" in line:
            # Obsolete line folding must be refused (RFC 9112, 5.2). A bare LF
            # does not end a line, but not every version of Twisted refuses it.
            self.refuse_bad_request()
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """See `LineReceiver.lineLengthExceeded`: refuse the request."""
        self.refuse_bad_request()

    def headerReceived(self, line: bytes) -> bool:
        """See `HTTPChannel.headerReceived`: refuse a header that is too long."""
        if not is_bounded_header(line):
            self.refuse_bad_request()
            return False
        received: bool = super().headerReceived(line)
        return received

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        """Return whether another request may follow (RFC 9112, 9.3).

        `HTTPChannel.checkPersistence` reads only the first ``Connection`` header, and
        splits it at spaces, not at commas.
        """
        if version != b"HTTP/1.1":
            return False
        if b"close" in tokens_of(request, b"connection"):
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return True

    def accept_body(self) -> None:
        """See `HTTPChannelBase.accept_body`: refuse a body that is too long."""
        most = self.server.limits.value.request_body_bytes
        if self.body_length is not None and self.body_length > most:
            self.refuse(TOO_LARGE)
        elif not self.is_continued:
            self.is_continued = True
            self.send_continue()

    def allContentReceived(self) -> None:
        """See `HTTPChannel.allContentReceived`: set the idle timeout."""
        # HTTPChannel saves this timeout now, and starts it when the request is done.
        self.timeOut = self.server.limits.value.idle_timeout
        self.between_requests = True
        self.at_request_line = True
        self.after_empty_line = self.is_continued = False
        self.incomplete = None
        super().allContentReceived()

    def refuse_bad_request(self) -> None:
        """See `HTTPChannelBase.refuse_bad_request`; this response has a body."""
        self.refuse(BAD_REQUEST)

    def refuse(self, response: Response) -> None:
        """Refuse data that is not a valid request, and close the connection."""
        if not self.transport.disconnecting:
            reason = http.RESPONSES[response.code]
            headers = self.server.headers_of(response)
            self.writeHeaders(b"HTTP/1.1", b"%d" % response.code, reason, headers)
            self.write(response.body)
            self.loseConnection()
