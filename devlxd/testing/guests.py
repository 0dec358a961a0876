# -*- test-case-name: tests -*-
"""The guest's end of a connection, sites and event buses, in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import cast

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
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
    """The guest's end of a connection, in memory.

    :param site: the site to connect to; its reactor must be a `Clock`.
    :ivar transport: the transport that the site writes to.
    """

    def __init__(self, site: DevLXDSite) -> None:
        self.transport = StringTransport()
        self._clock = site.reactor
        self._protocol = site.buildProtocol(UNIXAddress(""))
        self._protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Send ``data``, and return the received data; see `receive`."""
        self._protocol.dataReceived(data)
        assert isinstance(self._clock, Clock)
        # The reactor runs the turns of pipelined requests.
        self._clock.advance(0)
        return self.receive()

    def receive(self) -> bytes:
        """Return the data that the site has sent since the last call."""
        received: bytes = self.transport.value()
        self.transport.clear()
        return received

    def half_close(self) -> None:
        """Close the guest's end for writing; it can still receive."""
        self._protocol.readConnectionLost()

    def disconnect(self) -> None:
        """Close the connection from the guest's end."""
        self._protocol.connectionLost(Failure(ConnectionDone()))

    def get(self, path: str, version: str = "1.1") -> bytes:
        """Send a GET request, and return the received data: head and body."""
        return self.send(f"GET {path} HTTP/{version}\r\nHost: lxd\r\n\r\n".encode())


def bus_for(
    store: IContainerStore,
    clock: IReactorTime | None = None,
    now: Callable[[], int] = time.time_ns,
    namespaces: Collection[str] = DEFAULT_DIALECT.exported,
) -> IEventBus:
    """Return a running event bus of a store; its journal is in memory.

    :param clock: for the turns of long replays; default: one that never advances.
    :param now: returns the time of events, in nanoseconds since 1970.
    :param namespaces: the prefixes of the config keys whose changes are events;
        default: those of the default dialect.
    """
    bus = EventBus(store, SQLiteJournal(), clock or Clock(), now, namespaces=namespaces)
    bus.startService()
    return bus


def site_for(
    store: IContainerStore,
    name: str,
    dialect: Dialect = DEFAULT_DIALECT,
    clock: IReactorTime | None = None,
    images: IImageStore | None = None,
    bus: IEventBus | None = None,
    observer: IServiceObserver | None = None,
    location: str = "",
) -> DevLXDSite:
    """Return a site on which every caller is root of the container ``name``.

    Connect to it with `GuestConnection`.

    :param clock: the clock of timeouts and of the time of day. If ``images`` is
        given, it must be a `MemoryDevLXDReactor`. Default: a new one.
    :param images: the images that guests can download; default: none.
    :param bus: the event bus, for example that of `bus_for`; default: no events.
    :param observer: the observer of connections and requests; default: none.
    :param location: where the container runs; default: the name of the host.
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
        location=location,
    ).site(dialect)
