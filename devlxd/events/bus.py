# -*- test-case-name: tests.events.test_bus -*-
"""The bus: each subscriber has a queue of its own, bounded and in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import count

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.events.diff import Change, changes, event_of, lost
from devlxd.events.journal import JournalError, SQLiteJournal
from devlxd.interfaces import (
    IContainerStore,
    IEventBus,
    IJournal,
    IStoreObserver,
    ISubscriber,
    ISubscription,
)
from devlxd.model import Container, End, Event

#: How much of the past a subscriber is sent at a time, in bytes.
BATCH = 64 * 1024

#: How long a container may be missing after the start until it is forgotten,
#: in seconds.
FORGET_AFTER = 60.0

#: What the names under which the past of ended containers is kept begin with,
#: until those have read it who were about to: no container is named so.
_GRAVE = "/"

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
        self._journal_name = container
        self._since = since

    def move(self, container: str) -> None:
        """Go on under another name."""
        self._journal_name = container

    def next_events(self) -> list[Event]:
        """Return the next events, the oldest first; none when there are no more."""
        complete_since, events = self._journal.since(
            self._journal_name, self._since, BATCH
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
            self._replay = None
            self._cancelled(self)

    @property
    def replay(self) -> Replay | None:
        """What is left of the past, if the subscriber has not heard all of it."""
        return self._replay

    def put(self, events: Iterable[Event]) -> None:
        """Queue what the subscriber wants to hear, and deliver what it takes."""
        # Who has not heard all of the past yet finds the present there as well.
        if self._replay is None:
            was_behind = bool(self._queue)
            self._enqueue(events)
            self._deliver()
            if was_behind and self._is_too_far_behind():
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
        """Let this be the last that the subscriber hears, after what is queued."""
        self._end = reason
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
        if self._end is not None and not self._queue and self._replay is None:
            self._finish()

    def _fill_queue(self) -> bool:
        """Fetch more of the past if need be; tell whether there is something."""
        while not self._queue and self._replay is not None:
            events = self._replay.next_events()
            if not events:
                self._replay = None
            self._enqueue(events)
        return bool(self._queue)

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
            if not self._over:
                self._end = End.FAILED
                self._finish()


@frozen
class _Last:
    """What was last told of a container.

    :ivar container: the snapshot.
    :ivar timestamp: of the last event, or of the first snapshot.
    """

    container: Container
    timestamp: int


@implementer(IEventBus, IStoreObserver)
class EventBus(Service):
    """Makes events of the changes of a store, and passes them on.

    What it passes on is in the journal before anybody receives it: whoever
    comes back after this process was killed misses nothing, and hears nothing
    twice.

    :param store: whose changes are heard.
    :param journal: what is remembered.
    :param reactor: for what has to wait.
    :param now: tells the time, in nanoseconds since 1970.
    """

    _log = Logger()

    def __init__(
        self,
        store: IContainerStore,
        journal: IJournal,
        reactor: IReactorTime,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._journal = journal
        self._reactor = reactor
        self._now = now
        self._subscriptions: dict[str, dict[_Subscription, None]] = {}
        self._graves: dict[_Subscription, str] = {}
        self._burials = count()
        self._last: dict[str, _Last | None] = {}
        self._unrecorded: set[str] = set()
        self._forgetting: IDelayedCall | None = None

    def startService(self) -> None:
        """Hear of changes from now on; those since the journal's end count."""
        super().startService()
        self._open_journal()
        self._store.watch(self)
        for name in self._store.names():
            self.changed(name, None, self._store.get(name))
        self._store.loaded().addCallback(lambda _: self._forget_later())

    def _open_journal(self) -> None:
        try:
            self._journal.open()
        except JournalError as error:
            self._log.error(
                "{error}: events are not remembered when this process ends",
                error=error,
            )
            self._journal = SQLiteJournal()
            self._journal.open()

    def stopService(self) -> None:
        """Hear of changes no more."""
        if self.running:
            self._store.unwatch(self)
            self._journal.close()
            self._last.clear()
            if self._forgetting is not None and self._forgetting.active():
                self._forgetting.cancel()
        super().stopService()

    def _forget_later(self) -> None:
        if self.running:
            self._forgetting = self._reactor.callLater(
                FORGET_AFTER, self._forget_the_gone
            )

    def _forget_the_gone(self) -> None:
        """Forget containers that went while nobody looked.

        Where there is none at all it is more likely that they are not there
        yet.
        """
        if self._store.names():
            for name in self._journal.names():
                if not self._store.has(name) and name not in self._graves.values():
                    self._forget(name)

    def subscribe(
        self,
        container: str,
        subscriber: ISubscriber,
        types: Collection[str],
        since: int | None = None,
    ) -> ISubscription:
        """See `IEventBus.subscribe`."""
        replay = None
        if since is not None:
            # Nothing that comes from now on lies before it, whatever it is.
            last = self._last_of(container)
            since = min(since, last.timestamp if last is not None else since)
            replay = Replay(self._journal, container, since)
        subscription = _Subscription(
            subscriber, {*types, "lost"}, partial(self._drop, container), replay
        )
        self._subscriptions.setdefault(container, {})[subscription] = None
        return subscription

    def latest(self, container: str) -> int:
        """See `IEventBus.latest`."""
        last = self._last_of(container)
        return last.timestamp if last is not None else self._now()

    def _drop(self, container: str, subscription: _Subscription) -> None:
        grave = self._graves.pop(subscription, None)
        if grave is not None and grave not in self._graves.values():
            self._forget(grave)
        subscriptions = self._subscriptions.get(container, {})
        subscriptions.pop(subscription, None)
        if not subscriptions:
            self._subscriptions.pop(container, None)

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        last = self._last_of(name)
        if last is not None and (new is None or new.is_another_than(last.container)):
            self._end(name, last)
            last = None
        if new is not None:
            self._tell(new, last)

    def _last_of(self, name: str) -> _Last | None:
        """Return what was last told, of this process or the one before it."""
        if name not in self._last:
            known = self._journal.last(name)
            timestamp = self._journal.last_timestamp(name)
            self._last[name] = _Last(known, timestamp) if known is not None else None
        return self._last[name]

    def _tell(self, new: Container, last: _Last | None) -> None:
        """Tell of the changes of a container; there are none of a new one."""
        found = changes(last.container, new) if last is not None else ()
        events = self._events(new.name, last, found)
        if last is None:
            timestamp = self._next_timestamp(last)
        else:
            timestamp = events[-1].timestamp if events else last.timestamp
        self._last[new.name] = _Last(new, timestamp)
        self._remember(new, timestamp, events)
        for subscription in list(self._subscriptions.get(new.name, ())):
            subscription.put(events)

    def _end(self, name: str, last: _Last) -> None:
        """Tell that a container and all it had is no more.

        What comes from now on under its name is another container's: who is
        told of this one's end has no part in it.
        """
        events = self._events(name, last, changes(last.container, None))
        subscriptions = list(self._subscriptions.pop(name, ()))
        self._last[name] = None
        self._bury(name, events, subscriptions)
        for subscription in subscriptions:
            subscription.put(events)
            subscription.end_with(End.GONE)

    def _bury(
        self, name: str, events: list[Event], subscriptions: list[_Subscription]
    ) -> None:
        """Forget a container, as soon as those have read its past who want to."""
        replays = {s: s.replay for s in subscriptions if s.replay is not None}
        if not replays:
            self._forget(name)
            return
        timestamp = events[-1].timestamp if events else self._now()
        grave = f"{_GRAVE}{name}/{next(self._burials)}"
        # The process before this one may have left one.
        self._forget(grave)
        self._remember(Container(name), timestamp, events)
        try:
            self._journal.rename(name, grave)
        except JournalError as error:
            self._log.error("the past of {name} is lost: {e}", name=name, e=error)
            self._forget(name)
        for subscription, replay in replays.items():
            replay.move(grave)
            self._graves[subscription] = grave

    def _remember(self, new: Container, timestamp: int, events: list[Event]) -> None:
        try:
            if new.name in self._unrecorded:
                # There is a gap, and who asks for what lies before it shall be
                # told that something is lost.
                self._journal.forget(new.name)
                before = events[0].timestamp - 1 if events else timestamp
                self._journal.record(new, before, [])
            self._journal.record(new, timestamp, events)
            self._unrecorded.discard(new.name)
        except JournalError as error:
            # Who listens now shall hear of it all the same.
            self._unrecorded.add(new.name)
            self._log.error(
                "events of {name} are not remembered: {error}",
                name=new.name,
                error=error,
            )

    def _forget(self, name: str) -> None:
        try:
            self._journal.forget(name)
        except JournalError as error:
            self._log.error("{name} is not forgotten: {error}", name=name, error=error)

    def _events(
        self, name: str, last: _Last | None, found: Iterable[Change]
    ) -> list[Event]:
        first = self._next_timestamp(last)
        return [event_of(name, change, first + n) for n, change in enumerate(found)]

    def _next_timestamp(self, last: _Last | None) -> int:
        """Return a timestamp after the last one, whatever the clock says."""
        return max(self._now(), last.timestamp + 1 if last is not None else 0)
