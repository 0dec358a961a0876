# -*- test-case-name: tests.httpserver.test_sinks -*-
"""The contract of `ISink`."""

from __future__ import annotations

from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from devlxd.interfaces import ISink
from devlxd.testing.contracts.base import ContractBase

#: The data that the tests write.
DATA = (b"first\n", b"second\n")


class SinkContract(ContractBase):
    """Tests of all sinks.

    Override `make_sink`, `received`, `is_finished` and `is_ended`.

    :ivar sink: a new sink for each test.
    """

    sink: ISink

    def make_sink(self) -> ISink:
        """Hook: return the sink of a response whose head is sent; its client reads.

        If the head announces the length of the body, that is the length of `DATA`.
        """
        raise NotImplementedError

    def received(self) -> bytes:
        """Hook: return the data that the client has received, without framing."""
        raise NotImplementedError

    def is_finished(self) -> bool:
        """Hook: return whether the client sees that the response is complete."""
        raise NotImplementedError

    def is_ended(self) -> bool:
        """Hook: return whether the client sees that the response has ended.

        The response may be complete or not.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the sink."""
        super().setUp()
        self.sink = self.make_sink()

    def write(self) -> None:
        """Write `DATA`."""
        for data in DATA:
            self.sink.write(data)

    def assert_cut_off(self) -> None:
        """Check that the client sees an end, but not a complete response."""
        self.assertTrue(self.is_ended())
        self.assertFalse(self.is_finished())

    def test_interface(self) -> None:
        """The sink provides `ISink`."""
        self.assertTrue(verifyObject(ISink, self.sink))

    def test_write(self) -> None:
        """The client receives the data, in order; the response does not end."""
        self.sink.write(DATA[0])
        self.assertEqual(self.received(), DATA[0])
        self.assertFalse(self.is_ended())
        self.sink.write(DATA[1])
        self.assertEqual(self.received(), b"".join(DATA))

    def test_finish(self) -> None:
        """A response that is finished is complete."""
        self.write()
        self.sink.finish()
        self.assertEqual(self.received(), b"".join(DATA))
        self.assertTrue(self.is_finished())
        self.assertTrue(self.is_ended())

    def test_finish_with_reason(self) -> None:
        """A reason for the end adds nothing to the data."""
        self.write()
        self.sink.finish("no more")
        self.assertEqual(self.received(), b"".join(DATA))
        self.assertTrue(self.is_finished())

    def test_cut_off(self) -> None:
        """A response that is cut off is not complete."""
        self.sink.write(DATA[0])
        self.sink.cut_off("too slow")
        self.assertEqual(self.received(), DATA[0])
        self.assert_cut_off()

    def test_abort(self) -> None:
        """A response that is aborted is not complete."""
        self.sink.write(DATA[0])
        self.sink.abort()
        self.assert_cut_off()

    def test_fail(self) -> None:
        """A response that fails after its first data is not complete."""
        self.sink.write(DATA[0])
        self.sink.fail(Failure(ZeroDivisionError("on purpose")))
        # The sinks of the HTTP server log the failure; others need not.
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(self.received(), DATA[0])
        self.assert_cut_off()
