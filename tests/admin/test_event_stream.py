"""Tests of `devlxd.admin.event_stream`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.event_stream import KEEP_ALIVE, MAX_QUEUED
from devlxd.admin.site import REQUEST_TIMEOUT
from tests.admin.operators import Answer, Operated, OperatorConnection


class EventsTests(SynchronousTestCase):
    """``/events``."""

    def setUp(self) -> None:
        self.operated = Operated()
        self.clock = self.operated.clock
        self.feed = self.operated.feed

    def follow(self, path: str = "/events") -> OperatorConnection:
        """Connect, and follow the events."""
        connection = OperatorConnection(self.operated.site)
        answer = connection.ask(path)
        self.assertEqual(answer.code, 200)
        self.assertEqual(answer.headers["content-type"], "application/x-ndjson")
        self.assertEqual(answer.headers["transfer-encoding"], "chunked")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.body, b"")
        return connection

    def test_follow(self) -> None:
        """The head is sent at once, and each event as it happens."""
        connection = self.follow()
        self.feed.by_guest("connected", "c1", False)
        received = connection.receive()
        self.assertIn(b'"event": "connected"', received)
        self.assertTrue(received.endswith(b"}\n\r\n"))
        self.clock.advance(REQUEST_TIMEOUT)
        self.assertTrue(connection.transport.connected)

    def test_http_1_0(self) -> None:
        """A client of HTTP/1.0 receives the lines as they are."""
        connection = OperatorConnection(self.operated.site)
        connection.send(b"GET /events HTTP/1.0\r\n\r\n")
        self.assertNotIn(
            "transfer-encoding", Answer.parse(connection.receive()).headers
        )
        self.feed.by_operator("added", "c1")
        self.assertTrue(connection.receive().endswith(b"}\n"))

    def test_questions(self) -> None:
        """With ``asked=1`` questions are sent, too."""
        without, auditor = (
            self.follow("/events?asked=0"),
            self.follow("/events?asked=1"),
        )
        self.feed.by_guest("asked", "c1", True)
        self.assertEqual(without.receive(), b"")
        self.assertIn(b'"asked"', auditor.receive())

    def test_head(self) -> None:
        """``HEAD`` follows nothing."""
        answer = self.operated.ask("/events", "HEAD")
        self.assertEqual(answer.headers["content-type"], "application/x-ndjson")
        self.assertFalse(self.feed.is_followed)

    def test_disconnect(self) -> None:
        """A follower that disconnects leaves nothing behind."""
        connection = self.follow()
        connection.transport.loseConnection()
        self.assertFalse(self.feed.is_followed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_keep_alive(self) -> None:
        """An empty line is sent when nothing happens for 30 seconds."""
        connection = self.follow()
        self.clock.advance(KEEP_ALIVE - 1)
        self.feed.by_operator("added", "c1")
        connection.receive()
        self.clock.advance(KEEP_ALIVE - 1)
        self.assertEqual(connection.receive(), b"")
        for _ in range(2):
            self.clock.advance(1)
            self.assertEqual(connection.receive(), b"1\r\n\n\r\n")
            self.clock.advance(KEEP_ALIVE - 1)

    def test_slow(self) -> None:
        """A follower that does not read misses events, and is told how many."""
        connection = self.follow()
        producer: Any = connection.transport.producer
        producer.pauseProducing()
        for number in range(MAX_QUEUED + 7):
            self.feed.by_operator("added", f"c{number}")
        self.clock.advance(KEEP_ALIVE)
        self.assertEqual(connection.receive(), b"")
        producer.resumeProducing()
        received = connection.receive()
        self.assertEqual(received.count(b'"added"'), MAX_QUEUED)
        self.assertIn(b'"count": 7, "event": "skipped"', received)
        self.feed.by_operator("added", "c1")
        self.assertEqual(connection.receive().count(b'"event"'), 1)

    def test_slow_again(self) -> None:
        """A follower that stops reading again keeps the rest for later."""
        connection = self.follow()
        producer: Any = connection.transport.producer
        producer.pauseProducing()
        for number in range(3):
            self.feed.by_operator("added", f"c{number}")
        write = connection.transport.writeSequence

        def write_and_pause(data: list[bytes]) -> None:
            write(data)
            producer.pauseProducing()

        self.patch(connection.transport, "writeSequence", write_and_pause)
        for number in range(3):
            producer.resumeProducing()
            received = connection.receive()
            self.assertEqual(received.count(b'"event"'), 1)
            self.assertIn(b'"c%d"' % number, received)

    def test_stop(self) -> None:
        """The stream ends normally when devlxd stops."""
        connection = self.follow()
        self.feed.end()
        self.assertEqual(connection.receive(), b"0\r\n\r\n")
        self.assertFalse(connection.transport.connected)
        self.assertFalse(self.feed.is_followed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
