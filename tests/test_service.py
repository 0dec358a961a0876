"""Tests of `devlxd.service`."""

from __future__ import annotations

import os
import socket
import tempfile

from attrs import evolve
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.containers.memory_store import MemoryStore
from devlxd.host.adopted import AdoptedPort
from devlxd.httpserver.site import DevLXDSite
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.interfaces import IImageStore, IStoreObserver
from devlxd.limits import CurrentLimits
from devlxd.model import Caller, Container, Listener, Refusal
from devlxd.observers import guarded
from devlxd.service import DevLXDService, _ChangeReporter
from devlxd.testing import (
    GUEST,
    GuestConnection,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
    RecordingServiceObserver,
)
from devlxd.testing.contracts import StoreObserverContract
from tests.counting_store import CountingStore
from tests.default_limits import limits

C1 = Container("c1", {"user.a": "b"})

EVENTS = "/1.0/events"

#: The time of all events, in nanoseconds since 1970.
NOW = 10**18


@implementer(IStreamServerEndpoint)
class LaterEndpoint:
    """An endpoint that listens when `listening` fires."""

    def __init__(self) -> None:
        self.listening: Deferred[IListeningPort] = Deferred()

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint.listen`."""
        return self.listening


class DevLXDServiceTests(SynchronousTestCase):
    """The service, as a host agent embeds it."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)
        self.store = MemoryStore([C1])
        listen = {
            "lxd": f"{self.directory}/lxd.sock",
            "apollo": f"{self.directory}/apollo.sock",
        }
        identifier = MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)})
        self.service = DevLXDService(
            self.reactor, self.store, listen, identifier, MemoryPeerSource()
        )

    def sites(self) -> list[DevLXDSite]:
        """Return the sites of the sockets that the service listens on."""
        return [server[1] for server in self.reactor.unixServers]

    def start_two(
        self,
        images: IImageStore | None = None,
        limits: CurrentLimits | None = None,
    ) -> list[DevLXDSite]:
        """Start a service with two endpoints of one dialect; return their sites."""
        paths = [f"{self.directory}/{name}.sock" for name in ("first", "second")]
        DevLXDService(
            self.reactor,
            self.store,
            {"lxd": paths},
            MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)}),
            MemoryPeerSource(),
            images=images,
            limits=limits,
        ).startService()
        return self.sites()

    def test_interface(self) -> None:
        """The service provides `IService`."""
        self.assertTrue(verifyObject(IService, self.service))

    def test_explain(self) -> None:
        """A process is explained with the gates of the dialects that are served."""
        self.store.put(evolve(C1, config={"security.devlxd": "false"}))
        explanation = self.service.explain(GUEST.pid)
        self.assertEqual(explanation.container, "c1")
        self.assertEqual(
            [(step.check, step.result.value) for step in explanation.steps],
            [
                ("caller", "passed"),
                ("gate of lxd", "failed"),
                ("gate of apollo", "passed"),
            ],
        )
        self.assertEqual(len(self.service.explain(GUEST.pid + 1).steps), 1)

    def test_serves_each_dialect(self) -> None:
        """Each endpoint serves its dialect, for the same containers."""
        self.service.privilegedStartService()
        self.service.startService()
        self.assertEqual(len(self.reactor.unixServers), 2)
        lxd, apollo = map(GuestConnection, self.sites())
        for guest in (lxd, apollo):
            self.assertTrue(guest.get("/1.0/config/user.a").endswith(b"\r\n\r\nb"))
        self.assertEqual(lxd.get("/1.0/devices")[9:12], b"200")
        self.assertEqual(apollo.get("/1.0/devices")[9:12], b"404")

    def test_images(self) -> None:
        """All endpoints serve the same images, and share the limit of downloads."""
        images = MemoryImageStore()
        path = f"/1.0/images/{images.put(b'data')}/export"
        self.store.put(Container("c1", {"security.devlxd.images": "true"}))
        sites = self.start_two(images=images, limits=limits(downloads=1))
        first, second = map(GuestConnection, sites)
        self.assertTrue(first.get(path).endswith(b"\r\n\r\ndata"))
        # The response for a missing image is delayed; until then it is a download.
        self.assertEqual(first.get(f"/1.0/images/{'0' * 64}/export"), b"")
        self.assertEqual(second.get(path)[9:12], b"429")

    def test_max_connections(self) -> None:
        """All endpoints share the limit of connections."""
        first, second = self.start_two(limits=limits(connections=1))
        self.assertEqual(GuestConnection(first).get("/1.0")[9:12], b"200")
        with capturedLogs() as events:
            refused = GuestConnection(second)
        self.assertTrue(refused.transport.disconnecting)
        self.assertEqual([event["container"] for event in events], ["c1"])

    def test_started_later(self) -> None:
        """A service that is started without `privilegedStartService` listens, too."""
        self.service.startService()
        self.assertEqual(len(self.reactor.unixServers), 2)

    def test_stop(self) -> None:
        """The service has stopped when all connections are closed."""
        self.service.startService()
        guest = GuestConnection(self.sites()[0])
        stopped = self.service.stopService()
        self.assertTrue(guest.transport.disconnecting)
        self.assertNoResult(stopped)
        guest.disconnect()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cannot_listen(self) -> None:
        """A service that cannot listen fails to start."""
        os.rmdir(self.directory)
        self.assertRaises(CannotListenError, self.service.privilegedStartService)
        os.mkdir(self.directory)

    def test_cannot_listen_on_one(self) -> None:
        """The error names the path; stopping then closes the sockets that listen."""
        missing, store = f"{self.directory}/missing/sock", CountingStore([C1])
        listen = {"lxd": [f"{self.directory}/sock", missing]}
        service = DevLXDService(self.reactor, store, listen, MemoryIdentifier())
        error = self.assertRaises(CannotListenError, service.privilegedStartService)
        self.assertIn(missing, str(error))
        self.successResultOf(service.stopService())
        self.assertEqual(service.listeners()[0].is_listening, False)
        self.assertEqual(store.waiting, 0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        os.mkdir(os.path.dirname(missing))
        self.addCleanup(os.rmdir, os.path.dirname(missing))
        service.privilegedStartService()
        self.assertEqual(self.reactor.unixServers[-1][0], missing)

    def test_unknown_dialect(self) -> None:
        """A service with an unknown dialect is not created."""
        with self.assertRaisesRegex(ValueError, "the dialects are lxd, "):
            DevLXDService(self.reactor, self.store, {"lxc": self.directory})

    def test_stopped_before_listening(self) -> None:
        """A port of an endpoint that listens after the stop is closed immediately."""
        endpoint = LaterEndpoint()
        service = DevLXDService(self.reactor, self.store, {"lxd": endpoint})
        service.startService()
        stopped = service.stopService()
        self.assertNoResult(stopped)
        port = self.reactor.listenUNIX(f"{self.directory}/x", Factory())
        endpoint.listening.callback(port)
        self.successResultOf(stopped)

    def test_accepts_nothing_late(self) -> None:
        """No connections are accepted on a socket that arrives after the stop."""
        ours, endpoint = socket.socket(socket.AF_UNIX), LaterEndpoint()
        self.addCleanup(ours.close)
        # Linux binds it to an unused abstract address (unix(7), "Autobind").
        ours.bind("")
        ours.listen()
        service = DevLXDService(self.reactor, self.store, {"lxd": endpoint})
        service.startService()
        stopped = service.stopService()
        endpoint.listening.callback(AdoptedPort(ours.fileno(), Factory()))
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getReaders(), [])

    def test_removed_file(self) -> None:
        """A socket whose file was removed is not listed as listening."""
        path = f"{self.directory}/removed"
        ours, endpoint = socket.socket(socket.AF_UNIX), LaterEndpoint()
        self.addCleanup(ours.close)
        ours.bind(path)
        ours.listen()
        service = DevLXDService(self.reactor, self.store, {"lxd": endpoint})
        service.startService()
        endpoint.listening.callback(AdoptedPort(ours.fileno(), Factory()))
        self.assertEqual(service.listeners(), [Listener("lxd", path, True)])
        os.unlink(path)
        self.assertEqual(service.listeners(), [Listener("lxd", path, False)])
        self.successResultOf(service.stopService())

    def test_fails_late(self) -> None:
        """A late failure of an endpoint is logged; the service can be stopped."""
        endpoint = LaterEndpoint()
        service = DevLXDService(self.reactor, self.store, {"lxd": endpoint})
        service.startService()
        with capturedLogs() as events:
            endpoint.listening.errback(ZeroDivisionError())
        self.assertIn("lxd guests are not served there", formatEvent(events[0]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.successResultOf(service.stopService())

    def test_never_started(self) -> None:
        """A service that was never started is stopped immediately."""
        self.successResultOf(self.service.stopService())


class ObservedServiceTests(SynchronousTestCase):
    """A service with an observer, and with the clock of an agent."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)
        self.store = MemoryStore([C1])
        self.callers = {GUEST.pid: Caller("c1", uid=0)}
        self.observer = RecordingServiceObserver()
        self.service = DevLXDService(
            self.reactor,
            self.store,
            {"lxd": f"{self.directory}/lxd.sock"},
            MemoryIdentifier(self.callers),
            MemoryPeerSource(),
            observer=self.observer,
            now=lambda: NOW,
        )
        self.service.startService()

    def connect(self) -> GuestConnection:
        """Connect to the service."""
        ((_path, site, *_),) = self.reactor.unixServers
        return GuestConnection(site)

    def test_observer(self) -> None:
        """The observer is notified of connections, requests and refusals."""
        self.connect().get("/1.0/config/user.a")
        self.callers[GUEST.pid] = Caller("c1", uid=1000)
        self.connect().get("/1.0/config/user.a")
        self.callers.clear()
        self.connect()
        *identified, (method, container, refusal, reason) = self.observer.notifications
        self.assertEqual(
            identified,
            [
                ("connected", Caller("c1", uid=0)),
                ("asked", "c1", "/1.0/config/user.a", 200),
                ("responded", "lxd", 200),
                ("connected", Caller("c1", uid=1000)),
                (
                    "refused",
                    "c1",
                    Refusal.NOT_PERMITTED,
                    "Access denied for non-root user",
                ),
                ("responded", "lxd", 401),
            ],
        )
        self.assertEqual((method, container), ("refused", None))
        self.assertIs(refusal, Refusal.NOT_IN_CONTAINER)
        self.assertIn(f"pid {GUEST.pid}", reason)

    def test_observer_changes(self) -> None:
        """The observer is notified of changes, and of subscribers that lose events."""
        changed = evolve(C1, config={"user.a": "c"})
        self.store.put(changed)
        self.connect().get("/1.0/events?since=1970-01-01T00:00:01Z")
        self.assertIn(("changed", "c1", C1, changed), self.observer.notifications)
        self.assertIn(("recorded", "c1", 1), self.observer.notifications)
        self.assertEqual(self.observer.notifications.count(("lost", "c1")), 1)

    def test_failing_observer(self) -> None:
        """An exception of the observer is logged; guests are not affected."""
        for method in ("connected", "asked", "changed"):
            self.patch(self.observer, method, lambda *_: 1 // 0)
        guest = self.connect()
        self.store.put(evolve(C1, config={"user.a": "c"}))
        self.assertTrue(guest.get("/1.0/config/user.a").endswith(b"\r\n\r\nc"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_now(self) -> None:
        """The timestamps of events are those of the agent's clock."""
        guest = self.connect()
        self.assertIn(b"X-Devlxd-Timestamp: 2001-09-09T01:46:40", guest.get(EVENTS))
        self.store.put(evolve(C1, config={"user.a": "c"}))
        self.assertIn(b'"timestamp":"2001-09-09T01:46:40', guest.receive())

    def test_stopped(self) -> None:
        """Changes after the stop are not reported."""
        self.successResultOf(self.service.stopService())
        self.store.remove("c1")
        self.assertEqual(self.observer.notifications, [])


class ChangeReporterTests(StoreObserverContract, SynchronousTestCase):
    """The object that reports changes of the store to a service's observer."""

    def make_observer(self) -> IStoreObserver:
        """See `StoreObserverContract.make_observer`."""
        return _ChangeReporter(MemoryStore(), guarded(RecordingServiceObserver()))
