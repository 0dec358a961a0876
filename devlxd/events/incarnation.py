# -*- test-case-name: tests.events.test_bus -*-
"""The incarnation: one container, as the bus and the journal know it."""

from __future__ import annotations

import secrets

from devlxd.events.change_queue import ChangeQueue
from devlxd.events.event_list import Node
from devlxd.events.subscription import Subscription
from devlxd.model import Container


class Incarnation:
    """One container, from when its store has it until it is removed.

    A container that replaces one of the same name is another incarnation.

    :ivar number: the number of `IJournal`. It is a new one whenever something was not
        recorded, for nobody to read events with a gap.
    :ivar container: the last snapshot whose events were delivered.
    :ivar timestamp: that of the last event, or of the first snapshot.
    :ivar last: the last node of the list of events.
    :ivar subscriptions: all subscriptions, in their order.
    :ivar changes: the changes whose events were not delivered yet.
    :ivar replays: how many subscriptions read recorded events.
    :ivar is_recorded: whether the journal has the identity of the container.
    :ivar is_removed: whether the container was removed.
    :ivar has_ended: whether the subscriptions were notified of that.
    """

    changes: ChangeQueue

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
    """Return a number that no incarnation has."""
    return secrets.randbits(63)


def identity_of(container: Container) -> tuple[str, str, str]:
    """Return what distinguishes a container from others of its name.

    :return: the uuid, the id and the origin, the most reliable first; empty where
        they are not known.
    """
    return container.config.get("volatile.uuid", ""), container.id, container.origin


def is_certainly(new: Container, known: Container) -> bool:
    """Return whether two snapshots of one name certainly are of one container."""
    if not new.is_another_than(known):
        for one, other in zip(identity_of(new), identity_of(known), strict=True):
            if one and other:
                return one == other
    return False
