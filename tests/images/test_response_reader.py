"""Tests of `devlxd.images.response_reader`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed

from devlxd.images.response_reader import MAX_BUFFERED, ResponseReader
from devlxd.interfaces import ImageError
from tests.default_limits import READ_TIMEOUT


class ResponseReaderTests(SynchronousTestCase):
    """`ResponseReader` on a transport in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.reader = ResponseReader(self.clock, READ_TIMEOUT)
        self.transport = StringTransport()
        self.reader.makeConnection(self.transport)

    def read(self) -> Deferred[bytes]:
        """Start to read a chunk."""
        return Deferred.fromCoroutine(self.reader.read())

    def end(self, reason: Exception) -> None:
        """End the body."""
        self.reader.connectionLost(Failure(reason))

    def test_in_order(self) -> None:
        """Chunks are read in order; a read waits until one arrives."""
        self.reader.dataReceived(b"1")
        self.reader.dataReceived(b"2")
        self.assertEqual(self.successResultOf(self.read()), b"1")
        self.assertEqual(self.successResultOf(self.read()), b"2")
        reading = self.read()
        self.assertNoResult(reading)
        self.reader.dataReceived(b"3")
        self.assertEqual(self.successResultOf(reading), b"3")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end(self) -> None:
        """After the end, buffered data can be read, then ``b""``."""
        self.reader.dataReceived(b"1")
        self.end(ResponseDone())
        self.assertEqual(self.successResultOf(self.read()), b"1")
        self.assertEqual(self.successResultOf(self.read()), b"")

    def test_end_while_waiting(self) -> None:
        """The end of the body completes a pending read."""
        reading = self.read()
        self.end(ResponseDone())
        self.assertEqual(self.successResultOf(reading), b"")

    def test_incomplete(self) -> None:
        """An incomplete response is an error, after its data has been read."""
        self.reader.dataReceived(b"1")
        self.end(ResponseFailed([Failure(OSError("gone"))]))
        self.assertEqual(self.successResultOf(self.read()), b"1")
        error = self.failureResultOf(self.read(), ImageError).value
        self.assertIn("incomplete: gone", str(error))

    def test_timeout(self) -> None:
        """A read fails if no data arrives until the timeout."""
        reading = self.read()
        self.clock.advance(READ_TIMEOUT - 1)
        self.assertNoResult(reading)
        self.clock.advance(1)
        self.failureResultOf(reading, ImageError)

    def test_pause(self) -> None:
        """The server is paused while the buffer is full."""
        chunk = b"x" * (MAX_BUFFERED // 2)
        self.reader.dataReceived(chunk)
        self.assertEqual(self.transport.producerState, "producing")
        self.reader.dataReceived(chunk)
        self.assertEqual(self.transport.producerState, "paused")
        self.successResultOf(self.read())
        self.assertEqual(self.transport.producerState, "paused")
        self.successResultOf(self.read())
        self.assertEqual(self.transport.producerState, "producing")
        self.reader.dataReceived(chunk)
        self.assertEqual(self.transport.producerState, "producing")

    def test_close(self) -> None:
        """Closing the reader closes the connection."""
        self.reader.close()
        self.assertTrue(self.transport.disconnecting)

    def test_close_after_end(self) -> None:
        """After the end of the body the transport is not used."""
        self.end(ResponseDone())
        self.reader.close()
        self.assertFalse(self.transport.disconnecting)
