"""Tests of `devlxd.guestapi.image_export`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi import downloads
from devlxd.guestapi.downloads import LEAD, NOT_FOUND_DELAY
from devlxd.guestapi.image_export import PIECE, RETRY_AFTER
from devlxd.images.directory_image_store import DirectoryImageStore
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.interfaces import IImageStore, ImageError, IOpenImage
from devlxd.model import Container, Image, ImagePart
from devlxd.testing import GuestConnection, MemoryDevLXDReactor, site_for
from tests.default_limits import MAX_DOWNLOADS, STALL_TIMEOUT
from tests.descriptors import Descriptors

ALLOWED = Container("c1", {"security.devlxd.images": "true"})

DATA = bytes(range(256)) * 4

MODIFIED = 1_000_000_000

MODIFIED_TEXT = "Sun, 09 Sep 2001 01:46:40 GMT"


def path_of(fingerprint: str) -> str:
    """Return the path at which an image is downloaded."""
    return f"/1.0/images/{fingerprint}/export"


class ImagesTestCase(SynchronousTestCase):
    """A base class with a site with an image, and a connection of a guest."""

    def setUp(self) -> None:
        self.clock = MemoryDevLXDReactor()
        self.patch(downloads, "sleep", self.clock.advance)
        self.clock.advance(MODIFIED * 2)
        self.images = MemoryImageStore()
        self.fingerprint = self.images.put(DATA, filename="x.tar.gz", modified=MODIFIED)
        self.path = path_of(self.fingerprint)
        self.etag = f'"{self.fingerprint}"'
        self.store = MemoryStore([ALLOWED])
        self.site = site_for(self.store, "c1", clock=self.clock, images=self.images)
        self.guest = GuestConnection(self.site)

    def request(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; return status, headers and body of the response."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x"]
        lines += [f"{name.replace('_', '-')}: {v}" for name, v in headers.items()]
        data = self.guest.send("\r\n".join([*lines, "", ""]).encode())
        if not data:
            self.clock.advance(NOT_FOUND_DELAY)
            data = self.guest.send(b"")
        head, _, body = data.partition(b"\r\n\r\n")
        status, *rest = head.decode().split("\r\n")
        return int(status.split()[1]), dict(line.split(": ", 1) for line in rest), body


class ResponseTests(ImagesTestCase):
    """Responses to a guest that may download images."""

    HEADERS: Mapping[str, str] = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": "inline;filename=x.tar.gz",
        "Last-Modified": MODIFIED_TEXT,
        "Accept-Ranges": "bytes",
    }

    def test_whole(self) -> None:
        """The response has all of the data, and headers that describe it."""
        code, headers, body = self.request(self.path)
        self.assertEqual((code, body), (200, DATA))
        expected = {
            **self.HEADERS,
            "ETag": self.etag,
            "Content-Length": "1024",
            "Date": "Wed, 18 May 2033 03:33:20 GMT",
        }
        self.assertEqual(headers, expected)
        self.assertEqual(self.images.open_images, [])

    def test_head(self) -> None:
        """The response to HEAD has the same headers and no body."""
        _, headers, _ = self.request(self.path)
        self.assertEqual(self.request(self.path, "HEAD"), (200, headers, b""))
        self.assertEqual(self.request(self.path, "HEAD", Range="bytes=1-2")[1], headers)
        self.assertEqual(self.images.open_images, [])

    def test_forms_of_the_url(self) -> None:
        """Query arguments and the case of the hex digits are ignored."""
        for path in (
            f"{self.path}?project=x&secret=y",
            path_of(self.fingerprint.upper()),
            path_of(f"%{ord(self.fingerprint[0]):x}{self.fingerprint[1:]}"),
        ):
            code, _, body = self.request(path)
            self.assertEqual((code, body), (200, DATA), path)

    def test_split(self) -> None:
        """A split image is sent as ``multipart/form-data`` with its length."""
        path = path_of(self.images.put(b"meta", b"root"))
        code, headers, body = self.request(path)
        self.assertEqual(code, 200)
        content_type = "multipart/form-data; boundary="
        self.assertTrue(headers["Content-Type"].startswith(content_type))
        self.assertNotIn("Content-Disposition", headers)
        self.assertEqual(int(headers["Content-Length"]), len(body))
        self.assertTrue(body.startswith(b"--"))
        self.assertIn(b'name="metadata"', body)
        self.assertIn(b'name="rootfs"', body)
        code, headers, rest = self.request(path, Range="bytes=100-")
        self.assertEqual((code, rest), (206, body[100:]))

    def test_ranges(self) -> None:
        """The response to a request with ``Range`` has that range."""
        for value, start, end in (
            ("bytes=0-9", 0, 10),
            ("bytes=1000-", 1000, 1024),
            ("bytes=-4", 1020, 1024),
            ("bytes=0-9999999", 0, 1024),
            ("bytes=-9999999", 0, 1024),
            ("bytes=1-2,8-9", 1, 10),
        ):
            code, headers, body = self.request(self.path, Range=value)
            self.assertEqual((code, body), (206, DATA[start:end]), value)
            content_range = f"bytes {start}-{end - 1}/1024"
            self.assertEqual(headers["Content-Range"], content_range)
            self.assertEqual(headers["Content-Length"], str(end - start))
            self.assertEqual(headers["ETag"], self.etag)

    def test_malformed_ranges(self) -> None:
        """A malformed ``Range`` is ignored."""
        for value in ("bytes=9-1", "bytes=x", "lines=1-2", "0-1", "bytes=-"):
            code, headers, body = self.request(self.path, Range=value)
            self.assertEqual((code, body), (200, DATA), value)
            self.assertNotIn("Content-Range", headers)

    def test_out_of_bounds(self) -> None:
        """The response to a range past the end is 416, with the size of the image."""
        for value in ("bytes=1024-", "bytes=5000-6000", "bytes=-0", "bytes=1024-,-0"):
            code, headers, body = self.request(self.path, Range=value)
            self.assertEqual((code, body), (416, b"range not satisfiable\n"), value)
            self.assertEqual(headers["Content-Range"], "bytes */1024")
        self.assertEqual(self.images.open_images, [])

    def test_if_range(self) -> None:
        """With ``If-Range``, the range of another image is never sent."""
        for condition, code in (
            (self.etag, 206),
            (MODIFIED_TEXT, 206),
            (f"W/{self.etag}", 200),
            ('"other"', 200),
            ("Sun, 09 Sep 2001 01:46:41 GMT", 200),
        ):
            status = self.request(self.path, Range="bytes=1-", If_Range=condition)[0]
            self.assertEqual(status, code, condition)

    def test_not_modified(self) -> None:
        """With ``If-None-Match`` or ``If-Modified-Since``, a copy is not sent again."""
        for headers in (
            {"If_None_Match": self.etag},
            {"If_None_Match": f'"a", W/{self.etag}'},
            {"If_None_Match": "*"},
            {"If_None_Match": f'"a"\r\nIf-None-Match: {self.etag}'},
            {"If_Modified_Since": MODIFIED_TEXT},
        ):
            for method in ("GET", "HEAD"):
                code, received, body = self.request(self.path, method, **headers)
                self.assertEqual((code, body), (304, b""), headers)
                self.assertEqual(received["ETag"], self.etag)
        for headers in (
            {"If_None_Match": '"a"', "If_Modified_Since": MODIFIED_TEXT},
            {"If_None_Match": self.fingerprint},
            {"If_Modified_Since": "Sun, 09 Sep 2001 01:46:39 GMT"},
            {"If_Modified_Since": "x"},
        ):
            self.assertEqual(self.request(self.path, **headers)[0], 200, headers)
        self.assertEqual(self.images.open_images, [])

    def test_if_match(self) -> None:
        """``If-Match`` results in 412 for another image (RFC 9110, 13.1.1)."""
        for condition, code in (
            (self.etag, 200),
            (f'"a", {self.etag}', 200),
            ("*", 200),
            ('"other"', 412),
            (f"W/{self.etag}", 412),
            ("x", 412),
        ):
            self.assertEqual(self.request(self.path, If_Match=condition)[0], code)
        self.assertEqual(self.images.open_images, [])

    def test_if_unmodified_since(self) -> None:
        """A later image than ``If-Unmodified-Since`` gives 412 (RFC 9110, 13.1.4)."""
        for condition, code in (
            (MODIFIED_TEXT, 200),
            ("Sun, 09 Sep 2001 01:46:41 GMT", 200),
            ("Sunday, 09-Sep-01 01:46:40 GMT", 200),
            ("Sun Sep  9 01:46:40 2001", 200),
            ("Sun, 09 Sep 2001 01:46:39 GMT", 412),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 412),
            ("", 200),
            ("\u00e4", 200),
            ("yesterday", 200),
            ("Sun, 09 Sep 2001 01:46:39 GMT, Sun, 09 Sep 2001 01:46:39 GMT", 200),
        ):
            response = self.request(self.path, If_Unmodified_Since=condition)
            self.assertEqual(response[0], code, condition)
        self.assertEqual(self.images.open_images, [])

    def test_precedence(self) -> None:
        """Entity tags take precedence over dates (RFC 9110, 13.2.2)."""
        old, now = "Thu, 01 Jan 1970 00:00:00 GMT", MODIFIED_TEXT
        for match, unmodified_since, code in (
            (self.etag, old, 200),
            ('"other"', now, 412),
        ):
            response = self.request(
                self.path, If_Match=match, If_Unmodified_Since=unmodified_since
            )
            self.assertEqual(response[0], code)
        response = self.request(
            self.path, If_Unmodified_Since=old, If_None_Match=self.etag
        )
        self.assertEqual(response[0], 412)

    @given(st.binary(max_size=40) | st.text("SunMo ,09-:AGTM\t", max_size=40))
    def test_any_date(self, date: bytes | str) -> None:
        """No value of ``If-Unmodified-Since`` causes an error in devlxd."""
        value = date if isinstance(date, bytes) else date.encode()
        head = f"GET {self.path} HTTP/1.1\r\nHost: x\r\nIf-Unmodified-Since: ".encode()
        response = GuestConnection(self.site).send(head + value + b"\r\n\r\n")
        self.assertIn(response[9:12], (b"200", b"400", b"412", b""))

    def test_from_the_future(self) -> None:
        """``Last-Modified`` is never later than ``Date``."""
        path = path_of(self.images.put(b"new", modified=2**31))
        _, headers, _ = self.request(path)
        self.assertEqual(headers["Last-Modified"], headers["Date"])

    def test_not_seekable(self) -> None:
        """If an image is not seekable, all of it is sent; ranges are not accepted."""
        pending = PendingImage(size=3)
        pending.is_seekable = False
        self.guest = GuestConnection(
            site_for(self.store, "c1", clock=self.clock, images=pending)
        )
        pending.opening.callback(pending)
        head = f"GET {path_of('f' * 64)} HTTP/1.1\r\nHost: x\r\n"
        self.guest.send(f"{head}Range: bytes=1-\r\n\r\n".encode())
        pending.complete(b"abc")
        response = self.guest.send(b"")
        self.assertTrue(response.startswith(b"HTTP/1.1 200 "), response)
        self.assertIn(b"\r\nAccept-Ranges: none\r\n", response)
        self.assertTrue(response.endswith(b"\r\n\r\nabc"), response)

    def test_many_tags(self) -> None:
        """Only the beginning of a long list of entity tags is searched."""
        tags = ", ".join(['"x"'] * 2000)
        for condition, code in ((f"{self.etag}, {tags}", 304), (tags + self.etag, 200)):
            self.assertEqual(self.request(self.path, If_None_Match=condition)[0], code)

    def test_idle_after_download(self) -> None:
        """After a download, a connection stays open if access is switched off."""
        self.site.startFactory()
        self.addCleanup(self.site.stopFactory)
        self.request(self.path)
        off = {**ALLOWED.config, "security.devlxd": "false"}
        self.store.put(evolve(ALLOWED, config=off))
        self.assertFalse(self.guest.transport.disconnected)
        self.assertEqual(self.request(self.path)[0], 403)

    def test_keep_alive(self) -> None:
        """One connection can be used for several downloads."""
        for _ in range(MAX_DOWNLOADS * 3):
            self.assertEqual(self.request(self.path)[2], DATA)
        self.assertFalse(self.guest.transport.disconnecting)


class AccessTests(ImagesTestCase):
    """Which containers may download images."""

    def test_switch(self) -> None:
        """Without the permission, the response is 403 for every fingerprint."""
        for value, code in (
            ("true", 200),
            ("TRUE", 200),
            ("1", 200),
            ("Yes", 200),
            ("on", 200),
            ("", 403),
            ("false", 403),
            ("0", 403),
            ("maybe", 403),
            ("true ", 403),
        ):
            self.store.put(evolve(ALLOWED, config={"security.devlxd.images": value}))
            self.assertEqual(self.request(self.path)[0], code, value)
            other = self.request(path_of("0" * 64))
            self.assertEqual(other[0], 404 if code == 200 else 403, value)
        self.store.put(evolve(ALLOWED, config={}))
        code, _, body = self.request(self.path)
        self.assertEqual((code, body), (403, b"not authorized\n"))

    def test_methods(self) -> None:
        """Only GET and HEAD are allowed."""
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            code, headers, _ = self.request(self.path, method)
            self.assertEqual((code, headers["Allow"]), (405, "GET, HEAD"))

    def test_without_images(self) -> None:
        """Without a store of images, the response is 404."""
        self.guest = GuestConnection(site_for(self.store, "c1", clock=self.clock))
        self.assertEqual(self.request(self.path)[0], 404)


class NotFoundTests(SynchronousTestCase):
    """Images that a guest may not download: it cannot find out which ones exist."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        self.clock = MemoryDevLXDReactor()
        self.patch(downloads, "sleep", self.clock.advance)
        store = DirectoryImageStore(self.path, self.clock)
        site = site_for(MemoryStore([ALLOWED]), "c1", clock=self.clock, images=store)
        self.guest = GuestConnection(site)
        for digit in "abcdef":
            self.write(digit * 64, "secret")
        (self.path.parent / "secret").write_text("secret")
        self.write(f"{'b' * 64}.yaml", "public: false")
        self.write(f"{'c' * 64}.yaml", "public: nonsense")
        self.write(f"{'d' * 64}.yaml", "public: true")
        (self.path / ("d" * 64)).unlink()
        (self.path / ("d" * 64)).symlink_to("../secret")
        (self.path / f"{'e' * 64}.yaml").symlink_to(f"{'f' * 64}.yaml")
        self.write(f"{'f' * 64}.yaml", "public: true")

    def write(self, name: str, content: str) -> None:
        """Write a file in the directory of images."""
        (self.path / name).write_text(content)

    def test_public(self) -> None:
        """The public image is found."""
        response = self.guest.get(path_of("f" * 64))
        self.assertTrue(response.endswith(b"\r\n\r\nsecret"), response)

    def test_constant(self) -> None:
        """The response does not depend on why an image is not available."""
        good, unknown = "f" * 64, "0" * 64
        expected = self.guest.get("/1.0/nope")
        self.assertIn(b" 404 ", expected)
        names = [
            # missing, private or unusable images
            unknown,
            *(digit * 64 for digit in "abcde"),
            # not fingerprints
            "x",
            "%00",
            good[:-1],
            good[:12],
            f"{good}0",
            f"{good}.yaml",
            f"{good}%00",
            f"{good}%0A",
            f"%20{good}",
            f"{'g' * 64}",
            "%EF%BC%91" * 64,
            "%D9%A1" * 64,
            "\u0661" * 64,
            f"..%2F{self.path.name}%2F{good}",
            f".%2F{good}",
            f"%2F{good}",
            f"{good}%2F",
            f"{good}%2F..%2F{unknown}",
            "..",
            "%2E%2E",
            "..%2Fsecret",
            quote(str(self.path.absolute() / good), safe=""),
            "*",
            "%25",
            f"{good}%3Fpublic",
        ]
        paths = [
            *map(path_of, names),
            # other paths
            "/1.0/images",
            "/1.0/images/",
            "/1.0/images//export",
            f"/1.0/images/{good}",
            f"/1.0/images/{good}/",
            f"/1.0/images/{good}/export/",
            f"/1.0/images/{good}/export/x",
            f"/1.0/images/{good}//export",
            f"/1.0/images/{good}/Export",
            f"/1.0/images/{good}%2Fexport",
            f"/1.0/images/{good}/export%00",
            f"/1.0/images/../images/{good}/export",
            f"/1.0/images/./{good}/export",
            f"/1.0//images/{good}/export",
            f"/1.0/images/{good}/../{good}/export",
            "/1.0/images/../../secret/export",
        ]
        with capturedLogs():
            for path in paths:
                self.check(path, expected)
                self.check(f"{path}?project=default", expected)

    def check(self, path: str, expected: bytes) -> None:
        """Check that the response for ``path`` is the expected one."""
        response = self.guest.get(path)
        if not response:
            self.clock.advance(NOT_FOUND_DELAY)
            response = self.guest.send(b"")
        # Only ``Date`` may differ, as the clock advances.
        self.assertEqual(without_date(response), without_date(expected), path)

    def test_same_time(self) -> None:
        """The time until "not found" does not depend on its reason."""
        with capturedLogs():
            for digit in "0abcde":
                self.assertEqual(self.guest.get(path_of(digit * 64)), b"")
                at = self.clock.seconds() + NOT_FOUND_DELAY
                self.clock.advance(NOT_FOUND_DELAY - LEAD)
                self.assertAlmostEqual(self.clock.seconds(), at)
                self.assertIn(b" 404 ", self.guest.send(b""))

    def test_slow_disk(self) -> None:
        """The time until "not found" does not depend on the speed of the disk."""
        for seconds in (0, 0.05):
            at = self.clock.seconds() + NOT_FOUND_DELAY
            self.clock.threads.held = True
            self.guest.get(path_of("0" * 64))
            self.clock.advance(seconds)
            self.clock.threads.held = False
            self.clock.threads.release()
            self.assertEqual(self.guest.send(b""), b"")
            self.clock.advance(at - LEAD - self.clock.seconds())
            self.assertAlmostEqual(self.clock.seconds(), at)
            self.assertIn(b" 404 ", self.guest.send(b""))

    def test_clock_goes_back(self) -> None:
        """If the clock is set back, the response is not delayed further."""
        self.clock.threads.held = True
        self.guest.get(path_of("0" * 64))
        self.clock.rightNow -= 3600
        self.clock.threads.held = False
        self.clock.threads.release()
        self.clock.advance(NOT_FOUND_DELAY)
        self.assertIn(b" 404 ", self.guest.send(b""))

    def test_closes_files(self) -> None:
        """Images that are not found leave no file open."""
        descriptors = Descriptors()
        self.test_constant()
        self.assertEqual(descriptors.opened(), [])


