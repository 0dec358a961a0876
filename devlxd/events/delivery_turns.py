# -*- test-case-name: tests.events.test_subscription -*-
"""The turns in which the subscriptions to one container deliver events."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from devlxd.interfaces import ITurn, ITurns

#: A turn ends once the delivered events have this size, in bytes. A smaller event than
#: `LEAST` counts as that many bytes.
BATCH = 64 * 1024
LEAST = 512


class Waiting(Protocol):
    """A subscription that waits for its turn."""

    def use_turn(self) -> int:
        """Deliver events; return the size of the work, in bytes of events."""

    def __hash__(self) -> int:
        """Return the hash, of its identity."""


T = TypeVar("T", bound=Waiting)


class DeliveryTurns(Generic[T]):
    """What all subscriptions to one container share.

    In a turn of the container as many subscriptions deliver as fit into one batch: a
    turn for each of thousands would take longer than the deliveries.

    :param container: the container's name.
    :param turns: schedules the turns.
    :param ended: called once with each subscription, when it has ended.
    """

    __slots__ = ("_ended", "_turn", "_turns", "_waiting", "container")

    def __init__(
        self,
        container: str,
        turns: ITurns,
        ended: Callable[[T], None] | None = None,
    ) -> None:
        self.container = container
        self._turns = turns
        self._ended = ended
        self._turn: ITurn | None = None
        #: In the order of their turns. Taking the first one off a plain dictionary
        #: would take the longer, the more were taken before.
        self._waiting: OrderedDict[T, None] | None = None

    def take(self, subscription: T) -> None:
        """Call `Waiting.use_turn` in a turn, after all that wait already."""
        if self._waiting is None:
            self._waiting = OrderedDict()
        self._waiting[subscription] = None
        self._take_turn()

    def _take_turn(self) -> None:
        if self._turn is None:
            self._turn = self._turns.take(self.container, self._use_turn)

    def _use_turn(self) -> None:
        self._turn = None
        remaining = BATCH
        try:
            while self._waiting and remaining > 0:
                subscription, _ = self._waiting.popitem(last=False)
                remaining -= subscription.use_turn()
        finally:
            self._continue()

    def _continue(self) -> None:
        """Take another turn if a subscription waits; else cancel the current one."""
        if self._waiting:
            self._take_turn()
            return
        self._waiting = None
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def ended(self, subscription: T) -> None:
        """Called by a subscription when it has ended: it waits no longer."""
        if self._waiting is not None and subscription in self._waiting:
            del self._waiting[subscription]
            self._continue()
        if self._ended is not None:
            self._ended(subscription)

    def close(self) -> None:
        """Break the reference cycles; called when there are no subscriptions."""
        self._ended = None
