"""Tests of `devlxd.observers`, and of what a service notifies an observer of."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import fail
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.containers.memory_store import MemoryStore
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.config_resources import ConfigValueResource
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.interfaces import ImageError, IServiceObserver
from devlxd.model import Caller, Container, Refusal
from devlxd.observers import GuardedObserver, NullObserver, guarded
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
from tests.default_limits import limits

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"

HANDSHAKE = (
    b"GET /1.0/events HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

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
        observer.refused(None, Refusal.NOT_IN_CONTAINER, "no")
        observer.asked("c1", "/", 200)
        observer.responded("toy", 200, 0.5)
        observer.changed("c1", C1, None)
        observer.recorded("c1", 2)
        observer.lost("c1")
        self.assertEqual(
            observer.notifications,
            [
                ("connected", caller),
                ("refused", None, Refusal.NOT_IN_CONTAINER, "no"),
                ("asked", "c1", "/", 200),
                ("responded", "toy", 200),
                ("changed", "c1", C1, None),
                ("recorded", "c1", 2),
                ("lost", "c1"),
            ],
        )


class NullObserverTests(ServiceObserverContract, SynchronousTestCase):
    """`NullObserver`."""

    def make_observer(self) -> IServiceObserver:
        """See `ServiceObserverContract.make_observer`."""
        return NullObserver()


class GuardedObserverTests(ServiceObserverContract, SynchronousTestCase):
    """`GuardedObserver`."""

    def make_observer(self) -> IServiceObserver:
        """See `ServiceObserverContract.make_observer`."""
        self.recording = RecordingServiceObserver()
        return guarded(self.recording)

    def test_passed_on(self) -> None:
        """The guarded observer is notified of everything."""
        self.observer.connected(Caller("c1", 0))
        self.observer.refused(None, Refusal.NOT_IN_CONTAINER, "no")
        self.observer.asked("c1", "/", 200)
        self.observer.responded("toy", 200, 0.5)
        self.observer.changed("c1", C1, None)
        self.observer.recorded("c1", 2)
        self.observer.lost("c1")
        self.assertEqual(
            [method for method, *_ in self.recording.notifications],
            [
                "connected",
                "refused",
                "asked",
                "responded",
                "changed",
                "recorded",
                "lost",
            ],
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
                ("responded", "lxd", 200),
                ("asked", "c1", "/nope", 404),
                ("responded", "lxd", 404),
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
        self.assertEqual(
            self.observer.notifications[1:],
            [("asked", "c1", path, 200), ("responded", "lxd", 200)],
        )

    def asked(self, guest: GuestConnection, *requests: bytes) -> list[tuple[Any, ...]]:
        """Send requests; return the paths and codes that the observer receives."""
        self.observer.notifications.clear()
        for request in requests:
            guest.send(request)
        self.assertNotIn("refused", [one[0] for one in self.observer.notifications])
        return [one[2:] for one in self.observer.notifications if one[0] == "asked"]

    def test_asked_head(self) -> None:
        """A HEAD request has the status of a GET request."""
        images = MemoryImageStore()
        paths = ["/1.0", "/nope", f"/1.0/images/{images.put(b'data')}/export"]
        site = site_for(
            self.store,
            "c1",
            bus=bus_for(self.store),
            images=images,
            observer=self.observer,
        )
        guest = GuestConnection(site)
        requests = (f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths)
        codes = self.asked(guest, *(request.encode() for request in requests))
        self.assertEqual(codes, list(zip(paths, (200, 404, 200), strict=True)))

    def test_asked_failed(self) -> None:
        """The observer is notified of a 500 after an error of a resource."""
        guest = GuestConnection(site_for(self.store, "c1", observer=self.observer))
        self.patch(ConfigValueResource, "get_by_name", lambda *_: 1 // 0)
        codes = self.asked(guest, GET % b"/1.0/config/user.a")
        self.assertEqual(codes, [("/1.0/config/user.a", 500)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_asked_error(self) -> None:
        """The status of a late response may be that of an error."""
        images = MemoryImageStore()
        self.patch(images, "open", lambda _: fail(ImageError("broken")))
        site = site_for(self.store, "c1", images=images, observer=self.observer)
        path = f"/1.0/images/{'0' * 64}/export"
        codes = self.asked(GuestConnection(site), GET % path.encode())
        self.assertEqual(codes, [(path, 502)])

    def request_list(self) -> tuple[Clock, IProtocol]:
        """Request a list that is rendered in turns.

        :return: the clock that runs the turns, and the connection.
        """
        self.store.put(evolve(C1, config={f"user.{n}": "1" for n in range(3000)}))
        clock = Clock()
        site = site_for(self.store, "c1", clock=clock, observer=self.observer)
        channel = site.buildProtocol(UNIXAddress(""))
        channel.makeConnection(StringTransport())
        self.observer.notifications.clear()
        channel.dataReceived(GET % b"/1.0/config")
        self.assertEqual(self.observer.notifications, [])
        return clock, channel

    def test_asked_list(self) -> None:
        """The status of a long list is known when the list is rendered."""
        clock, _ = self.request_list()
        clock.pump([0] * 20)
        self.assertEqual(
            self.observer.notifications[0], ("asked", "c1", "/1.0/config", 200)
        )

    def test_asked_disconnected(self) -> None:
        """The observer receives no status if the client disconnects before."""
        clock, channel = self.request_list()
        channel.connectionLost(Failure(ConnectionDone()))
        clock.pump([0] * 20)
        self.assertEqual(self.observer.notifications, [])

    def test_asked_events(self) -> None:
        """The observer is notified once of a stream of events, not of each event."""
        site = site_for(
            self.store, "c1", bus=bus_for(self.store), observer=self.observer
        )
        guest = GuestConnection(site)
        self.assertEqual(
            self.asked(guest, GET % b"/1.0/events"), [("/1.0/events", 200)]
        )
        self.store.put(evolve(C1, config={"user.a": "c"}))
        self.assertIn(b"user.a", guest.receive())
        self.assertEqual(len(self.observer.notifications), 2)

    def test_asked_websocket(self) -> None:
        """The status of a websocket is 101, that of a bad handshake 400."""
        site = site_for(
            self.store, "c1", bus=bus_for(self.store), observer=self.observer
        )
        for request, code in (
            (HANDSHAKE, 101),
            (HANDSHAKE.replace(b"Version: 13", b"Version: 8"), 400),
        ):
            codes = self.asked(GuestConnection(site), request)
            self.assertEqual(codes, [("/1.0/events", code)])

    def test_asked_malformed(self) -> None:
        """The observer is not notified of requests that the server refuses."""
        guest = GuestConnection(site_for(self.store, "c1", observer=self.observer))
        self.assertEqual(self.asked(guest, b"GET / HTTP/1.1\r\n\r\n"), [])

    def test_refused(self) -> None:
        """The observer is notified of the requests that the gate refuses, and why."""
        self.store.put(evolve(C1, config={"security.devlxd": "false"}))
        GuestConnection(site_for(self.store, "c1", observer=self.observer)).get("/")
        self.assertEqual(
            self.observer.notifications[1:-1],
            [("refused", "c1", Refusal.SWITCHED_OFF, "not authorized")],
        )

    def test_refused_connections(self) -> None:
        """The observer is notified of connections that are refused, with the reason."""
        sites = GuestSites(
            self.store,
            MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)}),
            MemoryPeerSource(),
            Clock(),
            observer=self.observer,
            limits=limits(connections=1),
        )
        site = sites.site(DEFAULT_DIALECT)
        GuestConnection(site)
        GuestConnection(site)
        self.assertEqual(
            self.observer.notifications[-1],
            ("refused", "c1", Refusal.TOO_MANY_CONNECTIONS, "too many connections"),
        )
        self.patch(site.server.admission, "_peers", MemoryPeerSource(None))
        GuestConnection(site)
        kind, container, refusal, reason = self.observer.notifications[-1]
        self.assertEqual((kind, container), ("refused", None))
        self.assertIs(refusal, Refusal.NOT_IN_CONTAINER)
        self.assertTrue(reason.startswith("not in a container: "), reason)

    def test_lost(self) -> None:
        """The observer is notified when a subscriber is sent ``lost``."""
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
            reactor, self.store, {}, identifier, observer=self.observer
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
        with capturedLogs() as events:
            self.assertEqual(guest.get("/1.0")[9:12], b"200")
        self.assertEqual([event["method"] for event in events], ["asked"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class SeveralObserversTests(SynchronousTestCase):
    """`GuardedObserver` with several observers."""

    def test_all(self) -> None:
        """Each observer is notified, even if another one fails."""
        first, last = RecordingServiceObserver(), RecordingServiceObserver()
        failing = RecordingServiceObserver()
        for name in IServiceObserver.names():
            self.patch(failing, name, lambda *_: 1 // 0)
        observer = GuardedObserver(first, failing, NullObserver(), last)
        observer.connected(Caller("c1", 0))
        observer.refused("c1", Refusal.SWITCHED_OFF, "no")
        observer.asked("c1", "/1.0", 200)
        observer.responded("lxd", 200, 0.1)
        observer.changed("c1", None, C1)
        observer.recorded("c1", 2)
        observer.lost("c1")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 7)
        self.assertEqual(len(first.notifications), 7)
        self.assertEqual(first.notifications, last.notifications)

    def test_contract(self) -> None:
        """It is an observer itself."""
        self.assertTrue(verifyObject(IServiceObserver, GuardedObserver()))

    def test_part(self) -> None:
        """An observer that overrides some methods is called for these."""
        asked: list[str] = []

        class AskedObserver(NullObserver):
            def asked(self, container: str, path: str, code: int) -> None:
                asked.append(container)

        observer = guarded(AskedObserver())
        observer.asked("c1", "/1.0", 200)
        observer.lost("c1")
        self.assertEqual(asked, ["c1"])
