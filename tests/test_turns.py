"""Tests of `devlxd.turns`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.interfaces import ITurn, ITurns
from devlxd.turns import SLICE, Turns


class TurnsTests(SynchronousTestCase):
    """Turns are by owner."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = 0.0
        self.turns = Turns(self.clock, lambda: self.now)
        self.done: list[str] = []

    def take(self, owner: str, work: str, seconds: float = 0) -> ITurn:
        """Take a turn that takes some time."""

        def do() -> None:
            self.done.append(work)
            self.now += seconds

        return self.turns.take(owner, do)

    def test_interface(self) -> None:
        """Turns are what they say they are."""
        verifyObject(ITurns, self.turns)
        verifyObject(ITurn, self.take("a", "a1"))

    def test_round_robin(self) -> None:
        """An owner with many turns waits for those that have few, not they for it."""
        for n in range(1, 4):
            self.take("a", f"a{n}")
        self.take("b", "b1")
        self.take("c", "c1")
        self.assertEqual(self.done, [])
        self.clock.advance(0)
        self.assertEqual(self.done, ["a1", "b1", "c1", "a2", "a3"])

    def test_slices(self) -> None:
        """Between slices the reactor does what else there is; no owner is left out."""
        for n in range(1, 4):
            self.take("a", f"a{n}", SLICE)
        self.take("b", "b1", SLICE)
        self.clock.callLater(0, self.done.append, "the reactor")
        self.clock.advance(0)
        self.assertEqual(self.done, ["a1", "the reactor", "b1", "a2", "a3"])

    def test_take_again(self) -> None:
        """What is left of some work comes behind the others' turns."""

        def do() -> None:
            self.take("a", "rest")

        self.turns.take("a", do)
        self.take("b", "b1")
        self.clock.advance(0)
        self.assertEqual(self.done, ["b1", "rest"])

    def test_cancel(self) -> None:
        """A turn that was cancelled does nothing, and holds nothing."""
        turn = self.take("a", "a1")
        self.take("a", "a2")
        self.assertEqual(self.turns.waiting("a"), 2)
        turn.cancel()
        self.clock.advance(0)
        turn.cancel()
        self.assertEqual(self.done, ["a2"])
        self.assertEqual(self.turns.waiting("a"), 0)

    def test_failure(self) -> None:
        """Work that fails is logged, and costs nobody a turn."""
        self.turns.take("a", self.fail)
        self.take("a", "a1")
        self.clock.advance(0)
        self.assertEqual(self.done, ["a1"])
        self.assertEqual(len(self.flushLoggedErrors(self.failureException)), 1)
