"""Tests of `devlxd.httpserver.paced_body`."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.httpserver.paced_body import PacedBody
from devlxd.interfaces import ISink, IStream

DATA = bytes(range(100))


@implementer(ISink)
class RecordingSink:
    """Records what is written.

    :ivar written: the pieces.
    :ivar ends: how the response ended.
    """

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.ends: list[object] = []

    def write(self, data: bytes) -> None:
        """See `ISink.write`."""
        self.written.append(data)

    def finish(self, reason: str = "") -> None:
        """See `ISink.finish`."""
        self.ends.append("finished")

    def cut_off(self, reason: str) -> None:
        """See `ISink.cut_off`."""

    def abort(self) -> None:
        """See `ISink.abort`."""

    def fail(self, failure: Failure) -> None:
        """See `ISink.fail`."""
        self.ends.append(failure.type)


class PacedBodyTests(SynchronousTestCase):
    """A body that is read and sent piece by piece."""

    def setUp(self) -> None:
        self.sink = RecordingSink()
        self.reads: list[tuple[int, int]] = []
        self.released = 0
        self.pending: Deferred[bytes] | None = None

    def body(self, start: int = 0, end: int = len(DATA)) -> PacedBody:
        """Return a body of pieces of 40 bytes."""
        return PacedBody(start, end, self.read, 40, self.release)

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """Read some data, at once or when the test says so."""
        self.reads.append((start, size))
        return self.pending or succeed(DATA[start : start + size])

    def release(self) -> None:
        """Note that nothing is read any more."""
        self.released += 1

    def test_interface(self) -> None:
        """It is a stream."""
        self.assertTrue(verifyObject(IStream, self.body()))

    def test_whole(self) -> None:
        """All of it is sent, no piece longer than asked for; then it is released."""
        self.body(10, 95).start(self.sink)
        self.assertEqual(b"".join(self.sink.written), DATA[10:95])
        self.assertEqual(self.reads, [(10, 40), (50, 40), (90, 5)])
        self.assertEqual((self.sink.ends, self.released), (["finished"], 1))

    def test_empty(self) -> None:
        """An empty one reads nothing."""
        self.body(5, 5).start(self.sink)
        self.assertEqual((self.reads, self.sink.ends), ([], ["finished"]))

    def test_pause(self) -> None:
        """While it is paused, nothing is read; afterwards it continues there."""
        body = self.body()
        body.pause()
        body.start(self.sink)
        self.assertEqual(self.sink.written, [DATA[:40]])
        body.pause()
        body.resume()
        self.assertEqual(b"".join(self.sink.written), DATA)
        self.assertEqual(self.released, 1)

    def test_fails(self) -> None:
        """An error of reading ends the response; it is released all the same."""
        self.pending = Deferred()
        self.body().start(self.sink)
        self.pending.errback(ZeroDivisionError())
        self.assertEqual(self.sink.ends, [ZeroDivisionError])
        self.assertEqual(self.released, 1)

    def test_closed_before_start(self) -> None:
        """One that was never started is released when it is closed, once."""
        body = self.body()
        body.close()
        body.close()
        self.assertEqual((self.released, self.reads), (1, []))

    def test_closed_while_paused(self) -> None:
        """Closed while paused, it writes nothing more and is released."""
        body = self.body()
        body.pause()
        body.start(self.sink)
        body.close()
        self.assertEqual(self.sink.written, [DATA[:40]])
        self.assertEqual((self.sink.ends, self.released), ([], 1))

    def test_closed_while_reading(self) -> None:
        """Closed while it reads, it is released when that has ended, not before."""
        self.pending = Deferred()
        body = self.body()
        body.start(self.sink)
        body.close()
        self.assertEqual(self.released, 0)
        self.pending.callback(b"late")
        self.assertEqual((self.sink.written, self.released), ([], 1))