def without_date(response: bytes) -> list[bytes]:
    """Return the lines of a response except ``Date``."""
    return [line for line in response.split(b"\r\n") if not line.startswith(b"Date: ")]


@implementer(IImageStore, IOpenImage)
class PendingImage:
    """A store with one image, whose Deferreds are fired by the test."""

    is_seekable = True

    def __init__(self, size: int = PIECE * 10) -> None:
        self.image = Image("f" * 64, (ImagePart("", "x", size),), 0)
        self.opening: Deferred[IOpenImage | None] = Deferred()
        self.reading: Deferred[bytes] | None = None
        self.wanted = (0, 0)
        self.closed = 0

    def open(self, fingerprint: str) -> Deferred[IOpenImage | None]:
        """See `IImageStore.open`."""
        return self.opening

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """See `IOpenImage.read`."""
        assert self.reading is None and not self.closed
        self.wanted = (start, size)
        self.reading = Deferred()
        return self.reading

    def complete(self, result: bytes | ImageError) -> None:
        """Complete the pending read with data, or an error."""
        reading, self.reading = self.reading, None
        assert reading is not None
        if isinstance(result, bytes):
            reading.callback(result)
        else:
            reading.errback(result)

    def close(self) -> None:
        """See `IOpenImage.close`."""
        assert self.reading is None
        self.closed += 1


