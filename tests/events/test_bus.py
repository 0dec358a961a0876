"""Tests of `devlxd.events.bus`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any
from unittest import mock

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.events import bus, delivery_turns, recorder
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.interfaces import IContainerStore, IEventBus, ISubscription
from devlxd.model import Container, End, Event
from devlxd.testing import RecordingSubscriber
from devlxd.testing.contracts import EventBusContract, SubscriberContract
from tests.default_limits import KEPT_EVENTS, limits

C1 = Container("c1", {"user.a": "0"}, origin="1")

TYPES = ("config", "device")

NAMESPACES = ("user.",)


class ViewingSubscriber(RecordingSubscriber):
    """A subscriber with a view of its container, which it updates with the events.

    :param start: the snapshot with which the view begins; ``None`` for an empty one.
    :ivar config: the config in the view.
    :ivar devices: the devices in the view.
    """

    def __init__(self, start: Container | None = None) -> None:
        super().__init__()
        self.config = dict(start.config) if start else {}
        self.devices = dict(start.devices) if start else {}

    def receive(self, event: Event) -> None:
        """See `ISubscriber.receive`."""
        super().receive(event)
        change: Mapping[str, Any] = event.metadata
        if event.type == "config":
            assert self.config.get(change["key"], "") == change["old_value"]
            self.config[change["key"]] = change["value"]
        elif event.type == "device" and change["action"] == "removed":
            del self.devices[change["name"]]
        elif event.type == "device":
            assert (change["name"] in self.devices) == (change["action"] == "updated")
            self.devices[change["name"]] = change["config"]


class LastingJournal(SQLiteJournal):
    """A journal in memory that keeps its events when its bus stops, like a file."""

    def close(self) -> None:
        """See `IJournal.close`. Keeps the events."""

    def events(self, name: str, since: int = 0) -> list[Event]:
        """Return the events after ``since`` of the last container with this name."""
        incarnation = self.names().get(name, 0)
        return list(self.since(incarnation, since, TYPES, 10**9)[1])


class BusTestCase(SynchronousTestCase):
    """A base class with a store of one container, and a bus."""

    def setUp(self) -> None:
        self.store = MemoryStore([C1])
        self.journal = LastingJournal()
        self.time = 10**18
        self.clock = Clock()
        self.bus = EventBus(
            self.store, self.journal, self.clock, self.now, namespaces=NAMESPACES
        )
        self.bus.startService()
        self.addCleanup(self.bus.stopService)

    def now(self) -> int:
        """Return ``self.time``, in nanoseconds; it may stay the same or decrease."""
        return self.time

    def put(self, *values: str) -> None:
        """Set the key ``user.a`` to one value after the other."""
        for value in values:
            self.store.put(evolve(C1, config={"user.a": value}))

    def subscribe(
        self,
        subscriber: ViewingSubscriber | None = None,
        types: Collection[str] = TYPES,
        since: int | None = None,
    ) -> tuple[ViewingSubscriber, ISubscription]:
        """Subscribe, and resume the subscription."""
        subscriber = subscriber or ViewingSubscriber(C1)
        subscription = self.bus.subscribe("c1", subscriber, types, since)
        subscription.resume()
        self.clock.advance(0)
        return subscriber, subscription


class EventBusContractTests(EventBusContract, SynchronousTestCase):
    """The contract of `IEventBus`, run on `EventBus`."""

    def make_bus(self) -> EventBus:
        """See `EventBusContract.make_bus`."""
        self.store = MemoryStore([C1, Container("c2")])
        self.clock = Clock()
        bus = EventBus(self.store, SQLiteJournal(), self.clock, namespaces=NAMESPACES)
        bus.startService()
        self.addCleanup(bus.stopService)
        return bus

    def change_config(self, value: str, container: str = "c1") -> None:
        """See `EventBusContract.change_config`."""
        snapshot = self.store.get(container)
        assert snapshot is not None
        self.store.put(evolve(snapshot, config={"user.a": value}))

    def change_device(self) -> None:
        """See `EventBusContract.change_device`."""
        snapshot = self.store.get("c1")
        assert snapshot is not None
        self.store.put(evolve(snapshot, devices={"eth0": {"type": "nic"}}))

    def remove(self) -> None:
        """See `EventBusContract.remove`."""
        self.store.remove("c1")

    def stop(self) -> None:
        """See `EventBusContract.stop`."""
        assert isinstance(self.bus, EventBus)
        self.bus.stopService()

    def settle(self) -> None:
        """See `EventBusContract.settle`."""
        self.clock.advance(0)


class RecordingSubscriberTests(SubscriberContract, SynchronousTestCase):
    """The contract of `ISubscriber`, run on `RecordingSubscriber`."""

    def make_subscriber(self) -> RecordingSubscriber:
        """See `SubscriberContract.make_subscriber`."""
        return RecordingSubscriber()


class EventBusTests(BusTestCase):
    """The behaviour of `EventBus` that is not part of the contract."""

    def test_too_slow(self) -> None:
        """A subscription that is too far behind ends; others are unaffected."""
        for bound in (limits(queued_events=3), limits(queued_bytes=300)):
            self.patch(self.bus, "_limits", bound)
            slow, subscription = self.subscribe()
            quick, _ = self.subscribe()
            subscription.pause()
            self.put(*"12345678")
            self.assertEqual((slow.events, slow.ends), ([], [End.TOO_SLOW]))
            self.assertEqual((quick.values(), quick.ends), (list("12345678"), []))
            subscription.resume()
            self.assertEqual(slow.events, [])
            self.put("0")

    def test_removed(self) -> None:
        """The removal of a container causes events that remove its keys."""
        subscriber, _ = self.subscribe()
        paused, subscription = self.subscribe()
        subscription.pause()
        self.store.remove("c1")
        self.assertEqual(subscriber.values(), [""])
        self.assertEqual(subscriber.ends, [End.REMOVED])
        self.assertEqual(paused.ends, [])
        subscription.resume()
        self.assertEqual(paused.values(), [""])
        self.assertEqual(paused.ends, [End.REMOVED])
        self.assertEqual(list(self.journal.incarnations()), [])

    def test_recreated_while_paused(self) -> None:
        """A paused subscription receives nothing of a recreated container."""
        subscriber, subscription = self.subscribe()
        subscription.pause()
        self.store.remove("c1")
        self.store.put(C1)
        self.put("secret of the new one")
        subscription.resume()
        self.assertEqual(subscriber.values(), [""])
        self.assertEqual(subscriber.ends, [End.REMOVED])

    def test_recreated(self) -> None:
        """If ``volatile.uuid`` changes, it is another container: subscriptions end."""
        self.store.put(evolve(C1, config={"user.a": "0", "volatile.uuid": "1"}))
        subscriber, _ = self.subscribe()
        self.put("old")
        self.store.put(evolve(C1, config={"user.a": "old", "volatile.uuid": "1"}))
        self.store.put(evolve(C1, config={"user.a": "new", "volatile.uuid": "2"}))
        self.assertEqual(subscriber.values(), ["old", ""])
        self.assertEqual(subscriber.ends, [End.REMOVED])
        late, _ = self.subscribe(since=0)
        self.assertEqual([event.type for event in late.events], ["lost"])

    def test_large_change(self) -> None:
        """One large change does not end a paused subscription that was up to date."""
        self.patch(self.bus, "_limits", limits(queued_events=3))
        subscriber, subscription = self.subscribe()
        subscription.pause()
        self.store.put(Container("c1", {f"user.{n}": "x" for n in range(100)}))
        self.assertEqual(subscriber.ends, [])
        subscription.resume()
        self.assertEqual(len(subscriber.events), 101)

    def test_latest(self) -> None:
        """`latest` never decreases, not even for unknown names or a clock set back."""
        self.put("1")
        since = self.bus.latest("c1")
        self.time -= 10**9
        self.put("2")
        subscriber, _ = self.subscribe(
            ViewingSubscriber(evolve(C1, config={"user.a": "1"})), since=since
        )
        self.put("3")
        self.assertEqual(subscriber.values(), ["2", "3"])
        self.assertEqual(self.bus.latest("c1"), subscriber.events[-1].timestamp)
        self.assertEqual(self.bus.latest("none"), self.bus.latest("c1"))

    def test_unknown(self) -> None:
        """A subscription to an unknown container ends when it is resumed."""
        subscriber = ViewingSubscriber()
        subscription = self.bus.subscribe("none", subscriber, TYPES)
        self.assertEqual(subscriber.ends, [])
        subscription.resume()
        self.assertEqual(subscriber.ends, [End.REMOVED])

    def test_failing(self) -> None:
        """If creating events fails, they are created with those of the next change."""
        subscriber, _ = self.subscribe()
        with mock.patch.object(bus, "event_of", side_effect=UnicodeError):
            self.put("1")
        self.assertEqual(len(self.flushLoggedErrors(UnicodeError)), 1)
        self.put("2")
        self.assertEqual(subscriber.values(), ["2"])

    def test_failing_end(self) -> None:
        """Subscriptions to a removed container end even if creating events fails."""
        subscriber, _ = self.subscribe()
        with mock.patch.object(bus, "event_of", side_effect=UnicodeError):
            self.store.remove("c1")
        self.assertEqual(len(self.flushLoggedErrors(UnicodeError)), 1)
        self.assertEqual(subscriber.ends, [End.REMOVED])
        self.assertEqual(self.bus._removed, {})
        self.assertEqual(self.journal.incarnations(), set())

    def test_stopped_before_loaded(self) -> None:
        """A stopped bus has no delayed calls, however often it was started."""
        loaded: list[Deferred[None]] = []

        def load() -> Deferred[None]:
            loaded.append(Deferred())
            return loaded[-1]

        self.patch(self.store, "loaded", load)
        for _ in range(3):
            self.bus.stopService()
            self.bus.startService()
        for waiting in loaded:
            waiting.callback(None)
        self.bus.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """When the bus stops, all subscriptions end, even if they are behind."""
        self.put("1")
        now = evolve(C1, config={"user.a": "1"})
        live, _ = self.subscribe(ViewingSubscriber(now))
        paused, subscription = self.subscribe(ViewingSubscriber(now))
        subscription.pause()
        self.put("2")
        removed = ViewingSubscriber()
        self.bus.subscribe("c1", removed, TYPES, since=0)
        self.store.remove("c1")
        self.bus.stopService()
        for subscriber, end in ((paused, End.STOPPED), (removed, End.STOPPED)):
            self.assertEqual((subscriber.events, subscriber.ends), ([], [end]))
        self.assertEqual(live.ends, [End.REMOVED])
        late = ViewingSubscriber()
        self.bus.subscribe("c1", late, TYPES).resume()
        self.assertEqual(late.ends, [End.STOPPED])


class SinceTests(BusTestCase):
    """Subscriptions with ``since``."""

    def test_since(self) -> None:
        """Recorded events are delivered first, then new ones, each once."""
        subscriber, subscription = self.subscribe()
        self.put("1", "2", "3")
        subscription.cancel()
        self.put("4", "5")
        again = ViewingSubscriber(evolve(C1, config={"user.a": "2"}))
        self.subscribe(again, since=subscriber.events[1].timestamp)
        self.put("6")
        self.assertEqual(again.values(), ["3", "4", "5", "6"])

    def test_many(self) -> None:
        """Recorded events are read in batches, one in each turn."""
        start, _ = self.subscribe()
        self.put("x")
        late = ViewingSubscriber()
        late.config["user.a"] = "x"
        self.put(*map(str, range(KEPT_EVENTS - 10)))
        subscription = self.bus.subscribe(
            "c1", late, TYPES, since=start.events[0].timestamp
        )
        self.put("now")
        subscription.resume()
        # Only one batch is read before the turns of other containers.
        self.assertLess(
            sum(event.size for event in late.events), 2 * delivery_turns.BATCH
        )
        self.assertLess(len(late.events), KEPT_EVENTS // 2)
        self.clock.advance(0)
        self.put("then")
        expected = [*map(str, range(KEPT_EVENTS - 10)), "now", "then"]
        self.assertEqual(late.values(), expected)

    def test_lost(self) -> None:
        """``lost`` has the timestamp after which no event is missing."""
        self.put(*map(str, range(1, 2 * KEPT_EVENTS)))
        late = ViewingSubscriber()
        self.patch(late, "receive", late.events.append)
        self.subscribe(late, since=0)
        first, *rest = late.events
        self.assertEqual(first.type, "lost")
        self.assertGreaterEqual(len(rest), KEPT_EVENTS)
        self.assertEqual(rest[0].timestamp, first.timestamp + 1)

    def test_future(self) -> None:
        """A timestamp in the future does not delay new events."""
        subscriber, _ = self.subscribe(since=2**62)
        self.put("1")
        self.assertEqual(subscriber.values(), ["1"])

    def test_distant_past(self) -> None:
        """A timestamp before 1970 is before the first event."""
        self.put("1")
        subscriber, _ = self.subscribe(since=-(2**70))
        self.assertEqual(
            [event.type for event in subscriber.events], ["lost", "config"]
        )

    def test_restarted(self) -> None:
        """Changes while devlxd was stopped become events when it starts."""
        subscriber, _ = self.subscribe()
        self.put("1")
        since = subscriber.events[0].timestamp
        self.restart(lambda: self.put("2"))
        again = ViewingSubscriber(evolve(C1, config={"user.a": "1"}))
        self.subscribe(again, since=since)
        self.assertEqual(again.values(), ["2"])

    def restart(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Start another bus, like another process."""
        self.bus.stopService()
        meanwhile()
        self.bus = EventBus(
            self.store, self.journal, self.clock, self.now, namespaces=NAMESPACES
        )
        self.bus.startService()
        self.addCleanup(self.bus.stopService)

    def test_missing_after_the_start(self) -> None:
        """The events of missing containers are removed some time after the start."""
        for name in ("c2", "c3", "c4", "c5"):
            self.store.put(Container(name, origin=name))
        known = self.journal.names()
        self.bus.stopService()
        for name in ("c3", "c4", "c5"):
            self.store.remove(name)
        self.patch(self.store, "has", lambda name: name in ("c1", "c2", "c3"))
        self.restart()
        self.assertEqual(self.journal.names(), known)
        self.clock.advance(recorder.FORGET_AFTER / 2)
        self.store.put(Container("c4", {"user.a": "1"}, origin="c4"))
        self.assertEqual(len(self.journal.events("c4")), 1)
        self.clock.advance(recorder.FORGET_AFTER / 2)
        self.assertEqual(sorted(self.journal.names()), ["c1", "c2", "c3", "c4"])
        self.assertEqual(len(self.journal.incarnations()), 4)

    def test_nothing_after_the_start(self) -> None:
        """While the store has no containers, no events are removed."""
        self.bus.stopService()
        self.patch(self.store, "names", list)
        self.restart()
        self.clock.advance(2 * recorder.FORGET_AFTER)
        self.assertEqual(list(self.journal.names()), ["c1"])

    def test_removed_while_behind(self) -> None:
        """A replay continues to its end when its container is removed."""
        start, subscription = self.subscribe()
        self.put("1")
        subscription.cancel()
        self.put(*(str(n) * 100 for n in range(2, 800)))
        late = [ViewingSubscriber(evolve(C1, config={"user.a": "1"})) for _ in "12"]
        since = start.events[0].timestamp
        subscriptions = [self.bus.subscribe("c1", s, TYPES, since) for s in late]
        self.store.remove("c1")
        self.store.put(Container("c1", {"user.a": "new"}))
        self.put("secret of the new one")
        self.assertEqual(len(self.journal.incarnations()), 2)
        for subscriber, behind in zip(late, subscriptions, strict=True):
            behind.resume()
            self.clock.advance(0)
            expected = [*(str(n) * 100 for n in range(2, 800)), ""]
            self.assertEqual(subscriber.values(), expected)
            self.assertEqual(subscriber.ends, [End.REMOVED])
        self.assertEqual(len(self.journal.incarnations()), 1)

    def test_removed_again_while_behind(self) -> None:
        """Replays of two removed containers with one name are separate."""
        readers = []
        for value in ("1", "2"):
            self.store.put(C1)
            self.put(value)
            reader = ViewingSubscriber()
            self.patch(reader, "receive", reader.events.append)
            readers.append((reader, self.bus.subscribe("c1", reader, TYPES, since=0)))
            self.store.remove("c1")
        for (reader, subscription), value in zip(readers, "12", strict=True):
            subscription.resume()
            self.assertEqual(reader.values(), [value, ""])
            self.assertEqual(reader.ends, [End.REMOVED])
        self.assertEqual(list(self.journal.incarnations()), [])

    def test_cancelled_while_behind(self) -> None:
        """Cancelling the last replay of a removed container removes its events."""
        self.put("1")
        subscription = self.bus.subscribe("c1", ViewingSubscriber(), TYPES, since=0)
        self.store.remove("c1")
        self.assertEqual(len(self.journal.incarnations()), 1)
        subscription.cancel()
        self.assertEqual(list(self.journal.incarnations()), [])


