# -*- test-case-name: tests.events.test_bus -*-
"""The replay: recorded events, for a subscription that begins in the past."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from weakref import WeakValueDictionary

from devlxd.events.delivery_turns import BATCH
from devlxd.events.diff import lost_event
from devlxd.events.event_list import Node
from devlxd.events.incarnation import Incarnation
from devlxd.interfaces import IJournal, JournalError
from devlxd.model import Event

#: The events in memory, by incarnation number and timestamp. Subscriptions that read
#: the same recorded events share them.
SharedEvents = WeakValueDictionary[tuple[int, int], Event]


class Replay:
    """The recorded events of one container after a timestamp.

    See `devlxd.events.subscription.RecordedEvents`.

    :param journal: contains the events.
    :param shared: the events in memory.
    :param incarnation: the container.
    :param types: the types of the events.
    :param since: the timestamp, in nanoseconds since 1970.
    :param close: called when no more events will be fetched.
    :ivar since: the timestamp after which nothing was fetched.
    """

    def __init__(
        self,
        journal: IJournal,
        shared: SharedEvents,
        incarnation: Incarnation,
        types: Collection[str],
        since: int,
        close: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._shared = shared
        self._incarnation = incarnation
        self._types = types
        self.since = since
        self.close = close
        self.end: Node | None = None

    def fetch(self) -> Sequence[Event]:
        """See `RecordedEvents.fetch`. If events are missing, the first is ``lost``."""
        incarnation = self._incarnation
        complete_since, events, is_all = self._read(incarnation.number)
        if complete_since is None:
            complete_since = incarnation.timestamp
        found = [
            self._shared.setdefault((incarnation.number, event.timestamp), event)
            for event in events
        ]
        if self.since < complete_since:
            found.insert(0, lost_event(incarnation.container.name, complete_since))
        if is_all:
            self.end = incarnation.last
        else:
            self.since = events[-1].timestamp
        return found

    def _read(self, number: int) -> tuple[int | None, Sequence[Event], bool]:
        try:
            return self._journal.since(number, self.since, self._types, BATCH)
        except JournalError:
            # This is not logged: if the journal still fails, the next write logs it.
            return None, [], True