verifyClass(IImageStore, PendingImage)
verifyClass(IOpenImage, PendingImage)


class FullTransport(StringTransport):
    """A transport whose buffer is full after each piece, until the guest reads."""

    def write(self, data: bytes) -> None:
        """See `ITransport.write`."""
        super().write(data)
        if self.producer is not None and len(data) >= PIECE:
            self.producer.pauseProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`. Does nothing while it closes."""
        if not self.disconnecting:
            super().resumeProducing()

    def read(self) -> bytes:
        """Read what was written, which empties the buffer."""
        data: bytes = self.value()
        self.clear()
        if self.producer is not None:
            self.producer.resumeProducing()
        return data


class FlowTests(SynchronousTestCase):
    """Guests that do not read, and stores that are slow or fail."""

    def setUp(self) -> None:
        self.clock = MemoryDevLXDReactor()
        self.patch(downloads, "sleep", self.clock.advance)
        self.pending = PendingImage()
        self.store = MemoryStore([ALLOWED])
        self.site = site_for(self.store, "c1", clock=self.clock, images=self.pending)
        self.site.startFactory()
        self.addCleanup(self.site.stopFactory)
        self.channel = self.site.buildProtocol(UNIXAddress(""))
        self.transport = FullTransport()
        self.channel.makeConnection(self.transport)

    def request(self, more: bytes = b"") -> None:
        """Request the image."""
        path = path_of(self.pending.image.fingerprint)
        self.channel.dataReceived(
            f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + more
        )

    def start(self) -> None:
        """Request the image, and send its first piece."""
        self.request()
        self.pending.opening.callback(self.pending)
        self.pending.complete(b"x" * PIECE)

    def disconnect(self) -> None:
        """Close the connection as the guest, with the calls of a real transport."""
        if self.transport.producer is not None:
            self.transport.producer.stopProducing()
        self.channel.connectionLost(Failure(ConnectionDone()))

    def assert_closed(self, closed: int = 1) -> None:
        """Check that the image is closed, and that no timeout is left."""
        self.assertEqual(self.pending.closed, closed)
        self.assertIsNone(self.pending.reading)
        self.disconnect()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_piece(self) -> None:
        """One piece is read at a time, after the guest has read the previous one."""
        self.start()
        self.assertEqual(self.pending.wanted, (0, PIECE))
        for number in range(1, 10):
            self.assertIsNone(self.pending.reading)
            self.assertLess(len(self.transport.value()), PIECE + 1000)
            self.transport.read()
            self.assertEqual(self.pending.wanted, (number * PIECE, PIECE))
            self.pending.complete(b"x" * PIECE)
        self.assertEqual(self.pending.closed, 0)
        self.transport.read()
        self.assert_closed()

    def test_small_pieces(self) -> None:
        """A read of the store may return less than was requested."""
        self.request()
        self.pending.opening.callback(self.pending)
        for at in (0, 1, 3):
            self.assertEqual(self.pending.wanted[0], at)
            self.pending.complete(b"x" * (at + 1))
        self.disconnect()
        self.pending.complete(b"x")
        self.assert_closed()

    def test_stalled(self) -> None:
        """A guest that does not read is disconnected after the timeout."""
        self.start()
        self.clock.advance(STALL_TIMEOUT - 1)
        self.assertFalse(self.transport.disconnected)
        self.transport.read()
        self.pending.complete(b"x" * PIECE)
        self.clock.advance(STALL_TIMEOUT - 1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)
        self.disconnect()
        self.assertEqual(self.pending.closed, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_disconnect_unread(self) -> None:
        """If the guest disconnects, the image is closed."""
        self.start()
        self.disconnect()
        self.assertEqual(self.pending.closed, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_disconnect_not_read(self) -> None:
        """If the guest disconnects, no more is read."""
        self.start()
        reads: list[int] = []

        def read(start: int, size: int) -> Deferred[bytes]:
            reads.append(start)
            return succeed(b"x" * size)

        self.patch(self.pending, "read", read)
        self.disconnect()
        self.assertEqual(reads, [])

    def test_disconnect_while_opening(self) -> None:
        """If the guest disconnects, an image that is being opened is closed later."""
        self.request()
        self.disconnect()
        self.pending.opening.callback(self.pending)
        self.assertEqual(self.pending.closed, 1)
        self.assertIsNone(self.pending.reading)

    def test_disconnect_while_reading(self) -> None:
        """If the guest disconnects, a pending read completes before the close."""
        self.start()
        self.transport.read()
        self.disconnect()
        self.assertEqual(self.pending.closed, 0)
        self.pending.complete(b"x" * PIECE)
        self.assertEqual(self.pending.closed, 1)

    def test_disconnect_not_found(self) -> None:
        """If the guest disconnects, "not found" is not sent."""
        self.request()
        self.pending.opening.callback(None)
        self.disconnect()
        self.clock.advance(NOT_FOUND_DELAY)
        self.assertEqual(self.transport.value(), b"")

    def test_pipelining(self) -> None:
        """A pipelined request gets its response after the image."""
        self.request(b"GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.pending.opening.callback(self.pending)
        received = b""
        for _ in range(10):
            self.pending.complete(b"x" * PIECE)
            received += self.transport.read()
        self.assertNotIn(b"api_version", received)
        self.clock.advance(0)
        self.assertIn(b"api_version", self.transport.read())
        self.assert_closed()

    def test_half_close(self) -> None:
        """A guest that closes its sending half receives all of the image."""
        self.start()
        self.channel.readConnectionLost()
        for _ in range(9):
            self.transport.read()
            self.pending.complete(b"x" * PIECE)
        self.transport.read()
        self.assertTrue(self.transport.disconnecting)
        self.assert_closed()

    def test_cannot_open(self) -> None:
        """If the store cannot open an image, the response is 502; this is logged."""
        self.request()
        with capturedLogs() as events:
            self.pending.opening.errback(ImageError("no connection to LXD"))
        response = self.transport.value()
        self.assertTrue(response.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"), response)
        self.assertTrue(response.endswith(b"\r\n\r\nbad gateway\n"), response)
        (event,) = events
        self.assertIn("no connection to LXD", str(event["reason"]))
        self.assertEqual(event["fingerprint"], "f" * 64)
        self.assertEqual(event["container"], ALLOWED.name)

    def test_cannot_read(self) -> None:
        """If the first read fails, the response is 502; the connection stays open."""
        self.request()
        self.pending.opening.callback(self.pending)
        with capturedLogs():
            self.pending.complete(ImageError("no connection to LXD"))
        response = self.transport.value()
        self.assertTrue(response.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"), response)
        self.assertNotIn(b"ETag", response)
        self.assertIn(b"\r\nContent-Length: 12\r\n", response)
        self.assertFalse(self.transport.disconnecting)
        self.assert_closed()

    def test_cannot_read_and_close(self) -> None:
        """With ``Connection: close``, the connection is closed after a 502."""
        path = path_of(self.pending.image.fingerprint)
        self.channel.dataReceived(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        self.pending.opening.callback(self.pending)
        with capturedLogs():
            self.pending.complete(ImageError("no connection to LXD"))
        self.assertIn(b"\r\nConnection: close\r\n", self.transport.value())
        self.assertTrue(self.transport.disconnecting)

    def test_fails_after_disconnect(self) -> None:
        """If the store raises after the guest has disconnected, that is logged."""
        self.request()
        self.disconnect()
        self.pending.opening.errback(ZeroDivisionError("on purpose"))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_breaks_off(self) -> None:
        """If a later read fails, the connection is aborted: the image is incomplete."""
        self.start()
        self.transport.read()
        with capturedLogs():
            self.pending.complete(ImageError("connection to LXD lost"))
        self.assertTrue(self.transport.disconnected)
        self.assert_closed()

    def test_fails(self) -> None:
        """If the store raises another exception, the response is 500; it is logged."""
        self.request()
        self.pending.opening.errback(ZeroDivisionError("on purpose"))
        self.assertIn(b" 500 ", self.transport.value())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bounded_log(self) -> None:
        """The log lines about failures of the store are limited."""
        error = ImageError("no connection to LXD")
        self.patch(self.pending, "open", lambda _: fail(error))
        guest = GuestConnection(self.site)
        with capturedLogs() as events:
            for _ in range(1000):
                self.assertIn(b" 502 ", guest.get(path_of("f" * 64)))
        self.assertLess(len(events), 30)

    def test_switched_off(self) -> None:
        """If the API is switched off for the container, its download is aborted."""
        self.start()
        off = {**ALLOWED.config, "security.devlxd": "false"}
        self.store.put(evolve(ALLOWED, config=off))
        self.assertTrue(self.transport.disconnected)
        self.disconnect()
        self.assert_closed()

    def test_switched_off_while_opening(self) -> None:
        """If the API is switched off, a download that is being opened is aborted."""
        self.request()
        off = {**ALLOWED.config, "security.devlxd": "false"}
        self.store.put(evolve(ALLOWED, config=off))
        self.assertTrue(self.transport.disconnected)
        self.disconnect()
        self.pending.opening.callback(self.pending)
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(self.pending.closed, 1)

    def test_no_new_downloads(self) -> None:
        """If only images are switched off, a running download continues."""
        self.start()
        self.store.put(evolve(ALLOWED, config={}))
        self.assertFalse(self.transport.disconnected)
        guest = GuestConnection(self.site)
        self.assertIn(b" 403 ", guest.get(path_of("f" * 64)))
        guest.disconnect()
        self.disconnect()
        self.assert_closed()

    def test_removed(self) -> None:
        """If the container is removed, its download is aborted."""
        self.start()
        self.store.remove("c1")
        self.assertTrue(self.transport.disconnected)
        self.disconnect()
        self.assert_closed()

    def test_stopped(self) -> None:
        """If devlxd stops, all downloads are aborted."""
        self.start()
        closed = self.site.close_connections()
        self.assertTrue(self.transport.disconnected)
        self.disconnect()
        self.successResultOf(closed)
        self.assert_closed()


class LimitTests(ImagesTestCase):
    """The limit on simultaneous downloads of a container."""

    def connect(self) -> FullTransport:
        """Start a download, and read none of it."""
        self.path = path_of(self.images.put(b"x" * PIECE * 3))
        transport = FullTransport()
        channel = self.site.buildProtocol(UNIXAddress(""))
        channel.makeConnection(transport)
        channel.dataReceived(f"GET {self.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.addCleanup(channel.connectionLost, Failure(ConnectionDone()))
        return transport

    def test_too_many(self) -> None:
        """The response to a request over the limit is 429, for any image."""
        running = [self.connect() for _ in range(MAX_DOWNLOADS)]
        for path in (self.path, path_of("0" * 64)):
            for method in ("GET", "HEAD"):
                code, headers, body = self.request(path, method)
                self.assertEqual(code, 429)
                self.assertEqual(headers["Retry-After"], str(RETRY_AFTER))
                self.assertEqual(body, b"too many downloads\n" * (method == "GET"))
        response = self.guest.send(
            f"GET {self.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        self.assertTrue(response.startswith(b"HTTP/1.1 429 Too Many Requests\r\n"))
        for _ in range(4):
            running[0].read()
        self.assertEqual(self.request(self.path)[0], 200)

    def test_not_found(self) -> None:
        """Requests for missing images count as downloads."""
        for _ in range(MAX_DOWNLOADS):
            guest = GuestConnection(self.site)
            self.assertEqual(guest.get(path_of("0" * 64)), b"")
        self.assertEqual(self.request(path_of("0" * 64))[0], 429)
        self.clock.advance(NOT_FOUND_DELAY)
        self.assertEqual(self.request(path_of("0" * 64))[0], 404)
