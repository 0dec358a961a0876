"""Tests of `devlxd.host.name_queue`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host.name_queue import NameQueue
from devlxd.turns import Turns


class NameQueueTests(SynchronousTestCase):
    """A queue of names."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.done: list[str] = []
        self.queue = NameQueue(Turns(self.clock), "owner", self.work, self.finish)

    def work(self, name: str) -> None:
        """Work on a name."""
        self.done.append(name)
        if name == "bad":
            raise ValueError
        if name == "more":
            self.queue.add(["c", "b"])

    def finish(self) -> None:
        """Record that the queue is empty."""
        self.done.append("done")

    def test_order(self) -> None:
        """The names have their turns in order, each once; more may be added."""
        self.queue.add(["a", "more", "b", "a"])
        self.assertEqual(self.done, [])
        self.clock.advance(0)
        self.assertEqual(self.done, ["a", "more", "b", "c", "done"])

    def test_none(self) -> None:
        """Without names the queue is empty in the next turn."""
        self.queue.add([])
        self.clock.advance(0)
        self.assertEqual(self.done, ["done"])

    def test_failure(self) -> None:
        """Work that fails is logged; the other names have their turns."""
        self.queue.add(["bad", "good"])
        self.clock.advance(0)
        self.assertEqual(self.done, ["bad", "good", "done"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_clear(self) -> None:
        """Nothing happens after the queue is cleared, until names are added."""
        self.queue.add(["a"])
        self.queue.clear()
        self.clock.advance(0)
        self.assertEqual(self.done, [])
        self.queue.add(["b"])
        self.clock.advance(0)
        self.assertEqual(self.done, ["b", "done"])
