# -*- test-case-name: tests.events.test_subscription -*-
"""Subscriptions: positions in the list of a container's events."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Protocol

from twisted.logger import Logger
from zope.interface import implementer

from devlxd.events.delivery_turns import BATCH, LEAST, DeliveryTurns
from devlxd.events.event_list import Node
from devlxd.interfaces import ISubscriber, ISubscription
from devlxd.model import End, Event, Limits


@lru_cache(maxsize=64)
def with_lost(types: frozenset[str]) -> frozenset[str]:
    """Return the types with ``lost``; subscriptions with equal types share them."""
    return types | {"lost"}


class RecordedEvents(Protocol):
    """The recorded events that a subscription delivers first."""

    def fetch(self) -> Sequence[Event]:
        """Return the next events, the oldest first."""

    @property
    def since(self) -> int:
        """The timestamp after which nothing was fetched."""

    @property
    def end(self) -> Node | None:
        """The node to continue from; ``None`` if there are more recorded events."""

    def close(self) -> None:
        """Called when no more events will be fetched."""


@implementer(ISubscription)
class Subscription:
    """See `ISubscription`.

    There may be very many subscriptions, so that each needs little memory. The events
    of a change are delivered to each of them by few calls.

    :param deliveries: what it shares with the other subscriptions to the container.
    :param subscriber: receives the events.
    :param types: the types of events to deliver.
    :param position: the node after which it starts.
    :param recorded: the events with which it starts, instead of ``position``.
    :param end: the reason with which it ends after its last event; default: it does
        not end.
    :ivar is_paused: whether nothing is delivered until it is resumed.
    """

    __slots__ = (
        "__weakref__",
        "_deliveries",
        "_end",
        "_fetched",
        "_is_delivering",
        "_is_waiting",
        "_position",
        "_recorded",
        "_subscriber",
        "_types",
        "is_paused",
    )

    _log = Logger()

    def __init__(
        self,
        deliveries: DeliveryTurns[Subscription],
        subscriber: ISubscriber,
        types: Collection[str],
        *,
        position: Node | None = None,
        recorded: RecordedEvents | None = None,
        end: End | None = None,
    ) -> None:
        self._deliveries = deliveries
        self._subscriber: ISubscriber | None = subscriber
        self._types = types
        self._position = position
        self._recorded = recorded
        self._end = end
        self._fetched: deque[Event] | None = None
        self._is_waiting = False
        self.is_paused = True
        self._is_delivering = False

    def resume(self) -> None:
        """See `ISubscription.resume`."""
        self.is_paused = False
        if not self._is_waiting:
            self._deliver()

    def pause(self) -> None:
        """See `ISubscription.pause`."""
        self.is_paused = True

    def cancel(self) -> None:
        """See `ISubscription.cancel`.

        Releases all references, so that the subscriber is freed immediately.
        """
        if self._subscriber is None:
            return
        if self._recorded is not None:
            self._recorded.close()
        self._subscriber = self._position = self._recorded = self._fetched = None
        self._deliveries.ended(self)

    def position(self) -> int | None:
        """See `ISubscription.position`."""
        event = self._next_event()
        if event is not None:
            return event.timestamp - 1
        return self._recorded.since if self._recorded is not None else None

    @property
    def is_behind(self) -> bool:
        """Whether there are events to deliver."""
        return self._next_event() is not None

    def notify(self, remaining: int) -> int:
        """Deliver new events, if the subscription is ready for them.

        It is not while it is paused, waits for a turn, or reads recorded events.

        :param remaining: the number of bytes that may be delivered immediately. If it
            is not positive, events are delivered in the next turn instead.
        :return: the number of bytes that were delivered.
        """
        if self.is_paused or self._is_waiting or self._recorded is not None:
            return 0
        if remaining > 0:
            return self._deliver()
        if self._next_event() is not None:
            self._take_turn()
        return 0

    def end_if_slow(self, last: Node, limits: Limits) -> None:
        """End the subscription if it is paused and too far behind.

        :param last: the last node of the list.
        :param limits: how far it may be behind.
        """
        position = self._position
        if (
            self.is_paused
            and position is not None
            and (
                last.count - position.count > limits.queued_events
                or last.size - position.size > limits.queued_bytes
            )
        ):
            self.end_now(End.TOO_SLOW)

    def end_after_events(self, reason: End) -> None:
        """End the subscription when all events are delivered."""
        self._end = reason
        if not self._is_waiting:
            self._deliver()

    def end_now(self, reason: End) -> None:
        """End the subscription; drop events that are not delivered yet."""
        subscriber = self._subscriber
        if subscriber is not None:
            self.cancel()
            try:
                subscriber.end(reason)
            except Exception:
                self._failed()

    def use_turn(self) -> int:
        """Deliver a batch of events in a turn.

        :return: the size of the work, in bytes of delivered events.
        """
        self._is_waiting = False
        # Reading the journal takes as long as delivering a batch.
        least = BATCH if self._recorded is not None else 1
        return max(self._deliver(), least)

    def _next_event(self) -> Event | None:
        """Return the next event to deliver; skip those of other types."""
        if self._fetched:
            return self._fetched[0]
        position = self._position
        while position is not None and position.next is not None:
            event = position.next.event
            if event is not None and event.type in self._types:
                return event
            group = position.next.group
            self._position = position = group[0] if group else position.next
        return None

    def _deliver(self) -> int:
        """Deliver a batch of events, and take a turn for the rest.

        :return: the number of bytes that were delivered.
        """
        # A subscriber may pause, cancel or cause events while it receives one.
        if self._is_delivering or self._subscriber is None:
            return 0
        self._is_delivering = True
        try:
            delivered = self._deliver_batch()
        finally:
            self._is_delivering = False
        is_complete = delivered < BATCH and not self.is_paused
        if self._recorded is not None or (
            not is_complete and self._next_event() is not None
        ):
            if not self.is_paused:
                self._take_turn()
        elif self._end is not None:
            self.end_now(self._end)
        return delivered

    def _deliver_batch(self) -> int:
        """Deliver events until there are no more, the batch is full, or it pauses."""
        if self._recorded is not None and not self._fetched and not self.is_paused:
            self._fetch(self._recorded)
        delivered = 0
        while delivered < BATCH and not self.is_paused:
            subscriber, event = self._subscriber, self._next_event()
            if subscriber is None or event is None:
                break
            if self._fetched:
                self._fetched.popleft()
            elif self._position is not None:
                self._position = self._position.next
            delivered += event.size if event.size > LEAST else LEAST
            try:
                subscriber.receive(event)
            except Exception:
                self._failed()
        return delivered

    def _fetch(self, recorded: RecordedEvents) -> None:
        self._fetched = deque(recorded.fetch())
        if recorded.end is not None:
            self._position, self._recorded = recorded.end, None
            recorded.close()

    def _take_turn(self) -> None:
        if not self._is_waiting and self._subscriber is not None:
            self._is_waiting = True
            self._deliveries.take(self)

    def _failed(self) -> None:
        """Log that the subscriber has failed, and end its subscription."""
        self._log.failure(
            "a subscriber of {container} failed; devlxd ends its subscription",
            container=self._deliveries.container,
        )
        self.end_now(End.FAILED)
