"""Tests of downloading images: both guests, with a server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import Guest, NotFound, ProtocolError, Unavailable
from devlxd.client.image_download import PATIENCE, SILENCE
from devlxd.client.sync import Guest as SyncGuest
from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialects import DIALECTS
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.model import Container
from devlxd.testing import MemoryDevLXDReactor, site_for
from tests.client.memory_network import MemoryEndpoint, settle
from tests.client.scripted_server import Peer, ScriptedTestCase, responding, sending
from tests.client.scripts import Script, response

_DATA = bytes(range(256)) * 4000
_FINGERPRINT = hashlib.sha256(_DATA).hexdigest()

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: %d\r\n\r\n"
) % len(_DATA)


def _rest(start: int) -> bytes:
    """Return the response with the rest of the image."""
    head = (
        f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(_DATA) - start}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Content-Range: bytes {start}-{len(_DATA) - 1}/{len(_DATA)}\r\n\r\n"
    )
    return head.encode() + _DATA[start:]


class _AsyncTestCase(SynchronousTestCase):
    """A guest on Twisted. After each test, nothing is left."""

    def setUp(self) -> None:
        self.clock = MemoryDevLXDReactor()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "image"

    def serve(self, serve: Callable[[], IProtocol]) -> None:
        self.endpoint = MemoryEndpoint(self.clock, serve)

    def begin(
        self,
        fingerprint: str,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Deferred[Any]:
        """Begin a download, and exchange all data."""
        guest = Guest(self.clock, self.endpoint)
        image = guest.image(fingerprint, self.path, progress)
        running = Deferred.fromCoroutine(image)
        settle(self.clock)
        return running

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        settle(self.clock)

    def assert_nothing_left(self) -> None:
        """Assert that there is no file, no connection and no timeout."""
        settle(self.clock)
        self.assertEqual(os.listdir(self.directory), [])
        self.assertEqual(self.endpoint.open_ends(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ServerTests(_AsyncTestCase):
    """A guest on Twisted and devlxd's own server."""

    def setUp(self) -> None:
        super().setUp()
        store, self.images = MemoryStore(), MemoryImageStore()
        store.put(Container("c1", {"security.devlxd.images": "true"}))
        site = site_for(
            store, "c1", DIALECTS["lxd"], clock=self.clock, images=self.images
        )
        self.serve(lambda: site.buildProtocol(UNIXAddress("")))

    def test_unified(self) -> None:
        """A unified image becomes one file."""
        running = self.begin(self.images.put(_DATA))
        self.assertEqual(self.successResultOf(running), (self.path,))
        self.assertEqual(self.path.read_bytes(), _DATA)
        self.assertEqual(os.listdir(self.directory), ["image"])

    def test_split(self) -> None:
        """A split image becomes two files."""
        running = self.begin(self.images.put(b"metadata", _DATA))
        paths = self.successResultOf(running)
        self.assertEqual([path.read_bytes() for path in paths], [b"metadata", _DATA])

    def test_interrupted(self) -> None:
        """A download whose connections end continues, also one of a split image."""
        for data in ((_DATA,), (b"metadata", _DATA)):
            seen: list[int] = []

            def progress(done: int, total: int | None, seen: list[int] = seen) -> None:
                seen.append(done)
                if len(seen) in {3, 5}:
                    self.endpoint.open_ends()[0].other.abortConnection()

            running = self.begin(self.images.put(*data), progress)
            self.advance(1)
            self.advance(1)
            paths = self.successResultOf(running)
            found = b"".join(path.read_bytes() for path in paths)
            self.assertEqual(found, b"".join(data))
            self.assertEqual(seen, sorted(seen))

    def test_not_found(self) -> None:
        """`NotFound` is raised for an image that does not exist."""
        running = self.begin("0" * 64)
        self.advance(1)
        self.failureResultOf(running, NotFound)
        self.assert_nothing_left()


