"""Tests of `LXDImageStore`, in addition to the contract of `IImageStore`.

The LXD is slow, fails, or sends other data than announced.
"""

from __future__ import annotations

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from devlxd.images import upstream_image_store
from devlxd.images.upstream_image_store import LXDImageStore
from devlxd.interfaces import ImageError, IOpenImage
from devlxd.testing import MemoryDevLXDReactor
from tests.default_limits import LXD_READ_TIMEOUT
from tests.images.fake_lxd import FakeLXD
from tests.images.scripted_lxd import (
    SPLIT,
    ScriptedLXDTestCase,
    record,
    response,
    split,
    unified,
)


async def read_all(opened: IOpenImage) -> None:
    """Read an image from its beginning to its end."""
    position = 0
    while position < opened.image.size:
        position += len(await opened.read(position, 100))


class RememberTests(ScriptedLXDTestCase):
    """Images that are opened more than once."""

    def test_once(self) -> None:
        """The parts of an image are fetched once."""
        self.opened(record(), split(SPLIT))
        self.opened(record())

    def test_reload(self) -> None:
        """A reload forgets the parts: they are fetched again."""
        self.opened(record(), split(SPLIT))
        self.store.reload()
        self.opened(record(), split(SPLIT))

    def test_limit(self) -> None:
        """The number of images whose parts are remembered is limited."""
        self.patch(upstream_image_store, "MAX_REMEMBERED", 1)
        self.opened(record(), split(SPLIT))
        other = "f" * 64
        opening = self.store.open(other)
        self.send_responses(record(fingerprint=other), unified("0-0/8", b"t"))
        self.successResultOf(opening)
        self.opened(record(), split(SPLIT))


