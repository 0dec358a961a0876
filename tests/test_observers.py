"""Tests of `devlxd.observers`, and of what a service notifies an observer of."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.containers.memory_store import MemoryStore
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.interfaces import IServiceObserver
from devlxd.model import Caller, Container
from devlxd.observers import NullObserver, guarded
from devlxd.service import DevLXDService
from devlxd.testing import (
    GUEST,
    GuestConnection,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
    site_for,
)

C1 = Container("c1", {"user.a": "b", "security.devlxd.images": "true"})


@implementer(IServiceObserver)
class RecordingObserver:
    """Records what it is notified of.

    :ivar seen: names of methods, and their arguments.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def connected(self, caller: Caller) -> None:
        """See `IServiceObserver.connected`."""
        self.seen.append(("connected", caller))

    def refused(self, container: str | None, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        self.seen.append(("refused", container, reason))

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`."""
        self.seen.append(("asked", container, path, code))

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""
        self.seen.append(("changed", name, old, new))

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""
        self.seen.append(("lost", container))


class ObserverTests(SynchronousTestCase):
    """What an observer is notified of."""

    def setUp(self) -> None:
        self.observer = RecordingObserver()
        self.store = MemoryStore([C1])

    def test_interfaces(self) -> None:
        """Every observer of ours can be given to a service."""
        for observer in (self.observer, NullObserver(), guarded(self.observer)):
            self.assertTrue(verifyObject(IServiceObserver, observer))
        self.assertIsInstance(guarded(None), NullObserver)

    def test_asked(self) -> None:
        """Connections, and requests with the code of their response."""
        guest = GuestConnection(site_for(self.store, "c1", observer=self.observer))
        guest.get("/1.0/config/user.a")
        guest.get("/nope")
        self.assertEqual(
            self.observer.seen,
            [
                ("connected", Caller("c1", uid=0)),
                ("asked", "c1", "/1.0/config/user.a", 200),
                ("asked", "c1", "/nope", 404),
            ],
        )

    def test_asked_late(self) -> None:
        """A request whose response takes its time is told when that is there."""
        reactor = MemoryDevLXDReactor()
        images = MemoryImageStore()
        path = f"/1.0/images/{images.put(b'data')}/export"
        site = site_for(
            self.store, "c1", clock=reactor, images=images, observer=self.observer
        )
        GuestConnection(site).get(path)
        self.assertEqual(self.observer.seen[1:], [("asked", "c1", path, 200)])

    def test_refused(self) -> None:
        """Requests that the gate refuses, with the reason."""
        self.store.put(evolve(C1, config={"security.devlxd": "false"}))
        GuestConnection(site_for(self.store, "c1", observer=self.observer)).get("/")
        self.assertEqual(self.observer.seen[1:], [("refused", "c1", "not authorized")])

    def test_refused_connections(self) -> None:
        """Connections in no container, and those beyond a container's limit."""
        sites = GuestSites(
            self.store,
            MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)}),
            MemoryPeerSource(),
            Clock(),
            observer=self.observer,
            max_connections=1,
        )
        site = sites.site(DEFAULT_DIALECT)
        GuestConnection(site)
        GuestConnection(site)
        self.assertEqual(
            self.observer.seen[-1], ("refused", "c1", "too many connections")
        )
        self.patch(site.server.admission, "_peers", MemoryPeerSource(None))
        GuestConnection(site)
        kind, container, reason = self.observer.seen[-1]
        self.assertEqual((kind, container), ("refused", None))
        self.assertTrue(reason.startswith("not in a container: "), reason)

    def test_lost(self) -> None:
        """Subscribers that are told of lost events."""
        bus = EventBus(self.store, SQLiteJournal(), Clock(), namespaces=["user."])
        bus.startService()
        self.addCleanup(bus.stopService)
        site = site_for(self.store, "c1", bus=bus, observer=self.observer)
        GuestConnection(site).get("/1.0/events?since=1970-01-01T00:00:01Z")
        self.assertIn(("lost", "c1"), self.observer.seen)

    def test_changed(self) -> None:
        """Changes of containers, while the service runs."""
        reactor = MemoryDevLXDReactor()
        identifier = MemoryIdentifier()
        service = DevLXDService(
            reactor, self.store, [], identifier, observer=self.observer
        )
        service.startService()
        new = evolve(C1, config={})
        self.store.put(new)
        self.successResultOf(service.stopService())
        self.store.remove("c1")
        self.assertEqual(self.observer.seen, [("changed", "c1", C1, new)])

    def test_failing(self) -> None:
        """An observer that fails is logged, and costs no guest its response."""
        self.patch(self.observer, "asked", lambda *_: 1 // 0)
        guest = GuestConnection(site_for(self.store, "c1", observer=self.observer))
        self.assertEqual(guest.get("/1.0")[9:12], b"200")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
