"""Tests of `devlxd.host.monotonic_clock`."""

from __future__ import annotations

from types import SimpleNamespace

from twisted.internet.base import ReactorBase
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host import monotonic_clock
from devlxd.host.monotonic_clock import use_monotonic_clock


class IdleReactor(ReactorBase):
    """A reactor without descriptors, whose wall clock stands still."""

    seconds = staticmethod(lambda: 1_000_000.0)

    def installWaker(self) -> None:
        """See `ReactorBase.installWaker`; there are no threads."""


class MonotonicClockTests(SynchronousTestCase):
    """The clock of a reactor's delayed calls."""

    def test_monotonic(self) -> None:
        """Delayed calls depend on the monotonic clock only, pending ones too."""
        clock = Clock()
        clock.advance(500)
        time = SimpleNamespace(monotonic=clock.seconds)
        self.patch(monotonic_clock, "time", time)
        reactor = IdleReactor()
        called: list[str] = []
        reactor.callLater(20, called.append, "before")
        use_monotonic_clock(reactor)
        reactor.callLater(10, called.append, "after")
        self.assertEqual(reactor.seconds(), 500)
        self.assertEqual(reactor.timeout(), 10)
        clock.advance(10)
        reactor.runUntilCurrent()
        self.assertEqual(called, ["after"])
        self.assertEqual(reactor.timeout(), 10)
        clock.advance(10)
        reactor.runUntilCurrent()
        self.assertEqual(called, ["after", "before"])
