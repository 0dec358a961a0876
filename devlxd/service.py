# -*- test-case-name: tests.test_service -*-
"""Puts the packages together: the service that a host agent embeds."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guestapi.api import GuestAPI
from devlxd.guestapi.dialect import Dialect, Services
from devlxd.guestapi.downloads import MAX_DOWNLOADS, Downloads
from devlxd.host.accepting import Acceptor, ListeningSocket
from devlxd.host.listening import listen_now
from devlxd.httpserver.door import Door
from devlxd.httpserver.registry import MAX_CONNECTIONS, ConnectionRegistry
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import (
    ICallerIdentifier,
    IConnection,
    IContainerStore,
    IDevLXDReactor,
    IEventBus,
    IImageStore,
    IJournal,
    IPeerSource,
    IServiceObserver,
    IStoreObserver,
)
from devlxd.observers import guarded
from devlxd.peers.admission import CallerAdmission
from devlxd.peers.identifier import CallerIdentifier
from devlxd.peers.peer_sources import SocketPeerSource
from devlxd.peers.processes import ProcFS
from devlxd.peers.runtimes import known_runtimes
from devlxd.socket_options import refuse_descriptors
from devlxd.turns import Turns


class _UNIXEntrance:
    """Accepts the connections of a UNIX socket in place of Twisted's port."""

    def __init__(
        self, listening: socket.socket, site: DevLXDSite, reactor: IDevLXDReactor
    ) -> None:
        refuse_descriptors(listening)
        self._door = Door(site, reactor)
        self._socket = ListeningSocket(fileno=os.dup(listening.fileno()))
        self._acceptor = Acceptor(self._socket, self._door.arrived, reactor)
        self._acceptor.start()

    def close(self) -> None:
        """Accept nothing more, and refuse the connections that wait."""
        self._acceptor.stop()
        self._socket.close()
        self._door.close()


class GuestListener(Service):
    """Listens at one endpoint while it runs, and leaves no connection behind."""

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        site: DevLXDSite,
        dialect: Dialect,
        reactor: IDevLXDReactor,
    ) -> None:
        self.endpoint = endpoint
        self.site = site
        self.dialect = dialect
        self._reactor = reactor
        self._entrance: _UNIXEntrance | None = None
        self._listening: Deferred[IListeningPort | None] | None = None

    def privilegedStartService(self) -> None:
        """See `IService.privilegedStartService`: listen.

        :raises CannotListenError: if that is not possible.
        """
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """See `IService.startService`: listen, unless that was done before."""
        super().startService()
        self._listen()

    def _listen(self) -> None:
        if self._listening is None:
            listening = listen_now(self.endpoint, self.site)
            self._listening = listening.addCallbacks(self._listened, self._log_failure)

    def _listened(self, port: IListeningPort) -> IListeningPort:
        listening = getattr(port, "socket", None)
        if isinstance(listening, socket.socket) and listening.family == socket.AF_UNIX:
            accepts_itself = IReadDescriptor(port, None)
            if accepts_itself is not None:
                self._reactor.removeReader(accepts_itself)
            self._entrance = _UNIXEntrance(listening, self.site, self._reactor)
        self._log.info(
            "{dialect} guests are served at {address}",
            dialect=self.dialect.name,
            address=port.getHost(),
        )
        return port

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("cannot listen at {e}", failure, e=self.endpoint)

    def stopService(self) -> Deferred[None]:
        """See `IService.stopService`: stop listening, then close every connection.

        :return: a Deferred that fires when nothing is open any more.
        """
        super().stopService()
        listening, self._listening = self._listening, None
        if listening is None:
            return self.site.close_connections()
        # A port that does not listen yet is stopped as soon as it does.
        return listening.addCallback(self._stop)

    def _stop(self, port: IListeningPort | None) -> Deferred[None]:
        if port is None:
            return self.site.close_connections()
        if self._entrance is not None:
            self._entrance.close()
        stopped = maybeDeferred(port.stopListening)
        return stopped.addCallback(lambda _: self.site.close_connections())


