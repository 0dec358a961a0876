"""Tests of `devlxd.client.event_feed`."""

from __future__ import annotations

from itertools import islice

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import Event, Forbidden, Lost, NotSupported, ProtocolError
from devlxd.client.event_feed import MAX_TIMESTAMP, POSITION, EventFeed, pauses, refusal
from devlxd.client.exchanges import Response

HEADERS = {"x-devlxd-timestamp": "2026-01-01T00:00:00+00:00"}

EVENT = b'{"type":"config","timestamp":"t1","metadata":{"key":"user.a"}}\n'


class FeedTests(SynchronousTestCase):
    """What a listener asks for, and what it is told."""

    def test_first_request(self) -> None:
        """A request has the types and the timestamp, if they were given."""
        self.assertEqual(EventFeed().request().path, "/1.0/events")
        feed = EventFeed(["config", "device"], "a+b")
        path = "/1.0/events?type=config%2Cdevice&since=a%2Bb"
        self.assertEqual(feed.request().path, path)

    def test_unknown_type(self) -> None:
        """A type that does not exist is named."""
        with self.assertRaises(ValueError) as caught:
            EventFeed(["config", "lifecycle"])
        text = "'lifecycle' is no type of events: config, device"
        self.assertEqual(str(caught.exception), text)

    def test_position(self) -> None:
        """The next request continues after the last event, or after the beginning."""
        feed = EventFeed()
        self.assertIsNone(feed.begin(HEADERS, "now"))
        self.assertEqual(feed.position, HEADERS["x-devlxd-timestamp"])
        expected = Event("config", "t1", {"key": "user.a"})
        self.assertEqual(feed.receive(EVENT), expected)
        self.assertEqual(feed.request().path, "/1.0/events?since=t1")
        self.assertIsNone(feed.begin(HEADERS, "now"))
        self.assertEqual(feed.position, "t1")

    def test_lost(self) -> None:
        """Of a server that does not know positions, each later connection has lost."""
        feed = EventFeed()
        self.assertIsNone(feed.begin({}, "now"))
        self.assertEqual(feed.begin({}, "now"), Lost(timestamp="now"))
        self.assertEqual(EventFeed(since="t0").begin({}, "now"), Lost(timestamp="now"))

    def test_server_lost(self) -> None:
        """What a server says about lost events is `Lost`."""
        event = EventFeed().receive(b'{"type":"lost","timestamp":"t","metadata":{}}')
        self.assertIsInstance(event, Lost)

    def test_no_position(self) -> None:
        """A position that cannot be one is not sent back, nor remembered."""
        for text in ("x" * (MAX_TIMESTAMP + 1), "\xe9", "\x1b"):
            feed = EventFeed(on_position=self.fail)
            headers = {POSITION: text}
            self.assertRaises(ProtocolError, feed.begin, headers, "now")

    def test_empty_line(self) -> None:
        """An empty line is no event."""
        self.assertIsNone(EventFeed().receive(b"\n"))

    @given(st.binary(max_size=80))
    @example(b"[" * 100_000)
    @example(b'{"type":"config","timestamp":"\\ud800","metadata":{}}')
    @example(b'{"type":"config","timestamp":"%s","metadata":{}}' % (b"1" * 100))
    @example(b'{"type":1,"timestamp":"t","metadata":{}}')
    @example(b'{"type":"config","timestamp":"t","metadata":[]}')
    def test_any_text(self, text: bytes) -> None:
        """What is no event is a `ProtocolError`, and does not move the position."""
        feed = EventFeed(since="t0")
        if text.strip():
            with self.assertRaises(ProtocolError):
                feed.receive(text)
        self.assertEqual(feed.position, "t0")

    def test_refusal(self) -> None:
        """Without events, a server is `NotSupported`; others are as for questions."""
        self.assertIsInstance(refusal(Response(404, {}, b"not found")), NotSupported)
        self.assertIsInstance(refusal(Response(403, {}, b"no")), Forbidden)

    def test_pauses(self) -> None:
        """The pauses double from 0.1 to 10 seconds, and are up to half as long."""
        longest = 0.1
        for pause in islice(pauses(), 20):
            self.assertTrue(longest / 2 <= pause <= longest)
            longest = min(2 * longest, 10)
