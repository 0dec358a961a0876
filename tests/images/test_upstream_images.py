"""Tests of `devlxd.images.upstream_images`, beside the contract of `IImageStore`: an LXD
that is away, slow, or tells lies.
"""

from __future__ import annotations

import gzip
import json
from typing import TypeVar

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.images import response_reader, upstream_images
from devlxd.images.upstream_images import MAX_FACTS, LXDImageStore
from devlxd.interfaces import ImageError, IOpenImage
from devlxd.testing import MemoryDevLXDReactor
from tests.images.fake_lxd import UPLOADED_AT, FakeLXD

T = TypeVar("T")

FINGERPRINT = "0123456789abcdef" * 4

FACTS: dict[str, object] = {
    "fingerprint": FINGERPRINT,
    "public": True,
    "cached": False,
    "size": 8,
    "uploaded_at": UPLOADED_AT,
}


def response(code: int, *headers: str, body: bytes = b"") -> bytes:
    """Return a response as it is on the wire; its length is in it by default."""
    if not headers:
        headers = (f"Content-Length: {len(body)}",)
    lines = [f"HTTP/1.1 {code} Whatever", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def facts(**other: object) -> bytes:
    """Return a response that tells of the image, not quite as it is."""
    return response(200, body=json.dumps({"metadata": FACTS | other}).encode())


def single(span: str, data: bytes, length: int | None = None) -> bytes:
    """Return a response that is some of an image of one file."""
    return response(
        206,
        "Content-Type: application/octet-stream",
        f"Content-Range: bytes {span}",
        f"Content-Length: {len(data) if length is None else length}",
        body=data,
    )


def part(name: str, data: bytes) -> bytes:
    """Return a part of a split image, the line before it included."""
    disposition = f'form-data; name="{name}"; filename="x"'
    return f"--b\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data


def split(body: bytes) -> bytes:
    """Return a response that is a split image."""
    kind = "multipart/form-data; boundary=b"
    length = f"Content-Length: {len(body)}"
    return response(200, f"Content-Type: {kind}", length, body=body)


SPLIT = part("metadata", b"the\r\n") + part("rootfs", b"image\r\n") + b"--b--\r\n"


async def read_all(opened: IOpenImage) -> None:
    """Read an image from its beginning to its end."""
    at = 0
    while at < opened.image.size:
        at += len(await opened.read(at, 100))


class ScriptedTestCase(SynchronousTestCase):
    """Plays LXD, connection by connection."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.store = LXDImageStore("/lxd/sock", self.reactor)
        self.asked = 0

    def accept(self) -> StringTransport:
        """Accept a connection; the last one is at ``transport``."""
        address, factory, *_ = self.reactor.unixClients[self.asked]
        self.asked += 1
        self.assertEqual(address, "/lxd/sock")
        transport = StringTransport()
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(transport)
        self.transport = transport
        return transport

    def play(self, *answers: bytes) -> None:
        """Accept connections, and give each an answer."""
        for answer in answers:
            self.accept()
            self.protocol.dataReceived(answer)

    def hang_up(self) -> None:
        """Close the last connection."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def assert_fails(self, waiting: Deferred[T], reason: str) -> None:
        """Check that something goes wrong, and that nothing is left of it."""
        error = self.failureResultOf(waiting, ImageError).value
        self.assertIn(reason, str(error))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def opened(self, *answers: bytes) -> IOpenImage:
        """Open an image."""
        opening = self.store.open(FINGERPRINT)
        self.play(*answers)
        opened = self.successResultOf(opening)
        assert opened is not None
        return opened


class FactsTests(ScriptedTestCase):
    """What LXD says of an image."""

    def assert_refused(self, answer: bytes, reason: str) -> None:
        """Check that an answer is not believed."""
        opening = self.store.open(FINGERPRINT)
        self.play(answer)
        self.assert_fails(opening, reason)

    def test_question(self) -> None:
        """It is asked for by its whole fingerprint, and in no other way."""
        self.store.open(FINGERPRINT)
        question = self.accept().value()
        self.assertTrue(
            question.startswith(f"GET /1.0/images/{FINGERPRINT} HTTP/1.1\r\n".encode())
        )

    def test_private(self) -> None:
        """What is neither public nor cached is not there, nor what is not there."""
        for answer in (facts(public=False), response(404, body=b"{}")):
            opening = self.store.open(FINGERPRINT)
            self.play(answer)
            self.assertIsNone(self.successResultOf(opening))

    def test_cached(self) -> None:
        """What is cached is there."""
        answers = (facts(public=False, cached=True), single("0-0/8", b"t"))
        self.assertEqual(self.opened(*answers).image.size, 8)

    def test_modified(self) -> None:
        """It is as old as LXD says; if LXD says nothing, it is very old."""
        for uploaded_at, modified in (
            (UPLOADED_AT, 1795299084),
            ("0001-01-01T00:00:00Z", 0),
            ("yesterday", 0),
            (None, 0),
        ):
            self.setUp()
            answers = (facts(uploaded_at=uploaded_at), single("0-0/8", b"t"))
            self.assertEqual(self.opened(*answers).image.modified, modified)

    def test_away(self) -> None:
        """An LXD that is not there."""
        opening = self.store.open(FINGERPRINT)
        _, factory, *_ = self.reactor.unixClients[0]
        factory.clientConnectionFailed(None, Failure(ConnectError(string="no socket")))
        self.assert_fails(opening, "/lxd/sock")

    def test_slow(self) -> None:
        """An LXD that says nothing, or stops to speak."""
        for answer in (b"", b"HTTP/1.1 200 OK\r\n"):
            opening = self.store.open(FINGERPRINT)
            self.play(answer)
            self.reactor.advance(upstream_images.TIMEOUT)
            self.assert_fails(opening, "no answer for 10 s")
        opening = self.store.open(FINGERPRINT)
        self.play(response(200, "Content-Length: 100", body=b"{"))
        self.reactor.advance(response_reader.TIMEOUT)
        self.assert_fails(opening, "more than 30 s")

    def test_stops(self) -> None:
        """An LXD that stops in the middle."""
        for answer in (b"", b"HTTP/1.1 200 OK\r\nConte", facts()[:-1]):
            opening = self.store.open(FINGERPRINT)
            self.play(answer)
            self.hang_up()
            self.failureResultOf(opening, ImageError)

    def test_errors(self) -> None:
        """An LXD that says that something is wrong, or sends somewhere else."""
        for code in (403, 500, 503):
            self.assert_refused(response(code, body=b"{}"), f"answers {code}")
        elsewhere = ("Location: http://elsewhere/", "Content-Length: 0")
        self.assert_refused(response(301, *elsewhere), "answers 301")

    def test_lies(self) -> None:
        """Things that LXD does not say."""
        for body in (b"", b"[]", b"{}", b"\xff", b'{"metadata": []}', b"[" * 10**5):
            self.assert_refused(response(200, body=body), "nothing that LXD says")
        self.assert_refused(facts(fingerprint="0" * 64), "another image")
        for size in (0, -1, None, "8", 8.0, True):
            self.assert_refused(facts(size=size), "how long")
        self.assert_refused(b"ICY 200 OK\r\n\r\n", "")

    def test_too_much(self) -> None:
        """There is an end to what is listened to."""
        opening = self.store.open(FINGERPRINT)
        self.play(response(200, "Content-Length: 10000000", body=b" " * MAX_FACTS))
        self.assertNoResult(opening)
        self.protocol.dataReceived(b" ")
        self.assert_fails(opening, "too much")

    def test_hangs_up(self) -> None:
        """An answer that is of no use is not listened to."""
        for code in (404, 500):
            opening = self.store.open(FINGERPRINT)
            self.play(response(code, "Content-Length: 9999", body=b"{"))
            self.assertTrue(self.transport.disconnecting, code)
            opening.addErrback(lambda failure: failure.trap(ImageError) and None)
            self.assertIsNone(self.successResultOf(opening))

    def test_private_first(self) -> None:
        """Of what nobody may have nothing else matters."""
        opening = self.store.open(FINGERPRINT)
        self.play(facts(public=False, size=0, fingerprint="0" * 64))
        self.assertIsNone(self.successResultOf(opening))

    def test_quiet(self) -> None:
        """No question leaves a line in the log."""
        with capturedLogs() as events:
            opening = self.store.open(FINGERPRINT)
            _, factory, *_ = self.reactor.unixClients[0]
            factory.doStart()
            self.play(response(404, body=b"{}"))
            factory.doStop()
        self.assertIsNone(self.successResultOf(opening))
        self.assertEqual(events, [])

    def test_drips(self) -> None:
        """An LXD that says little, but always something."""
        opening = self.store.open(FINGERPRINT)
        self.play(response(200, "Content-Length: 1000", body=b"{"))
        for _ in range(upstream_images.OPEN_TIMEOUT):
            self.protocol.dataReceived(b" ")
            self.assertNoResult(opening)
            self.reactor.advance(1)
        self.assert_fails(opening, "more than 30 s")

    def test_packed(self) -> None:
        """What is compressed is not asked for, and not unpacked."""
        bomb = gzip.compress(b" " * 10**6)
        opening = self.store.open(FINGERPRINT)
        self.assertNotIn(b"ccept-", self.accept().value())
        length = f"Content-Length: {len(bomb)}"
        self.protocol.dataReceived(
            response(200, "Content-Encoding: gzip", length, body=bomb)
        )
        self.assert_fails(opening, "nothing that LXD says")

    def test_cookies(self) -> None:
        """What LXD wants to be told again it is not."""
        self.opened(
            facts().replace(b"Content-", b"Set-Cookie: a=b\r\nContent-", 1),
            single("0-0/8", b"t"),
        )
        self.store.open(FINGERPRINT)
        self.assertNotIn(b"ookie", self.accept().value())

    def test_not_yes(self) -> None:
        """What is not a clear yes makes no image public."""
        for value in ("true", 1, None, [True]):
            opening = self.store.open(FINGERPRINT)
            self.play(facts(public=value))
            self.assertIsNone(self.successResultOf(opening))


class LayoutTests(ScriptedTestCase):
    """Of which parts an image is."""

    def assert_refused(self, answer: bytes, reason: str, end: bool = False) -> None:
        """Check that an export is not believed."""
        opening = self.store.open(FINGERPRINT)
        self.play(facts(), answer)
        if end:
            self.hang_up()
        self.assert_fails(opening, reason)

    def test_single(self) -> None:
        """An image of one file without a name has that of its fingerprint."""
        opened = self.opened(facts(), single("0-0/8", b"t"))
        (only,) = opened.image.parts
        self.assertEqual((only.filename, only.size), (FINGERPRINT, 8))

    def test_split(self) -> None:
        """The length of the second half follows from that of the first."""
        opened = self.opened(facts(), split(SPLIT))
        sizes = [(found.name, found.size) for found in opened.image.parts]
        self.assertEqual(sizes, [("metadata", 3), ("rootfs", 5)])

    def test_hangs_up(self) -> None:
        """Once it is known, or known to be wrong, no more is fetched."""
        kind = "Content-Type: multipart/form-data; boundary=b"
        for code, body in ((200, SPLIT), (200, b"?" * 100), (500, b"x")):
            self.setUp()
            opening = self.store.open(FINGERPRINT)
            unfinished = response(code, kind, "Content-Length: 9999", body=body)
            self.play(facts(), unfinished)
            self.assertTrue(self.transport.disconnecting, body)
            opening.addErrback(lambda failure: failure.trap(ImageError) and None)
            self.successResultOf(opening)

    def test_once(self) -> None:
        """That is found out once for an image."""
        self.opened(facts(), split(SPLIT))
        self.opened(facts())

    def test_forgotten(self) -> None:
        """There is an end to what is remembered."""
        self.patch(upstream_images, "MAX_REMEMBERED", 1)
        self.opened(facts(), split(SPLIT))
        other = "f" * 64
        opening = self.store.open(other)
        self.play(facts(fingerprint=other), single("0-0/8", b"t"))
        self.successResultOf(opening)
        self.opened(facts(), split(SPLIT))

    def test_lies(self) -> None:
        """Exports that are not the image that LXD has told of."""
        for answer, reason in (
            (response(404, body=b"{}"), "answers 404"),
            (response(200, body=b"the image"), "answers 200"),
            (single("0-0/9", b"t"), "'bytes 0-0/9', not bytes 0-0/8"),
            (single("1-1/8", b"t"), "'bytes 1-1/8', not"),
            (single("0-0/8", b"tt"), "2 bytes, not 1"),
            (split(b"--b--\r\n"), "fewer parts"),
            (split(part("rootfs", b"image\r\n") + b"--b--\r\n"), "no part metadata"),
            (split(part("metadata", b"the\r\n") + b"--b--\r\n"), "fewer parts"),
            (split(SPLIT.replace(b'"rootfs"', b'"x"')), "no part rootfs"),
            (split(SPLIT.replace(b"the", b"")), "nothing of the metadata"),
            (split(SPLIT.replace(b"the", b"whatever")), "more of it"),
            (split(b"\r\n".join([b"--b", b"nothing", b"", b""])), "no multipart"),
            (split(SPLIT).replace(b"boundary=b", b"boundary="), "no multipart"),
            (split(SPLIT).replace(b"200", b"500"), "answers 500"),
        ):
            self.assert_refused(answer, reason)

    def test_stops(self) -> None:
        """An LXD that stops in the middle."""
        self.assert_refused(split(SPLIT)[:-50], "breaks off", end=True)

    def test_never_ends(self) -> None:
        """An LXD that sends and sends, and never comes to the second half."""
        kind = "Content-Type: multipart/form-data; boundary=b"
        for body in (part("metadata", b""), b"--b\r\n"):
            opening = self.store.open(FINGERPRINT)
            self.play(facts(size=10**9), response(200, kind, "X: y", body=body))
            for _ in range(upstream_images.OPEN_TIMEOUT):
                self.protocol.dataReceived(b"x")
                self.assertNoResult(opening)
                self.reactor.advance(1)
            self.assert_fails(opening, "more than 30 s")

    def test_preamble(self) -> None:
        """What comes before the first part is not waited to end."""
        self.assert_refused(split(b"x" * 1000 + SPLIT), "no multipart")


class DataTests(ScriptedTestCase):
    """The data of an image, on their way."""

    def reading(self, *layout: bytes, start: int = 0) -> Deferred[bytes]:
        """Begin to read an image of 8 bytes."""
        return self.opened(facts(), *layout).read(start, 100)

    def test_not_seekable(self) -> None:
        """Of a split one LXD would send all that comes before."""
        opened = self.opened(facts(), split(SPLIT))
        self.assertFalse(opened.is_seekable)
        reading = opened.read(3, 1)
        self.play(split(SPLIT))
        self.assert_fails(reading, "from its beginning")

    def test_connects_late(self) -> None:
        """Nothing is fetched before it is read, and only what is wanted."""
        opened = self.opened(facts(), single("0-0/8", b"t"))
        self.assertEqual(len(self.reactor.unixClients), self.asked)
        opened.read(5, 1)
        self.assertIn(b"\r\nRange: bytes=5-7\r\n", self.accept().value())

    def test_pieces(self) -> None:
        """What comes in pieces is read in pieces."""
        opened = self.opened(facts(), single("0-0/8", b"t"))
        reading = opened.read(0, 100)
        self.play(single("0-7/8", b"the", length=8))
        self.assertEqual(self.successResultOf(reading), b"the")
        reading = opened.read(3, 2)
        self.assertNoResult(reading)
        self.protocol.dataReceived(b"ima")
        self.assertEqual(self.successResultOf(reading), b"im")
        self.assertEqual(self.successResultOf(opened.read(5, 100)), b"a")
        reading = opened.read(6, 100)
        self.protocol.dataReceived(b"ge")
        self.assertEqual(self.successResultOf(reading), b"ge")

    def test_stops(self) -> None:
        """An LXD that stops in the middle is not taken for one that is done."""
        opened = self.opened(facts(), single("0-0/8", b"t"))
        reading = opened.read(0, 100)
        self.play(single("0-7/8", b"the", length=8))
        self.assertEqual(self.successResultOf(reading), b"the")
        reading = opened.read(3, 100)
        self.hang_up()
        self.assert_fails(reading, "breaks off")

    def test_more_at_the_end(self) -> None:
        """The last of it is not handed out before it is known to be the last."""
        opened = self.opened(facts(), split(SPLIT))
        opened.read(0, 100)
        longer = SPLIT.replace(b"image", b"images")
        at = longer.index(b"images") + 5
        self.play(split(longer)[: at - len(longer)])
        reading = opened.read(3, 100)
        self.assertNoResult(reading)
        self.protocol.dataReceived(longer[at:])
        self.assert_fails(reading, "more of the rootfs")

    def test_elsewhere(self) -> None:
        """Who reads on somewhere else leaves no connection behind."""
        opened = self.opened(facts(), single("0-0/8", b"t"))
        opened.read(0, 1)
        first = self.accept()
        self.protocol.dataReceived(single("0-7/8", b"the", length=8))
        opened.read(5, 1)
        self.assertTrue(first.disconnecting)

    def test_silence(self) -> None:
        """Nor one that says nothing any more."""
        reading = self.reading(single("0-0/8", b"t"))
        self.play(single("0-7/8", b"", length=8))
        self.reactor.advance(response_reader.TIMEOUT)
        self.assert_fails(reading, "nothing comes")

    def test_single_lies(self) -> None:
        """Images of one file that are not what they were said to be."""
        for answer in (
            response(200, body=b"theimage"),
            single("0-6/7", b"theimag"),
            single("0-7/8", b"theimag"),
            single("0-7/8", b"theimages"),
            single("1-8/8", b"heimages"),
            response(416, body=b""),
            split(SPLIT),
        ):
            reading = self.reading(single("0-0/8", b"t"))
            self.play(answer)
            self.failureResultOf(reading, ImageError)
            self.setUp()

    def test_split_lies(self) -> None:
        """Split images that are not what they were said to be."""
        for answer in (
            SPLIT.replace(b"the", b"they"),
            SPLIT.replace(b"the", b"th"),
            SPLIT.replace(b"image", b"images"),
            SPLIT.replace(b"image", b"imag"),
            SPLIT.replace(b'"rootfs"', b'"rootfs.img"'),
            SPLIT[:-10],
        ):
            opened = self.opened(facts(), split(SPLIT))
            reading = Deferred.fromCoroutine(read_all(opened))
            self.play(split(answer))
            self.hang_up()
            self.failureResultOf(reading, ImageError)
            self.setUp()

    def test_single_for_split(self) -> None:
        """A split image does not become one of one file."""
        reading = self.reading(split(SPLIT))
        self.play(single("0-7/8", b"theimage"))
        self.assert_fails(reading, "another image")
        # What was remembered of it is found out anew.
        self.opened(facts(), single("0-0/8", b"t"))

    def test_hangs_up(self) -> None:
        """LXD is hung up on when nobody reads any more."""
        opened = self.opened(facts(), single("0-0/8", b"t"))
        opened.close()
        opened.read(0, 1)
        transport = self.accept()
        self.protocol.dataReceived(single("0-7/8", b"the", length=8))
        self.assertFalse(transport.disconnecting)
        opened.close()
        self.assertTrue(transport.disconnecting)

    def test_pace(self) -> None:
        """LXD waits when it sends faster than the guest reads."""
        size = 10**6
        opened = self.opened(facts(size=size), single(f"0-0/{size}", b"t"))
        reading = opened.read(0, 100)
        transport = self.accept()
        head = single(f"0-{size - 1}/{size}", b"", length=size)
        self.protocol.dataReceived(head)
        sent = 0
        while transport.producerState == "producing" and sent < size:
            self.protocol.dataReceived(b"x" * 1000)
            sent += 1000
        self.assertEqual(self.successResultOf(reading), b"x" * 100)
        self.assertLess(sent, 300_000)
        at = 100
        while at < sent:
            at += len(self.successResultOf(opened.read(at, size)))
        self.assertEqual(transport.producerState, "producing")


class ManyTests(SynchronousTestCase):
    """More than one at a time."""

    def test_two_readers(self) -> None:
        """Two who read the same image do not disturb each other."""
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
