"""Tests of `devlxd.turns`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.testing.contracts import TurnsContract
from devlxd.turns import SLICE, Turns


class TurnsTests(TurnsContract, SynchronousTestCase):
    """A round-robin scheduler on a reactor."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = 0.0
        super().setUp()

    def make_turns(self) -> Turns:
        """See `TurnsContract.make_turns`."""
        return Turns(self.clock, lambda: self.now)

    def run_turns(self) -> None:
        """See `TurnsContract.run_turns`."""
        self.clock.advance(0)

    def take_long_turn(self, owner: str, work: str) -> None:
        """Schedule a turn that lasts as long as a slice."""

        def do() -> None:
            self.done.append(work)
            self.now += SLICE

        self.turns.take(owner, do)

    def test_slices(self) -> None:
        """The reactor runs other calls between slices; all turns run in order."""
        for n in range(1, 4):
            self.take_long_turn("a", f"a{n}")
        self.take_long_turn("b", "b1")
        self.clock.callLater(0, self.done.append, "the reactor")
        self.clock.advance(0)
        self.assertEqual(self.done, ["a1", "the reactor", "b1", "a2", "a3"])

    def test_stop(self) -> None:
        """Pending turns are cancelled, and the reactor has none; later ones run."""
        turns = self.make_turns()
        turns.take("a", lambda: self.done.append("never"))
        turns.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(turns.waiting("a"), 0)
        turns.take("a", lambda: self.done.append("later"))
        self.clock.advance(0)
        self.assertEqual(self.done, ["later"])
