"""Tests of two services in one process, which do not meet."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Collection

from twisted.application.service import MultiService
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.httpserver.site import DevLXDSite
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.model import Caller, Container, GuestState
from devlxd.service import DevLXDService
from devlxd.testing import (
    GUEST,
    GuestConnection,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
    RecordingServiceObserver,
)
from tests.default_limits import limits

READY = (
    b"PATCH /1.0 HTTP/1.1\r\nHost: lxd\r\nContent-Type: application/json\r\n"
    b'Content-Length: 17\r\n\r\n{"state":"Ready"}'
)


class TwoServicesTests(SynchronousTestCase):
    """Two services of one agent, whose containers have the same names.

    Even the first snapshot of the container is the same object in both stores.
    """

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.agent = MultiService()
        self.images = MemoryImageStore()
        self.stores: list[MemoryStore] = []
        self.services: list[DevLXDService] = []
        self.observers: list[RecordingServiceObserver] = []
        container = Container("c1", {"user.a": "0", "security.devlxd.images": "true"})
        for _ in range(2):
            self.add_service(container)
        self.agent.startService()
        self.sites = [server[1] for server in self.reactor.unixServers]

    def add_service(self, container: Container) -> None:
        """Add a service with a store of its own."""
        store = MemoryStore([container])
        observer = RecordingServiceObserver()
        service = DevLXDService(
            self.reactor,
            store,
            {"lxd6": f"{self.directory}/{len(self.services)}.sock"},
            MemoryIdentifier({GUEST.pid: Caller("c1", uid=0, run=1)}),
            MemoryPeerSource(),
            images=self.images,
            limits=limits(connections=2, downloads=1, log_lines=1),
            observer=observer,
        )
        service.setServiceParent(self.agent)
        self.stores.append(store)
        self.services.append(service)
        self.observers.append(observer)

    def connect(self, number: int) -> GuestConnection:
        """Connect to one of the services."""
        site = self.sites[number]
        assert isinstance(site, DevLXDSite)
        return GuestConnection(site)

    def test_config(self) -> None:
        """Each serves its own snapshots; what is kept of the other's is not used."""
        guests = [self.connect(0), self.connect(1)]

        def values() -> list[bytes]:
            return [guest.get("/1.0/config/user.a")[-1:] for guest in guests]

        self.assertEqual(values(), [b"0", b"0"])
        self.stores[0].set_config("c1", "user.a", "1")
        self.assertEqual(values(), [b"1", b"0"])
        self.stores[1].set_config("c1", "user.a", "2")
        self.assertEqual(values(), [b"1", b"2"])

    def test_events(self) -> None:
        """A change of one store is no event for the guests of the other."""
        first, second = self.connect(0), self.connect(1)
        for guest in (first, second):
            guest.get("/1.0/events")
        self.stores[0].set_config("c1", "user.a", "1")
        self.reactor.advance(0)
        self.assertIn(b'"user.a"', first.receive())
        self.assertEqual(second.receive(), b"")
        self.stores[0].remove("c1")
        self.reactor.advance(0)
        self.assertTrue(first.transport.disconnecting)
        self.assertFalse(second.transport.disconnecting)
        past = self.connect(1).get("/1.0/events?since=1970-01-01T00:00:01Z")
        self.assertNotIn(b'"user.a"', past)

    def test_connections(self) -> None:
        """The connections of one container do not count against the other's limit."""
        guests = [self.connect(0) for _ in range(3)]
        self.assertTrue(guests[2].transport.disconnecting)
        other = self.connect(1)
        self.assertEqual(other.get("/1.0")[9:12], b"200")
        counts = [dict(service.connections()) for service in self.services]
        self.assertEqual(counts, [{"c1": 2}, {"c1": 1}])

    def test_downloads(self) -> None:
        """A download of one service does not count against the other's limit."""
        path = f"/1.0/images/{'0' * 64}/export"
        codes = []
        for number in (0, 0, 1):
            # The response for a missing image is delayed: it is a download until then.
            codes.append(self.connect(number).get(path)[9:12])
        self.assertEqual(codes, [b"", b"429", b""])

    def test_guest_states(self) -> None:
        """A guest that is ready for one service has said nothing to the other."""
        self.assertIn(b" 200 ", self.connect(0).send(READY))
        states = [service.states.state_of("c1") for service in self.services]
        self.assertEqual(states, [GuestState.READY, GuestState.STARTED])
        self.assertIn(b'"state":"Started"', self.connect(1).get("/1.0"))

    def test_observers(self) -> None:
        """Each observer is notified of its service only."""
        self.connect(0).get("/1.0")
        self.stores[0].remove("c1")
        self.assertNotEqual(self.observers[0].notifications, [])
        self.assertEqual(self.observers[1].notifications, [])

    def test_stop(self) -> None:
        """One stops without the other, whose connections stay open."""
        gone, kept = self.connect(0), self.connect(1)
        stopped = self.services[0].stopService()
        self.assertTrue(gone.transport.disconnecting)
        gone.disconnect()
        self.successResultOf(stopped)
        self.stores[1].set_config("c1", "user.a", "1")
        self.assertTrue(kept.get("/1.0/config/user.a").endswith(b"\r\n\r\n1"))

    def test_modules(self) -> None:
        """No module and no class of devlxd keeps anything of a service."""
        before = _module_state()
        self.connect(0).get("/1.0/events")
        self.connect(1).send(READY)
        self.connect(1).get(f"/1.0/images/{'0' * 64}/export")
        for store in self.stores:
            store.set_config("c1", "user.a", "1")
            store.remove("c1")
        self.reactor.advance(1)
        self.assertEqual(_module_state(), before)
        self.assertIn("devlxd.guestapi.dialects.DIALECTS", before)


def _module_state() -> dict[str, int]:
    """Return the sizes of all collections in the modules and classes of devlxd."""
    sizes = {}
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] != "devlxd":
            continue
        holders = {module_name: vars(module)}
        for name, value in vars(module).items():
            if isinstance(value, type) and value.__module__ == module_name:
                holders[f"{module_name}.{name}"] = dict(vars(value))
        for holder, values in holders.items():
            for name, value in values.items():
                if isinstance(value, Collection) and not name.startswith("__"):
                    sizes[f"{holder}.{name}"] = len(value)
    return sizes
