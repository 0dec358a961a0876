"""The contract suites, run on what `devlxd.guestapi` provides."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.containers.memory_store import MemoryStore
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_states.memory import MemoryGuestStates
from devlxd.guestapi.api import GuestAPI
from devlxd.guestapi.dialect import Services
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.guestapi.event_streams import EventStream
from devlxd.interfaces import IRequestHandler
from devlxd.model import Container
from devlxd.testing import MemoryIdentifier, RecordingSink, site_for
from devlxd.testing.contracts import (
    ContinuableStreamContract,
    RunObserverContract,
    StoreObserverContract,
    SubscriberContract,
)
from devlxd.timestamps import timestamp_of
from devlxd.turns import Turns

C1 = Container("c1", {"user.a": "0"})

STATES = MemoryGuestStates(MemoryStore(), MemoryIdentifier(), Clock())


class EventStreamTests(ContinuableStreamContract, SynchronousTestCase):
    """`EventStream` is a stream of messages."""

    def make_stream(self) -> EventStream:
        """See `StreamContract.make_stream`."""
        self.changes = 0
        self.clock = Clock()
        self.store = MemoryStore([C1])
        self.bus = EventBus(
            self.store, SQLiteJournal(), self.clock, namespaces=["user."]
        )
        self.bus.startService()
        self.addCleanup(self.bus.stopService)
        return self.stream_since(None)

    def stream_since(self, since: int | None) -> EventStream:
        """Return a stream of the events after a timestamp."""
        services = Services(LXD, Turns(self.clock), STATES, self.bus)
        return EventStream(services, self.bus, "c1", ["config"], since, "/1.0/events?")

    def request(self, target: str) -> EventStream:
        """See `ContinuableStreamContract.request`."""
        since = parse_qs(urlsplit(target).query, strict_parsing=True)["since"][0]
        return self.stream_since(timestamp_of(since))

    def settle(self) -> None:
        """See `StreamContract.settle`."""
        self.clock.advance(0)

    def produce(self) -> None:
        """See `MessageStreamContract.produce`."""
        self.changes += 1
        self.store.put(evolve(C1, config={"user.a": str(self.changes)}))

    def end(self) -> None:
        """See `MessageStreamContract.end`."""
        self.store.remove("c1")

    def assert_released(self) -> None:
        """See `StreamContract.assert_released`: no subscriptions are left."""
        known = [*self.bus._present.values(), *self.bus._removed]
        self.assertEqual([one for one in known if one.subscriptions], [])


class EventStreamSubscriberTests(SubscriberContract, SynchronousTestCase):
    """`EventStream` is a subscriber."""

    def make_subscriber(self) -> EventStream:
        """See `SubscriberContract.make_subscriber`."""
        clock = Clock()
        bus = EventBus(MemoryStore([C1]), SQLiteJournal(), clock, namespaces=[])
        bus.startService()
        self.addCleanup(bus.stopService)
        services = Services(LXD, Turns(clock), STATES, bus)
        stream = EventStream(services, bus, "c1", ["config"], None)
        stream.start(RecordingSink())
        return stream


def make_api(case: SynchronousTestCase) -> GuestAPI:
    """Return a started API, of a site without connections."""
    store = MemoryStore()
    site = site_for(store, "c1")
    services = Services(LXD, Turns(site.reactor), STATES)
    api = GuestAPI(services, store, MemoryIdentifier())
    api.start(site.server)
    case.addCleanup(api.stop)
    return api


class GuestAPITests(StoreObserverContract, SynchronousTestCase):
    """`GuestAPI` is a handler of requests, and an observer of its store."""

    def make_observer(self) -> GuestAPI:
        """See `StoreObserverContract.make_observer`."""
        return make_api(self)

    def test_handler(self) -> None:
        """`GuestAPI` provides `IRequestHandler`."""
        self.assertTrue(verifyObject(IRequestHandler, make_api(self)))


class GuestAPIRunObserverTests(RunObserverContract, SynchronousTestCase):
    """`GuestAPI` is an observer of the runs of its identifier."""

    def make_observer(self) -> GuestAPI:
        """See `RunObserverContract.make_observer`."""
        return make_api(self)
