# -*- test-case-name: tests.test_turns -*-
"""The contract of `ITurns` and `ITurn`."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from devlxd.interfaces import ITurn, ITurns
from devlxd.testing.contracts.base import ContractBase


class TurnsContract(ContractBase):
    """Tests of a round-robin scheduler.

    Override `make_turns` and `run_turns`.

    :ivar turns: a new scheduler for each test.
    :ivar done: the work that was done, in order.
    """

    turns: ITurns
    done: list[str]

    def make_turns(self) -> ITurns:
        """Hook: return a new scheduler."""
        raise NotImplementedError

    def run_turns(self) -> None:
        """Hook: run the scheduler until no turn is pending."""
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the scheduler."""
        super().setUp()
        self.turns = self.make_turns()
        self.done = []

    def take(self, owner: str, work: str) -> ITurn:
        """Take a turn that adds ``work`` to `done`."""
        return self.turns.take(owner, lambda: self.done.append(work))

    def test_interface(self) -> None:
        """The scheduler and its turns provide the interfaces."""
        verifyObject(ITurns, self.turns)
        verifyObject(ITurn, self.take("a", "a1"))
        self.run_turns()

    def test_not_immediately(self) -> None:
        """No work is done before `take` returns, not even that of the first turn."""
        self.take("a", "a1")
        self.assertEqual(self.done, [])
        self.run_turns()
        self.assertEqual(self.done, ["a1"])

    def test_round_robin(self) -> None:
        """An owner with many turns delays each of the others by one turn only."""
        for n in range(1, 4):
            self.take("a", f"a{n}")
        self.take("b", "b1")
        self.take("c", "c1")
        self.assertEqual(self.done, [])
        self.run_turns()
        self.assertEqual(self.done, ["a1", "b1", "c1", "a2", "a3"])

    def test_take_again(self) -> None:
        """A turn taken during a turn runs after pending turns of other owners."""

        def take_rest() -> None:
            self.take("a", "rest")

        self.turns.take("a", take_rest)
        self.take("b", "b1")
        self.run_turns()
        self.assertEqual(self.done, ["b1", "rest"])

    def test_cancel(self) -> None:
        """A cancelled turn does nothing; cancelling it again does nothing."""
        turn = self.take("a", "a1")
        self.take("a", "a2")
        turn.cancel()
        self.run_turns()
        turn.cancel()
        self.assertEqual(self.done, ["a2"])

    def test_waiting(self) -> None:
        """The pending turns of each owner are counted, cancelled ones included."""
        self.take("a", "a1").cancel()
        self.take("a", "a2")
        self.assertEqual(self.turns.waiting("a"), 2)
        self.assertEqual(self.turns.waiting("b"), 0)
        self.run_turns()
        self.assertEqual(self.turns.waiting("a"), 0)

    def test_failure(self) -> None:
        """An exception is logged; the other turns of its owner run."""
        self.turns.take("a", self.fail)
        self.take("a", "a1")
        self.run_turns()
        self.assertEqual(self.done, ["a1"])
        self.assertEqual(len(self.flushLoggedErrors(self.failureException)), 1)