@implementer(IStoreObserver)
class _ChangeReporter(Service):
    """Passes the changes of a store on to the observer of the service."""

    def __init__(self, store: IContainerStore, observer: IServiceObserver) -> None:
        self._store = store
        self.changed = observer.changed

    def startService(self) -> None:
        """See `IService.startService`."""
        super().startService()
        self._store.watch(self)

    def stopService(self) -> None:
        """See `IService.stopService`."""
        if self.running:
            self._store.unwatch(self)
        super().stopService()


class DevLXDService(MultiService):
    """The guest API for the containers of one store.

    :param reactor: for timeouts, and to be notified of containers that end.
    :param store: the containers that may ask.
    :param endpoints: where to listen, and in which dialect.
    :param identifier: finds the callers; default: by the cgroups and pid
        namespaces of the known runtimes.
    :param peers: returns the peers of connections; default: by the credentials of
        UNIX sockets.
    :param journal: keeps events; default: in memory.
    :param images: the images that can be downloaded; default: none.
    :param max_downloads: how many images one container may download at a time.
    :param observer: is notified of what the service does; default: nobody is.
    :param now: returns the time of events, in nanoseconds since 1970.
    """

    def __init__(
        self,
        reactor: IDevLXDReactor,
        store: IContainerStore,
        endpoints: Iterable[tuple[Dialect, IStreamServerEndpoint]],
        identifier: ICallerIdentifier | None = None,
        peers: IPeerSource | None = None,
        journal: IJournal | None = None,
        images: IImageStore | None = None,
        max_downloads: int = MAX_DOWNLOADS,
        observer: IServiceObserver | None = None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__()
        self.store = store
        if identifier is None:
            identifier = CallerIdentifier(store, ProcFS(), known_runtimes(), reactor)
            identifier.setServiceParent(self)
        endpoints = list(endpoints)
        turns = Turns(reactor)
        bus = None
        if any(dialect.events for dialect, _ in endpoints):
            bus = EventBus(
                store,
                journal or SQLiteJournal(),
                reactor,
                now,
                turns,
                namespaces=_namespaces(dialect for dialect, _ in endpoints),
            )
            bus.setServiceParent(self)
        if observer is not None:
            _ChangeReporter(store, guarded(observer)).setServiceParent(self)
        sites = GuestSites(
            store,
            identifier,
            peers or SocketPeerSource(),
            reactor,
            turns=turns,
            bus=bus,
            downloads=Downloads(images, reactor, max_downloads) if images else None,
            observer=observer,
        )
        for dialect, endpoint in endpoints:
            site = sites.site(dialect)
            GuestListener(endpoint, site, dialect, reactor).setServiceParent(self)


def _namespaces(dialects: Iterable[Dialect]) -> Sequence[str]:
    """Return the prefixes of the config keys whose changes are events."""
    return sorted({p for d in dialects if d.events for p in d.exported})


class GuestSites:
    """Makes the sites of a service, which share limits, events and images.

    :param store: the containers that may ask.
    :param identifier: finds the callers.
    :param peers: returns the peers of connections.
    :param reactor: for timeouts.
    :param turns: give turns to containers that ask much.
    :param bus: the events; default: none.
    :param downloads: the images; default: none.
    :param observer: is notified of what the sites do.
    :param wall: returns the time of day, in seconds since 1970.
    :param max_connections: how many connections one container may have.
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
        max_connections: int | None = None,
    ) -> None:
        self._store = store
        self._identifier = identifier
        self._reactor = reactor
        self._turns = turns or Turns(reactor)
        self._bus = bus
        self._downloads = downloads
        self._observer = guarded(observer)
        self._wall = wall
        self.registry: ConnectionRegistry[IConnection] = ConnectionRegistry(
            self._turns, reactor, max_connections or connections_per_container()
        )
        self._admission = CallerAdmission(
            store,
            identifier,
            peers,
            reactor,
            self.registry.processes.put,
            self._observer,
        )

    def site(self, dialect: Dialect) -> DevLXDSite:
        """Return a new site that speaks ``dialect``."""
        services = Services(
            dialect,
            self._turns,
            self._bus,
            self._downloads,
            self._observer,
            wall=self._wall,
        )
        api = GuestAPI(services, self._store, self._identifier)
        return DevLXDSite(
            api, self._admission, self._reactor, self.registry, self._wall
        )


def connections_per_container() -> int:
    """Return how many connections one container may have.

    Even with all of them, it leaves most file descriptors of this process to the
    others.
    """
    files, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, files // 4)
