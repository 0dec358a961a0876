# -*- test-case-name: tests.events.test_bus -*-
"""The bus: what changes is told in order, remembered, and told again."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from weakref import WeakValueDictionary

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.events.diff import changes, event_of, lost
from devlxd.events.feed import BATCH, Chain, Node, Subscription
from devlxd.events.journal import KEPT, JournalError, JournalReplacedError
from devlxd.interfaces import (
    IContainerStore,
    IEventBus,
    IJournal,
    IStoreObserver,
    ISubscriber,
    ISubscription,
    ITurn,
    ITurns,
)
from devlxd.model import Container, End, Event
from devlxd.turns import Turns

#: How long a container may be missing after the start until it is forgotten,
#: in seconds.
FORGET_AFTER = 60.0

#: How long to wait until what could not be written is tried again, in seconds.
RETRY = 10.0

#: How many events of one change are made at a time, and how long they may be.
_SLICE = 128
_SLICE_BYTES = 256 * 1024


#: What comes after the last slice of work.
_DONE = object()


def _draw() -> int:
    """Return a number that no incarnation has had."""
    return secrets.randbits(63)


def _identity(container: Container) -> tuple[str, str, str]:
    """Return what tells a container from others of its name, the best first."""
    return container.config.get("volatile.uuid", ""), container.id, container.origin


def _is_the_same(new: Container, known: Container) -> bool:
    """Return whether ``new`` is certainly ``known``, and not one of its name."""
    if not new.is_another_than(known):
        for one, other in zip(_identity(new), _identity(known), strict=True):
            if one and other:
                return one == other
    return False


class _Incarnation:
    """One container, from when its store tells of it until it goes.

    :ivar number: by which the journal knows it: a new one whenever something
        could not be recorded, so that nobody reads what has a gap.
    :ivar container: the snapshot that was last told of.
    :ivar timestamp: of the last event, or of the first snapshot.
    :ivar last: the last place in the list of its events.
    :ivar subscriptions: those who hear of it, in their order.
    :ivar pending: the snapshots that are still to be told of; ``None`` for its
        end.
    :ivar work: what tells of them, if it has begun.
    :ivar turn: when that goes on.
    :ivar replays: how many subscribers read its past.
    :ivar is_recorded: whether the journal knows what it is known by.
    :ivar is_over: whether its end was told.
    """

    def __init__(self, number: int, container: Container, timestamp: int) -> None:
        self.number = number
        self.container = container
        self.timestamp = timestamp
        self.last = Node()
        self.subscriptions: dict[Subscription, None] = {}
        self.pending: deque[Container | None] = deque()
        self.work: Iterator[None] | None = None
        self.turn: ITurn | None = None
        self.replays = 0
        self.is_recorded = False
        self.is_over = False


class Replay:
    """What a container's subscriber has missed, some of it at a time.

    :param journal: where it is.
    :param shared: the events that somebody has in memory.
    :param incarnation: the container.
    :param types: the types of the events.
    :param since: the timestamp after which it begins.
    :param closed: is called when nobody will fetch anything any more.
    """

    def __init__(
        self,
        journal: IJournal,
        shared: _Shared,
        incarnation: _Incarnation,
        types: Collection[str],
        since: int,
        closed: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._shared = shared
        self._incarnation = incarnation
        self._types = types
        self._since = since
        self.close = closed
        self.end: Node | None = None

    def fetch(self) -> Sequence[Event]:
        """Return the next events, the oldest first."""
        incarnation = self._incarnation
        complete_since, events, is_all = self._ask(incarnation.number)
        if complete_since is None:
            complete_since = incarnation.timestamp
        found = [
            self._shared.setdefault((incarnation.number, event.timestamp), event)
            for event in events
        ]
        if self._since < complete_since:
            found.insert(0, lost(incarnation.container.name, complete_since))
        if is_all:
            self.end = incarnation.last
        else:
            self._since = events[-1].timestamp
        return found

    def _ask(self, number: int) -> tuple[int | None, Sequence[Event], bool]:
        try:
            return self._journal.since(number, self._since, self._types, BATCH)
        except JournalError:
            # That shows when something is to be written, if not before.
            return None, [], True


_Shared = WeakValueDictionary[tuple[int, int], Event]


@implementer(IEventBus, IStoreObserver)
class EventBus(Service):
    """Makes events of the changes of a store, and passes them on.

    What it passes on is in the journal before anybody receives it: whoever
    comes back after this process was killed misses nothing, and hears nothing
    twice. A journal that fails costs the past, which guests are told, and
    nothing else.

    What the journal has of a container is that container's only if its uuid,
    its id or its origin says so: one that has none of these begins anew
    whenever this starts.

    :param store: whose changes are heard.
    :param journal: what is remembered.
    :param reactor: for what has to wait.
    :param now: tells the time, in nanoseconds since 1970.
    :param turns: by whose turn long work is done.
    :param namespaces: what the config keys begin with whose changes are events:
        whatever the subscribers may see, and nothing else.
    """

    _log = Logger()

    def __init__(
        self,
        store: IContainerStore,
        journal: IJournal,
        reactor: IReactorTime,
        now: Callable[[], int] = time.time_ns,
        turns: ITurns | None = None,
        *,
        namespaces: Collection[str],
    ) -> None:
        self._store = store
        self._journal = journal
        self._reactor = reactor
        self._now = now
        self._turns = turns or Turns(reactor)
        self._namespaces = tuple(namespaces)
        self._shared: _Shared = WeakValueDictionary()
        self._present: dict[str, _Incarnation] = {}
        self._ended: dict[_Incarnation, None] = {}
        self._awaited: dict[str, int] = {}
        self._unrecorded: dict[_Incarnation, None] = {}
        self._failures = 0
        self._is_told = False
        self._latest = 0
        self._forgetting: IDelayedCall | None = None
        self._mending: IDelayedCall | ITurn | None = None

    def startService(self) -> None:
        """Hear of changes from now on; those since the journal's end count."""
        super().startService()
        try:
            self._journal.open(self._namespaces)
            self._awaited = dict(self._journal.names())
            self._latest = self._journal.latest()
        except JournalError as error:
            self._failed(error)
        self._store.watch(self)
        for name in self._store.names():
            self.changed(name, None, self._store.get(name))
        self._store.loaded().addCallback(lambda _: self._forget_later())

    def stopService(self) -> None:
        """Hear of changes no more; subscribers are told that this is the end."""
        if self.running:
            self._store.unwatch(self)
            for waiting in (self._forgetting, self._mending):
                if waiting is not None:
                    waiting.cancel()
            self._forgetting = self._mending = None
            incarnations = [*self._present.values(), *self._ended]
            for known in (self._present, self._ended, self._awaited, self._unrecorded):
                known.clear()
            for incarnation in incarnations:
                self._stop(incarnation)
            self._journal.close()
        super().stopService()

    def _stop(self, incarnation: _Incarnation) -> None:
        if incarnation.turn is not None:
            incarnation.turn.cancel()
        incarnation.work = None
        for subscription in list(incarnation.subscriptions):
            subscription.end_now(End.STOPPED)

    def subscribe(
        self,
        container: str,
        subscriber: ISubscriber,
        types: Collection[str],
        since: int | None = None,
    ) -> ISubscription:
        """See `IEventBus.subscribe`."""
        types = frozenset((*types, "lost"))
        take_turn = partial(self._turns.take, container)
        incarnation = self._present.get(container)
        if incarnation is None:
            end = End.GONE if self.running else End.STOPPED
            return Subscription(subscriber, types, take_turn, end=end)
        place: Node | None = incarnation.last
        replay = None
        if since is not None:
            # Nothing that comes from now on lies before it, and nothing that was
            # lies before 1970, whatever it is.
            since = min(max(since, 0), incarnation.timestamp)
            place, replay = None, self._replay(incarnation, types, since)
        cancelled = partial(self._cancelled, incarnation)
        subscription = Subscription(
            subscriber, types, take_turn, cancelled, place, replay
        )
        incarnation.subscriptions[subscription] = None
        return subscription

    def _replay(
        self, incarnation: _Incarnation, types: Collection[str], since: int
    ) -> Replay:
        incarnation.replays += 1
        closed = partial(self._replayed, incarnation)
        return Replay(self._journal, self._shared, incarnation, types, since, closed)

    def _replayed(self, incarnation: _Incarnation) -> None:
        incarnation.replays -= 1
        self._let_go(incarnation)

    def _cancelled(self, incarnation: _Incarnation, subscription: Subscription) -> None:
        incarnation.subscriptions.pop(subscription, None)
        self._let_go(incarnation)

    def latest(self, container: str) -> int:
        """See `IEventBus.latest`."""
        incarnation = self._present.get(container)
        if incarnation is None:
            return max(self._now(), self._latest)
        return incarnation.timestamp

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        present = self._present.get(name)
        if present is not None and (
            new is None or old is None or new.is_another_than(old)
        ):
            # What comes from now on under its name is another container's: who
            # is told of this one's end has no part in it.
            del self._present[name]
            self._ended[present] = None
            self._carry_out(present, None)
            present = None
        if new is not None:
            if present is None:
                present = self._present[name] = self._begin(new)
            self._carry_out(present, new)

    def _begin(self, new: Container) -> _Incarnation:
        """Take up what is known of a container, if that is certain."""
        number = self._awaited.pop(new.name, None)
        known = None
        if number is not None:
            try:
                known = self._journal.last(number)
            except JournalError as error:
                self._failed(error)
        if number is None or known is None or not _is_the_same(new, known[0]):
            self._latest = max(self._now(), self._latest + 1)
            return _Incarnation(_draw(), new, self._latest)
        incarnation = _Incarnation(number, *known)
        incarnation.is_recorded = True
        return incarnation

    def _carry_out(self, incarnation: _Incarnation, new: Container | None) -> None:
        """Tell of a change after those before it: at once if it is not long."""
        if new is not None and incarnation.turn is not None and incarnation.pending:
            # Something long is in work. Nobody was told of what waits for it: that
            # is told in one with this, or it could become more and more.
            incarnation.pending.pop()
        incarnation.pending.append(new)
        if incarnation.work is None:
            incarnation.work = self._work(incarnation)
            self._go_on(incarnation)

    def _go_on(self, incarnation: _Incarnation) -> None:
        incarnation.turn = None
        if next(incarnation.work or iter(()), _DONE) is _DONE:
            incarnation.work = None
        else:
            go_on = partial(self._go_on, incarnation)
            incarnation.turn = self._turns.take(incarnation.container.name, go_on)

    def _work(self, incarnation: _Incarnation) -> Iterator[None]:
        while incarnation.pending:
            new = incarnation.pending.popleft()
            try:
                yield from self._work_on(incarnation, new)
            except Exception:
                name = incarnation.container.name
                self._log.failure("a change of {container} is not told", container=name)
            if new is None:
                self._end(incarnation)

    def _work_on(
        self, incarnation: _Incarnation, new: Container | None
    ) -> Iterator[None]:
        chain = Chain(incarnation.last)
        yield from self._make_events(incarnation, new, chain)
        # Without config and devices when the container is removed.
        snapshot = new or Container(incarnation.container.name)
        if self._is_to_be_recorded(incarnation, new, chain.events):
            yield from self._journal.prepare(snapshot, chain.events)
        incarnation.is_recorded = not self._is_to_be_recorded(
            incarnation, new, chain.events
        )
        self._tell(incarnation, snapshot, chain)

    def _is_to_be_recorded(
        self, incarnation: _Incarnation, new: Container | None, events: Sequence[Event]
    ) -> bool:
        if new is None:
            return incarnation.replays > 0
        known = incarnation.container
        return (
            bool(events)
            or not incarnation.is_recorded
            or _identity(new) != _identity(known)
        )

    def _make_events(
        self, incarnation: _Incarnation, new: Container | None, chain: Chain
    ) -> Iterator[None]:
        """Make the events of a change, some of them at a time."""
        old, done, number = incarnation.container, 0, 0
        if new is old:
            return
        # Time goes on for this container, whatever the clock says.
        timestamp = max(self._now(), incarnation.timestamp + 1)
        for change in changes(old, new, self._namespaces):
            size = chain.last.size - incarnation.last.size
            if change is None:
                yield
                continue
            if number and (number % _SLICE == 0 or size - done > _SLICE_BYTES):
                done = size
                yield
            chain.add(event_of(old.name, change, timestamp + number))
            number += 1

    def _tell(
        self, incarnation: _Incarnation, snapshot: Container, chain: Chain
    ) -> None:
        events, since = chain.events, incarnation.timestamp
        if events:
            incarnation.timestamp = events[-1].timestamp
            self._latest = max(self._latest, incarnation.timestamp)
        incarnation.container = snapshot
        if not incarnation.is_recorded:
            self._remember(incarnation, since, events)
        self._deliver(incarnation, chain)

    def _end(self, incarnation: _Incarnation) -> None:
        for subscription in list(incarnation.subscriptions):
            subscription.end_with(End.GONE)
        incarnation.is_over = True
        self._let_go(incarnation)

    def _deliver(self, incarnation: _Incarnation, chain: Chain) -> None:
        subscriptions = list(incarnation.subscriptions)
        behind = [s for s in subscriptions if s.is_behind]
        incarnation.last = chain.last
        chain.link()
        at_once = BATCH
        for subscription in subscriptions:
            at_once -= subscription.heard(at_once)
        for subscription in behind:
            subscription.cut_if_slow(chain.last)

    def _let_go(self, incarnation: _Incarnation) -> None:
        """Keep nothing of a container that has gone, as soon as nobody reads it."""
        if not incarnation.is_over or incarnation not in self._ended:
            return
        if not incarnation.replays and incarnation.number:
            number, incarnation.number = incarnation.number, 0
            try:
                self._journal.forget(number)
            except JournalError as error:
                self._failed(error)
        if not incarnation.subscriptions:
            del self._ended[incarnation]

    def _remember(
        self, incarnation: _Incarnation, since: int, events: Sequence[Event]
    ) -> None:
        # Of more than that nobody can ask.
        for event in events[-KEPT:]:
            self._shared[incarnation.number, event.timestamp] = event
        try:
            self._record(incarnation, since, events)
        except JournalError as error:
            # Who listens now hears of it all the same.
            incarnation.number = _draw()
            if incarnation not in self._ended:
                self._unrecorded[incarnation] = None
            self._journal.set_complete(False)
            self._failed(error)

    def _record(
        self, incarnation: _Incarnation, since: int, events: Sequence[Event]
    ) -> None:
        self._journal.record(
            incarnation.number,
            incarnation.container,
            since,
            incarnation.timestamp,
            events,
        )
        incarnation.is_recorded = True
        self._unrecorded.pop(incarnation, None)

    def _failed(self, error: JournalError) -> None:
        """Try again later what the journal could not do."""
        if not self._is_told and not isinstance(error, JournalReplacedError):
            self._is_told = True
            self._log.error(
                "{error}: events are not remembered until that is mended", error=error
            )
        self._failures += 1
        self._mend_in(RETRY)

    def _mend_in(self, seconds: float) -> None:
        if self.running and self._mending is None:
            self._mending = self._reactor.callLater(seconds, self._mend, self._mended())

    def _mend(self, work: Iterator[None]) -> None:
        self._mending = None
        try:
            for _ in work:
                self._mending = self._turns.take(self, partial(self._mend, work))
                return
        except JournalError as error:
            self._failed(error)

    def _mended(self) -> Iterator[None]:
        """Let the journal have all that it should, and nothing else, bit by bit."""
        failures = self._failures
        self._journal.open(self._namespaces)
        for incarnation in list(self._unrecorded):
            yield from self._record_again(incarnation)
        for number in set(self._journal.incarnations()) - self._known():
            self._journal.forget(number)
            yield
        if failures != self._failures:
            self._mend_in(RETRY)
        elif failures:
            self._failures = 0
            self._journal.set_complete(True)
            if self._is_told:
                self._is_told = False
                self._log.info("events are remembered again")

    def _record_again(self, incarnation: _Incarnation) -> Iterator[None]:
        container = incarnation.container
        if incarnation not in self._unrecorded:
            return
        for _ in self._journal.prepare(container, ()):
            yield
            known = incarnation.container if incarnation in self._unrecorded else None
            if known is not container:
                # Who told of another has recorded that, or failed to.
                return
        self._record(incarnation, incarnation.timestamp, ())
        yield

    def _known(self) -> set[int]:
        """Return the incarnations that the journal should know."""
        known = {i.number for i in (*self._present.values(), *self._ended)}
        return known.union(self._awaited.values())

    def _forget_later(self) -> None:
        if self.running and self._forgetting is None:
            self._forgetting = self._reactor.callLater(
                FORGET_AFTER, self._forget_the_gone
            )

    def _forget_the_gone(self) -> None:
        """Forget containers that went while nobody looked, and all that is nobody's.

        Where there is none at all it is more likely that they are not there
        yet.
        """
        self._forgetting = None
        if self._store.names():
            for name in list(self._awaited):
                if not self._store.has(name):
                    del self._awaited[name]
        self._mend_in(0)
