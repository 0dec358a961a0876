# -*- test-case-name: tests.events.test_bus -*-
"""A subscriber for tests of event buses."""

from __future__ import annotations

from zope.interface import implementer

from devlxd.interfaces import ISubscriber
from devlxd.model import End, Event


@implementer(ISubscriber)
class RecordingSubscriber:
    """A subscriber that records the events that it receives.

    :ivar events: the events, in order.
    :ivar ends: the reasons why the subscription has ended: one at most.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ends: list[End] = []

    def receive(self, event: Event) -> None:
        """See `ISubscriber.receive`.

        :raises AssertionError: if the subscription has ended, or when the event is
            not later than the last one.
        """
        assert not self.ends, "an event after the end"
        if self.events:
            assert event.timestamp > self.events[-1].timestamp, "out of order"
        self.events.append(event)

    def end(self, reason: End) -> None:
        """See `ISubscriber.end`."""
        self.ends.append(reason)

    def kinds(self) -> list[str]:
        """Return the types of the received events."""
        return [event.type for event in self.events]

    def values(self) -> list[str]:
        """Return the new values of the received ``config`` events."""
        return [
            str(event.metadata["value"])
            for event in self.events
            if event.type == "config"
        ]