class ReadTests(ScriptedLXDTestCase):
    """Reading the data of an image."""

    def reading(self, *exports: bytes, start: int = 0) -> Deferred[bytes]:
        """Start to read an image of 8 bytes."""
        return self.opened(record(), *exports).read(start, 100)

    def test_not_seekable(self) -> None:
        """A split image is read from its beginning: LXD sends no ranges of it."""
        opened = self.opened(record(), split(SPLIT))
        self.assertFalse(opened.is_seekable)
        reading = opened.read(3, 1)
        self.send_responses(split(SPLIT))
        self.assert_fails(reading, "from its beginning")

    def test_connects_late(self) -> None:
        """Data is requested when it is read, from the offset of the read."""
        opened = self.opened(record(), unified("0-0/8", b"t"))
        self.assertEqual(len(self.reactor.unixClients), self.accepted)
        opened.read(5, 1)
        self.assertIn(b"\r\nRange: bytes=5-7\r\n", self.accept().value())

    def test_chunks(self) -> None:
        """Data can be read as it arrives."""
        opened = self.opened(record(), unified("0-0/8", b"t"))
        reading = opened.read(0, 100)
        self.send_responses(unified("0-7/8", b"the", length=8))
        self.assertEqual(self.successResultOf(reading), b"the")
        reading = opened.read(3, 2)
        self.assertNoResult(reading)
        self.protocol.dataReceived(b"ima")
        self.assertEqual(self.successResultOf(reading), b"im")
        self.assertEqual(self.successResultOf(opened.read(5, 100)), b"a")
        reading = opened.read(6, 100)
        self.protocol.dataReceived(b"ge")
        self.assertEqual(self.successResultOf(reading), b"ge")

    def test_connection_lost(self) -> None:
        """If the connection is lost, the next read fails."""
        opened = self.opened(record(), unified("0-0/8", b"t"))
        reading = opened.read(0, 100)
        self.send_responses(unified("0-7/8", b"the", length=8))
        self.assertEqual(self.successResultOf(reading), b"the")
        reading = opened.read(3, 100)
        self.close_connection()
        self.assert_fails(reading, "incomplete")

    def test_longer_at_the_end(self) -> None:
        """The last bytes are returned only when LXD has sent no more."""
        opened = self.opened(record(), split(SPLIT))
        opened.read(0, 100)
        longer = SPLIT.replace(b"image", b"images")
        position = longer.index(b"images") + 5
        self.send_responses(split(longer)[: position - len(longer)])
        reading = opened.read(3, 100)
        self.assertNoResult(reading)
        self.protocol.dataReceived(longer[position:])
        self.assert_fails(reading, "more data than the size of rootfs")

    def test_seek(self) -> None:
        """A read at another offset closes the previous connection."""
        opened = self.opened(record(), unified("0-0/8", b"t"))
        opened.read(0, 1)
        first = self.accept()
        self.protocol.dataReceived(unified("0-7/8", b"the", length=8))
        opened.read(5, 1)
        self.assertTrue(first.disconnecting)

    def test_timeout(self) -> None:
        """A read fails if LXD sends no data until the timeout."""
        reading = self.reading(unified("0-0/8", b"t"))
        self.send_responses(unified("0-7/8", b"", length=8))
        self.reactor.advance(LXD_READ_TIMEOUT)
        self.assert_fails(reading, "no data")

    def test_unified_changed(self) -> None:
        """A read fails if a unified image has changed since it was opened."""
        for content in (
            response(200, body=b"theimage"),
            unified("0-6/7", b"theimag"),
            unified("0-7/8", b"theimag"),
            unified("0-7/8", b"theimages"),
            unified("1-8/8", b"heimages"),
            response(416, body=b""),
            split(SPLIT),
        ):
            reading = self.reading(unified("0-0/8", b"t"))
            self.send_responses(content)
            self.failureResultOf(reading, ImageError)
            self.setUp()

    def test_split_changed(self) -> None:
        """A read fails if a split image has changed since it was opened."""
        for body in (
            SPLIT.replace(b"the", b"they"),
            SPLIT.replace(b"the", b"th"),
            SPLIT.replace(b"image", b"images"),
            SPLIT.replace(b"image", b"imag"),
            SPLIT.replace(b'"rootfs"', b'"rootfs.img"'),
            SPLIT[:-10],
        ):
            opened = self.opened(record(), split(SPLIT))
            reading = Deferred.fromCoroutine(read_all(opened))
            self.send_responses(split(body))
            self.close_connection()
            self.failureResultOf(reading, ImageError)
            self.setUp()

    def test_unified_for_split(self) -> None:
        """A read of a split image fails if LXD sends a unified one."""
        reading = self.reading(split(SPLIT))
        self.send_responses(unified("0-7/8", b"theimage"))
        self.assert_fails(reading, "another image")
        # The store has forgotten the parts, and fetches them again.
        self.opened(record(), unified("0-0/8", b"t"))

    def test_close(self) -> None:
        """Closing an image closes the connection."""
        opened = self.opened(record(), unified("0-0/8", b"t"))
        opened.close()
        opened.read(0, 1)
        transport = self.accept()
        self.protocol.dataReceived(unified("0-7/8", b"the", length=8))
        self.assertFalse(transport.disconnecting)
        opened.close()
        self.assertTrue(transport.disconnecting)

    def test_pause(self) -> None:
        """LXD is paused while the guest reads more slowly than LXD sends."""
        size = 10**6
        opened = self.opened(record(size=size), unified(f"0-0/{size}", b"t"))
        reading = opened.read(0, 100)
        transport = self.accept()
        head = unified(f"0-{size - 1}/{size}", b"", length=size)
        self.protocol.dataReceived(head)
        sent = 0
        while transport.producerState == "producing" and sent < size:
            self.protocol.dataReceived(b"x" * 1000)
            sent += 1000
        self.assertEqual(self.successResultOf(reading), b"x" * 100)
        self.assertLess(sent, 300_000)
        position = 100
        while position < sent:
            position += len(self.successResultOf(opened.read(position, size)))
        self.assertEqual(transport.producerState, "producing")


class ConcurrencyTests(SynchronousTestCase):
    """Several open images."""

    def test_two_readers(self) -> None:
        """The same image can be read twice at the same time."""
        fake = FakeLXD()
        fingerprint = fake.put(b"the", b"image" * 1000)
        agent = RequestTraversalAgent(fake)
        store = LXDImageStore("/x", MemoryDevLXDReactor(), agent)
        openings = [store.open(fingerprint) for _ in range(2)]
        for _ in range(10):
            agent.flush()
        readings = []
        for opening in openings:
            opened = self.successResultOf(opening)
            assert opened is not None
            readings.append(opened.read(0, 3))
        for _ in range(10):
            agent.flush()
        for reading in readings:
            self.assertEqual(self.successResultOf(reading), b"the")