class HostileServerTests(_AsyncTestCase):
    """A guest on Twisted and servers that do not send an image."""

    def test_silence(self) -> None:
        """A connection without data for 30 s is given up, and the image continued."""
        replies = [_HEAD + _DATA[:1000], _rest(1000)]
        self.serve(lambda: Script(replies.pop(0)))
        running = self.begin(_FINGERPRINT)
        self.advance(SILENCE - 1)
        self.assertNoResult(running)
        self.advance(1)
        self.advance(1)
        self.assertEqual(self.successResultOf(running), (self.path,))
        self.assertEqual(self.path.read_bytes(), _DATA)

    def test_no_answer(self) -> None:
        """A server that does not answer at all is given up after 30 s."""
        self.serve(lambda: Script(b""))
        running = self.begin(_FINGERPRINT)
        self.advance(SILENCE)
        self.failureResultOf(running, Unavailable)
        self.assert_nothing_left()

    def test_server_stays_away(self) -> None:
        """A server that does not come back is given up after a minute."""
        self.serve(lambda: Script(_HEAD + _DATA[:1000], is_closing=True))
        running = self.begin(_FINGERPRINT)
        self.endpoint.refusal = ConnectError()
        for _ in range(PATIENCE):
            self.assertNoResult(running)
            self.advance(1)
        self.advance(1)
        self.failureResultOf(running, Unavailable)
        self.assert_nothing_left()

    def test_cancelled(self) -> None:
        """A download that is cancelled leaves nothing, whenever it is."""
        for data in (b"", _HEAD + _DATA[:1000], _HEAD):
            self.serve(partial(Script, data))
            running = self.begin(_FINGERPRINT)
            running.cancel()
            self.failureResultOf(running, CancelledError)
            self.assert_nothing_left()

    def test_progress_fails(self) -> None:
        """What the caller's function raises ends a download."""

        def progress(done: int, total: int | None) -> None:
            raise RuntimeError("enough")

        self.serve(lambda: Script(_HEAD + _DATA))
        self.failureResultOf(self.begin(_FINGERPRINT, progress), RuntimeError)
        self.assert_nothing_left()

    def test_garbage(self) -> None:
        """What is no image is a `ProtocolError`."""
        for data in (b"garbage\r\n\r\n", response(b"{}")):
            self.serve(partial(Script, data))
            self.failureResultOf(self.begin(_FINGERPRINT), ProtocolError)
            self.assert_nothing_left()

    def test_disk_error(self) -> None:
        """If a file cannot be written, its name is in the `OSError`."""
        self.serve(lambda: Script(_HEAD + _DATA))
        self.path = self.directory / "none" / "image"
        failure = self.failureResultOf(self.begin(_FINGERPRINT), OSError)
        self.assertIn(str(self.path), str(failure.value))
        self.assert_nothing_left()


class SyncTests(ScriptedTestCase):
    """The synchronous guest."""

    def setUp(self) -> None:
        super().setUp()
        self.target = self._directory / "target"
        self.target.mkdir()
        self.path = self.target / "image"

    def test_image(self) -> None:
        """An image becomes a file; a function hears how much is there."""
        seen: list[tuple[int, int | None]] = []
        guest = self.guest(sending(_HEAD, _DATA))
        paths = guest.image(_FINGERPRINT, self.path, lambda *some: seen.append(some))
        self.assertEqual(paths, (self.path,))
        self.assertEqual(self.path.read_bytes(), _DATA)
        self.assertEqual(seen[-1], (len(_DATA), len(_DATA)))

    def test_interrupted(self) -> None:
        """A download whose connection ends continues on the next one."""
        requests: list[bytes] = []

        def continuing(peer: Peer) -> None:
            requests.append(peer.request())
            peer.send(_rest(1000))

        guest = self.guest(sending(_HEAD, _DATA[:1000]), continuing)
        guest.image(_FINGERPRINT, self.path)
        self.assertIn(b"\r\nRange: bytes=1000-\r\n", requests[0])
        self.assertEqual(self.path.read_bytes(), _DATA)

    def test_failures(self) -> None:
        """A download that fails raises one exception, and leaves nothing."""
        for script, error in (
            (responding((b"not found", 404)), NotFound),
            (responding((b"<html>", 200)), ProtocolError),
            (sending(b"garbage\r\n\r\n"), ProtocolError),
            (sending(), Unavailable),
        ):
            guest = self.guest(script)
            self.assertRaises(error, guest.image, _FINGERPRINT, self.path)
            self.assertEqual(os.listdir(self.target), [])

    def test_no_server(self) -> None:
        """`Unavailable` is raised immediately if there is no server."""
        guest = SyncGuest(self.target / "sock")
        self.assertRaises(Unavailable, guest.image, _FINGERPRINT, self.path)
        self.assertEqual(os.listdir(self.target), [])