NAMES = st.sampled_from(["c1", "c2"])
CONFIGS = st.dictionaries(st.sampled_from(["user.a", "user.b", "x"]), st.text("01"))
DEVICES = st.dictionaries(
    st.sampled_from(["eth0", "eth1"]),
    st.dictionaries(st.just("type"), st.sampled_from(["nic", "disk"])),
)

#: The name of a container, a subscriber to its events, and the subscription.
Subscribed = tuple[str, ViewingSubscriber, ISubscription]


def subscribed_viewers(
    store: IContainerStore, bus: IEventBus, name: str
) -> list[Subscribed]:
    """Add a subscriber that knows the current snapshot.

    :return: a list of one subscription; empty if there is no snapshot.
    """
    container = store.get(name)
    if container is None:
        return []
    subscriber = ViewingSubscriber(container)
    subscription = bus.subscribe(name, subscriber, TYPES)
    subscription.resume()
    return [(name, subscriber, subscription)]


class BusMachine(RuleBasedStateMachine):
    """Changes, subscriptions, pauses and renewed subscriptions, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.journal = SQLiteJournal()
        self.clock = Clock()
        self.bus = EventBus(
            self.store, self.journal, self.clock, lambda: 0, namespaces=NAMESPACES
        )
        self.bus.startService()
        self.live: list[Subscribed] = []
        self.paused: list[Subscribed] = []
        self.cancelled: list[tuple[str, ViewingSubscriber]] = []

    @rule(name=NAMES, config=CONFIGS, devices=DEVICES)
    def put(
        self, name: str, config: dict[str, str], devices: dict[str, dict[str, str]]
    ) -> None:
        """Add or change a container."""
        self.store.put(Container(name, config, devices))

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        """Remove a container."""
        self.store.remove(name)
        self.cancelled = [(n, s) for n, s in self.cancelled if n != name]

    @rule(name=NAMES)
    def subscribe(self, name: str) -> None:
        """Add a subscriber that knows the current snapshot."""
        self.live += subscribed_viewers(self.store, self.bus, name)

    @rule()
    def pause(self) -> None:
        """Pause a subscription."""
        if self.live:
            self.paused.append(self.live.pop())
            self.paused[-1][2].pause()

    @rule()
    def resume(self) -> None:
        """Resume a subscription."""
        if self.paused:
            self.live.append(self.paused.pop())
            self.live[-1][2].resume()

    @rule()
    def cancel(self) -> None:
        """Cancel a subscription."""
        if self.live:
            name, subscriber, subscription = self.live.pop(0)
            subscription.cancel()
            if subscriber.events and not subscriber.ends:
                self.cancelled.append((name, subscriber))

    @rule()
    def subscribe_again(self) -> None:
        """Subscribe again, after the last received event."""
        if self.cancelled:
            name, subscriber = self.cancelled.pop(0)
            since = subscriber.events[-1].timestamp
            subscription = self.bus.subscribe(name, subscriber, TYPES, since)
            subscription.resume()
            self.live.append((name, subscriber, subscription))

    @rule(name=NAMES, since=st.sampled_from([2**60, 2**62]))
    def subscribe_behind(self, name: str, since: int) -> None:
        """Subscribe with ``since``, and stay paused."""
        container = self.store.get(name)
        if container is not None:
            subscriber = ViewingSubscriber(container)
            subscription = self.bus.subscribe(name, subscriber, TYPES, since)
            self.paused.append((name, subscriber, subscription))

    @invariant()
    def views_agree(self) -> None:
        """The views of subscribers that read agree with the store."""
        self.clock.advance(0)
        for name, subscriber, _ in self.live:
            container = self.store.get(name)
            if subscriber.ends:
                assert subscriber.ends == [End.REMOVED]
                values = [v for k, v in subscriber.config.items() if k != "x"]
                assert not any(values) and not subscriber.devices
                continue
            assert container is not None
            for key in ("user.a", "user.b"):
                assert subscriber.config.get(key, "") == container.config.get(key, "")
            assert subscriber.devices == container.devices

    def teardown(self) -> None:
        """Stop the bus."""
        self.bus.stopService()


class AnySequenceTests(SynchronousTestCase):
    """Any sequence of changes and subscriptions."""

    def test_any_sequence(self) -> None:
        """The views of subscribers that read agree with the store."""
        run_state_machine_as_test(
            BusMachine,
            settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
        )
