"""Tests of the list of events and of subscriptions: memory, turns, limits."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Collection
from itertools import product
from typing import Any
from unittest import mock

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.events import bus
from devlxd.events.delivery_turns import BATCH, DeliveryTurns
from devlxd.events.event_list import Chain, Node
from devlxd.events.subscription import Subscription
from devlxd.model import Container, End, Event
from devlxd.turns import Turns
from tests.default_limits import limits
from tests.events.test_bus import C1, TYPES, BusTestCase, ViewingSubscriber


class MemoryTests(BusTestCase):
    """The memory that events and subscriptions use."""

    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def add_subscribers(self, since: int | None = None) -> list[ViewingSubscriber]:
        """Add three subscribers."""
        found = []
        for _ in range(3):
            subscriber = ViewingSubscriber(C1)
            self.subscribe(subscriber, since=since)
            found.append(subscriber)
        return found

    def test_shared(self) -> None:
        """Subscribers share each event."""
        one, *others = self.add_subscribers()
        self.put("1", "2")
        for other in others:
            for mine, theirs in zip(one.events, other.events, strict=True):
                self.assertIs(mine, theirs)

    def test_shared_replay(self) -> None:
        """Subscribers share each event that is read from the journal."""
        since = self.bus.latest("c1")
        self.put("1", "2")
        one, *others = self.add_subscribers(since)
        for other in others:
            for mine, theirs in zip(one.events, other.events, strict=True):
                self.assertIs(mine, theirs)

    def test_read(self) -> None:
        """Events that all subscribers have received are freed."""
        received: list[weakref.ref[Event]] = []
        subscriber = ViewingSubscriber()

        def receive(event: Event) -> None:
            received.append(weakref.ref(event))

        self.patch(subscriber, "receive", receive)
        self.subscribe(subscriber)
        slow, subscription = self.subscribe()
        subscription.pause()
        self.put("1", "2")
        self.assertEqual([ref() is None for ref in received], [False, False])
        subscription.resume()
        slow.events.clear()
        self.put("3")
        slow.events.clear()
        self.assertEqual([ref() is None for ref in received[:2]], [True, True])

    def test_cancelled(self) -> None:
        """Ended subscriptions are freed without the garbage collector."""
        for since, paused, is_removed in product(
            (None, 0), (False, True), (False, True)
        ):
            self.store.put(C1)
            subscriber, subscription = self.subscribe(since=since)
            if paused:
                subscription.pause()
            self.put("1")
            if is_removed:
                self.store.remove("c1")
                subscription.resume()
                self.clock.advance(0)
            else:
                subscription.cancel()
            refs: list[weakref.ref[Any]] = [
                weakref.ref(subscriber),
                weakref.ref(subscription),
            ]
            del subscriber, subscription
            self.assertEqual([ref() for ref in refs], [None, None])

    def test_stopped(self) -> None:
        """Subscriptions are freed when the bus stops, too."""
        subscriber, subscription = self.subscribe()
        subscription.pause()
        self.put("1")
        refs: list[weakref.ref[Any]] = [
            weakref.ref(subscriber),
            weakref.ref(subscription),
        ]
        del subscriber, subscription
        self.bus.stopService()
        self.assertEqual([ref() for ref in refs], [None, None])

    def test_removed(self) -> None:
        """Removed containers use no memory."""
        for n in range(100):
            container = Container(f"d{n}", {"user.a": "1"})
            self.store.put(container)
            subscriber = ViewingSubscriber(container)
            self.bus.subscribe(f"d{n}", subscriber, TYPES, since=0).resume()
            self.bus.latest(f"e{n}")
            self.bus.subscribe(f"e{n}", ViewingSubscriber(), TYPES, since=0)
            self.store.remove(f"d{n}")
        self.clock.advance(0)
        kept = (self.bus._present, self.bus._removed, self.bus._recorder._missing)
        self.assertEqual([len(known) for known in kept], [1, 0, 0])
        self.assertEqual(len(self.bus._recorder._shared), 0)
        self.assertEqual(len(self.journal.incarnations()), 1)

    def test_long_list(self) -> None:
        """A very long list is freed without recursion."""
        chain = Chain(start := Node())
        for n in range(200_000):
            chain.add(Event("c1", "config", n, {}))
        chain.link()
        last = weakref.ref(chain.events[-1])
        del chain, start
        self.assertIsNone(last())


class TurnsTests(BusTestCase):
    """The turns of subscriptions."""

    def count_of(self, subscribers: list[ViewingSubscriber], count: int = 1) -> int:
        """Return how many subscribers have received at least ``count`` events."""
        return sum(len(subscriber.events) >= count for subscriber in subscribers)

    def add_many(
        self, number: int, since: int | None = None
    ) -> list[ViewingSubscriber]:
        """Add ``number`` subscribers."""
        found = []
        for _ in range(number):
            subscriber = ViewingSubscriber(self.store.get("c1"))
            self.bus.subscribe("c1", subscriber, TYPES, since).resume()
            found.append(subscriber)
        return found

    def test_few(self) -> None:
        """A small change is delivered to a few subscribers immediately."""
        subscribers = self.add_many(50)
        self.put("1")
        self.assertEqual(self.count_of(subscribers), 50)

    def test_many(self) -> None:
        """Some of many subscribers receive a change immediately, others in turns."""
        subscribers = self.add_many(500)
        self.put("1", "2")
        self.assertLessEqual(self.count_of(subscribers, 2), 200)
        self.clock.advance(0)
        self.assertEqual({tuple(s.values()) for s in subscribers}, {("1", "2")})

    def test_long(self) -> None:
        """A large event is delivered to one subscriber in each turn."""
        subscribers = self.add_many(50)
        self.put("x" * BATCH)
        self.assertEqual(self.count_of(subscribers), 1)
        self.clock.advance(0)
        self.assertEqual(self.count_of(subscribers), 50)

    def test_replays(self) -> None:
        """A long replay takes a turn for each batch."""
        self.put(*(f"{n:04}" * 1000 for n in range(200)))
        turns = 0
        take = self.bus._turns.take

        def counting(*arguments: object) -> object:
            nonlocal turns
            turns += 1
            return take(*arguments)  # type: ignore[arg-type]  # passed on

        self.patch(self.bus._turns, "take", counting)
        subscriber = ViewingSubscriber()
        subscriber.config["user.a"] = "0"
        self.bus.subscribe("c1", subscriber, TYPES, since=0).resume()
        self.assertLess(len(subscriber.events), 2 * BATCH // 4000)
        self.clock.advance(0)
        self.assertEqual(len(subscriber.values()), 200)
        self.assertGreater(turns, 10)

    def test_waiting_for_a_turn(self) -> None:
        """A subscription that waits for its turn does not end as too slow."""
        self.patch(self.bus, "_limits", limits(queued_events=3))
        subscribers = self.add_many(300)
        self.put(*map(str, range(1, 20)))
        self.clock.advance(0)
        self.assertEqual(self.count_of(subscribers, 19), 300)

    def test_shared_turns(self) -> None:
        """Many subscriptions share turns: each serves as many as fit into a batch."""
        subscribers = self.add_many(1000)
        take, turns = self.bus._turns.take, 0

        def counting(*arguments: object) -> object:
            nonlocal turns
            turns += 1
            return take(*arguments)  # type: ignore[arg-type]  # passed on

        self.patch(self.bus._turns, "take", counting)
        self.put("1")
        self.clock.advance(0)
        self.assertEqual(self.count_of(subscribers), 1000)
        self.assertLess(turns, 10)

    def test_order_of_turns(self) -> None:
        """Subscriptions get their turns in the order in which they wait."""
        order: list[int] = []
        for number, subscriber in enumerate(self.add_many(400)):

            def receive(event: Event, number: int = number) -> None:
                order.append(number)

            self.patch(subscriber, "receive", receive)
        self.put("1")
        self.clock.advance(0)
        self.assertEqual(order, list(range(400)))

    def test_cancelled_while_waiting(self) -> None:
        """When no subscription waits any longer, the turn is cancelled."""
        subscribers = [ViewingSubscriber(C1) for _ in range(300)]
        subscriptions = [self.bus.subscribe("c1", s, TYPES) for s in subscribers]
        for subscription in subscriptions:
            subscription.resume()
        self.put("1")
        self.assertEqual(self.bus._turns.waiting("c1"), 1)
        for subscription in subscriptions:
            subscription.cancel()
        self.put("2")
        self.clock.advance(0)
        self.assertEqual(self.count_of(subscribers, 2), 0)
        late, _ = self.subscribe(ViewingSubscriber(self.store.get("c1")))
        self.put("3")
        self.assertEqual(late.values(), ["3"])

    def test_unwanted(self) -> None:
        """Events of other types than the requested ones do not fill the queue."""
        self.patch(self.bus, "_limits", limits(queued_events=3))
        subscriber, subscription = self.subscribe(types=["device"])
        subscription.pause()
        self.put(*"123456789")
        self.assertEqual(subscriber.ends, [])
        self.store.put(evolve(C1, config={"user.a": "9"}, devices={"d": {}}))
        subscription.resume()
        self.assertEqual([event.type for event in subscriber.events], ["device"])


class HugeTests(BusTestCase):
    """A change of very many keys."""

    HUGE = 20_000

    def huge(self, value: str) -> Container:
        """Return the container with very many keys."""
        return evolve(C1, config={f"user.{n}": value for n in range(self.HUGE)})

    def test_slices(self) -> None:
        """A huge change is processed in slices, between turns of others."""
        subscriber, _ = self.subscribe()
        self.store.put(Container("c2"))
        other = ViewingSubscriber()
        self.bus.subscribe("c2", other, TYPES).resume()
        since = self.bus.latest("c1")
        self.store.put(self.huge("x"))
        self.assertEqual(subscriber.events, [])
        self.store.put(Container("c2", {"user.b": "1"}))
        self.assertEqual(other.values(), ["1"])
        self.put("after")
        late = ViewingSubscriber()
        late.config.update(dict.fromkeys(self.huge("x").config, "x"))
        self.bus.subscribe("c1", late, TYPES, since)
        self.clock.advance(0)
        self.assertEqual(len(subscriber.events), 2 * self.HUGE + 2)
        self.assertEqual(subscriber.config["user.a"], "after")
        known = self.journal.last(self.journal.names()["c1"])
        assert known is not None
        self.assertEqual(known[0].config, {"user.a": "after"})

    def test_merged(self) -> None:
        """Changes that wait for a huge one are merged."""
        subscriber, _ = self.subscribe()
        self.store.put(self.huge("x"))
        self.put(*map(str, range(50)))
        (incarnation,) = self.bus._present.values()
        self.assertEqual(len(incarnation.changes.pending), 1)
        self.clock.advance(0)
        self.assertEqual(len(subscriber.events), 2 * self.HUGE + 2)
        self.assertEqual(subscriber.config["user.a"], "49")
        self.put("50", "51")
        self.assertEqual(subscriber.values()[-2:], ["50", "51"])

    def test_merged_and_removed(self) -> None:
        """Changes before a removal are merged, too."""
        subscriber, _ = self.subscribe()
        self.store.put(self.huge("x"))
        self.put("1", "2")
        self.store.remove("c1")
        self.clock.advance(0)
        self.assertEqual([v for v in subscriber.values() if v not in "x"], ["2"])
        self.assertEqual(set(subscriber.config.values()), {""})
        self.assertEqual(subscriber.ends, [End.REMOVED])

    def test_failing_meanwhile(self) -> None:
        """A failure to create events does not delay later changes."""
        subscriber, _ = self.subscribe()
        self.store.put(self.huge("x"))
        self.put("1")
        self.store.remove("c1")
        with mock.patch.object(bus, "event_of", side_effect=UnicodeError):
            self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(UnicodeError)), 3)
        self.assertEqual(subscriber.ends, [End.REMOVED])
        self.assertEqual(self.bus._removed, {})

    def test_recreated_meanwhile(self) -> None:
        """A recreated container has no events of its predecessor."""
        subscriber, _ = self.subscribe()
        self.store.put(self.huge("x"))
        self.store.remove("c1")
        self.store.put(C1)
        late, _ = self.subscribe(since=0)
        self.clock.advance(0)
        self.assertEqual([event.type for event in late.events], ["lost"])
        self.assertEqual(set(subscriber.config.values()), {""})
        self.assertEqual(subscriber.ends, [End.REMOVED])
        self.assertEqual(len(self.journal.incarnations()), 1)

    def test_stopped_meanwhile(self) -> None:
        """Events not yet created when the bus stops are created when it starts."""
        subscriber, _ = self.subscribe()
        since = self.bus.latest("c1")
        self.store.put(self.huge("x"))
        self.bus.stopService()
        self.assertEqual((subscriber.events, subscriber.ends), ([], [End.STOPPED]))
        self.clock.advance(0)
        self.bus.startService()
        late, _ = self.subscribe(ViewingSubscriber(C1), since=since)
        self.clock.advance(0)
        kinds = [event.type for event in late.events]
        self.assertEqual(set(kinds), {"config"})
        self.assertEqual(len(kinds), self.HUGE + 1)


class LongListTests(SynchronousTestCase):
    """The list of events."""

    def test_distance(self) -> None:
        """Each node has the number and the size of the events before it."""
        chain = Chain(start := Node())
        for n in range(5):
            chain.add(Event("c1", "config", n, {"a": "b"}))
        self.assertIsNone(start.next)
        chain.link()
        self.assertEqual((chain.last.count, chain.last.size), (5, 5 * 9))

    def subscription(
        self, subscriber: ViewingSubscriber, types: Collection[str], position: Node
    ) -> Subscription:
        """Return a subscription that begins after a node."""
        deliveries = DeliveryTurns[Subscription]("c1", Turns(Clock()))
        return Subscription(deliveries, subscriber, types, position=position)

    def test_skipped(self) -> None:
        """A group of events of one type is skipped in one step."""
        lookups = 0

        class Types(frozenset[str]):
            """A set that counts lookups."""

            def __contains__(self, kind: object) -> bool:
                nonlocal lookups
                lookups += 1
                return super().__contains__(kind)

        chain = Chain(start := Node())
        for n in range(5000):
            chain.add(Event("c1", "config" if n < 4999 else "device", n, {}))
        chain.link()
        subscriber = ViewingSubscriber()
        self.assertTrue(
            self.subscription(subscriber, Types(["device"]), start).is_behind
        )
        self.assertLess(lookups, 5)

    @settings(deadline=None)
    @given(
        # At most one batch: more would take turns.
        st.lists(
            st.lists(st.sampled_from(["config", "device"]), max_size=8), max_size=8
        ),
        st.sets(st.sampled_from(["config", "device"])),
        st.integers(0, 20),
    )
    def test_any(self, lists: list[list[str]], types: set[str], first: int) -> None:
        """After any node, exactly the events of the given types are delivered."""
        position = start = Node()
        sent: list[Event] = []
        for kinds in lists:
            chain = Chain(position)
            for kind in kinds:
                chain.add(Event("c1", kind, len(sent), {}))
                sent.append(chain.events[-1])
            chain.link()
            position = chain.last
        for _ in range(first):
            start = start.next or start
        found: list[Event] = []
        subscriber = ViewingSubscriber()
        with mock.patch.object(subscriber, "receive", found.append):
            self.subscription(subscriber, types, start).resume()
        self.assertEqual(found, [e for e in sent[first:] if e.type in types])
