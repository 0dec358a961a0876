"""Tests of `devlxd.httpserver.file_body`."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from devlxd.httpserver.file_body import LEAST_LOADED, MOST_LOADED, FileBody
from devlxd.interfaces import IFileSink
from devlxd.model import FileRange
from devlxd.testing import RecordingSink
from devlxd.testing.contracts import BodyStreamContract

#: How much a body is read at a time.
PIECE = 1000

#: How much the client of a `FakeFileSink` may not have read.
UNREAD = 5000

#: More than the end of any body.
MANY = 10**12

#: How much of a body is not sent from a file.
END = UNREAD + PIECE


@implementer(IFileSink)
class FakeFileSink(RecordingSink):
    """A sink that keeps what is sent until the test says how much was sent.

    :ivar sending: what is being sent, if there is any.
    :ivar sent: how much was sent, each time.
    """

    most_unread = UNREAD

    def __init__(self) -> None:
        super().__init__()
        self.sending: FileRange | None = None
        self.sent: list[int] = []
        self._ended: Deferred[int] = Deferred()

    def send(self, data: FileRange, seconds: float) -> Deferred[int]:
        """See `IFileSink.send`."""
        assert self.sending is None and not self.ends
        self.sending, self._ended = data, Deferred()
        return self._ended

    def end(self, size: int | None = None) -> None:
        """End sending after ``size`` bytes; default: after all of them."""
        assert self.sending is not None
        size = self.sending.size if size is None else size
        self.sending = None
        self.sent.append(size)
        self._ended.callback(size)


verifyClass(IFileSink, FakeFileSink)


class FileBodyContractTests(BodyStreamContract, SynchronousTestCase):
    """`FileBody` is a stream, also for sinks that send no files."""

    body = bytes(range(100))

    def make_stream(self) -> FileBody:
        """See `StreamContract.make_stream`."""
        self.released = 0
        return FileBody(0, 100, self.read, self.load, 40, self.release)

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """Read the body."""
        return succeed(self.body[start : start + size])

    def load(self, start: int, size: int) -> Deferred[FileRange | None]:
        """Load nothing: it is not called."""
        raise AssertionError

    def release(self) -> None:
        """Count how often the body is released."""
        self.released += 1

    def assert_released(self) -> None:
        """See `StreamContract.assert_released`."""
        self.assertEqual(self.released, 1)


class FileBodyTests(SynchronousTestCase):
    """What is sent from a file, and what is read."""

    def setUp(self) -> None:
        self.sink = FakeFileSink()
        self.loads: list[tuple[int, int]] = []
        self.reads: list[tuple[int, int]] = []
        self.released = 0
        self.load_result: Callable[[int, int], FileRange | None] = self.loaded
        self.pending: Deferred[FileRange | None] = Deferred()
        self.pending_from = MANY

    def loaded(self, start: int, size: int) -> FileRange:
        """Return all of what is loaded, from a file that begins before the body."""
        return FileRange(3, 100 + start, size)

    def load(self, start: int, size: int) -> Deferred[FileRange | None]:
        """Load immediately; or when `pending` fires, from `pending_from` on."""
        assert not self.released
        self.loads.append((start, size))
        if start >= self.pending_from:
            return self.pending
        return succeed(self.load_result(start, size))

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """Read, immediately."""
        assert not self.released
        self.reads.append((start, size))
        return succeed(b"x" * size)

    def release(self) -> None:
        """Count how often the body is released."""
        self.released += 1

    def start(self, end: int, start: int = 0) -> FileBody:
        """Start a body."""
        body = FileBody(start, end, self.read, self.load, PIECE, self.release)
        body.start(self.sink)
        return body

    def assert_complete(self, size: int) -> None:
        """Check that all was sent or written, and that the body is released."""
        self.assertEqual(sum(self.sink.sent) + len(self.sink.data()), size)
        self.assertEqual((self.sink.how_ended(), self.released), (["finish"], 1))

    def test_end_is_read(self) -> None:
        """All but the end of a body is sent from the file; the end is read."""
        self.start(10 + 2000 + END, start=10)
        self.assertEqual(self.sink.sending, FileRange(3, 110, 2000))
        self.assertEqual(self.reads, [])
        self.sink.end()
        starts = range(2010, 2010 + END, PIECE)
        self.assertEqual(self.reads, [(start, PIECE) for start in starts])
        self.assert_complete(2000 + END)

    def test_read_before_the_last(self) -> None:
        """Before the last piece is read, more is written than is unread at most."""
        self.start(2345 + END)
        self.sink.end()
        self.assertGreaterEqual(len(b"".join(self.sink.written[:-1])), UNREAD)

    def test_short(self) -> None:
        """A short body is read."""
        self.start(END)
        self.assertEqual(self.loads, [])
        self.assert_complete(END)

    def test_ahead(self) -> None:
        """While a part of the file is sent, the next one is loaded."""
        self.start(LEAST_LOADED + 10 + END)
        self.assertEqual(self.sink.sending, FileRange(3, 100, LEAST_LOADED))
        self.assertEqual(self.loads, [(0, LEAST_LOADED), (LEAST_LOADED, 10)])
        self.sink.end()
        self.assertEqual(self.sink.sending, FileRange(3, 100 + LEAST_LOADED, 10))
        self.sink.end()
        self.assertEqual(len(self.loads), 2)
        self.assert_complete(LEAST_LOADED + 10 + END)

    def test_fast(self) -> None:
        """More is loaded at a time for a client that reads fast, up to a limit."""
        self.start(100 * MOST_LOADED)
        for _ in range(20):
            self.sink.end()
        sizes = [size for _, size in self.loads]
        self.assertEqual(sizes[:3], [LEAST_LOADED, LEAST_LOADED, 2 * LEAST_LOADED])
        self.assertEqual(max(sizes), MOST_LOADED)

    def test_slow(self) -> None:
        """What was not sent in time is loaded again; less is loaded then."""
        self.start(10 * MOST_LOADED)
        for _ in range(10):
            self.sink.end()
        sent = sum(self.sink.sent)
        self.loads.clear()
        self.sink.end(LEAST_LOADED)
        sent += LEAST_LOADED
        self.assertEqual(self.loads[0], (sent, 2 * LEAST_LOADED))
        self.sink.end(5)
        self.assertEqual(self.sink.sending, FileRange(3, 100 + sent + 5, LEAST_LOADED))

    def test_less_loaded(self) -> None:
        """The store may load less than was requested."""
        self.load_result = lambda start, size: FileRange(3, start, min(size, 10))
        self.start(25 + END)
        for _ in range(3):
            self.sink.end()
        self.assertEqual(self.sink.sent, [10, 10, 5])
        self.assert_complete(25 + END)

    def test_not_loaded(self) -> None:
        """What cannot be loaded is read."""
        self.load_result = lambda start, size: None
        self.start(2000 + END)
        self.assertEqual(self.sink.sent, [])
        self.assert_complete(2000 + END)

    def test_not_sent(self) -> None:
        """If nothing can be sent, a piece is read; an error is found in this way."""
        self.start(LEAST_LOADED * 2)
        self.sink.end(0)
        self.assertEqual(self.reads, [(0, PIECE)])
        self.assertEqual(self.sink.sending, FileRange(3, 100 + PIECE, LEAST_LOADED))

    def test_read_after_load(self) -> None:
        """Nothing is read while something is being loaded."""
        self.pending_from = LEAST_LOADED
        self.start(LEAST_LOADED * 2)
        self.sink.end(0)
        self.assertEqual(self.reads, [])
        self.pending.callback(None)
        self.assertEqual(self.reads, [(0, PIECE)])

    def test_fails(self) -> None:
        """An error of a load ends the response; the body is released."""
        self.pending_from = 0
        self.start(LEAST_LOADED * 2)
        self.pending.errback(ZeroDivisionError())
        ((method, failure),) = self.sink.ends
        assert isinstance(failure, Failure)
        self.assertEqual((method, failure.type), ("fail", ZeroDivisionError))
        self.assertEqual(self.released, 1)

    def test_closed_while_loading(self) -> None:
        """A body that is closed while it loads is released after that."""
        self.pending_from = 0
        body = self.start(LEAST_LOADED * 2)
        body.close()
        self.assertEqual(self.released, 0)
        self.pending.callback(FileRange(3, 0, 1))
        self.assertEqual((self.sink.sending, self.released), (None, 1))

    def test_closed_while_sending(self) -> None:
        """A body that is closed while it sends is released after that.

        If the next part is being loaded, it is released after that, too.
        """
        self.pending_from = LEAST_LOADED
        body = self.start(LEAST_LOADED * 2)
        body.close()
        self.sink.end(10)
        self.assertEqual(self.released, 0)
        self.pending.errback(ZeroDivisionError())
        self.assertEqual((self.reads, self.sink.ends, self.released), ([], [], 1))

    def test_paused(self) -> None:
        """A body that is paused sends nothing until it is resumed."""
        body = FileBody(0, 2000 + END, self.read, self.load, PIECE, self.release)
        self.load_result = lambda start, size: None
        body.pause()
        body.start(self.sink)
        self.assertEqual(len(self.sink.written), 1)
        self.load_result = self.loaded
        body.resume()
        self.assertEqual(self.sink.sending, FileRange(3, 100 + PIECE, 1000))
