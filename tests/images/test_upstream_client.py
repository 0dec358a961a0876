"""Tests of `devlxd.images.upstream_client`, through `LXDImageStore`."""

from __future__ import annotations

import gzip

from twisted.internet.error import ConnectError
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from tests.default_limits import LXD_READ_TIMEOUT, RESPONSE_TIMEOUT
from tests.images.scripted_lxd import (
    FINGERPRINT,
    ScriptedLXDTestCase,
    record,
    response,
    unified,
)


class UpstreamClientTests(ScriptedLXDTestCase):
    """Requests to an LXD, and errors of an LXD."""

    def test_request(self) -> None:
        """An image is requested by its complete fingerprint."""
        self.store.open(FINGERPRINT)
        request = self.accept().value()
        self.assertTrue(
            request.startswith(f"GET /1.0/images/{FINGERPRINT} HTTP/1.1\r\n".encode())
        )

    def test_unreachable(self) -> None:
        """If the connection fails, the error names the socket."""
        opening = self.store.open(FINGERPRINT)
        _, factory, *_ = self.reactor.unixClients[0]
        factory.clientConnectionFailed(None, Failure(ConnectError(string="no socket")))
        self.assert_fails(opening, "/lxd/sock")

    def test_timeouts(self) -> None:
        """A timeout ends the wait for LXD to respond, or to continue a response."""
        for beginning in (b"", b"HTTP/1.1 200 OK\r\n"):
            opening = self.store.open(FINGERPRINT)
            self.send_responses(beginning)
            self.reactor.advance(RESPONSE_TIMEOUT)
            self.assert_fails(opening, "no response within 10 s")
        opening = self.store.open(FINGERPRINT)
        self.send_responses(response(200, "Content-Length: 100", body=b"{"))
        self.reactor.advance(LXD_READ_TIMEOUT)
        self.assert_fails(opening, "more than 30 s")

    def test_no_log(self) -> None:
        """Requests are not logged."""
        with capturedLogs() as events:
            opening = self.store.open(FINGERPRINT)
            _, factory, *_ = self.reactor.unixClients[0]
            factory.doStart()
            self.send_responses(response(404, body=b"{}"))
            factory.doStop()
        self.assertIsNone(self.successResultOf(opening))
        self.assertEqual(events, [])

    def test_compressed(self) -> None:
        """Compression is not requested, and a compressed body is not decompressed."""
        bomb = gzip.compress(b" " * 10**6)
        opening = self.store.open(FINGERPRINT)
        self.assertNotIn(b"ccept-", self.accept().value())
        length = f"Content-Length: {len(bomb)}"
        self.protocol.dataReceived(
            response(200, "Content-Encoding: gzip", length, body=bomb)
        )
        self.assert_fails(opening, "malformed image record")

    def test_cookies(self) -> None:
        """Cookies of LXD are not sent back."""
        self.opened(
            record().replace(b"Content-", b"Set-Cookie: a=b\r\nContent-", 1),
            unified("0-0/8", b"t"),
        )
        self.store.open(FINGERPRINT)
        self.assertNotIn(b"ookie", self.accept().value())
