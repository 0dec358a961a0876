# -*- test-case-name: tests.test_service -*-
"""The sites that guests connect to, one for each endpoint."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime, ITransport

from devlxd.guest_states.memory import MemoryGuestStates
from devlxd.guestapi.api import GuestAPI
from devlxd.guestapi.dialect import Dialect, Services
from devlxd.guestapi.downloads import Downloads
from devlxd.httpserver.registry import ConnectionRegistry
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import (
    ICallerIdentifier,
    IConnection,
    IContainerStore,
    IEventBus,
    IGuestStates,
    IPeerSource,
    IServiceObserver,
)
from devlxd.limits import CurrentLimits
from devlxd.observers import guarded
from devlxd.peers.admission import CallerAdmission
from devlxd.turns import Turns


class GuestSites:
    """The sites of a service, which share limits, events and images.

    :param store: the containers to serve.
    :param identifier: identifies the callers.
    :param peers: returns the peers of connections.
    :param reactor: for timeouts.
    :param turns: schedules long work; default: a new scheduler.
    :param bus: the source of events; default: guests receive no events.
    :param downloads: the downloads of images; default: guests receive no images.
    :param observer: is notified of what the sites do.
    :param wall: returns the time of day, in seconds since 1970.
    :param limits: the limits of connections and requests; default: the usual ones.
    :param states: the guest states; default: in memory.
    :param location: where the containers run; default: the name of the host.
    """

    def __init__(
        self,
        store: IContainerStore,
        identifier: ICallerIdentifier,
        peers: IPeerSource,
        reactor: IReactorTime,
        turns: Turns | None = None,
        bus: IEventBus | None = None,
        downloads: Downloads | None = None,
        observer: IServiceObserver | None = None,
        wall: Callable[[], float] = time.time,
        limits: CurrentLimits | None = None,
        states: IGuestStates | None = None,
        location: str = "",
    ) -> None:
        self._store = store
        self._identifier = identifier
        self._reactor = reactor
        self._turns = turns or Turns(reactor)
        self._bus = bus
        self._downloads = downloads
        self._observer = guarded(observer)
        self._wall = wall
        self._states = states or MemoryGuestStates(store, identifier, reactor)
        self._location = location
        self._limits = limits or CurrentLimits()
        self._peers = peers
        # Functions that return how many sockets are open besides the connections.
        self._sockets: list[Callable[[], int]] = []
        self.registry: ConnectionRegistry[IConnection] = ConnectionRegistry(
            self._turns,
            reactor,
            connections_per_container(self._limits, self._open_sockets),
        )
        self._admissions = [self._new_admission()]

    def _open_sockets(self) -> int:
        return sum(count() for count in self._sockets)

    def _new_admission(
        self, called: Callable[[ITransport], str | None] | None = None
    ) -> CallerAdmission:
        return CallerAdmission(
            self._store,
            self._identifier,
            self._peers,
            self._reactor,
            self.registry.processes.put,
            self._observer,
            self._limits,
            called,
        )

    def stop(self) -> None:
        """Cancel what is pending; call this when all connections are closed."""
        self.registry.stop()
        self._turns.stop()
        for admission in self._admissions:
            admission.stop()
        if self._downloads is not None:
            self._downloads.stop()

    def site(self, dialect: Dialect) -> DevLXDSite:
        """Return a new site that serves ``dialect`` to all containers."""
        return self._site(dialect, self._admissions[0])

    def site_of_each(
        self,
        dialect: Dialect,
        called: Callable[[ITransport], str | None],
        sockets: Callable[[], int],
    ) -> DevLXDSite:
        """Return a new site that serves ``dialect`` at a socket of each container.

        :param called: see `CallerAdmission`.
        :param sockets: returns the number of sockets. They leave fewer connections to
            one container.
        """
        self._sockets.append(sockets)
        admission = self._new_admission(called)
        self._admissions.append(admission)
        return self._site(dialect, admission)

    def _site(self, dialect: Dialect, admission: CallerAdmission) -> DevLXDSite:
        services = Services(
            dialect,
            self._turns,
            self._states,
            self._bus,
            self._downloads,
            self._observer,
            wall=self._wall,
            location=self._location,
        )
        api = GuestAPI(services, self._store, self._identifier)
        return DevLXDSite(
            api,
            admission,
            self._reactor,
            self.registry,
            self._wall,
            self._limits,
        )


def connections_per_container(
    limits: CurrentLimits, sockets: Callable[[], int] = lambda: 0
) -> Callable[[], int]:
    """Return a function: how many connections one container may have at a time.

    The limit leaves most file descriptors of this process to other containers.

    :param limits: the limits that are in force.
    :param sockets: returns how many descriptors are those of listening sockets.
    """
    files, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return lambda: limits.value.connections
    return lambda: min(limits.value.connections, (files - sockets()) // 4)


def sockets_of_containers(directories: int) -> int:
    """Return for how many containers this process may make a socket in one directory.

    The other half of its files is left to connections.

    :param directories: in how many directories it makes sockets.
    """
    files, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return sys.maxsize
    return files // 2 // max(1, directories)
