"""Tests of `devlxd.admin.event_feed`."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.event_feed import LINES_PER_SECOND, EventFeed
from tests.admin.operators import NOW, NOW_TEXT


@define(eq=False)
class RecordingFollower:
    """A follower that keeps the lines."""

    has_questions: bool = False
    lines: list[bytes] = field(factory=list)
    ended: int = 0

    def receive(self, line: bytes) -> None:
        """See `Follower.receive`."""
        self.lines.append(line)

    def end(self) -> None:
        """See `Follower.end`."""
        self.ended += 1

    def events(self) -> list[Any]:
        """Return the events, without their timestamps, and forget them."""
        events = [json.loads(line) for line in self.lines]
        self.lines.clear()
        for event in events:
            assert event.pop("timestamp") == NOW_TEXT
        return events


class EventFeedTests(SynchronousTestCase):
    """`EventFeed`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.feed = EventFeed(self.clock, lambda: NOW)
        self.follower = RecordingFollower()

    def test_line(self) -> None:
        """An event is one line of JSON in ASCII."""
        self.feed.add(self.follower)
        self.feed.by_guest("connected", "c1", False, uid=0, name="\u00fc\n")
        self.assertEqual(
            self.follower.lines,
            [
                b'{"container": "c1", "event": "connected", "name": "\\u00fc\\n", '
                b'"timestamp": "2001-09-09T01:46:40.000000Z", "uid": 0}\n'
            ],
        )

    def test_no_followers(self) -> None:
        """Without followers nothing is remembered or scheduled."""
        self.feed.by_guest("connected", "c1", False)
        self.feed.by_operator("added", "c1")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.feed.is_followed)
        self.feed.add(self.follower)
        self.assertTrue(self.feed.is_followed)
        self.assertEqual(self.follower.lines, [])

    def test_questions(self) -> None:
        """Only those followers receive questions that ask for them."""
        auditor = RecordingFollower(has_questions=True)
        self.feed.add(self.follower)
        self.feed.by_guest("asked", "c1", True)
        self.feed.add(auditor)
        self.feed.by_guest("asked", "c1", True)
        self.feed.by_guest("connected", "c1", False)
        self.assertEqual([e["event"] for e in self.follower.events()], ["connected"])
        self.assertEqual([e["event"] for e in auditor.events()], ["asked", "connected"])
        self.feed.remove(auditor)
        self.assertFalse(self.feed.has_questions)

    def test_limit(self) -> None:
        """A guest that causes too many events delays or hides no others."""
        self.feed.add(self.follower)
        for _ in range(LINES_PER_SECOND + 5):
            self.feed.by_guest("refused", "c1", False)
        self.feed.by_guest("refused", "c2", False)
        self.feed.by_guest("refused", None, False)
        self.feed.by_operator("added", "c1")
        events = self.follower.events()
        self.assertEqual(
            [event["container"] for event in events],
            ["c1"] * LINES_PER_SECOND + ["c2", None, "c1"],
        )
        self.clock.advance(1)
        self.assertEqual(
            self.follower.events(),
            [{"event": "skipped", "container": "c1", "count": 5}],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.feed.by_guest("refused", "c1", False)
        self.assertEqual(len(self.follower.events()), 1)

    def test_limit_of_questions(self) -> None:
        """Questions do not use up the lines of other events."""
        auditor = RecordingFollower(has_questions=True)
        self.feed.add(self.follower)
        self.feed.add(auditor)
        for _ in range(LINES_PER_SECOND + 1):
            self.feed.by_guest("asked", "c1", True)
        self.feed.by_guest("refused", "c1", False)
        self.assertEqual([e["event"] for e in self.follower.events()], ["refused"])
        auditor.events()
        self.clock.advance(1)
        self.assertEqual(self.follower.events(), [])
        self.assertEqual([e["event"] for e in auditor.events()], ["skipped"])

    def test_last_follower_leaves(self) -> None:
        """When the last follower leaves, nothing is left."""
        self.feed.add(self.follower)
        self.feed.by_guest("refused", "c1", False)
        self.feed.remove(self.follower)
        self.feed.remove(self.follower)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end(self) -> None:
        """When devlxd stops, the followers are told."""
        self.feed.add(self.follower)
        self.feed.end()
        self.assertEqual(self.follower.ended, 1)
