"""Tests of `devlxd.events.bus`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn
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
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from devlxd.containers.memory import MemoryStore
from devlxd.events import bus, recorder
from devlxd.events import subscription as subscriptions
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.events.journal_bounds import KEPT
from devlxd.interfaces import IEventBus, ISubscriber, ISubscription, JournalError
from devlxd.model import Container, End, Event

C1 = Container("c1", {"user.a": "0"}, origin="1")

TYPES = ("config", "device")

NAMESPACES = ("user.",)


@implementer(ISubscriber)
class RecordingSubscriber:
    """Remembers what it hears.

    :ivar view: the config and devices as its events tell, from ``start`` on.
    """

    def __init__(self, start: Container | None = None) -> None:
        self.events: list[Event] = []
        self.ends: list[End] = []
        self.config = dict(start.config) if start else {}
        self.devices = dict(start.devices) if start else {}

    def receive(self, event: Event) -> None:
        """See `ISubscriber.receive`."""
        assert not self.ends, "told something after the end"
        if self.events:
            assert event.timestamp > self.events[-1].timestamp, "out of order"
        self.events.append(event)
        told: Mapping[str, Any] = event.metadata
        if event.type == "config":
            assert self.config.get(told["key"], "") == told["old_value"]
            self.config[told["key"]] = told["value"]
        elif event.type == "device" and told["action"] == "removed":
            del self.devices[told["name"]]
        elif event.type == "device":
            assert (told["name"] in self.devices) == (told["action"] == "updated")
            self.devices[told["name"]] = told["config"]

    def end(self, reason: End) -> None:
        """See `ISubscriber.end`."""
        self.ends.append(reason)

    def values(self) -> list[str]:
        """Return the values of the config events, in order."""
        return [
            str(event.metadata["value"])
            for event in self.events
            if event.type == "config"
        ]


verifyClass(ISubscriber, RecordingSubscriber)


class LastingJournal(SQLiteJournal):
    """A journal in memory that outlives its bus, as a file does."""

    def close(self) -> None:
        """Keep it."""

    def events(self, name: str, since: int = 0) -> list[Event]:
        """Return what is known of the last container of a name."""
        incarnation = self.names().get(name, 0)
        return list(self.since(incarnation, since, TYPES, 10**9)[1])


def fail(*_: object) -> NoReturn:
    """Do what a journal does when the disk is full."""
    raise JournalError("disk full")


class BusTestCase(SynchronousTestCase):
    """Has a store with a container, and a bus."""

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
        """Tell a time that does not always go on."""
        return self.time

    def put(self, *values: str) -> None:
        """Let the container have one value after the other."""
        for value in values:
            self.store.put(evolve(C1, config={"user.a": value}))

    def subscribe(
        self,
        subscriber: RecordingSubscriber | None = None,
        types: Collection[str] = TYPES,
        since: int | None = None,
    ) -> tuple[RecordingSubscriber, ISubscription]:
        """Subscribe, and begin to receive."""
        subscriber = subscriber or RecordingSubscriber(C1)
        subscription = self.bus.subscribe("c1", subscriber, types, since)
        subscription.resume()
        self.clock.advance(0)
        return subscriber, subscription


class EventBusTests(BusTestCase):
    """Passing events on."""

    def test_interfaces(self) -> None:
        """It is a bus, and gives subscriptions."""
        self.assertTrue(verifyObject(IEventBus, self.bus))
        self.assertTrue(verifyObject(ISubscription, self.subscribe()[1]))

    def test_order(self) -> None:
        """Each subscriber hears each event once, in order."""
        one, other = self.subscribe()[0], self.subscribe()[0]
        self.put("1", "2", "3")
        self.assertEqual(one.values(), ["1", "2", "3"])
        self.assertEqual(other.events, one.events)

    def test_others(self) -> None:
        """Nobody hears of another container."""
        subscriber, _ = self.subscribe()
        self.store.put(Container("c2", {"user.a": "x"}))
        self.store.put(Container("c2", {"user.a": "y"}))
        self.assertEqual(subscriber.events, [])

    def test_types(self) -> None:
        """A subscriber hears of what it has asked for."""
        subscriber, _ = self.subscribe(types=["device"])
        self.store.put(Container("c1", {"user.a": "1"}, {"eth0": {"type": "nic"}}))
        self.assertEqual([event.type for event in subscriber.events], ["device"])

    def test_not_before_resumed(self) -> None:
        """What happens between subscribing and receiving is not missed."""
        subscriber = RecordingSubscriber(C1)
        subscription = self.bus.subscribe("c1", subscriber, TYPES)
        self.put("1", "2")
        self.assertEqual(subscriber.events, [])
        subscription.resume()
        self.assertEqual(subscriber.values(), ["1", "2"])

    def test_pause(self) -> None:
        """A subscriber that pauses while it receives gets the rest later."""
        subscriber, subscription = self.subscribe()
        receive = subscriber.receive

        def receive_one(event: Event) -> None:
            receive(event)
            subscription.pause()

        self.patch(subscriber, "receive", receive_one)
        self.put("1", "2", "3")
        self.assertEqual(subscriber.values(), ["1"])
        subscription.resume()
        self.assertEqual(subscriber.values(), ["1", "2"])

    def test_cancel(self) -> None:
        """Who has cancelled hears nothing any more."""
        subscriber, subscription = self.subscribe()
        subscription.cancel()
        subscription.cancel()
        self.put("1")
        subscription.resume()
        self.assertEqual((subscriber.events, subscriber.ends), ([], []))

    def test_too_slow(self) -> None:
        """Who is too far behind is told so, and no other notices."""
        for bound in ("MAX_QUEUED_EVENTS", "MAX_QUEUED_BYTES"):
            self.patch(subscriptions, bound, 3 if bound.endswith("EVENTS") else 300)
            slow, subscription = self.subscribe()
            quick, _ = self.subscribe()
            subscription.pause()
            self.put(*"12345678")
            self.assertEqual((slow.events, slow.ends), ([], [End.TOO_SLOW]))
            self.assertEqual((quick.values(), quick.ends), (list("12345678"), []))
            subscription.resume()
            self.assertEqual(slow.events, [])
            self.put("0")

    def test_raising(self) -> None:
        """A subscriber that fails costs itself its subscription, nobody else."""
        bad, _ = self.subscribe()
        self.patch(bad, "receive", lambda event: 1 // 0)
        good, _ = self.subscribe()
        self.put("1", "2")
        self.assertEqual(good.values(), ["1", "2"])
        self.assertEqual(bad.ends, [End.FAILED])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_gone(self) -> None:
        """When a container goes, it is told that all it had is gone, and the end."""
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

    def test_made_anew_while_paused(self) -> None:
        """Who has not read the end yet hears nothing of the new one either."""
        subscriber, subscription = self.subscribe()
        subscription.pause()
        self.store.remove("c1")
        self.store.put(C1)
        self.put("secret of the new one")
        subscription.resume()
        self.assertEqual(subscriber.values(), [""])
        self.assertEqual(subscriber.ends, [End.REMOVED])

    def test_made_anew(self) -> None:
        """A container made anew under its name tells nothing to who knew the old."""
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
        """One change is never too much for who was not behind before it."""
        self.patch(subscriptions, "MAX_QUEUED_EVENTS", 3)
        subscriber, subscription = self.subscribe()
        subscription.pause()
        self.store.put(Container("c1", {f"user.{n}": "x" for n in range(100)}))
        self.assertEqual(subscriber.ends, [])
        subscription.resume()
        self.assertEqual(len(subscriber.events), 101)

    def test_latest(self) -> None:
        """The present timestamp is good to hear of all that comes after it."""
        self.put("1")
        since = self.bus.latest("c1")
        self.time -= 10**9
        self.put("2")
        subscriber, _ = self.subscribe(
            RecordingSubscriber(evolve(C1, config={"user.a": "1"})), since=since
        )
        self.put("3")
        self.assertEqual(subscriber.values(), ["2", "3"])
        self.assertEqual(self.bus.latest("c1"), subscriber.events[-1].timestamp)
        self.assertEqual(self.bus.latest("none"), self.bus.latest("c1"))

    def test_unknown(self) -> None:
        """There is nothing to hear of a container that does not exist."""
        subscriber = RecordingSubscriber()
        subscription = self.bus.subscribe("none", subscriber, TYPES)
        self.assertEqual(subscriber.ends, [])
        subscription.resume()
        self.assertEqual(subscriber.ends, [End.REMOVED])

    def test_failing(self) -> None:
        """A change that cannot be told is logged, and told with the next one."""
        subscriber, _ = self.subscribe()
        with mock.patch.object(bus, "event_of", side_effect=UnicodeError):
            self.put("1")
        self.assertEqual(len(self.flushLoggedErrors(UnicodeError)), 1)
        self.put("2")
        self.assertEqual(subscriber.values(), ["2"])

    def test_failing_end(self) -> None:
        """That a container has gone is told even if nothing else can be."""
        subscriber, _ = self.subscribe()
        with mock.patch.object(bus, "event_of", side_effect=UnicodeError):
            self.store.remove("c1")
        self.assertEqual(len(self.flushLoggedErrors(UnicodeError)), 1)
        self.assertEqual(subscriber.ends, [End.REMOVED])
        self.assertEqual(self.bus._removed, {})
        self.assertEqual(self.journal.incarnations(), set())

    def test_stopped_before_loaded(self) -> None:
        """However often it is started, a bus that is stopped does nothing later."""
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
        """Who listens is told that the bus stops, however far behind it is."""
        self.put("1")
        now = evolve(C1, config={"user.a": "1"})
        live, _ = self.subscribe(RecordingSubscriber(now))
        paused, subscription = self.subscribe(RecordingSubscriber(now))
        subscription.pause()
        self.put("2")
        gone = RecordingSubscriber()
        self.bus.subscribe("c1", gone, TYPES, since=0)
        self.store.remove("c1")
        self.bus.stopService()
        for subscriber, end in ((paused, End.STOPPED), (gone, End.STOPPED)):
            self.assertEqual((subscriber.events, subscriber.ends), ([], [end]))
        self.assertEqual(live.ends, [End.REMOVED])
        late = RecordingSubscriber()
        self.bus.subscribe("c1", late, TYPES).resume()
        self.assertEqual(late.ends, [End.STOPPED])


class SinceTests(BusTestCase):
    """Hearing of what one has missed."""

    def test_since(self) -> None:
        """What came after a time comes first, then what comes, each once."""
        subscriber, subscription = self.subscribe()
        self.put("1", "2", "3")
        subscription.cancel()
        self.put("4", "5")
        again = RecordingSubscriber(evolve(C1, config={"user.a": "2"}))
        self.subscribe(again, since=subscriber.events[1].timestamp)
        self.put("6")
        self.assertEqual(again.values(), ["3", "4", "5", "6"])

    def test_many(self) -> None:
        """However much it is, it is not taken into memory at once."""
        start, _ = self.subscribe()
        self.put("x")
        late = RecordingSubscriber()
        late.config["user.a"] = "x"
        self.put(*map(str, range(KEPT - 10)))
        subscription = self.bus.subscribe(
            "c1", late, TYPES, since=start.events[0].timestamp
        )
        self.put("now")
        subscription.resume()
        # What others have to wait for is one batch.
        self.assertLess(
            sum(event.size for event in late.events), 2 * subscriptions.BATCH
        )
        self.assertLess(len(late.events), KEPT // 2)
        self.clock.advance(0)
        self.put("then")
        expected = [*map(str, range(KEPT - 10)), "now", "then"]
        self.assertEqual(late.values(), expected)

    def test_lost(self) -> None:
        """Whoever was away for too long is told from when on nothing is missing."""
        self.put(*map(str, range(1, 2 * KEPT)))
        late = RecordingSubscriber()
        self.patch(late, "receive", late.events.append)
        self.subscribe(late, since=0)
        first, *rest = late.events
        self.assertEqual(first.type, "lost")
        self.assertGreaterEqual(len(rest), KEPT)
        self.assertEqual(rest[0].timestamp, first.timestamp + 1)

    def test_future(self) -> None:
        """A time to come has nothing before it, and all that comes comes."""
        subscriber, _ = self.subscribe(since=2**62)
        self.put("1")
        self.assertEqual(subscriber.values(), ["1"])

    def test_distant_past(self) -> None:
        """A time long before anything means from the beginning."""
        self.put("1")
        subscriber, _ = self.subscribe(since=-(2**70))
        self.assertEqual(
            [event.type for event in subscriber.events], ["lost", "config"]
        )

    def test_restarted(self) -> None:
        """What changed while nobody looked is an event when somebody does."""
        subscriber, _ = self.subscribe()
        self.put("1")
        since = subscriber.events[0].timestamp
        self.restart(lambda: self.put("2"))
        again = RecordingSubscriber(evolve(C1, config={"user.a": "1"}))
        self.subscribe(again, since=since)
        self.assertEqual(again.values(), ["2"])

    def restart(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Let a bus come after this one, in another process."""
        self.bus.stopService()
        meanwhile()
        self.bus = EventBus(
            self.store, self.journal, self.clock, self.now, namespaces=NAMESPACES
        )
        self.bus.startService()
        self.addCleanup(self.bus.stopService)

    def test_missing_after_the_start(self) -> None:
        """What cannot be read, or is not there yet, is not forgotten at once."""
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
        """Where there is no container at all they are waited for."""
        self.bus.stopService()
        self.patch(self.store, "names", list)
        self.restart()
        self.clock.advance(2 * recorder.FORGET_AFTER)
        self.assertEqual(list(self.journal.names()), ["c1"])

    def test_gone_while_behind(self) -> None:
        """Who still reads the past when the container goes gets it all."""
        start, subscription = self.subscribe()
        self.put("1")
        subscription.cancel()
        self.put(*(str(n) * 100 for n in range(2, 800)))
        late = [RecordingSubscriber(evolve(C1, config={"user.a": "1"})) for _ in "12"]
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

    def test_gone_again_while_behind(self) -> None:
        """Containers of one name that go at the same time are kept apart."""
        readers = []
        for value in ("1", "2"):
            self.store.put(C1)
            self.put(value)
            reader = RecordingSubscriber()
            self.patch(reader, "receive", reader.events.append)
            readers.append((reader, self.bus.subscribe("c1", reader, TYPES, since=0)))
            self.store.remove("c1")
        for (reader, subscription), value in zip(readers, "12", strict=True):
            subscription.resume()
            self.assertEqual(reader.values(), [value, ""])
            self.assertEqual(reader.ends, [End.REMOVED])
        self.assertEqual(list(self.journal.incarnations()), [])

    def test_hangs_up_while_behind(self) -> None:
        """When nobody reads the past any more it is forgotten."""
        self.put("1")
        subscription = self.bus.subscribe("c1", RecordingSubscriber(), TYPES, since=0)
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


