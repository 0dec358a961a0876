"""Tests of `devlxd.images.upstream_export` and `devlxd.images.multipart_reader`.

They open images of an `LXDImageStore`.
"""

from __future__ import annotations

from devlxd.interfaces import ImageError
from tests.default_limits import OPEN_TIMEOUT
from tests.images.scripted_lxd import (
    FINGERPRINT,
    SPLIT,
    ScriptedLXDTestCase,
    part,
    record,
    response,
    split,
    unified,
)


class ImagePartTests(ScriptedLXDTestCase):
    """The parts of an image, from the beginning of an export."""

    def assert_refused(
        self, content: bytes, reason: str, connection_lost: bool = False
    ) -> None:
        """Check that an image cannot be opened after an export of LXD."""
        opening = self.store.open(FINGERPRINT)
        self.send_responses(record(), content)
        if connection_lost:
            self.close_connection()
        self.assert_fails(opening, reason)

    def test_unified(self) -> None:
        """Without a filename, a unified image is named after its fingerprint."""
        opened = self.opened(record(), unified("0-0/8", b"t"))
        (only,) = opened.image.parts
        self.assertEqual((only.filename, only.size), (FINGERPRINT, 8))

    def test_split(self) -> None:
        """The size of the second part is computed from that of the first."""
        opened = self.opened(record(), split(SPLIT))
        sizes = [(found.name, found.size) for found in opened.image.parts]
        self.assertEqual(sizes, [("metadata", 3), ("rootfs", 5)])

    def test_closes_connection(self) -> None:
        """The connection is closed when the parts are known, or on an error."""
        content_type = "Content-Type: multipart/form-data; boundary=b"
        for code, body in ((200, SPLIT), (200, b"?" * 100), (500, b"x")):
            self.setUp()
            opening = self.store.open(FINGERPRINT)
            incomplete = response(code, content_type, "Content-Length: 9999", body=body)
            self.send_responses(record(), incomplete)
            self.assertTrue(self.transport.disconnecting, body)
            opening.addErrback(lambda failure: failure.trap(ImageError) and None)
            self.successResultOf(opening)

    def test_malformed(self) -> None:
        """Malformed exports, and those that do not fit the record, are errors."""
        for content, reason in (
            (response(404, body=b"{}"), "status 404"),
            (response(200, body=b"the image"), "status 200"),
            (unified("0-0/9", b"t"), "'bytes 0-0/9', not bytes 0-0/8"),
            (unified("1-1/8", b"t"), "'bytes 1-1/8', not"),
            (unified("0-0/8", b"tt"), "2 bytes, not 1"),
            (split(b"--b--\r\n"), "fewer parts"),
            (split(part("rootfs", b"image\r\n") + b"--b--\r\n"), "no part named meta"),
            (split(part("metadata", b"the\r\n") + b"--b--\r\n"), "fewer parts"),
            (split(SPLIT.replace(b'"rootfs"', b'"x"')), "no part named rootfs"),
            (split(SPLIT.replace(b"the", b"")), "empty metadata"),
            (split(SPLIT.replace(b"the", b"whatever")), "more data"),
            (split(b"\r\n".join([b"--b", b"nothing", b"", b""])), "malformed"),
            (split(SPLIT).replace(b"boundary=b", b"boundary="), "malformed"),
            (split(SPLIT).replace(b"200", b"500"), "status 500"),
        ):
            self.assert_refused(content, reason)

    def test_connection_lost(self) -> None:
        """A lost connection is an error."""
        self.assert_refused(split(SPLIT)[:-50], "incomplete", connection_lost=True)

    def test_endless(self) -> None:
        """Opening fails after a timeout if the first part does not end."""
        content_type = "Content-Type: multipart/form-data; boundary=b"
        for body in (part("metadata", b""), b"--b\r\n"):
            opening = self.store.open(FINGERPRINT)
            endless = response(200, content_type, "X: y", body=body)
            self.send_responses(record(size=10**9), endless)
            for _ in range(OPEN_TIMEOUT):
                self.protocol.dataReceived(b"x")
                self.assertNoResult(opening)
                self.reactor.advance(1)
            self.assert_fails(opening, "more than 30 s")

    def test_preamble(self) -> None:
        """A preamble before the first part is refused immediately."""
        self.assert_refused(split(b"x" * 1000 + SPLIT), "malformed multipart")
