"""Tests of `devlxd.etcd.bodies`."""

from __future__ import annotations

from typing import cast

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.iweb import IResponse

from devlxd.etcd.bodies import LineAssembler, LinesBody, whole_body
from devlxd.etcd.errors import EtcdError, TooLargeError


class BodyTransport:
    """The transport of a body.

    :ivar calls: what was called.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def loseConnection(self) -> None:
        self.calls.append("lose")


class Response:
    """A response whose body a test sends, as far as it is used."""

    code = 200

    def __init__(self, code: int = 200) -> None:
        self.code = code
        self.transport = BodyTransport()
        self.receiver: Protocol | None = None

    def deliverBody(self, protocol: Protocol) -> None:
        """See `IResponse.deliverBody`."""
        self.receiver = protocol
        protocol.transport = self.transport  # type: ignore[assignment] # a part of one

    def send(self, data: bytes) -> None:
        """Send a part of the body."""
        assert self.receiver is not None
        self.receiver.dataReceived(data)

    def end(self, error: Exception | None = None) -> None:
        """End the body."""
        assert self.receiver is not None
        self.receiver.connectionLost(Failure(error or ResponseDone()))


class LineAssemblerTests(SynchronousTestCase):
    """Lines of pieces."""

    def test_lines(self) -> None:
        """A line may come in any pieces, and a piece may have several lines."""
        lines = LineAssembler(10)
        found = [
            line for data in (b"a", b"b\nc\n\nd", b"e") for line in lines.add(data)
        ]
        self.assertEqual(found, [b"ab", b"c", b""])
        self.assertEqual(lines.rest(), b"de")
        self.assertEqual(lines.rest(), b"")

    def test_too_long(self) -> None:
        """A line that is too long is refused before it is complete."""
        lines = LineAssembler(3)
        self.assertEqual([*lines.add(b"abc\nab")], [b"abc"])
        self.assertRaises(TooLargeError, lambda: [*lines.add(b"cd")])


class WholeBodyTests(SynchronousTestCase):
    """A body as a whole."""

    def setUp(self) -> None:
        self.response = Response()
        self.body = whole_body(cast(IResponse, self.response), 5)

    def test_complete(self) -> None:
        """The pieces are joined."""
        self.response.send(b"ab")
        self.response.send(b"cde")
        self.response.end()
        self.assertEqual(self.successResultOf(self.body), b"abcde")

    def test_too_long(self) -> None:
        """A body that is too long ends the connection."""
        self.response.send(b"abcdef")
        self.failureResultOf(self.body, TooLargeError)
        self.response.send(b"g")
        self.response.end(ConnectionLost())
        self.assertEqual(self.response.transport.calls, ["lose"])

    def test_incomplete(self) -> None:
        """A body that is cut off is an error."""
        self.response.send(b"ab")
        self.response.end(ConnectionLost())
        failure = self.failureResultOf(self.body, EtcdError)
        self.assertIn("incomplete", failure.getErrorMessage())

    def test_cancelled(self) -> None:
        """Nobody waits for the rest of it."""
        self.body.addErrback(lambda _: None)
        self.body.cancel()
        self.assertEqual(self.response.transport.calls, ["lose"])


class LinesBodyTests(SynchronousTestCase):
    """A body that is received line by line."""

    def setUp(self) -> None:
        self.lines: list[bytes] = []
        self.ends: list[EtcdError] = []
        self.body = LinesBody(10, self.received, self.ends.append)
        self.response = Response()
        self.response.deliverBody(self.body)

    def received(self, line: bytes) -> None:
        """Record a line; some have consequences."""
        if line == b"bad":
            raise EtcdError("bad")
        self.lines.append(line)
        if line == b"stop":
            self.body.stop()

    def test_last_line(self) -> None:
        """The last line need not have a line feed."""
        self.response.send(b"a\nb")
        self.response.end()
        self.assertEqual(self.lines, [b"a", b"b"])
        self.assertEqual(len(self.ends), 1)

    def test_bad_line(self) -> None:
        """A line that is an error ends the body, and nothing follows."""
        self.response.send(b"bad\na\n")
        self.response.end()
        self.assertEqual((self.lines, [*map(str, self.ends)]), ([], ["bad"]))
        self.assertEqual(self.response.transport.calls, ["lose"])

    def test_bad_rest(self) -> None:
        """The last line may be an error, too."""
        self.response.send(b"bad")
        self.response.end()
        self.assertEqual([*map(str, self.ends)], ["bad"])

    def test_too_long(self) -> None:
        """A line that is too long ends the body."""
        self.response.send(b"x" * 11)
        self.assertIsInstance(self.ends[0], TooLargeError)

    def test_stopped(self) -> None:
        """A body that was stopped by its receiver sends nothing."""
        self.response.send(b"stop\na\n")
        self.response.end(ConnectionLost())
        self.assertEqual((self.lines, self.ends), ([b"stop"], []))

    def test_paused(self) -> None:
        """The connection is paused and resumed."""
        self.body.pause()
        self.body.resume()
        self.assertEqual(self.response.transport.calls, ["pause", "resume"])
