"""Tests of `devlxd.host.delayed_calls`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host.delayed_calls import DelayedCalls


class DelayedCallsTests(SynchronousTestCase):
    """The delayed calls of one object."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.calls = DelayedCalls(self.clock)
        self.made: list[str] = []

    def later(self, kind: str, seconds: float) -> None:
        """Call later."""
        self.calls.later(kind, seconds, lambda: self.made.append(kind))

    def test_once(self) -> None:
        """There is one call of each kind, at the first time that was asked for."""
        self.later("a", 1)
        self.later("a", 2)
        self.later("b", 2)
        self.assertIn("a", self.calls)
        self.clock.pump([1, 1, 1])
        self.assertEqual(self.made, ["a", "b"])
        self.assertNotIn("a", self.calls)

    def test_again(self) -> None:
        """A call may be asked for again when it is made."""
        self.calls.later("a", 1, lambda: self.later("a", 1))
        self.clock.pump([1, 1])
        self.assertEqual(self.made, ["a"])

    def test_cancel(self) -> None:
        """No call is made after they were cancelled."""
        self.later("a", 1)
        self.calls.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNotIn("a", self.calls)
