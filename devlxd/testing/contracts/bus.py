# -*- test-case-name: tests.events.test_bus -*-
"""The contracts of `IEventBus`, `ISubscription` and `ISubscriber`."""

from __future__ import annotations

from collections.abc import Collection

from zope.interface.verify import verifyObject

from devlxd.interfaces import IEventBus, ISubscriber, ISubscription
from devlxd.model import End, Event
from devlxd.testing.contracts.base import ContractBase
from devlxd.testing.subscribers import RecordingSubscriber

#: The types of events that the suite subscribes to by default.
TYPES = ("config", "device")


class EventBusContract(ContractBase):
    """Tests of an event bus, and of its subscriptions.

    Override `make_bus`, `change_config`, `change_device`, `remove` and `stop`; and
    `settle` if events are not delivered immediately.

    :ivar bus: a new, running bus for each test.
    """

    bus: IEventBus

    def make_bus(self) -> IEventBus:
        """Hook: return a new bus, with the containers ``c1`` and ``c2``."""
        raise NotImplementedError

    def change_config(self, value: str, container: str = "c1") -> None:
        """Hook: change a config key to ``value``: cause one ``config`` event."""
        raise NotImplementedError

    def change_device(self) -> None:
        """Hook: cause one ``device`` event of ``c1``."""
        raise NotImplementedError

    def remove(self) -> None:
        """Hook: remove ``c1``. This may cause events."""
        raise NotImplementedError

    def stop(self) -> None:
        """Hook: stop the bus."""
        raise NotImplementedError

    def settle(self) -> None:
        """Hook: wait until all events are delivered; default: do nothing."""

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the bus."""
        super().setUp()
        self.bus = self.make_bus()

    def change(self, *values: str) -> None:
        """Cause a ``config`` event of ``c1`` for each of the values."""
        for value in values:
            self.change_config(value)
        self.settle()

    def subscribe(
        self, types: Collection[str] = TYPES, since: int | None = None
    ) -> tuple[RecordingSubscriber, ISubscription]:
        """Subscribe to the events of ``c1``, and resume the subscription."""
        subscriber = RecordingSubscriber()
        subscription = self.bus.subscribe("c1", subscriber, types, since)
        subscription.resume()
        self.settle()
        return subscriber, subscription

    def test_interfaces(self) -> None:
        """The bus and its subscriptions provide the interfaces."""
        self.assertTrue(verifyObject(IEventBus, self.bus))
        self.assertTrue(verifyObject(ISubscription, self.subscribe()[1]))

    def test_order(self) -> None:
        """Each subscriber receives each event once, in order."""
        one, other = self.subscribe()[0], self.subscribe()[0]
        self.change("1", "2", "3")
        self.assertEqual(one.values(), ["1", "2", "3"])
        self.assertEqual(other.events, one.events)

    def test_other_container(self) -> None:
        """Events of other containers are not delivered."""
        subscriber, _ = self.subscribe()
        self.change_config("x", container="c2")
        self.settle()
        self.assertEqual(subscriber.events, [])

    def test_types(self) -> None:
        """Events of other types are not delivered."""
        subscriber, _ = self.subscribe(types=["device"])
        self.change("1")
        self.change_device()
        self.settle()
        self.assertEqual(subscriber.kinds(), ["device"])

    def test_not_before_resumed(self) -> None:
        """Events between `subscribe` and `resume` are delivered after `resume`."""
        subscriber = RecordingSubscriber()
        subscription = self.bus.subscribe("c1", subscriber, TYPES)
        self.change("1", "2")
        self.assertEqual(subscriber.events, [])
        subscription.resume()
        self.settle()
        self.assertEqual(subscriber.values(), ["1", "2"])

    def test_pause(self) -> None:
        """A subscriber may pause while it receives an event; later ones wait."""
        subscriber, subscription = self.subscribe()
        receive = subscriber.receive

        def receive_one(event: Event) -> None:
            receive(event)
            subscription.pause()

        self.patch(subscriber, "receive", receive_one)
        self.change("1", "2", "3")
        self.assertEqual(subscriber.values(), ["1"])
        subscription.resume()
        self.settle()
        self.assertEqual(subscriber.values(), ["1", "2"])

    def test_cancel(self) -> None:
        """The subscriber of a cancelled subscription is not called."""
        subscriber, subscription = self.subscribe()
        subscription.cancel()
        subscription.cancel()
        self.change("1")
        subscription.resume()
        self.remove()
        self.settle()
        self.assertEqual((subscriber.events, subscriber.ends), ([], []))

    def test_raising(self) -> None:
        """The subscription of a failing subscriber ends; others are unaffected."""
        failing, _ = self.subscribe()
        self.patch(failing, "receive", lambda event: 1 // 0)
        working, _ = self.subscribe()
        self.change("1", "2")
        self.assertEqual(working.values(), ["1", "2"])
        self.assertEqual(failing.ends, [End.FAILED])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_removed(self) -> None:
        """The subscriptions to a removed container end after its last event."""
        subscriber, _ = self.subscribe()
        paused, subscription = self.subscribe()
        subscription.pause()
        self.change("1")
        self.remove()
        self.settle()
        self.assertEqual(subscriber.values()[0], "1")
        self.assertEqual(subscriber.ends, [End.REMOVED])
        self.assertEqual((paused.events, paused.ends), ([], []))
        subscription.resume()
        self.settle()
        self.assertEqual(paused.events, subscriber.events)
        self.assertEqual(paused.ends, [End.REMOVED])

    def test_unknown(self) -> None:
        """A subscription to an unknown container ends when it is resumed."""
        subscriber = RecordingSubscriber()
        subscription = self.bus.subscribe("none", subscriber, TYPES)
        self.assertEqual(subscriber.ends, [])
        subscription.resume()
        self.assertEqual(subscriber.ends, [End.REMOVED])

    def test_since(self) -> None:
        """Events after a timestamp are delivered first, then new ones, each once."""
        subscriber, subscription = self.subscribe()
        self.change("1", "2", "3")
        subscription.cancel()
        self.change("4", "5")
        again, _ = self.subscribe(since=subscriber.events[1].timestamp)
        self.change("6")
        self.assertEqual(again.kinds(), ["config"] * 4)
        self.assertEqual(again.values(), ["3", "4", "5", "6"])

    def assert_continues(
        self, subscriber: RecordingSubscriber, subscription: ISubscription
    ) -> None:
        """Check that another subscription continues where this one is."""
        since = subscription.position()
        subscription.cancel()
        if since is None:
            since = self.bus.latest("c1")
        again, _ = self.subscribe(since=since)
        self.change("last")
        self.assertEqual(
            subscriber.values() + again.values(), ["1", "2", "3", "4", "last"]
        )

    def test_position(self) -> None:
        """Another subscription can continue where one is paused."""
        for count in range(5):
            subscriber, subscription = self.subscribe()
            for number in range(1, 5):
                if number > count:
                    subscription.pause()
                self.change(str(number))
            self.assert_continues(subscriber, subscription)

    def test_position_in_replay(self) -> None:
        """Another subscription can continue a replay."""
        for count in range(5):
            since = self.bus.latest("c1")
            self.change("1", "2", "3", "4")
            subscriber = RecordingSubscriber()
            subscription = self.bus.subscribe("c1", subscriber, TYPES, since)
            self.pause_after(count, subscriber, subscription)
            self.assert_continues(subscriber, subscription)

    def pause_after(
        self, count: int, subscriber: RecordingSubscriber, subscription: ISubscription
    ) -> None:
        """Resume a subscription, and pause it after ``count`` events."""
        receive = subscriber.receive

        def receive_some(event: Event) -> None:
            receive(event)
            if len(subscriber.events) >= count:
                subscription.pause()

        subscriber.receive = receive_some  # type: ignore[method-assign] # one object
        if count:
            subscription.resume()
        self.settle()

    def test_position_of_types(self) -> None:
        """Events of other types do not hold a subscription back."""
        _, subscription = self.subscribe(types=["device"])
        self.change("1", "2")
        self.assertIn(subscription.position(), (None, self.bus.latest("c1")))

    def test_lost(self) -> None:
        """A subscription to all events since 1970 receives ``lost`` first."""
        self.change("1")
        subscriber, _ = self.subscribe(since=0)
        self.assertEqual(subscriber.kinds()[0], "lost")
        self.assertEqual(subscriber.kinds().count("lost"), 1)

    def test_future(self) -> None:
        """With a timestamp in the future, all new events are delivered."""
        subscriber, _ = self.subscribe(since=2**62)
        self.change("1")
        self.assertEqual(subscriber.values(), ["1"])

    def test_latest(self) -> None:
        """`latest` returns a timestamp to subscribe with later."""
        self.change("1")
        since = self.bus.latest("c1")
        self.change("2")
        subscriber, _ = self.subscribe(since=since)
        self.change("3")
        self.assertEqual(subscriber.values(), ["2", "3"])
        self.assertEqual(self.bus.latest("c1"), subscriber.events[-1].timestamp)

    def test_stopped(self) -> None:
        """When the bus stops, all subscriptions end, even paused and new ones."""
        live, _ = self.subscribe()
        paused, subscription = self.subscribe()
        subscription.pause()
        self.change("1")
        self.stop()
        self.assertEqual((live.values(), live.ends), (["1"], [End.STOPPED]))
        self.assertEqual((paused.events, paused.ends), ([], [End.STOPPED]))
        late, _ = self.subscribe()
        self.assertEqual(late.ends, [End.STOPPED])


class SubscriberContract(ContractBase):
    """Tests of a subscriber.

    Override `make_subscriber`.
    """

    def make_subscriber(self) -> ISubscriber:
        """Hook: return a new subscriber to the events of the container ``c1``."""
        raise NotImplementedError

    def test_interface(self) -> None:
        """The subscriber provides `ISubscriber`."""
        self.assertTrue(verifyObject(ISubscriber, self.make_subscriber()))

    def test_receive(self) -> None:
        """The subscriber accepts events of all types, and all reasons for the end."""
        config = {"key": "user.a", "old_value": "", "value": "1"}
        device = {"name": "eth0", "action": "added", "config": {"type": "nic"}}
        for reason in End:
            subscriber = self.make_subscriber()
            subscriber.receive(Event("c1", "lost", 1, {}))
            subscriber.receive(Event("c1", "config", 2, config))
            subscriber.receive(Event("c1", "device", 3, device))
            subscriber.end(reason)
