# -*- test-case-name: tests.events.test_bus -*-
"""Incarnations: containers, each distinct from others with the same name."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from devlxd.events.change_queue import ChangeQueue
from devlxd.events.delivery_turns import DeliveryTurns
from devlxd.events.event_list import Node
from devlxd.events.subscription import Subscription
from devlxd.model import Container, Event


class Incarnation:
    """One container, from its addition to the store until its removal.

    A container that replaces one with the same name is another incarnation.

    :ivar number: the number in the journal, see `IJournal`. It changes whenever
        recording fails, so that no subscription reads events with a gap. 0 once its
        events are removed from the journal.
    :ivar container: the last snapshot whose events were delivered.
    :ivar timestamp: the timestamp of the last event, or of the first snapshot, in
        nanoseconds since 1970.
    :ivar last: the last node of the list of events.
    :ivar subscriptions: the subscriptions that have not ended, the oldest first.
    :ivar deliveries: what the subscriptions share.
    :ivar changes: the queue of the changes whose events were not delivered yet.
    :ivar replays: the number of subscriptions that read recorded events.
    :ivar is_recorded: whether nothing of the container is left to be recorded.
    :ivar is_removed: whether the container was removed.
    :ivar has_ended: whether the subscriptions have been told to end after their last
        event.
    """

    changes: ChangeQueue
    deliveries: DeliveryTurns[Subscription]

    def __init__(self, number: int, container: Container, timestamp: int) -> None:
        self.number = number
        self.container = container
        self.timestamp = timestamp
        self.last = Node()
        self.subscriptions: dict[Subscription, None] = {}
        self.replays = 0
        self.is_recorded = False
        self.is_removed = False
        self.has_ended = False


def new_number() -> int:
    """Return a random number for an incarnation."""
    return secrets.randbits(63)


def identity_of(container: Container) -> tuple[str, str, str]:
    """Return the values that distinguish a container from others with its name.

    :return: the uuid, the id and the origin, the most reliable first. An unknown value
        is an empty string.
    """
    return container.uuid, container.id, container.origin


def are_certainly_same(new: Container, known: Container) -> bool:
    """Return whether two snapshots of one name certainly show the same container."""
    if not new.is_different_from(known):
        for one, other in zip(identity_of(new), identity_of(known), strict=True):
            if one and other:
                return one == other
    return False


def is_to_be_recorded(
    incarnation: Incarnation, new: Container | None, events: Sequence[Event]
) -> bool:
    """Return whether a change must be written to the journal.

    The removal of a container is written only if its recorded events are still read.
    Otherwise all of them are removed from the journal immediately.
    """
    if new is None:
        return incarnation.replays > 0
    return (
        bool(events)
        or not incarnation.is_recorded
        or identity_of(new) != identity_of(incarnation.container)
    )
