"""Tests of `devlxd.images.response_reader`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed

from devlxd.images.response_reader import MAX_WAITING, TIMEOUT, ResponseBody
from devlxd.interfaces import ImageError


class ResponseBodyTests(SynchronousTestCase):
    """Reading what comes when it comes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.body = ResponseBody(self.clock)
        self.transport = StringTransport()
        self.body.makeConnection(self.transport)

    def read(self) -> Deferred[bytes]:
        """Begin to read."""
        return Deferred.fromCoroutine(self.body.read())

    def end(self, reason: Exception) -> None:
        """Let it end."""
        self.body.connectionLost(Failure(reason))

    def test_in_order(self) -> None:
        """What has come is read in order, what has not is waited for."""
        self.body.dataReceived(b"1")
        self.body.dataReceived(b"2")
        self.assertEqual(self.successResultOf(self.read()), b"1")
        self.assertEqual(self.successResultOf(self.read()), b"2")
        reading = self.read()
        self.assertNoResult(reading)
        self.body.dataReceived(b"3")
        self.assertEqual(self.successResultOf(reading), b"3")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end(self) -> None:
        """Nothing comes after the end; what came before it does."""
        self.body.dataReceived(b"1")
        self.end(ResponseDone())
        self.assertEqual(self.successResultOf(self.read()), b"1")
        self.assertEqual(self.successResultOf(self.read()), b"")

    def test_end_while_waiting(self) -> None:
        """The end is heard of by who waits."""
        reading = self.read()
        self.end(ResponseDone())
        self.assertEqual(self.successResultOf(reading), b"")

    def test_breaks_off(self) -> None:
        """An end that is none is told of, after what came before it."""
        self.body.dataReceived(b"1")
        self.end(ResponseFailed([Failure(OSError("gone"))]))
        self.assertEqual(self.successResultOf(self.read()), b"1")
        error = self.failureResultOf(self.read(), ImageError).value
        self.assertIn("breaks off: gone", str(error))

    def test_silence(self) -> None:
        """The other end may not be silent for ever."""
        reading = self.read()
        self.clock.advance(TIMEOUT - 1)
        self.assertNoResult(reading)
        self.clock.advance(1)
        self.failureResultOf(reading, ImageError)

    def test_bound(self) -> None:
        """The other end waits when it sends more than is read."""
        piece = b"x" * (MAX_WAITING // 2)
        self.body.dataReceived(piece)
        self.assertEqual(self.transport.producerState, "producing")
        self.body.dataReceived(piece)
        self.assertEqual(self.transport.producerState, "paused")
        self.successResultOf(self.read())
        self.assertEqual(self.transport.producerState, "paused")
        self.successResultOf(self.read())
        self.assertEqual(self.transport.producerState, "producing")
        self.body.dataReceived(piece)
        self.assertEqual(self.transport.producerState, "producing")

    def test_close(self) -> None:
        """Who reads no more hangs up."""
        self.body.close()
        self.assertTrue(self.transport.disconnecting)

    def test_close_after_end(self) -> None:
        """What has ended is left alone."""
        self.end(ResponseDone())
        self.body.close()
        self.assertFalse(self.transport.disconnecting)
