"""Tests of `devlxd.images.upstream_records`, through `LXDImageStore`."""

from __future__ import annotations

from devlxd.images.upstream_records import MAX_RECORD
from devlxd.interfaces import ImageError
from tests.default_limits import OPEN_TIMEOUT
from tests.images.fake_lxd import UPLOADED_AT
from tests.images.scripted_lxd import (
    FINGERPRINT,
    ScriptedLXDTestCase,
    record,
    response,
    unified,
)


class ImageRecordTests(ScriptedLXDTestCase):
    """The record that LXD sends of an image."""

    def assert_refused(self, content: bytes, reason: str) -> None:
        """Check that an image cannot be opened after a response of LXD."""
        opening = self.store.open(FINGERPRINT)
        self.send_responses(content)
        self.assert_fails(opening, reason)

    def test_not_available(self) -> None:
        """An image that is missing, or neither public nor cached, is not found."""
        for content in (record(public=False), response(404, body=b"{}")):
            opening = self.store.open(FINGERPRINT)
            self.send_responses(content)
            self.assertIsNone(self.successResultOf(opening))

    def test_cached(self) -> None:
        """A cached image is available."""
        responses = (record(public=False, cached=True), unified("0-0/8", b"t"))
        self.assertEqual(self.opened(*responses).image.size, 8)

    def test_modified(self) -> None:
        """``modified`` is ``uploaded_at``, or 0 if that is malformed or before 1970."""
        for uploaded_at, modified in (
            (UPLOADED_AT, 1795299084),
            ("0001-01-01T00:00:00Z", 0),
            ("yesterday", 0),
            (None, 0),
        ):
            self.setUp()
            responses = (record(uploaded_at=uploaded_at), unified("0-0/8", b"t"))
            self.assertEqual(self.opened(*responses).image.modified, modified)

    def test_connection_lost(self) -> None:
        """A lost connection is an error."""
        for beginning in (b"", b"HTTP/1.1 200 OK\r\nConte", record()[:-1]):
            opening = self.store.open(FINGERPRINT)
            self.send_responses(beginning)
            self.close_connection()
            self.failureResultOf(opening, ImageError)

    def test_status(self) -> None:
        """All statuses except 200 and 404 are errors; redirects are not followed."""
        for code in (403, 500, 503):
            self.assert_refused(response(code, body=b"{}"), f"status {code}")
        redirect = ("Location: http://elsewhere/", "Content-Length: 0")
        self.assert_refused(response(301, *redirect), "status 301")

    def test_malformed(self) -> None:
        """Malformed records and the record of another image are errors."""
        for body in (b"", b"[]", b"{}", b"\xff", b'{"metadata": []}', b"[" * 10**5):
            self.assert_refused(response(200, body=body), "malformed image record")
        self.assert_refused(record(fingerprint="0" * 64), "another image")
        for size in (0, -1, None, "8", 8.0, True):
            self.assert_refused(record(size=size), "no valid size")
        self.assert_refused(b"ICY 200 OK\r\n\r\n", "")

    def test_too_long(self) -> None:
        """The length of a record is limited."""
        opening = self.store.open(FINGERPRINT)
        self.send_responses(
            response(200, "Content-Length: 10000000", body=b" " * MAX_RECORD)
        )
        self.assertNoResult(opening)
        self.protocol.dataReceived(b" ")
        self.assert_fails(opening, "too long")

    def test_closes_connection(self) -> None:
        """The body of an error is not read: the connection is closed."""
        for code in (404, 500):
            opening = self.store.open(FINGERPRINT)
            self.send_responses(response(code, "Content-Length: 9999", body=b"{"))
            self.assertTrue(self.transport.disconnecting, code)
            opening.addErrback(lambda failure: failure.trap(ImageError) and None)
            self.assertIsNone(self.successResultOf(opening))

    def test_private_first(self) -> None:
        """A private image is not found, even if its record has other errors."""
        opening = self.store.open(FINGERPRINT)
        self.send_responses(record(public=False, size=0, fingerprint="0" * 64))
        self.assertIsNone(self.successResultOf(opening))

    def test_slow(self) -> None:
        """Opening fails after a timeout if the record arrives too slowly."""
        opening = self.store.open(FINGERPRINT)
        self.send_responses(response(200, "Content-Length: 1000", body=b"{"))
        for _ in range(OPEN_TIMEOUT):
            self.protocol.dataReceived(b" ")
            self.assertNoResult(opening)
            self.reactor.advance(1)
        self.assert_fails(opening, "more than 30 s")

    def test_not_true(self) -> None:
        """An image is public only if ``public`` is ``true``."""
        for value in ("true", 1, None, [True]):
            opening = self.store.open(FINGERPRINT)
            self.send_responses(record(public=value))
            self.assertIsNone(self.successResultOf(opening))
