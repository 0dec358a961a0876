# -*- test-case-name: tests.admin.test_event_reporter -*-
"""From what a guest service does to the events that operators follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from zope.interface import implementer

from devlxd.admin.event_feed import EventFeed
from devlxd.interfaces import IReadyObserver
from devlxd.model import Caller, Container, GuestState, Refusal
from devlxd.observers import NullObserver

#: How many names of changed keys and devices one event lists.
MAX_NAMES = 100

#: The maximum length of a text that a guest has chosen, in characters.
MAX_TEXT = 1000

Value = TypeVar("Value")


@implementer(IReadyObserver)
class EventReporter(NullObserver):
    """An observer of a service, and of its guest states, that reports to the feed.

    :param feed: receives the events.
    :ivar fields: further fields of each event: the directory of the containers, if
        there are several.
    """

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self.fields: Mapping[str, str] = {}

    def connected(self, caller: Caller) -> None:
        """See `IServiceObserver.connected`."""
        if self._feed.is_followed:
            init = None if caller.init is None else caller.init.pid
            self._report("connected", caller.container, uid=caller.uid, init=init)

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        if self._feed.is_followed:
            detail = reason[:MAX_TEXT]
            self._report("refused", container, reason=refusal.value, detail=detail)

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`."""
        if self._feed.has_questions:
            path = path[:MAX_TEXT]
            self._feed.by_guest(
                "asked", container, True, path=path, code=code, **self.fields
            )

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""
        if not self._feed.is_followed:
            return
        names: Mapping[str, object] = {}
        if old is None:
            event = "added"
        elif new is None:
            event = "removed"
        else:
            event = "changed"
            names = {
                "config": _changed_names(old.config, new.config),
                "devices": _changed_names(old.devices, new.devices),
            }
        self._feed.by_operator(event, name, **names, **self.fields)

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""
        self._report("lost", container)

    def state_changed(self, container: str, state: GuestState) -> None:
        """See `IReadyObserver.state_changed`."""
        event = "ready" if state is GuestState.READY else "started"
        self._report(event, container)

    def _report(self, event: str, container: str | None, **fields: object) -> None:
        self._feed.by_guest(event, container, False, **fields, **self.fields)


def _changed_names(old: Mapping[str, Value], new: Mapping[str, Value]) -> list[str]:
    """Return the first names, sorted, whose values differ or that only one has."""
    differing = {
        name for name in old.keys() | new.keys() if old.get(name) != new.get(name)
    }
    return sorted(differing)[:MAX_NAMES]
