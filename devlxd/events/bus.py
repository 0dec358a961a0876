# -*- test-case-name: tests.events.test_bus -*-
"""The bus: each subscriber has a queue of its own, bounded and in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial

from twisted.application.service import Service
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.events.diff import Change, changes, event_of, lost
from devlxd.interfaces import (
    IContainerStore,
    IEventBus,
    IJournal,
    IStoreObserver,
    ISubscriber,
    ISubscription,
)
from devlxd.model import Container, End, Event

#: How many events of the past a subscriber is sent at a time.
BATCH = 64

#: How much a subscriber may be behind.
MAX_QUEUED_EVENTS = 2000
MAX_QUEUED_BYTES = 4 * 1024 * 1024


class Replay:
    """What a container's subscriber has missed, some of it at a time.

    :param journal: where it is.
    :param container: the container's name.
    :param since: the timestamp after which it begins.
    """

    def __init__(self, journal: IJournal, container: str, since: int) -> None:
        self._journal = journal
        self._container = container
        self._since = since

    def next_events(self) -> list[Event]:
        """Return the next events, the oldest first; none when there are no more."""
        complete_since, events = self._journal.since(
            self._container, self._since, BATCH
        )
        found = list(events)
        if self._since < complete_since:
            found.insert(0, lost(self._container, complete_since))
            self._since = complete_since
        if events:
            self._since = events[-1].timestamp
        return found


@implementer(ISubscription)
class _Subscription:
    """The queue of one subscriber."""

    _log = Logger()

    def __init__(
        self,
        subscriber: ISubscriber,
        types: Collection[str],
        cancelled: Callable[[_Subscription], None],
        replay: Replay | None = None,
    ) -> None:
        self._subscriber = subscriber
        self._types = types
        self._cancelled = cancelled
        self._replay = replay
        self._queue: deque[Event] = deque()
        self._queued_bytes = 0
        self._end: End | None = None
        self._paused = True
        self._over = False
        self._delivering = False

    def resume(self) -> None:
        """See `ISubscription.resume`."""
        self._paused = False
        self._deliver()

    def pause(self) -> None:
        """See `ISubscription.pause`."""
        self._paused = True

    def cancel(self) -> None:
        """See `ISubscription.cancel`."""
        if not self._over:
            self._over = True
            self._queue.clear()
            self._cancelled(self)

    def put(self, events: Iterable[Event]) -> None:
        """Queue what the subscriber wants to hear, and deliver what it takes."""
        # Who has not heard all of the past yet finds the present there as well.
        if self._replay is None:
            self._enqueue(events)
            self._deliver()
            if self._is_too_far_behind():
                self._queue.clear()
                self.end_with(End.TOO_SLOW)

    def _enqueue(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.type in self._types:
                self._queue.append(event)
                self._queued_bytes += len(event.text)

    def _is_too_far_behind(self) -> bool:
        return (
            len(self._queue) > MAX_QUEUED_EVENTS
            or self._queued_bytes > MAX_QUEUED_BYTES
        ) and not self._over

    def end_with(self, reason: End) -> None:
        """Let this be the last that the subscriber hears, after what is queued.

        What comes now under the container's name is another container's.
        """
        self._end = reason
        self._cancelled(self)
        if reason is End.TOO_SLOW:
            self._finish()
        else:
            self._deliver()

    def _deliver(self) -> None:
        # A subscriber may pause, cancel or cause further events while it
        # receives one.
        if self._delivering:
            return
        self._delivering = True
        try:
            while not self._paused and not self._over and self._fill_queue():
                event = self._queue.popleft()
                self._queued_bytes -= len(event.text)
                self._call(partial(self._subscriber.receive, event))
        finally:
            self._delivering = False
        if self._end is not None and not self._queue:
            self._finish()

    def _fill_queue(self) -> bool:
        """Fetch more of the past if need be; tell whether there is something."""
        while not self._queue and self._replay is not None:
            events = self._replay.next_events()
            if not events:
                self._replay = None
            self._enqueue(events)
        return bool(self._queue)

    def catch_up(self) -> None:
        """Fetch all of the past, which is to be forgotten."""
        while self._replay is not None:
            events = self._replay.next_events()
            if not events:
                self._replay = None
            self._enqueue(events)

    def _finish(self) -> None:
        end = self._end
        if not self._over and end is not None:
            self.cancel()
            self._call(partial(self._subscriber.end, end))

    def _call(self, what: Callable[[], None]) -> None:
        """A subscriber that fails costs itself its subscription, nobody else."""
        try:
            what()
        except Exception:
            self._log.failure("a subscriber failed")
            self.cancel()


@implementer(IEventBus, IStoreObserver)
class EventBus(Service):
    """Makes events of the changes of a store, and passes them on.

    What it passes on is in the journal before anybody receives it: whoever
    comes back after this process was killed misses nothing, and hears nothing
    twice.

    :param store: whose changes are heard.
    :param journal: what is remembered.
    :param now: tells the time, in nanoseconds since 1970.
    """

    _log = Logger()

    def __init__(
        self,
        store: IContainerStore,
        journal: IJournal,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._journal = journal
        self._now = now
        self._subscriptions: dict[str, dict[_Subscription, None]] = {}

    def startService(self) -> None:
        """Hear of changes from now on; those since the journal's end count."""
        super().startService()
        self._journal.open()
        self._store.watch(self)
        for name in self._store.names():
            self.changed(name, None, self._store.get(name))
        self._store.loaded().addCallback(lambda _: self._forget_the_gone())

    def stopService(self) -> None:
        """Hear of changes no more."""
        if self.running:
            self._store.unwatch(self)
            self._journal.close()
        super().stopService()

    def _forget_the_gone(self) -> None:
        if not self.running:
            return
        for name in set(self._journal.names()) - set(self._store.names()):
            self._journal.forget(name)

    def subscribe(
        self,
        container: str,
        subscriber: ISubscriber,
        types: Collection[str],
        since: int | None = None,
    ) -> ISubscription:
        """See `IEventBus.subscribe`."""
        replay = None if since is None else Replay(self._journal, container, since)
        subscription = _Subscription(
            subscriber, {*types, "lost"}, partial(self._drop, container), replay
        )
        self._subscriptions.setdefault(container, {})[subscription] = None
        return subscription

    def _drop(self, container: str, subscription: _Subscription) -> None:
        subscriptions = self._subscriptions.get(container, {})
        subscriptions.pop(subscription, None)
        if not subscriptions:
            self._subscriptions.pop(container, None)

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        known = self._journal.last(name)
        if known is not None and (new is None or new.is_another_than(known)):
            self._end(name, known)
            known = None
        if new is not None:
            self._tell(new, known)

    def _tell(self, new: Container, known: Container | None) -> None:
        """Tell of the changes of a container; there are none of a new one."""
        found = list(changes(known, new)) if known is not None else []
        events = self._events(new.name, found)
        timestamp = events[-1].timestamp if events else self._next_timestamp(new.name)
        self._remember(new, timestamp, events)
        self._pass_on(new.name, events)

    def _remember(self, new: Container, timestamp: int, events: list[Event]) -> None:
        try:
            self._journal.record(new, timestamp, events)
        except Exception:
            # Who listens now shall hear of it all the same.
            self._log.failure("events of {name} are not remembered", name=new.name)

    def _end(self, name: str, known: Container) -> None:
        """Tell that a container and all it had is no more."""
        events = self._events(name, changes(known, None))
        for subscription in list(self._subscriptions.get(name, ())):
            subscription.catch_up()
            subscription.put(events)
            subscription.end_with(End.GONE)
        self._journal.forget(name)

    def _events(self, name: str, found: Iterable[Change]) -> list[Event]:
        first = self._next_timestamp(name)
        return [event_of(name, change, first + n) for n, change in enumerate(found)]

    def _next_timestamp(self, name: str) -> int:
        return max(self._now(), self._journal.last_timestamp(name) + 1)

    def _pass_on(self, name: str, events: list[Event]) -> None:
        for subscription in list(self._subscriptions.get(name, ())):
            subscription.put(events)
