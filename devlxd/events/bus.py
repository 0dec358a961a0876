# -*- test-case-name: tests.events.test_bus -*-
"""The event bus: turns the changes of a store into events, and delivers them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from functools import partial

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from devlxd.events.change_queue import ChangeQueue
from devlxd.events.delivery_turns import BATCH, DeliveryTurns
from devlxd.events.diff import changes, event_of
from devlxd.events.event_list import Chain
from devlxd.events.incarnation import Incarnation, is_to_be_recorded, new_number
from devlxd.events.recorder import Recorder
from devlxd.events.replay import Replay
from devlxd.events.subscription import Subscription, with_lost
from devlxd.interfaces import (
    IContainerStore,
    IEventBus,
    IJournal,
    IServiceObserver,
    IStoreObserver,
    ISubscriber,
    ISubscription,
    ITurns,
)
from devlxd.limits import CurrentLimits
from devlxd.model import Container, End, Limits
from devlxd.observers import NullObserver
from devlxd.turns import Turns

#: A slice ends after this many events of a change, or once they exceed this many
#: bytes.
_SLICE_EVENTS = 128
_SLICE_BYTES = 256 * 1024


@implementer(IEventBus, IStoreObserver)
class EventBus(Service):
    """See `IEventBus`.

    Events are recorded before they are delivered. If the process is killed, a
    subscriber that reconnects to the next process with ``since`` receives every later
    event exactly once, or first ``lost`` if the journal no longer has all of them.

    When a container of the last process appears again, its recorded events are kept
    only if it is certainly the same container (see
    `devlxd.events.incarnation.are_certainly_same`). Otherwise it has no past events.

    :param store: the store of the containers.
    :param journal: records the events.
    :param reactor: schedules delayed work.
    :param now: returns the time, in nanoseconds since 1970. The timestamps of a
        container increase even if this time does not.
    :param turns: schedules long work; default: a scheduler of this bus alone.
    :param observer: is notified of events; default: none.
    :param namespaces: the prefixes of the config keys whose changes cause events. List
        only those that guests may see; there is no default, so that no other key is
        exposed by omission.
    :param limits: the limits of events; default: the usual ones.
    """

    def __init__(
        self,
        store: IContainerStore,
        journal: IJournal,
        reactor: IReactorTime,
        now: Callable[[], int] = time.time_ns,
        turns: ITurns | None = None,
        observer: IServiceObserver | None = None,
        *,
        namespaces: Collection[str],
        limits: CurrentLimits | None = None,
    ) -> None:
        self._store = store
        self._now = now
        self._turns = turns or Turns(reactor)
        self._observer = observer or NullObserver()
        self._namespaces = tuple(namespaces)
        self._limits = limits or CurrentLimits()
        self._recorder = Recorder(
            journal,
            reactor,
            self._turns,
            self._namespaces,
            self._all_incarnations,
            self._limits,
        )
        self._present: dict[str, Incarnation] = {}
        #: The incarnations of removed containers, until their subscriptions end.
        self._removed: dict[Incarnation, None] = {}
        #: The latest timestamp of any container.
        self._latest = 0

    def startService(self) -> None:
        """See `IService.startService`.

        Creates the events of the changes since the last recorded snapshots.
        """
        super().startService()
        self._latest = max(self._latest, self._recorder.start())
        self._store.watch(self)
        for name in self._store.names():
            self.changed(name, None, self._store.get(name))
        self._loading = self._store.loaded()
        # A failure is logged by the service that has started the store.
        self._loading.addCallbacks(
            lambda _: self._recorder.remove_missing_later(self._store), lambda _: None
        )

    def stopService(self) -> None:
        """See `IService.stopService`. All subscriptions end with `End.STOPPED`."""
        if self.running:
            self._store.unwatch(self)
            self._loading.cancel()
            incarnations = self._all_incarnations()
            self._present.clear()
            self._removed.clear()
            for incarnation in incarnations:
                incarnation.changes.cancel()
                for subscription in list(incarnation.subscriptions):
                    subscription.end_now(End.STOPPED)
                incarnation.deliveries.close()
            self._recorder.stop()
        super().stopService()

    def _all_incarnations(self) -> Collection[Incarnation]:
        return [*self._present.values(), *self._removed]

    def subscribe(
        self,
        container: str,
        subscriber: ISubscriber,
        types: Collection[str],
        since: int | None = None,
    ) -> ISubscription:
        """See `IEventBus.subscribe`."""
        types = with_lost(frozenset(types))
        incarnation = self._present.get(container)
        if incarnation is None:
            end = End.REMOVED if self.running else End.STOPPED
            deliveries = DeliveryTurns[Subscription](container, self._turns)
            return Subscription(deliveries, subscriber, types, end=end)
        if since is not None and since >= incarnation.timestamp:
            # Nothing is missing, and the journal need not be read.
            since = None
        subscription = Subscription(
            incarnation.deliveries,
            subscriber,
            types,
            position=incarnation.last if since is None else None,
            recorded=self._replay(incarnation, types, since),
        )
        incarnation.subscriptions[subscription] = None
        return subscription

    def _replay(
        self, incarnation: Incarnation, types: Collection[str], since: int | None
    ) -> Replay | None:
        if since is None:
            return None
        # This omits no event: all are later than 1970, and those that are not
        # recorded yet will be later than the last one.
        since = min(max(since, 0), incarnation.timestamp)
        incarnation.replays += 1
        close = partial(self._replay_ended, incarnation)
        return self._recorder.replay(incarnation, types, since, close)

    def _replay_ended(self, incarnation: Incarnation) -> None:
        incarnation.replays -= 1
        self._clean_up(incarnation)

    def _subscription_ended(
        self, incarnation: Incarnation, subscription: Subscription
    ) -> None:
        incarnation.subscriptions.pop(subscription, None)
        self._clean_up(incarnation)

    def _clean_up(self, incarnation: Incarnation) -> None:
        """Remove the data of a removed container once nothing reads its events."""
        if not incarnation.has_ended or incarnation not in self._removed:
            return
        if not incarnation.replays and incarnation.number:
            self._recorder.remove(incarnation)
        if not incarnation.subscriptions:
            del self._removed[incarnation]
            incarnation.deliveries.close()

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
            new is None or old is None or new.is_different_from(old)
        ):
            # Subscribers of this container receive no events of the next one with its
            # name, even if that is added while they are notified of the removal.
            del self._present[name]
            self._removed[present] = None
            present.is_removed = True
            present.changes.add(None)
            present = None
        if new is not None:
            if present is None:
                present = self._present[name] = self._make_incarnation(new)
            present.changes.add(new)

    def _make_incarnation(self, container: Container) -> Incarnation:
        incarnation = self._recorder.restore_incarnation(container)
        if incarnation is None:
            self._latest = max(self._now(), self._latest + 1)
            incarnation = Incarnation(new_number(), container, self._latest)
        incarnation.changes = ChangeQueue(
            container.name,
            self._turns,
            partial(self._process_change, incarnation),
            partial(self._end, incarnation),
        )
        incarnation.deliveries = DeliveryTurns(
            container.name, self._turns, partial(self._subscription_ended, incarnation)
        )
        return incarnation

    def _process_change(
        self, incarnation: Incarnation, new: Container | None
    ) -> Iterator[None]:
        """Create, record and deliver the events of a change, in slices."""
        chain = Chain(incarnation.last)
        yield from self._create_events(incarnation, new, chain)
        # The last snapshot of a removed container has no config and no devices.
        snapshot = new or Container(incarnation.container.name)
        if is_to_be_recorded(incarnation, new, chain.events):
            yield from self._recorder.prepare(snapshot, chain.events)
        # Since the last check a replay may have ended, or a retry may have recorded
        # the previous snapshot.
        incarnation.is_recorded = not is_to_be_recorded(incarnation, new, chain.events)
        since, incarnation.container = incarnation.timestamp, snapshot
        if chain.events:
            incarnation.timestamp = chain.events[-1].timestamp
            self._latest = max(self._latest, incarnation.timestamp)
            self._observer.recorded(incarnation.container.name, len(chain.events))
        if not incarnation.is_recorded:
            self._recorder.record(incarnation, since, chain.events)
        _deliver(incarnation, chain, self._limits.value)

    def _create_events(
        self, incarnation: Incarnation, new: Container | None, chain: Chain
    ) -> Iterator[None]:
        """Add the events of a change to ``chain``, in slices."""
        old, size_before = incarnation.container, 0
        if new is old:
            return
        timestamp = max(self._now(), incarnation.timestamp + 1)
        for change in changes(old, new, self._namespaces):
            if change is None:
                yield
                continue
            number = len(chain.events)
            if number and (
                number % _SLICE_EVENTS == 0 or chain.size - size_before > _SLICE_BYTES
            ):
                size_before = chain.size
                yield
            chain.add(event_of(old.name, change, timestamp + number))

    def _end(self, incarnation: Incarnation) -> None:
        """End the subscriptions to a removed container."""
        for subscription in list(incarnation.subscriptions):
            subscription.end_after_events(End.REMOVED)
        incarnation.has_ended = True
        self._clean_up(incarnation)


def _deliver(incarnation: Incarnation, chain: Chain, limits: Limits) -> None:
    """Deliver the events of a change, and end subscriptions that are too far behind.

    A subscription that had no undelivered events before is not ended, however many
    events the change has.
    """
    subscriptions = list(incarnation.subscriptions)
    behind = [s for s in subscriptions if s.is_paused and s.is_behind]
    incarnation.last = chain.last
    chain.link()
    remaining = BATCH
    for subscription in subscriptions:
        remaining -= subscription.notify(remaining)
    for subscription in behind:
        subscription.end_if_slow(chain.last, limits)
