"""Tests of `devlxd.observers`, and of what a service notifies an observer of."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
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
    RecordingServiceObserver,
    bus_for,
    site_for,
)
from devlxd.testing.contracts import ServiceObserverContract

C1 = Container("c1", {"user.a": "b", "security.devlxd.images": "true"})


class RecordingServiceObserverTests(ServiceObserverContract, SynchronousTestCase):
    """`RecordingServiceObserver`."""

    def make_observer(self) -> RecordingServiceObserver:
        """See `ServiceObserverContract.make_observer`."""
        return RecordingServiceObserver()

    def test_recorded(self) -> None:
        """All notifications are recorded, with their arguments."""
        observer = RecordingServiceObserver()
        caller = Caller("c1", 0)
        observer.connected(caller)
        observer.refused(None, "no")
        observer.asked("c1", "/", 200)
        observer.changed("c1", C1, None)
        observer.lost("c1")
        self.assertEqual(
            observer.notifications,
            [
                ("connected", caller),
                ("refused", None, "no"),
                ("asked", "c1", "/", 200),
                ("changed", "c1", C1, None),
                ("lost", "c1"),
            ],
        )


class NullObserverTests(ServiceObserverContract, SynchronousTestCase):
    """`NullObserver`."""

    def make_observer(self) -> IServiceObserver:
        """See `ServiceObserverContract.make_observer`."""
        return guarded(None)

    def test_null(self) -> None:
        """Where there is no observer, a `NullObserver` is used."""
        self.assertIsInstance(self.observer, NullObserver)


class GuardedObserverTests(ServiceObserverContract, SynchronousTestCase):
    """`GuardedObserver`."""

    def make_observer(self) -> IServiceObserver:
        """See `ServiceObserverContract.make_observer`."""
        self.recording = RecordingServiceObserver()
        return guarded(self.recording)

    def test_passed_on(self) -> None:
        """The guarded observer is notified of everything."""
        self.observer.connected(Caller("c1", 0))
        self.observer.refused(None, "no")
        self.observer.asked("c1", "/", 200)
        self.observer.changed("c1", C1, None)
        self.observer.lost("c1")
        self.assertEqual(
            [method for method, *_ in self.recording.notifications],
            ["connected", "refused", "asked", "changed", "lost"],
        )


class ObserverTests(SynchronousTestCase):
    """The notifications of the observer of a service."""

    def setUp(self) -> None:
        self.observer = RecordingServiceObserver()
        self.store = MemoryStore([C1])

    def test_asked(self) -> None:
        """The observer is notified of connections, and of the status of requests."""
        guest = GuestConnection(site_for(self.store, "c1", observer=self.observer))
        guest.get("/1.0/config/user.a")
        guest.get("/nope")
        self.assertEqual(
            self.observer.notifications,
            [
                ("connected", Caller("c1", uid=0)),
                ("asked", "c1", "/1.0/config/user.a", 200),
                ("asked", "c1", "/nope", 404),
            ],
        )

    def test_asked_late(self) -> None:
        """The observer is notified of a late response when it is sent."""
        reactor = MemoryDevLXDReactor()
        images = MemoryImageStore()
        path = f"/1.0/images/{images.put(b'data')}/export"
        site = site_for(
            self.store, "c1", clock=reactor, images=images, observer=self.observer
        )
        GuestConnection(site).get(path)
        self.assertEqual(self.observer.notifications[1:], [("asked", "c1", path, 200)])

    def test_refused(self) -> None:
        """The observer is notified of the requests that the gate refuses, and why."""
        self.store.put(evolve(C1, config={"security.devlxd": "false"}))
        GuestConnection(site_for(self.store, "c1", observer=self.observer)).get("/")
        self.assertEqual(
            self.observer.notifications[1:], [("refused", "c1", "not authorized")]
        )

    def test_refused_connections(self) -> None:
        """The observer is notified of connections that are refused, with the reason."""
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
            self.observer.notifications[-1], ("refused", "c1", "too many connections")
        )
        self.patch(site.server.admission, "_peers", MemoryPeerSource(None))
        GuestConnection(site)
        kind, container, reason = self.observer.notifications[-1]
        self.assertEqual((kind, container), ("refused", None))
        self.assertTrue(reason.startswith("not in a container: "), reason)

    def test_lost(self) -> None:
        """Subscribers that are sent ``lost``."""
        site = site_for(
            self.store, "c1", bus=bus_for(self.store), observer=self.observer
        )
        GuestConnection(site).get("/1.0/events?since=1970-01-01T00:00:01Z")
        self.assertIn(("lost", "c1"), self.observer.notifications)

    def test_changed(self) -> None:
        """The observer is notified of changes of containers while the service runs."""
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
        self.assertEqual(self.observer.notifications, [("changed", "c1", C1, new)])

    def test_failing(self) -> None:
        """An exception of an observer is logged; the guest gets its response."""
        self.patch(self.observer, "asked", lambda *_: 1 // 0)
        guest = GuestConnection(site_for(self.store, "c1", observer=self.observer))
        self.assertEqual(guest.get("/1.0")[9:12], b"200")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
