"""Tests of `devlxd.log_limit`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd import log_limit
from devlxd.log_limit import RateLimitedLogger
from tests.default_limits import limits


class RateLimitedLoggerTests(SynchronousTestCase):
    """A guest can neither fill the host's log nor suppress lines about others."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log = RateLimitedLogger(
            Logger(), self.clock, limits(log_lines=2), seconds=10
        )

    def test_limit(self) -> None:
        """The first lines of a kind are logged; the others are counted."""
        with capturedLogs() as events:
            for n in range(100):
                self.log.warn("line {n}", of="c1", n=n)
            self.clock.advance(10)
            self.log.warn("line {n}", of="c1", n="late")
        self.assertEqual([e.get("n") for e in events], [0, 1, None, None, "late"])
        self.assertIn("are suppressed", events[2]["log_format"])
        self.assertEqual((events[3]["count"], events[3]["kind"]), (98, "c1"))

    def test_flood_ends(self) -> None:
        """The number of suppressed lines is logged even if no further line follows."""
        for _ in range(5):
            self.log.warn("line", of="c1")
        self.clock.advance(4)
        for _ in range(7):
            self.log.warn("line", of="c2")
        with capturedLogs() as events:
            self.clock.advance(6)
            self.assertEqual([(e["kind"], e["count"]) for e in events], [("c1", 3)])
            self.clock.advance(4)
            self.assertEqual([e["kind"] for e in events], ["c1", "c2"])
            self.clock.advance(100)
        self.assertEqual(len(events), 2)

    def test_nothing_suppressed(self) -> None:
        """No call is scheduled while no line is suppressed."""
        self.log.warn("line", of="c1")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for _ in range(5):
            self.log.warn("line", of="c1")
        for _ in range(5):
            self.log.warn("line", of="c2")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_kind(self) -> None:
        """Each kind of lines has a limit of its own."""
        for n in range(100):
            self.log.warn("line {n}", of="c1", n=n)
        with capturedLogs() as events:
            self.log.warn("of another", of="c2")
        self.assertEqual([e["log_format"] for e in events], ["of another"])

    def test_levels(self) -> None:
        """Errors are limited like warnings, and logged as errors."""
        with capturedLogs() as events:
            for _ in range(5):
                self.log.error("an error", of="c1")
        levels = [event["log_level"] for event in events]
        self.assertEqual(levels, [LogLevel.error, LogLevel.error, LogLevel.warn])

    def test_too_many_kinds(self) -> None:
        """The number of suppressed lines is logged when their kind is evicted."""
        self.patch(log_limit, "MAX_KINDS", 3)
        for _ in range(5):
            self.log.warn("line", of="first")
        with capturedLogs() as events:
            for kind in "abc":
                self.log.warn("line", of=kind)
        self.assertEqual([e.get("count") for e in events], [None, None, 3, None])
