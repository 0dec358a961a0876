# -*- test-case-name: tests -*-
"""The guest's end of a connection, in memory."""

from __future__ import annotations

from typing import cast

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from devlxd.guestapi.dialects import LXD, Dialect
from devlxd.guestapi.image_export import Downloads
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import (
    IContainerStore,
    IDevLXDReactor,
    IImageStore,
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
        """Send ``data``, and return what came back since the last time."""
        self._protocol.dataReceived(data)
        assert isinstance(self._clock, Clock)
        # Of questions that were sent ahead, each is answered in its turn.
        self._clock.advance(0)
        answer: bytes = self.transport.value()
        self.transport.clear()
        return answer

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._protocol.readConnectionLost()

    def hang_up(self) -> None:
        """Close the connection from the guest's end."""
        self._protocol.connectionLost(Failure(ConnectionDone()))

    def get(self, path: str, version: str = "1.1") -> bytes:
        """Ask for ``path``, and return the response as it is on the wire."""
        return self.send(f"GET {path} HTTP/{version}\r\nHost: lxd\r\n\r\n".encode())


def site_for(
    store: IContainerStore,
    name: str,
    dialect: Dialect = LXD,
    clock: Clock | None = None,
    images: IImageStore | None = None,
) -> DevLXDSite:
    """Build a site on which everybody is the root of the container ``name``.

    :param clock: for what waits, and tells the time; with images, a
        `MemoryDevLXDReactor`.
    """
    clock = clock or MemoryDevLXDReactor()
    return DevLXDSite(
        dialect,
        store,
        MemoryIdentifier({GUEST.pid: Caller(name, uid=0)}),
        MemoryPeerSource(),
        clock,
        downloads=Downloads(images, cast(IDevLXDReactor, clock)) if images else None,
        wall=clock.seconds,
    )
