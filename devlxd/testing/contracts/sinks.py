# -*- test-case-name: tests.httpserver.test_sinks -*-
"""The contracts of `ISink` and `IFileSink`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from devlxd.interfaces import IFileSink, ISink
from devlxd.model import FileRange
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

    def test_framed(self) -> None:
        """What `ISink.frame` returns is received like any other data, in order."""
        self.assertIs(self.sink.frame, self.sink.frame)
        self.sink.write_framed(self.sink.frame(DATA[0]))
        self.assertEqual(self.received(), DATA[0])
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


class FileSinkContract(SinkContract):
    """Tests of a sink that can also send from files.

    Override the hooks of `SinkContract`.
    """

    def setUp(self) -> None:
        """See `SinkContract.setUp`. Makes a file with `DATA`, and more around it."""
        super().setUp()
        self.file, path = tempfile.mkstemp(dir=".")
        self.addCleanup(os.close, self.file)
        Path(path).write_bytes(b"before" + b"".join(DATA) + b"after")

    def send(self, start: int, size: int, seconds: float = 10.0) -> Deferred[int]:
        """Send a part of `DATA` from the file."""
        data = FileRange(self.file, len(b"before") + start, size)
        return IFileSink(self.sink).send(data, seconds)

    def test_file_interface(self) -> None:
        """The sink provides `IFileSink`."""
        self.assertTrue(verifyObject(IFileSink, self.sink))

    def test_send(self) -> None:
        """The client receives a part of a file."""
        size = len(b"".join(DATA)) - 1
        sending = self.send(0, size)
        self.assertEqual(self.received(), b"".join(DATA)[:-1])
        self.assertEqual(self.successResultOf(sending), size)
        self.assertFalse(self.is_ended())

    def test_send_and_write(self) -> None:
        """What is written after a file is sent follows it."""
        sending = self.send(0, len(DATA[0]))
        self.assertEqual(self.received(), DATA[0])
        self.assertEqual(self.successResultOf(sending), len(DATA[0]))
        self.sink.write(DATA[1])
        self.sink.finish()
        self.assertEqual(self.received(), b"".join(DATA))
        self.assertTrue(self.is_finished())

    def test_write_and_send(self) -> None:
        """A file follows what was written before it."""
        self.sink.write(DATA[0])
        sending = self.send(len(DATA[0]), len(DATA[1]))
        self.assertEqual(self.received(), b"".join(DATA))
        self.assertEqual(self.successResultOf(sending), len(DATA[1]))

    def test_send_in_no_time(self) -> None:
        """If the time is over, nothing is sent; the response does not end."""
        sending = self.send(0, 1, seconds=0)
        self.assertEqual(self.received(), b"")
        self.assertEqual(self.successResultOf(sending), 0)
        self.assertFalse(self.is_ended())

    def test_end_of_file(self) -> None:
        """If the file ends, only what it contains is sent."""
        os.truncate(self.file, len(b"before") + 1)
        sending = self.send(0, 5)
        self.assertEqual(self.received(), DATA[0][:1])
        self.assertEqual(self.successResultOf(sending), 1)
        self.assertFalse(self.is_ended())

    def test_abort_while_sending(self) -> None:
        """Sending ends when the response is aborted."""
        sending = self.send(0, 1)
        self.sink.abort()
        self.received()
        self.assertIn(self.successResultOf(sending), (0, 1))
        self.assert_cut_off()
