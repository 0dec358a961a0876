"""Tests of `devlxd.events.delivery_turns`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.events.delivery_turns import DeliveryTurns
from devlxd.turns import Turns


class Subscription:
    """A subscription that counts its turns, and may fail."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure
        self.turns = 0

    def use_turn(self) -> int:
        """See `Waiting.use_turn`."""
        self.turns += 1
        if self._failure is not None:
            raise self._failure
        return 1


class DeliveryTurnsTests(SynchronousTestCase):
    """The turns that the subscriptions to a container share."""

    def test_failure(self) -> None:
        """If a subscription fails, those that wait after it have their turns."""
        clock = Clock()
        deliveries = DeliveryTurns[Subscription]("c1", Turns(clock))
        failing, other = Subscription(ValueError()), Subscription()
        deliveries.take(failing)
        deliveries.take(other)
        clock.pump([0] * 3)
        self.assertEqual((failing.turns, other.turns), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(clock.getDelayedCalls(), [])
