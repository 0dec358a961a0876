# -*- test-case-name: tests -*-
"""The guest's end of a connection, in memory."""

from __future__ import annotations

from typing import cast

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from devlxd.guest_sites import GuestSites
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.guestapi.downloads import Downloads
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import (
    IContainerStore,
    IDevLXDReactor,
    IEventBus,
    IImageStore,
    IServiceObserver,
)
from devlxd.model import Caller
from devlxd.testing.callers import GUEST, MemoryIdentifier, MemoryPeerSource
from devlxd.testing.reactor import MemoryDevLXDReactor


class GuestConnection:
    """The guest's end of a connection, in memory; the site's reactor is a Clock.

    :ivar transport: what the site writes to.
    """

    def __init__(self, site: DevLXDSite) -> None:
        self.transport = StringTransport()
        self._clock = site.reactor
        self._protocol = site.buildProtocol(UNIXAddress(""))
        self._protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Send ``data``, and return the data received since the last call."""
        self._protocol.dataReceived(data)
        assert isinstance(self._clock, Clock)
        # Pipelined requests are served in turns.
        self._clock.advance(0)
        received: bytes = self.transport.value()
        self.transport.clear()
        return received

    def half_close(self) -> None:
        """Close the writing end; responses can still be received."""
        self._protocol.readConnectionLost()

    def disconnect(self) -> None:
        """Close the connection from the guest's end."""
        self._protocol.connectionLost(Failure(ConnectionDone()))

    def get(self, path: str, version: str = "1.1") -> bytes:
        """Send a GET request for ``path``, and return the response as it is sent."""
        return self.send(f"GET {path} HTTP/{version}\r\nHost: lxd\r\n\r\n".encode())


def site_for(
    store: IContainerStore,
    name: str,
    dialect: Dialect = DEFAULT_DIALECT,
    clock: IReactorTime | None = None,
    images: IImageStore | None = None,
    bus: IEventBus | None = None,
    observer: IServiceObserver | None = None,
) -> DevLXDSite:
    """Return a site on which every caller is root in the container ``name``.

    :param clock: for timeouts and the time of day; with images, a
        `MemoryDevLXDReactor`.
    :param images: the images that can be downloaded; default: none.
    :param bus: the events; default: none.
    :param observer: is notified of what the site does.
    """
    clock = clock or MemoryDevLXDReactor()
    downloads = Downloads(images, cast(IDevLXDReactor, clock)) if images else None
    return GuestSites(
        store,
        MemoryIdentifier({GUEST.pid: Caller(name, uid=0)}),
        MemoryPeerSource(),
        clock,
        bus=bus,
        downloads=downloads,
        observer=observer,
        wall=clock.seconds,
    ).site(dialect)
