# -*- test-case-name: tests.test_service -*-
"""The service that a host agent embeds, assembled from the other packages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from devlxd.containers.change_log import ChangeLog
from devlxd.each_listener import EachListener
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_endpoints import Endpoint, Listen, guest_endpoints
from devlxd.guest_listener import GuestListener
from devlxd.guest_sites import GuestSites, sockets_of_containers
from devlxd.guest_states.memory import MemoryGuestStates
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.downloads import Downloads
from devlxd.host.socket_directories import SocketDirectories
from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IDevLXDReactor,
    IGuestStates,
    IImageStore,
    IJournal,
    IPeerSource,
    IServiceObserver,
    IStoreObserver,
)
from devlxd.limits import CurrentLimits
from devlxd.model import HandedOver
from devlxd.observers import guarded
from devlxd.peers.identifier import CallerIdentifier
from devlxd.peers.peer_sources import SocketPeerSource
from devlxd.peers.processes import ProcFS
from devlxd.peers.runtimes import known_runtimes
from devlxd.service_status import ServiceStatus
from devlxd.turns import Turns


@implementer(IStoreObserver)
class _ChangeReporter(Service):
    """A service that passes the changes of a store on to an observer."""

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


class DevLXDService(ServiceStatus):
    """The guest API for the containers of one store.

    :param reactor: for timeouts and connections, and to notice the end of runs.
    :param store: the containers to serve.
    :param listen: where to listen, by dialect: ``{'lxd': '/run/devlxd'}``. A key is the
        name of a dialect, or a `Dialect`; a value is a path, an endpoint string (both
        as in `endpoint_at`), ``each:DIRECTORY`` for a socket ``DIRECTORY/NAME/sock`` of
        each container, an `IStreamServerEndpoint`, or a list of these.
    :param identifier: identifies the callers; default: by their cgroups and pid
        namespaces, for the known runtimes.
    :param peers: returns the peers of connections; default: those that the kernel
        reports for UNIX sockets.
    :param journal: records events; default: a journal in memory.
    :param images: the images that can be downloaded; default: none.
    :param limits: the limits of guests; default: the usual ones. One container also has
        at most as many connections as a quarter of this process's limit of open files.
    :param observer: is notified of what the service does; default: none.
    :param now: returns the time of events, in nanoseconds since 1970.
    :param states: the guest states; default: in memory. If they are a service, they
        are started and stopped with this one.
    :param location: where the containers run, as guests read it; default: the name of
        the host.
    :ivar states: the guest states, which an agent may observe.
    """

    def __init__(
        self,
        reactor: IDevLXDReactor,
        store: IContainerStore,
        listen: Listen,
        identifier: ICallerIdentifier | None = None,
        peers: IPeerSource | None = None,
        journal: IJournal | None = None,
        images: IImageStore | None = None,
        limits: CurrentLimits | None = None,
        observer: IServiceObserver | None = None,
        now: Callable[[], int] = time.time_ns,
        states: IGuestStates | None = None,
        location: str = "",
    ) -> None:
        super().__init__()
        self.store, self._journal = store, journal
        limits = limits or CurrentLimits()
        self._listeners: list[GuestListener | EachListener] = []
        observer = guarded(observer)
        identifier = self._identifier = identifier or self._new_identifier(reactor)
        endpoints, turns = guest_endpoints(reactor, listen), Turns(reactor)
        bus = self._make_bus(reactor, endpoints, journal, turns, observer, now, limits)
        self.states = states or MemoryGuestStates(store, identifier, reactor, limits)
        changes = ChangeLog(store, reactor, limits)
        self._add_services(bus, self.states, _ChangeReporter(store, observer), changes)
        sites = GuestSites(
            store,
            identifier,
            peers or SocketPeerSource(),
            reactor,
            turns,
            bus,
            Downloads(images, reactor, limits) if images else None,
            observer,
            limits=limits,
            states=self.states,
            location=location,
        )
        self._listen(sites, endpoints, turns, reactor)

    def privilegedStartService(self) -> None:
        """See `IService.privilegedStartService`: listen at all endpoints, or at none.

        :raises CannotListenError: if listening fails immediately; its text names the
            path. No file of a socket remains.
        """
        with self._abandoning():
            super().privilegedStartService()

    def startService(self) -> None:
        """See `IService.startService`: listen, unless this service listens already."""
        with self._abandoning():
            super().startService()

    @contextmanager
    def _abandoning(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            for listener in self._listeners:
                listener.abandon()
            raise

    def stopService(self) -> Deferred[None]:
        """See `IService.stopService`.

        :return: a Deferred that fires when all connections are closed, the journal too,
            and nothing of this service is left in the reactor or the store. The service
            can be started again then.
        """
        stopped: Deferred[object] = super().stopService()
        return stopped.addCallback(lambda _: self._sites.stop())

    def sockets_made(self) -> Deferred[None]:
        """Return a Deferred that fires when each container has its own socket.

        It has fired already if no container has. It does not fail.
        """
        listeners = [one for one in self._listeners if isinstance(one, EachListener)]
        made = gatherResults([one.made() for one in listeners])
        return made.addCallback(lambda _: None)

    def _make_bus(
        self,
        reactor: IDevLXDReactor,
        endpoints: Iterable[tuple[Dialect, Endpoint]],
        journal: IJournal | None,
        turns: Turns,
        observer: IServiceObserver,
        now: Callable[[], int],
        limits: CurrentLimits,
    ) -> EventBus | None:
        """Return the bus, or ``None`` if no dialect has events."""
        namespaces = _namespaces(dialect for dialect, _ in endpoints)
        if not namespaces:
            return None
        return EventBus(
            self.store,
            journal or SQLiteJournal(limits=limits),
            reactor,
            now,
            turns,
            observer,
            namespaces=namespaces,
            limits=limits,
        )

    def _add_services(self, *providers: object) -> None:
        """Start and stop those providers that are services with this one."""
        for provider in providers:
            if isinstance(provider, Service):
                provider.setServiceParent(self)

    def _listen(
        self,
        sites: GuestSites,
        endpoints: Sequence[tuple[Dialect, Endpoint]],
        turns: Turns,
        reactor: IDevLXDReactor,
    ) -> None:
        self._sites, self._registry = sites, sites.registry
        listener: GuestListener | EachListener
        directories = [
            one for _, one in endpoints if isinstance(one, SocketDirectories)
        ]
        most = sockets_of_containers(len(directories))
        for dialect, endpoint in endpoints:
            if isinstance(endpoint, SocketDirectories):
                make_site = partial(sites.site_of_each, dialect, endpoint.container_of)
                listener = EachListener(
                    endpoint, make_site, dialect, self.store, turns, reactor, most
                )
            else:
                site = sites.site(dialect)
                listener = GuestListener(endpoint, site, dialect, reactor)
            listener.setServiceParent(self)
            self._listeners.append(listener)

    def hand_over(self) -> Deferred[list[HandedOver]]:
        """Stop accepting, and detach the connections for the next process.

        Pending requests are answered first. Call it once, before `stopService`, which
        then closes nothing but what could not be handed over.

        :return: a Deferred that fires within `devlxd.httpserver.handover.TIMEOUT`
            seconds. The caller saves the connections, and closes their descriptors.
        """
        handed_over = gatherResults([one.hand_over() for one in self._listeners])
        return handed_over.addCallback(lambda lists: list(chain.from_iterable(lists)))

    def adopt(self, connections: Iterable[HandedOver]) -> list[HandedOver]:
        """Continue the connections that the last process has handed over.

        Call it when this service has started. A connection is continued when the store
        is loaded, if its caller is still the same.

        :return: those of other services. The caller closes their descriptors.
        """
        remaining = list(connections)
        for listener in self._listeners:
            remaining = listener.adopt(remaining)
        return remaining

    def _new_identifier(self, reactor: IDevLXDReactor) -> CallerIdentifier:
        runtimes = known_runtimes()
        identifier = CallerIdentifier(self.store, ProcFS(), runtimes, reactor)
        identifier.setServiceParent(self)
        return identifier


def _namespaces(dialects: Iterable[Dialect]) -> Sequence[str]:
    """Return the prefixes of the config keys whose changes cause events.

    :return: empty if no dialect has events.
    """
    return sorted({p for d in dialects if d.events for p in d.exported})
