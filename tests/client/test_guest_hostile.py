"""Tests of `devlxd.client.guest` with hostile servers, and of its time limit."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import (
    Forbidden,
    Guest,
    GuestError,
    NotFound,
    NotSupported,
    ProtocolError,
    Unavailable,
)
from devlxd.client.connections import MAX_HEAD
from devlxd.client.questions import MAX_BODY
from tests.client.memory_network import HELD, READ, Endless, MemoryEndpoint, settle
from tests.client.scripts import Script, response

TIMEOUT = 10

#: A server may have sent this much before the guest has seen any of it.
SLACK = 3 * HELD


class HostileTestCase(SynchronousTestCase):
    """A guest of a server that a test makes.

    :ivar clock: the clock of the guest.
    :ivar endpoint: what the guest connects to.
    """

    def serve(self, serve: Callable[[], IProtocol]) -> Guest:
        """Return a guest of a server."""
        self.clock = Clock()
        self.endpoint = MemoryEndpoint(self.clock, serve)
        return Guest(self.clock, self.endpoint, TIMEOUT)

    def begin(self, coroutine: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
        """Begin a coroutine, and exchange all data."""
        running = Deferred.fromCoroutine(coroutine)
        settle(self.clock)
        return running

    def result_of(self, running: Deferred[Any]) -> object:
        """Return the result or the exception of a coroutine: there must be one."""
        results: list[object] = []
        running.addBoth(results.append)
        self.assertEqual(len(results), 1, "neither a result nor an exception")
        self.assert_clean()
        result = results[0]
        return result.value if isinstance(result, Failure) else result

    def assert_clean(self) -> None:
        """Check that nothing is left."""
        settle(self.clock)
        self.assertEqual(self.endpoint.open_ends(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def get(self, data: bytes, is_closing: bool = False) -> object:
        """Ask for a key; return the result, or the exception.

        :param data: what the server sends.
        """
        guest = self.serve(lambda: Script(data, is_closing))
        running = self.begin(guest.get("user.a"))
        self.clock.advance(TIMEOUT)
        return self.result_of(running)


class AnswerTests(HostileTestCase):
    """What a guest makes of what a server sends."""

    def test_statuses(self) -> None:
        """Each status has its exception, with the text of the server."""
        for status, kind in [
            (401, Forbidden),
            (403, Forbidden),
            (404, NotFound),
            (405, NotSupported),
            (429, Unavailable),
            (500, Unavailable),
            (501, NotSupported),
            (503, Unavailable),
            (400, ProtocolError),
            (307, ProtocolError),
        ]:
            error = self.get(response(b"the text\n", status))
            self.assertIs(type(error), kind)
            self.assertEqual(str(error), "the text")

    def test_garbage(self) -> None:
        """What is not HTTP is a `ProtocolError`, whether the server closes or not."""
        for data in (
            b"garbage\r\n\r\n",
            b"\0\xff" * 100,
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ):
            for is_closing in (False, True):
                error = self.get(data, is_closing)
                self.assertIsInstance(error, ProtocolError | Unavailable, data)

    def test_compressed(self) -> None:
        """No compression is asked for, and a compressed response is refused."""
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: GZIP\r\nContent-Length: 1\r\n\r\n"
        server = Script(head + b"x")
        running = self.begin(self.serve(lambda: server).get("user.a"))
        self.assertIsInstance(self.result_of(running), ProtocolError)
        self.assertIn(b"\r\naccept-encoding: identity\r\n", server.received.lower())
        self.assertNotIn(b"gzip", server.received)

    def test_closes_in_the_middle(self) -> None:
        """A connection that ends anywhere in a response is `Unavailable`."""
        data = response(b"0123456789")
        for length in range(len(data)):
            self.assertIsInstance(self.get(data[:length], True), Unavailable)

    def test_closes_in_the_middle_of_chunks(self) -> None:
        """A body in chunks that ends early is never taken for the whole."""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        data = head + b"3\r\nabc\r\n0\r\n\r\n"
        self.assertEqual(self.get(data, True), "abc")
        for length in range(len(data) - 1):
            self.assertIsInstance(self.get(data[:length], True), Unavailable)

    def test_silence(self) -> None:
        """A server that does not answer is `Unavailable` after the timeout."""
        error = self.get(b"")
        self.assertIsInstance(error, Unavailable)
        self.assertEqual(str(error), "no answer within 10 s")

    def test_unfinished(self) -> None:
        """A response that stops anywhere is `Unavailable` after the timeout."""
        data = response(b"0123456789")
        for length in range(0, len(data), 7):
            self.assertIsInstance(self.get(data[:length]), Unavailable)

    def test_trickle(self) -> None:
        """The timeout is for the whole question: a trickle of bytes does not help."""
        server = Script(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        running = self.begin(self.serve(lambda: server).get("user.a"))
        for _ in range(TIMEOUT):
            self.assertNoResult(running)
            self.clock.advance(1)
            server.send(b"x")
            settle(self.clock)
        self.assertIsInstance(self.result_of(running), Unavailable)

    def test_many_slow_answers(self) -> None:
        """The timeout is for all requests of a question together."""
        keys = b'["/1.0/config/user.a","/1.0/config/user.b","/1.0/config/user.c"]'
        server = Script(b"")
        running = self.begin(self.serve(lambda: server).config())
        for body in (keys, b"value"):
            self.clock.advance(4)
            server.send(response(body))
            settle(self.clock)
        self.assertNoResult(running)
        self.clock.advance(2)
        self.assertIsInstance(self.result_of(running), Unavailable)

    def test_one_connection(self) -> None:
        """The requests of a question share a connection."""
        server = Script(response(b'["/1.0/config/user.a","/1.0/config/user.b"]'))
        running = self.begin(self.serve(lambda: server).config())
        self.result_of(running)
        self.assertEqual(server.received.count(b"GET "), 3)
        self.assertEqual(len(self.endpoint.ends), 1)

    def test_without_length(self) -> None:
        """The end of the connection ends a body without a length."""
        self.assertEqual(self.get(b"HTTP/1.0 200 OK\r\n\r\nvalue", True), "value")

    @settings(deadline=None, max_examples=200)
    @given(data=st.binary(max_size=300), is_closing=st.booleans())
    @example(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", False)
    @example(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nabc", True)
    @example(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=;;=\r\nContent-Length: 0\r\n\r\n", True
    )
    def test_any_bytes(self, data: bytes, is_closing: bool) -> None:
        """Any bytes are a result or a `GuestError`, after the timeout at the latest."""
        self.assertIsInstance(self.get(data, is_closing), GuestError | str)

    @settings(deadline=None, max_examples=200)
    @given(
        status=st.sampled_from([b"200", b"204", b"304", b"404", b"100", b"999", b"-1"]),
        fields=st.lists(
            st.sampled_from(
                [
                    b"Content-Length: 3",
                    b"Content-Length: -3",
                    b"Content-Length: 99999999999999999999",
                    b"Transfer-Encoding: chunked",
                    b"Transfer-Encoding: gzip",
                    b"Content-Encoding: gzip",
                    b"Connection: close",
                    b"Location: http://elsewhere/",
                    b"Set-Cookie: a=b; Max-Age=x",
                    b" folded",
                    b"no colon",
                    b": no name",
                ]
            ),
            max_size=4,
        ),
        body=st.binary(max_size=50)
        | st.sampled_from([b"3\r\nabc\r\n0\r\n\r\n", b"-1\r\n", b"f" * 2000, b"[]"]),
        is_closing=st.booleans(),
    )
    def test_any_response(
        self, status: bytes, fields: list[bytes], body: bytes, is_closing: bool
    ) -> None:
        """So is any response that is nearly HTTP, to questions of any kind."""
        head = b"\r\n".join([b"HTTP/1.1 %s OK" % status, *fields, b"", b""])
        for ask in (Guest.config, Guest.devices, Guest.info, Guest.ready):
            guest = self.serve(lambda: Script(head + body, is_closing))
            running = self.begin(ask(guest))
            self.clock.advance(TIMEOUT)
            result = self.result_of(running)
            self.assertIsInstance(result, GuestError | dict | None)


class BoundTests(HostileTestCase):
    """How much a guest reads."""

    def read(self, beginning: bytes, piece: bytes) -> tuple[object, int]:
        """Ask for a key; return the exception, and how much was sent.

        :param beginning: what the server sends first.
        :param piece: what it sends without end.
        """
        server = Endless(beginning, piece)
        running = self.begin(self.serve(lambda: server).get("user.a"))
        self.clock.advance(TIMEOUT)
        return self.result_of(running), server.sent

    def test_endless_head(self) -> None:
        """A head without end is a `ProtocolError`, and is not read to its end."""
        for beginning, piece in [
            (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"b" * 1000 + b"\r\n"),
            (b"HTTP/1.1 200 OK\r\n", b"X-%A: \r\n"),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ]:
            error, sent = self.read(beginning, piece)
            self.assertIsInstance(error, ProtocolError)
            self.assertLess(sent, MAX_HEAD + SLACK)

    def test_endless_line(self) -> None:
        """So is a line without end."""
        for beginning in (b"", b"HTTP/1.1 200 OK\r\nX-A: "):
            error, sent = self.read(beginning, b"x" * 1000)
            self.assertIsInstance(error, ProtocolError | Unavailable)
            self.assertLess(sent, MAX_HEAD + SLACK)

    def test_promised(self) -> None:
        """A body whose length is too large is refused before it is read."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"
        error, sent = self.read(head, b"x" * READ)
        self.assertIsInstance(error, ProtocolError)
        self.assertLess(sent, SLACK)

    def test_too_long(self) -> None:
        """A body of unknown length is read as far as it may be long."""
        for head in (
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ):
            piece = b"%x\r\n%s\r\n" % (READ, b"x" * READ)
            error, sent = self.read(head, piece)
            self.assertIsInstance(error, ProtocolError)
            self.assertIn(str(MAX_BODY), str(error))
            self.assertLess(sent, 1.01 * MAX_BODY + SLACK)


class CancelTests(HostileTestCase):
    """Cancelling a question."""

    def test_cancel(self) -> None:
        """A question that is cancelled raises `CancelledError`, and closes all."""
        for data in (b"", b"HTTP/1.1 200 OK\r\n", response(b"0123456789")[:-3]):
            guest = self.serve(lambda data=data: Script(data))  # type: ignore[misc] # mypy cannot infer its type
            running = self.begin(guest.get("user.a"))
            running.cancel()
            self.assertIsInstance(self.result_of(running), CancelledError)

    def test_refused(self) -> None:
        """A server that accepts no connection is `Unavailable`; its name is said."""
        guest = self.serve(Protocol)
        self.endpoint.refusal = ConnectError(2)
        error = self.result_of(self.begin(guest.config()))
        self.assertIsInstance(error, Unavailable)
        self.assertIn("No such file or directory", str(error))
