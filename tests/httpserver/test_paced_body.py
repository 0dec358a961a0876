"""Tests of `devlxd.httpserver.paced_body`."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver.paced_body import PacedBody
from devlxd.testing import RecordingSink
from devlxd.testing.contracts import BodyStreamContract

DATA = bytes(range(100))


class PacedBodyContractTests(BodyStreamContract, SynchronousTestCase):
    """`PacedBody` is a stream."""

    body = DATA

    def make_stream(self) -> PacedBody:
        """See `StreamContract.make_stream`."""
        self.released = 0
        return PacedBody(0, len(DATA), read, 40, self.release)

    def release(self) -> None:
        """Count how often the body is released."""
        self.released += 1

    def assert_released(self) -> None:
        """See `StreamContract.assert_released`."""
        self.assertEqual(self.released, 1)


async def read(start: int, size: int) -> bytes:
    """Read some data, immediately."""
    return DATA[start : start + size]


class PacedBodyTests(SynchronousTestCase):
    """The behaviour of `PacedBody` beyond the contract of a stream."""

    def setUp(self) -> None:
        self.sink = RecordingSink()
        self.reads: list[tuple[int, int]] = []
        self.released = 0
        self.pending: Deferred[bytes] | None = None

    def body(self, start: int = 0, end: int = len(DATA)) -> PacedBody:
        """Return a body of pieces of 40 bytes."""
        return PacedBody(start, end, self.read, 40, self.release)

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """Read some data, immediately or when `pending` fires."""
        self.reads.append((start, size))
        return self.pending or succeed(DATA[start : start + size])

    def release(self) -> None:
        """Count how often the body is released."""
        self.released += 1

    def test_whole(self) -> None:
        """All of a range is sent, in pieces of limited size; the body is released."""
        self.body(10, 95).start(self.sink)
        self.assertEqual(self.sink.data(), DATA[10:95])
        self.assertEqual(self.reads, [(10, 40), (50, 40), (90, 5)])
        self.assertEqual((self.sink.how_ended(), self.released), (["finish"], 1))

    def test_empty(self) -> None:
        """An empty body reads nothing."""
        self.body(5, 5).start(self.sink)
        self.assertEqual((self.reads, self.sink.how_ended()), ([], ["finish"]))

    def test_pause(self) -> None:
        """While the body is paused, nothing is read; afterwards it continues."""
        body = self.body()
        body.pause()
        body.start(self.sink)
        self.assertEqual(self.sink.written, [DATA[:40]])
        body.pause()
        body.resume()
        self.assertEqual(self.sink.data(), DATA)
        self.assertEqual(self.released, 1)

    def test_fails(self) -> None:
        """An error of a read ends the response; the body is released as well."""
        self.pending = Deferred()
        self.body().start(self.sink)
        self.pending.errback(ZeroDivisionError())
        ((method, failure),) = self.sink.ends
        assert isinstance(failure, Failure)
        self.assertEqual((method, failure.type), ("fail", ZeroDivisionError))
        self.assertEqual(self.released, 1)

    def test_closed_before_start(self) -> None:
        """A body that was never started is released when it is closed, once."""
        body = self.body()
        body.close()
        body.close()
        self.assertEqual((self.released, self.reads), (1, []))

    def test_closed_while_paused(self) -> None:
        """A paused body that is closed writes nothing more, and is released."""
        body = self.body()
        body.pause()
        body.start(self.sink)
        body.close()
        self.assertEqual(self.sink.written, [DATA[:40]])
        self.assertEqual((self.sink.ends, self.released), ([], 1))

    def test_closed_while_reading(self) -> None:
        """A body that is closed while it reads is released after the read."""
        self.pending = Deferred()
        body = self.body()
        body.start(self.sink)
        body.close()
        self.assertEqual(self.released, 0)
        self.pending.callback(b"late")
        self.assertEqual((self.sink.written, self.released), ([], 1))
