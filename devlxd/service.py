# -*- test-case-name: tests.test_service -*-
"""Puts the rooms together: the service that a host agent embeds."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterable

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IListeningPort,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guestapi.dialects import Dialect
from devlxd.guestapi.image_export import MAX_DOWNLOADS, Downloads
from devlxd.host.accepting import Acceptor, ListeningSocket, refuse_descriptors
from devlxd.host.listening import listen_now
from devlxd.httpserver.channel import GuestChannel
from devlxd.httpserver.door import Door
from devlxd.httpserver.registry import MAX_CONNECTIONS, ConnectionRegistry
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IDevLXDReactor,
    IImageStore,
    IJournal,
    IPeerSource,
)
from devlxd.peers.credentials import SocketPeerSource
from devlxd.peers.identifier import CallerIdentifier
from devlxd.peers.processes import ProcFS
from devlxd.peers.runtimes import known_runtimes
from devlxd.turns import Turns


class GuestListener(Service):
    """Listens at one endpoint while it runs, and leaves no connection behind."""

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        site: DevLXDSite,
        reactor: IDevLXDReactor,
    ) -> None:
        self.endpoint = endpoint
        self.site = site
        self._reactor = reactor
        self._door: Door | None = None
        self._acceptor: Acceptor | None = None
        self._listening: Deferred[IListeningPort | None] | None = None

    def privilegedStartService(self) -> None:
        """Listen.

        :raises CannotListenError: when that is not possible.
        """
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """Listen, unless that was done with privileges."""
        super().startService()
        self._listen()

    def _listen(self) -> None:
        if self._listening is None:
            listening = listen_now(self.endpoint, self.site)
            self._listening = listening.addCallbacks(self._accept, self._log_failure)

    def _accept(self, port: IListeningPort) -> IListeningPort:
        """Accept the connections of a UNIX socket here, and not in Twisted's port."""
        listening = getattr(port, "socket", None)
        if isinstance(listening, socket.socket) and listening.family == socket.AF_UNIX:
            accepts_itself = IReadDescriptor(port, None)
            if accepts_itself is not None:
                self._reactor.removeReader(accepts_itself)
            self._door = Door(self.site, self.site.registry, self._reactor)
            refuse_descriptors(listening)
            self._own = ListeningSocket(fileno=os.dup(listening.fileno()))
            self._acceptor = Acceptor(self._own, self._door.arrived, self._reactor)
            self._acceptor.start()
        self._log.info(
            "{dialect} guests are served at {address}",
            dialect=self.site.dialect.name,
            address=port.getHost(),
        )
        return port

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("cannot listen at {e}", failure, e=self.endpoint)

    def stopService(self) -> Deferred[None]:
        """Stop listening, then close every connection.

        :return: a Deferred that fires when nothing is open any more.
        """
        super().stopService()
        listening, self._listening = self._listening, None
        if listening is None:
            return self.site.close_connections()
        # A port that is still to come is stopped when it is there.
        return listening.addCallback(self._stop)

    def _stop(self, port: IListeningPort | None) -> Deferred[None]:
        if port is None:
            return self.site.close_connections()
        if self._acceptor is not None and self._door is not None:
            self._acceptor.stop()
            self._own.close()
            self._door.close()
        stopped = maybeDeferred(port.stopListening)
        return stopped.addCallback(lambda _: self.site.close_connections())


class DevLXDService(MultiService):
    """The guest API for the containers of one store.

    :param reactor: for timeouts, and to hear of containers that end.
    :param store: the containers that may ask.
    :param endpoints: where to listen, and in which dialect.
    :param identifier: finds out who asks; by default by the cgroups and pid
        namespaces of the known runtimes.
    :param peers: tells what the kernel says of who asks; by default by the
        credentials of a UNIX socket.
    :param journal: what is remembered of events; by default it does not
        outlive this process.
    :param images: what can be downloaded; by default nothing.
    :param max_downloads: how many of them one container may fetch at a time.
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
    ) -> None:
        super().__init__()
        self.store = store
        if identifier is None:
            identifier = CallerIdentifier(store, ProcFS(), known_runtimes(), reactor)
            identifier.setServiceParent(self)
        peers = peers or SocketPeerSource()
        endpoints = list(endpoints)
        turns = Turns(reactor)
        registry: ConnectionRegistry[GuestChannel] = ConnectionRegistry(
            turns, reactor, connections_per_container()
        )
        bus = None
        if any(dialect.events for dialect, _ in endpoints):
            bus = EventBus(store, journal or SQLiteJournal(), reactor, turns=turns)
            bus.setServiceParent(self)
        downloads = Downloads(images, reactor, max_downloads) if images else None
        for dialect, endpoint in endpoints:
            site = DevLXDSite(
                dialect,
                store,
                identifier,
                peers,
                reactor,
                registry=registry,
                bus=bus,
                downloads=downloads,
            )
            GuestListener(endpoint, site, reactor).setServiceParent(self)


def connections_per_container() -> int:
    """Return how many connections one container may have open.

    So that one that has them all leaves most of this process's file
    descriptors to the others.
    """
    files, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, files // 4)
