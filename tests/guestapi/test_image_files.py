"""Tests of images that are sent from files, at a real socket."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd import fast_paths
from devlxd.containers.memory_store import MemoryStore
from devlxd.fast_paths import FastPath
from devlxd.guestapi.image_export import PIECE
from devlxd.httpserver.file_transport import MOST_UNREAD
from devlxd.httpserver.prompt_transport import transport_class
from devlxd.images.directory_image_store import DirectoryImageStore
from devlxd.testing import MemoryDevLXDReactor, site_for
from tests.default_limits import STALL_TIMEOUT
from tests.descriptors import Descriptors
from tests.guestapi.test_image_export import ALLOWED, path_of
from tests.httpserver.sockets import SocketClient

FINGERPRINT = "0123456789abcdef" * 4

#: The size of each file: most of it is sent from the file.
SIZE = 4 * MOST_UNREAD


class ImageFilesTests(SynchronousTestCase):
    """Downloads of images in a directory."""

    def setUp(self) -> None:
        self.patch(fast_paths, "enabled", frozenset(FastPath))
        self.reactor = MemoryDevLXDReactor()
        self.path = Path(tempfile.mkdtemp(dir="."))
        self.data = os.urandom(SIZE)
        self.image = self.write("", self.data)
        self.write(".yaml", b"public: true")
        self.descriptors = Descriptors()
        # How much was sent from files, each time.
        self.sent: list[int] = []
        sendfile = os.sendfile

        def record(out: int, file: int, start: int, size: int) -> int:
            sent = sendfile(out, file, start, size)
            if stat.S_ISSOCK(os.fstat(out).st_mode):
                self.sent.append(sent)
            return sent

        self.patch(os, "sendfile", record)

    def write(self, suffix: str, content: bytes) -> Path:
        """Write a file of the image."""
        path = self.path / f"{FINGERPRINT}{suffix}"
        path.write_bytes(content)
        return path

    def connect(self) -> SocketClient:
        """Connect a guest."""
        images = DirectoryImageStore(self.path, self.reactor)
        store = MemoryStore([ALLOWED])
        site = site_for(store, "c1", clock=self.reactor, images=images)
        guest = SocketClient(site, transport_class())
        self.addCleanup(guest.disconnect)
        return guest

    def request(self, *headers: str, method: str = "GET") -> bytes:
        """Return a request for the image."""
        lines = (f"{method} {path_of(FINGERPRINT)} HTTP/1.1", "Host: x", *headers)
        return "\r\n".join((*lines, "", "")).encode()

    def get(self, *headers: str, method: str = "GET") -> tuple[str, bytes]:
        """Download the image; return the head and the body of the response."""
        received = self.connect().send(self.request(*headers, method=method))
        head, _, body = received.partition(b"\r\n\r\n")
        return head.decode(), body

    def assert_all_but_end(self, size: int) -> None:
        """Check that all but the end of a body of ``size`` bytes came from a file."""
        self.assertEqual(sum(self.sent), size - MOST_UNREAD - PIECE)

    def assert_closed(self) -> None:
        """Check that the file of the image is closed."""
        self.assertNotIn(str(self.image.absolute()), self.descriptors.opened())

    def test_whole(self) -> None:
        """A download is sent from the file, and is the data of the file."""
        head, body = self.get()
        self.assertIn(f"Content-Length: {SIZE}", head)
        self.assertEqual(body, self.data)
        self.assert_all_but_end(SIZE)
        self.assert_closed()

    def test_range(self) -> None:
        """So is a range of it."""
        head, body = self.get(f"Range: bytes=1000-{SIZE - 2001}")
        self.assertIn(f"Content-Range: bytes 1000-{SIZE - 2001}/{SIZE}", head)
        self.assertEqual(body, self.data[1000:-2000])
        self.assert_all_but_end(SIZE - 3000)

    def test_no_body(self) -> None:
        """Nothing is sent from the file if the response has no such body."""
        modified = f'If-None-Match: "{FINGERPRINT}"'
        for code, headers, method in (
            (200, (), "HEAD"),
            (304, (modified,), "GET"),
            (412, ("If-Match: x",), "GET"),
            (416, (f"Range: bytes={SIZE}-",), "GET"),
            (206, ("Range: bytes=0-9",), "GET"),
        ):
            head, _ = self.get(*headers, method=method)
            self.assertIn(f" {code} ", head)
        self.assertEqual(self.sent, [])

    def test_split(self) -> None:
        """Both files of a split image are sent, between the heads of their parts."""
        root = os.urandom(SIZE)
        self.write(".rootfs", root)
        head, body = self.get()
        first, second = body.index(self.data), body.index(root)
        self.assertIn(b'name="metadata"', body[:first])
        self.assertIn(b'name="rootfs"', body[first + SIZE : second])
        self.assertIn(f"Content-Length: {len(body)}", head)
        self.assertGreater(sum(self.sent), 2 * SIZE - MOST_UNREAD - 2 * PIECE)
        ends = (first + 100, second + SIZE // 2)
        _, part = self.get(f"Range: bytes={ends[0]}-{ends[1] - 1}")
        self.assertEqual(part, body[ends[0] : ends[1]])

    def test_same(self) -> None:
        """Without the fast path, the response is the same."""
        self.write(".rootfs", os.urandom(SIZE))
        fast = self.get()
        self.sent.clear()
        self.patch(fast_paths, "enabled", set())
        self.assertEqual(self.get(), fast)
        self.assertEqual(self.sent, [])

    def test_not_cached(self) -> None:
        """If files cannot be sent in this way, the response is the same, too."""

        def would_block(*_: object) -> int:
            raise BlockingIOError

        fast = self.get()
        self.sent.clear()
        self.patch(os, "preadv", would_block)
        self.assertEqual(self.get(), fast)
        self.assertEqual(self.sent, [])

    def test_keep_alive(self) -> None:
        """Another request on the same connection is answered after a download."""
        guest = self.connect()
        received = guest.send(self.request() + self.request("Range: bytes=0-9"))
        self.assertIn(self.data + b"HTTP/1.1 206", received)
        self.assertTrue(received.endswith(b"\r\n\r\n" + self.data[:10]))
        self.assertIn(
            b"HTTP/1.1 404", guest.send(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        )

    def test_stalled(self) -> None:
        """A guest that does not read is disconnected after the timeout, not before."""
        guest = self.connect()
        guest.send_only(self.request())
        for _ in range(3):
            self.reactor.advance(STALL_TIMEOUT - 1)
            self.assertIsNotNone(guest.transport)
            for _ in range(20):
                guest.read()
        self.reactor.advance(STALL_TIMEOUT + 1)
        guest.serve()
        self.assertIsNone(guest.transport)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_slow(self) -> None:
        """A guest that reads slowly receives all of the image."""
        guest = self.connect()
        guest.send_only(self.request())
        received = bytearray()
        while piece := guest.read():
            received += piece
            self.reactor.advance(0.3)
        self.assertTrue(bytes(received).endswith(self.data))
        self.assertGreater(sum(self.sent), 0)

    def test_disconnected(self) -> None:
        """When the guest disconnects, the file is closed, and nothing is left."""
        for reads in range(3):
            guest = self.connect()
            guest.send_only(self.request())
            for _ in range(reads):
                guest.read()
            guest.disconnect()
            self.assertIsNone(guest.transport)
            self.assert_closed()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def changed(self, reads: int) -> bytes:
        """Change the file after some reads of the guest; return what it receives."""
        guest = self.connect()
        guest.send_only(self.request())
        received = b"".join(guest.read() for _ in range(reads))
        with self.image.open("r+b") as file:
            file.truncate(SIZE - 5)
            file.write(bytes(SIZE - 5))
        with capturedLogs() as events:
            received += b"".join(iter(guest.read, b""))
        self.assertIsNone(guest.transport)
        self.assertIn("changed while it was read", str(events))
        return received

    def test_changed(self) -> None:
        """If the file changes, the response is cut off, however late that is."""
        for reads in (1, 5, 20, 50):
            self.assertLess(len(self.changed(reads)), SIZE, reads)
            self.image = self.write("", self.data)

    def test_changed_when_all_is_sent(self) -> None:
        """That is so until the guest has read all that was sent from the file."""
        guest = self.connect()
        guest.send_only(self.request())
        expected = SIZE - MOST_UNREAD - PIECE
        received = b""
        while sum(self.sent) < expected:
            received += guest.read()
        self.image.write_bytes(bytes(SIZE))
        with capturedLogs():
            received += b"".join(iter(guest.read, b""))
        self.assertLess(len(received), SIZE)
        self.assertIsNone(guest.transport)

    def test_removed(self) -> None:
        """An image that is removed or replaced during a download is still complete."""
        guest = self.connect()
        guest.send_only(self.request())
        other = self.path / "other"
        other.write_bytes(b"other")
        other.replace(self.image)
        received = b"".join(iter(guest.read, b""))
        self.assertTrue(received.endswith(self.data))