class BusMachine(RuleBasedStateMachine):
    """Any sequence of changes, subscriptions, stalls and restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.journal = SQLiteJournal()
        self.clock = Clock()
        self.bus = EventBus(
            self.store, self.journal, self.clock, lambda: 0, namespaces=NAMESPACES
        )
        self.bus.startService()
        self.live: list[tuple[str, RecordingSubscriber, ISubscription]] = []
        self.stalled: list[tuple[str, RecordingSubscriber, ISubscription]] = []
        self.away: list[tuple[str, RecordingSubscriber]] = []

    @rule(name=NAMES, config=CONFIGS, devices=DEVICES)
    def put(
        self, name: str, config: dict[str, str], devices: dict[str, dict[str, str]]
    ) -> None:
        """Write a document."""
        self.store.put(Container(name, config, devices))

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        """Delete a document."""
        self.store.remove(name)
        self.away = [(n, s) for n, s in self.away if n != name]

    @rule(name=NAMES)
    def subscribe(self, name: str) -> None:
        """Let a guest subscribe that knows how things are."""
        container = self.store.get(name)
        if container is not None:
            subscriber = RecordingSubscriber(container)
            subscription = self.bus.subscribe(name, subscriber, TYPES)
            subscription.resume()
            self.live.append((name, subscriber, subscription))

    @rule()
    def stall(self) -> None:
        """Let a guest stop reading."""
        if self.live:
            self.stalled.append(self.live.pop())
            self.stalled[-1][2].pause()

    @rule()
    def go_on(self) -> None:
        """Let it read again."""
        if self.stalled:
            self.live.append(self.stalled.pop())
            self.live[-1][2].resume()

    @rule()
    def leave(self) -> None:
        """Let a guest go away."""
        if self.live:
            name, subscriber, subscription = self.live.pop(0)
            subscription.cancel()
            if subscriber.events and not subscriber.ends:
                self.away.append((name, subscriber))

    @rule()
    def come_back(self) -> None:
        """Let it come back, and ask for what it has missed."""
        if self.away:
            name, subscriber = self.away.pop(0)
            since = subscriber.events[-1].timestamp
            subscription = self.bus.subscribe(name, subscriber, TYPES, since)
            subscription.resume()
            self.live.append((name, subscriber, subscription))

    @rule(name=NAMES, since=st.sampled_from([2**60, 2**62]))
    def subscribe_behind(self, name: str, since: int) -> None:
        """Let a guest ask for what comes after some time, and read it later."""
        container = self.store.get(name)
        if container is not None:
            subscriber = RecordingSubscriber(container)
            subscription = self.bus.subscribe(name, subscriber, TYPES, since)
            self.stalled.append((name, subscriber, subscription))

    @invariant()
    def views_are_true(self) -> None:
        """Who reads sees from its events alone what the store has."""
        self.clock.advance(0)
        for name, subscriber, _ in self.live:
            container = self.store.get(name)
            if subscriber.ends:
                assert subscriber.ends == [End.REMOVED]
                told = [v for k, v in subscriber.config.items() if k != "x"]
                assert not any(told) and not subscriber.devices
                continue
            assert container is not None
            for key in ("user.a", "user.b"):
                assert subscriber.config.get(key, "") == container.config.get(key, "")
            assert subscriber.devices == container.devices

    def teardown(self) -> None:
        """Stop the bus."""
        self.bus.stopService()


class AnySequenceTests(SynchronousTestCase):
    """The bus, whatever happens."""

    def test_any_sequence(self) -> None:
        """Who reads sees from its events alone what the store has."""
        run_state_machine_as_test(
            BusMachine,
            settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
        )
