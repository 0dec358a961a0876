"""Tests of `devlxd.service`."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialects.apollo import DIALECT as APOLLO
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.host.adopted import AdoptedPort
from devlxd.host.listening import endpoint_at
from devlxd.httpserver.site import DevLXDSite
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.model import Caller, Container
from devlxd.service import DevLXDService
from devlxd.testing import (
    GUEST,
    GuestConnection,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)


@implementer(IStreamServerEndpoint)
class LaterEndpoint:
    """An endpoint that listens when it is told to."""

    def __init__(self) -> None:
        self.listening: Deferred[IListeningPort] = Deferred()

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint.listen`."""
        return self.listening


class DevLXDServiceTests(SynchronousTestCase):
    """The service that a host agent embeds."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)
        self.store = MemoryStore([Container("c1", {"user.a": "b"})])
        endpoints = [
            (LXD, endpoint_at(self.reactor, f"{self.directory}/lxd.sock")),
            (APOLLO, endpoint_at(self.reactor, f"{self.directory}/apollo.sock")),
        ]
        identifier = MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)})
        self.service = DevLXDService(
            self.reactor, self.store, endpoints, identifier, MemoryPeerSource()
        )

    def sites(self) -> list[DevLXDSite]:
        """Return the sites that are listened for."""
        return [server[1] for server in self.reactor.unixServers]

    def test_interface(self) -> None:
        """It is a service like any other."""
        self.assertTrue(verifyObject(IService, self.service))

    def test_serves_each_dialect(self) -> None:
        """Each endpoint speaks its dialect, about the same containers."""
        self.service.privilegedStartService()
        self.service.startService()
        self.assertEqual(len(self.reactor.unixServers), 2)
        lxd, apollo = map(GuestConnection, self.sites())
        for guest in (lxd, apollo):
            self.assertTrue(guest.get("/1.0/config/user.a").endswith(b"\r\n\r\nb"))
        self.assertEqual(lxd.get("/1.0/devices")[9:12], b"200")
        self.assertEqual(apollo.get("/1.0/devices")[9:12], b"404")

    def test_images(self) -> None:
        """All endpoints hand out the same images, and count downloads together."""
        images = MemoryImageStore()
        path = f"/1.0/images/{images.put(b'data')}/export"
        self.store.put(Container("c1", {"security.devlxd.images": "true"}))
        endpoints = [
            (LXD, endpoint_at(self.reactor, f"{self.directory}/{name}.sock"))
            for name in ("first", "second")
        ]
        service = DevLXDService(
            self.reactor,
            self.store,
            endpoints,
            MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)}),
            MemoryPeerSource(),
            images=images,
            max_downloads=1,
        )
        service.startService()
        first, second = map(GuestConnection, self.sites())
        self.assertTrue(first.get(path).endswith(b"\r\n\r\ndata"))
        # Who is told that there is none is not told at once.
        self.assertEqual(first.get(f"/1.0/images/{'0' * 64}/export"), b"")
        self.assertEqual(second.get(path)[9:12], b"429")

    def test_started_later(self) -> None:
        """An agent that is running already need not have privileges to start it."""
        self.service.startService()
        self.assertEqual(len(self.reactor.unixServers), 2)

    def test_stop(self) -> None:
        """When it has stopped, no connection is left."""
        self.service.startService()
        guest = GuestConnection(self.sites()[0])
        stopped = self.service.stopService()
        self.assertTrue(guest.transport.disconnecting)
        self.assertNoResult(stopped)
        guest.disconnect()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cannot_listen(self) -> None:
        """A service that cannot listen does not start as if it could."""
        os.rmdir(self.directory)
        self.assertRaises(CannotListenError, self.service.privilegedStartService)
        os.mkdir(self.directory)

    def test_stopped_before_listening(self) -> None:
        """An endpoint that comes late is closed as soon as it is there."""
        endpoint = LaterEndpoint()
        service = DevLXDService(self.reactor, self.store, [(LXD, endpoint)])
        service.startService()
        stopped = service.stopService()
        self.assertNoResult(stopped)
        port = self.reactor.listenUNIX(f"{self.directory}/x", Factory())
        endpoint.listening.callback(port)
        self.successResultOf(stopped)

    def test_accepts_nothing_late(self) -> None:
        """Nor are connections accepted on a socket that comes late."""
        ours, systemds = socket.socket(socket.AF_UNIX), LaterEndpoint()
        self.addCleanup(ours.close)
        ours.bind("")
        ours.listen()
        service = DevLXDService(self.reactor, self.store, [(LXD, systemds)])
        service.startService()
        stopped = service.stopService()
        systemds.listening.callback(AdoptedPort(ours.fileno(), Factory()))
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getReaders(), [])

    def test_fails_late(self) -> None:
        """An endpoint that fails late is named in the log, and stops all the same."""
        endpoint = LaterEndpoint()
        service = DevLXDService(self.reactor, self.store, [(LXD, endpoint)])
        service.startService()
        endpoint.listening.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.successResultOf(service.stopService())

    def test_never_started(self) -> None:
        """A service that never listened is stopped at once."""
        self.successResultOf(self.service.stopService())
