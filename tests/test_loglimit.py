"""Tests of `devlxd.loglimit`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.loglimit import LimitedLog


class LimitedLogTests(SynchronousTestCase):
    """A guest cannot fill the host's log."""

    def test_limit(self) -> None:
        """Of many lines the first ones are logged, and that there are more."""
        clock = Clock()
        log = LimitedLog(Logger(), clock, lines=2, seconds=10)
        with capturedLogs() as events:
            for n in range(100):
                log.warn("line {n}", n=n)
            clock.advance(10)
            log.warn("line {n}", n="late")
        self.assertEqual([event.get("n") for event in events], [0, 1, None, "late"])
        self.assertIn("no more of this", events[2]["log_format"])
